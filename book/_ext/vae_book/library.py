"""The links between the sections of the book and the functions of `vae_lib`, in both directions.

A docstring says where its function is derived: "Book: chapter 2 (the divergence)." The section carries the
label that is made of these words, `(sec-2-the-divergence)=`. From the docstrings and from the code cells
this module works out, for each labelled section, the functions that are derived in it and those that its
cells call. The section gets a line "In the library", each function a link to the section that derives it
and a line "Used in". A chapter that is planned has no section yet; the docstring then says so.
"""

import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jupytext
import yaml

ROOT = Path(__file__).resolve().parents[3]
# used on every page, which is about something else
MACHINERY = {"ledger", "figures", "explorables", "widgets", "exercises"}

TARGET = re.compile(r"^\((?P<label>[\w-]+)\)=$")
HEADING = re.compile(r"^(#+) +(?P<title>.+)$")
BOOK = re.compile(r"\bBook:(?P<places>.*?)(?=\bSource:|\bRedraws\b|\bRepairs\b|\n[ \t]*\n|\Z)", re.S)
PLACE = re.compile(r"\bchapter\s+(?P<number>\d+)\b(?:\s+\((?P<words>[^)]*)\))?")
NUMBER = re.compile(r"(\d+\.\d+|E\d+)\b")
ERRATUM = re.compile(r"\berratum\s+(?P<number>\d+)\b")


class Section(NamedTuple):
    """A labelled section: its page, its number (that of the section around a part), and its title."""

    docname: str
    number: str
    title: str


def label_of(number, words):
    """The label of the section that a docstring names.

    >>> label_of("8", "is the number right?")
    'sec-8-is-the-number-right'
    """
    return f"sec-{number}-" + re.sub(r"[^a-z0-9]+", "-", " ".join(words.split()).lower()).strip("-")


@cache
def pages():
    """The pages of the table of contents, in its order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found = [toc["root"]]

    def walk(entries):
        for entry in entries:
            found.append(entry["file"])
            walk(entry.get("sections", []))

    for part in toc["parts"]:
        walk(part["chapters"])
    return found


@cache
def chapters():
    """The label of each chapter that exists, by its number."""
    found = {}
    for page in pages():
        start = re.search(r"^\(([\w-]+)\)=\n# (\d+) ·", _text(page), re.M)
        if start:
            found[start.group(2)] = start.group(1)
    return found


def _text(page):
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


@cache
def _walk():
    """The labelled sections, and the functions that the cells under each of them use, in their order."""
    sections, used = {}, {}
    for page in pages():
        if "kernelspec:" not in _text(page).split("\n---", 1)[0]:
            continue
        around, here, number, waiting, names = [], [], "", [], {}
        for cell in jupytext.read(ROOT / f"{page}.md").cells:
            if cell.cell_type == "code":
                found = list(_names(cell.source, names))
                for label in here or around:
                    used.setdefault(label, []).extend(n for n in found if n not in used.get(label, []))
                continue
            for line in cell.source.splitlines():
                target, heading = TARGET.match(line), HEADING.match(line)
                if target:
                    waiting.append(target["label"])
                elif heading:
                    number = NUMBER.match(heading["title"]) or (number if heading[1] == "###" else None)
                    where = number.group() if number else heading["title"]
                    sections |= {label: Section(page, where, heading["title"]) for label in waiting}
                    ours = [name for name in waiting if name.startswith(("sec-", "erratum-"))]
                    if heading[1] == "##":
                        around, here = ours, []
                    elif heading[1] == "###":
                        here = ours
                    waiting = []
    return sections, used


def _names(source, names):
    """The public names of `vae_lib` that a cell uses; `names` remembers the imports of the page."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vae_lib":
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from _public(f"{names.get(node.value.id, '')}.{node.attr}")
        elif isinstance(node, ast.Name):
            yield from _public(names.get(node.id, ""))


def _public(name):
    if name in docstrings() and name.split(".")[1] not in MACHINERY:
        yield name


def api_pages():
    """One page for each room of the library."""
    return [f"book/api/{path.stem}" for path in sorted((ROOT / "book/api").glob("*.md"))]


def reading_order(room):
    """The public names of a room: as its own docstring mentions them, then the others."""
    doc = inspect.getdoc(room) or ""

    def place(name):
        found = re.search(rf"`{name}[`(]", doc)
        return found.start() if found else len(doc)

    return sorted(room.__all__, key=place)


