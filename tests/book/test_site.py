"""The site as it was built, read as files."""

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

import exercises
import notebooks
from vae_lib.explorables import SCRIPT_FILES

ROOT = Path(__file__).resolve().parents[2]

PAGES = list(notebooks.pages())
NOTEBOOKS = [path.relative_to(ROOT).with_suffix("").as_posix() for path in notebooks.sources()]


class Page(HTMLParser):
    """Links, loads, ids, pictures and inline drawings of one page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.links, self.loads, self.ids, self.images, self.drawings = [], [], [], [], []
        self._svg, self._inside = None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag in ("script", "img", "iframe", "source") and attrs.get("src"):
            self.loads.append(attrs["src"])
        if tag == "link" and attrs.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.loads.append(attrs.get("href", ""))
        if tag == "img":
            self.images.append(attrs)
        if tag == "svg":
            self._svg = {**attrs, "title": "", "desc": ""}
            self.drawings.append(self._svg)
        if tag in ("title", "desc") and self._svg is not None:
            self._inside = tag

    def handle_endtag(self, tag):
        if tag == "svg":
            self._svg = None
        if tag in ("title", "desc"):
            self._inside = None

    def handle_data(self, data):
        if self._svg is not None and self._inside:
            self._svg[self._inside] += data


@pytest.fixture(scope="session")
def parsed(site):
    return {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_the_table_of_contents_was_made(site, page):
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    assert "<h1" in text


@pytest.mark.parametrize("page", PAGES)
def test_no_page_shows_an_error(site, page):
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    signs = ["output traceback", "katex-error", "system-message", "&lt;vae_lib", "{glue:", "{eq}`", "{ref}`"]
    if not page.startswith("book/api/"):  # their examples show what bad input gets
        signs.append("Traceback (most recent call last)")
    for sign in signs:
        assert sign not in text, f"{sign!r} on {page}"


def test_nothing_is_loaded_from_another_host(parsed):
    for name, page in parsed.items():
        for address in page.loads:
            assert not urlsplit(address).netloc, f"{name} loads {address}"


def test_every_link_inside_the_site_leads_somewhere(site, parsed):
    dead = []
    for name, page in parsed.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or ":" in parts.fragment:  # a configuration of a figure
                continue
            path = (site / name).parent / unquote(parts.path) if parts.path else site / name
            path = path.resolve()
            if not path.exists():
                dead.append(f"{name} → {link}")
            elif parts.fragment and path.suffix == ".html":
                target = parsed.get(path.relative_to(site.resolve()).as_posix())
                if target and unquote(parts.fragment) not in target.ids:
                    dead.append(f"{name} → {link} (no such place on the page)")
    assert dead == []


def test_a_link_to_a_figures_configuration_names_a_figure_of_the_page(parsed, site):
    checked = 0
    for name, page in parsed.items():
        text = (site / name).read_text(encoding="utf-8")
        kinds = set(re.findall(r'data-vae-figure="([\w-]+)"', text))
        for link in page.links:
            fragment = urlsplit(link).fragment
            if ":" in fragment and not urlsplit(link).scheme:
                assert fragment.split(":")[0] in kinds, f"{name} → {link}"
                checked += 1
    assert checked >= 2


def test_no_id_stands_twice_on_a_page(parsed):
    for name, page in parsed.items():
        ours = [i for i in page.ids if i.startswith(("vae-", "eq-", "equation-", "fig-"))]
        assert len(ours) == len(set(ours)), name


def test_every_picture_says_what_is_seen(parsed):
    seen = 0
    for name in PAGES:
        page = parsed[f"{name}.html"]
        for image in page.images:
            kind = image.get("class", "")
            if "logo" in kind or (kind == "vae-pixels" and image.get("alt") == ""):
                continue  # the first row of a sheet speaks for all its rows
            alt = (image.get("alt") or "").strip()
            assert len(alt) >= 20, f"{name}: {image.get('src', '')[:60]}"
            seen += 1
        for drawing in page.drawings:
            if drawing.get("role") == "img":
                assert drawing["title"].strip(), name
                assert len(drawing["desc"].strip()) >= 20, name
                seen += 1
    assert seen >= 8


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_a_chapter_can_be_taken_away_as_a_notebook(site, page):
    notebook = nbformat.read(site / "_sources" / f"{page}.ipynb", as_version=4)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for sign in ("{glue:text}", "{eq}`", "{ref}`", "{term}`", "```{math}", "{doc}`", "{numref}`"):
        assert sign not in text, sign
    assert "vae_lib[book]" in notebook.cells[1].source
    assert not any(cell.get("outputs") for cell in notebook.cells)
    html = (site / f"{page}.html").read_text(encoding="utf-8")
    assert f"{Path(page).name}.ipynb" in html
    assert "colab.research.google.com" in html


def test_the_ledger_lists_every_numbered_equation(site):
    text = (site / "book/appendix/ledger.html").read_text(encoding="utf-8")
    listed = set(re.findall(r"#equation-(eq-[\w-]+)", text))
    labels = {
        label
        for page in PAGES
        for label in re.findall(r":label:\s*(eq-[\w-]+)", (ROOT / f"{page}.md").read_text(encoding="utf-8"))
    }
    assert labels
    assert listed == labels


def test_a_chapter_is_light(site):
    """HTML of the page and our own assets, gzipped, before the theme's own files: at most 350 kB."""
    ours = {"explorables.css", "vae.css", "page.css", "page.js", *(path.name for path in SCRIPT_FILES)}
    own = [path for path in site.glob("_static/*") if path.name in ours]
    assert len(own) == len(ours)
    own.append(site / "_static/vendor/katex/katex.min.css")
    assets = sum(len(gzip.compress(p.read_bytes())) for p in own)
    for page in NOTEBOOKS:
        weight = assets + len(gzip.compress((site / f"{page}.html").read_bytes()))
        print(f"{page}: {weight / 1000:.0f} kB gzipped")
        assert weight <= 350_000, f"{page}: {weight} bytes"


def test_the_search_index_knows_the_chapters(site):
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert set(PAGES) <= set(index["docnames"])


def test_no_answer_and_no_hidden_test_is_on_the_site(site):
    """Pages, search index, downloads and the students' notebooks."""
    assert exercises.find_leaks(site) == []


@pytest.mark.parametrize("name", exercises.names())
def test_a_page_of_exercises_offers_the_students_notebook(site, name):
    notebook = nbformat.read(site / "book" / "exercises" / "files" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "raise NotImplementedError" in code
    assert "BEGIN SOLUTION" not in code