def resolve(word, room, owner=""):
    """The full name of what a docstring calls `word`, or None.

    Looked up first in the class it stands in, then in its room; in another room only if no other name
    of the library is the same and it cannot be taken for a parameter.

    >>> resolve("iwae_bound", "vae_lib.bounds"), resolve("fit", "vae_lib.figures")
    ('vae_lib.bounds.iwae_bound', 'vae_lib.training.fit')
    >>> resolve("loss_terms", "vae_lib.models", "VAE"), resolve("mean", "vae_lib.likelihoods")
    ('vae_lib.models.VAE.loss_terms', None)
    """
    word = word.split("(")[0]
    nearest = [f"{room}.{owner}.{word}"] if owner else []
    for name in (*nearest, f"{room}.{word}", word if word.startswith("vae_lib.") else f"vae_lib.{word}"):
        if name in docstrings():
            return name
    elsewhere = _by_short_name().get(word, [])
    return elsewhere[0] if len({id(_thing(name)) for name in elsewhere}) == 1 else None


@cache
def _by_short_name():
    """Full names by what follows the room: `VAE`, `VAE.elbo`; names that are also parameters left out."""
    found, parameters = {}, set()
    for name in docstrings():
        thing = _thing(name)
        if inspect.isfunction(thing):
            parameters |= inspect.signature(thing).parameters.keys()
        parameters |= getattr(thing, "__annotations__", {}).keys()  # the fields of a class
        found.setdefault(".".join(name.split(".")[2:]), []).append(name)
    return {short: names for short, names in found.items() if short not in parameters}


@cache
def docstrings():
    """The docstring of everything that the API pages show, by its full name there."""
    found = {}
    for page in api_pages():
        module = re.search(r"automodule:: (\S+)", _text(page))[1]
        room = importlib.import_module(module)
        for name in room.__all__:
            thing = getattr(room, name)
            if not callable(thing):
                continue
            found[f"{module}.{name}"] = inspect.getdoc(thing) or ""
            for member, value in vars(thing).items() if inspect.isclass(thing) else ():
                if member.startswith("_"):
                    continue
                if callable(value) or isinstance(value, (classmethod, property)):
                    found[f"{module}.{name}.{member}"] = inspect.getdoc(value) or ""
    return found


def places(doc):
    """(chapter, section or None) for each chapter, and ("erratum", number) for each erratum, of "Book:"."""
    for book in BOOK.finditer(doc):
        for place in PLACE.finditer(book["places"]):
            yield place["number"], place["words"]
        # "Repairs …; erratum 18" stands after the chapters
        for place in ERRATUM.finditer(doc[book.start() :].split("\n\n")[0]):
            yield "erratum", place["number"]


def sections():
    """Every label of the book that stands before a heading of a page with code."""
    return _walk()[0]


@cache
def derived():
    """Full names of the functions by the label of the section that their docstring names."""
    found = {}
    for name, doc in docstrings().items():
        for number, words in places(doc):
            if number == "erratum":
                found.setdefault(f"erratum-{words}", []).append(name)
            elif number in chapters() and words:
                found.setdefault(label_of(number, words), []).append(name)
    return found


@cache
def in_section(label):
    """What a section links to: the functions derived in it, then the others that its cells use."""
    names = [*derived().get(label, []), *_walk()[1].get(label, [])]
    return list({id(_thing(name)): name for name in reversed(names)}.values())[::-1]


def _thing(name):
    """What a name stands for: some rooms show what lives in another."""
    parts = name.split(".")
    thing = importlib.import_module(".".join(parts[:2]))
    for part in parts[2:]:
        thing = getattr(thing, part)
    return thing


@cache
def used_in(name):
    """Labels of the sections whose cells use a function and that its docstring does not name."""
    users = [label for label, names in _walk()[1].items() if name in names]
    return [label for label in users if name not in derived().get(label, [])]


def short(name):
    """The name without the room it is in: `VAE.elbo` for `vae_lib.models.VAE.elbo`.

    >>> short("vae_lib.bounds.elbo"), short("vae_lib.models.VAE.elbo")
    ('bounds.elbo', 'VAE.elbo')
    """
    parts = name.split(".")[1:]
    return ".".join(parts[-2:] if parts[-2][0].isupper() or parts[-2] in ("bounds", "ledger") else parts[-1:])
