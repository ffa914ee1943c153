"""Between the sections of the book and the functions of the library every link has its counterpart."""

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import vae_lib

ROOT = Path(__file__).resolve().parents[2]
# the module alone: its package tells every process that imports it that the book is being built
_spec = importlib.util.spec_from_file_location("library_links", ROOT / "book/_ext/vae_book/library.py")
library = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(library)

PAIRS = sorted(
    (label, name)
    for label in library.sections()
    if label.startswith(("sec-", "erratum-"))
    for name in library.in_section(label)
)
MENTIONS = [(name, *place) for name, doc in library.docstrings().items() for place in library.places(doc)]


def test_the_docstrings_and_the_chapters_were_found():
    assert set(library.chapters()) >= {"0", "2", "8"}
    assert len(MENTIONS) > 100
    assert len(PAIRS) > 60
    assert ("sec-2-the-divergence", "vae_lib.divergences.kl_categorical") in PAIRS  # derived there
    assert ("erratum-9", "vae_lib.laboratory.waterfill") in PAIRS  # used there


def test_every_room_of_the_library_has_a_page():
    rooms = {name for _, name, _ in pkgutil.iter_modules(vae_lib.__path__) if not name.startswith("_")}
    rooms -= {"commands", "grading"}  # those have --help
    assert {page.split("/")[-1] for page in library.api_pages()} == rooms


def test_no_one_letter_is_read_as_the_number_of_a_list():
    # Sphinx takes "mean: m." for the thirteenth item of a list
    found = [
        path.name for path in (ROOT / "_build/html/book/api").glob("*.html")
        if re.search(r'<ol class="(lower|upper)(alpha|roman)', path.read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert found == []


def test_the_words_of_a_return_are_not_read_as_its_type():
    # napoleon takes what stands before a colon for the type
    found = [
        path.name for path in (ROOT / "_build/html/book/api").glob("*.html")
        if re.search(r">(Return type|Type)<", path.read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert found == []


def test_a_room_is_read_in_the_order_in_which_it_presents_itself(texts):
    for page in library.api_pages():
        room = importlib.import_module(f"vae_lib.{page.split('/')[-1]}")
        order = [name for name in library.reading_order(room) if callable(getattr(room, name))]
        shown = [name.split(".")[2] for name in texts["api"] if name.startswith(f"{room.__name__}.")]
        assert list(dict.fromkeys(shown)) == order, room.__name__


def test_a_name_of_the_library_leads_to_its_entry(texts):
    assert texts["api"]["vae_lib.bounds.eubo"].count('href="#vae_lib.bounds.elbo"') == 1
    joint = texts["api"]["vae_lib.laboratory.LinearGaussianModel.sample_joint"]
    assert 'href="bounds.html#vae_lib.bounds.eubo"' in joint
    assert 'href="#vae_lib.models.VAE.loss_terms"' in texts["api"]["vae_lib.models.VAE.elbo"]
    # a parameter is no link, though another room has a function of its name
    assert library.resolve("levels", "vae_lib.data") is library.resolve("mean", "vae_lib.evaluation") is None
    assert library.resolve("sandwich", "vae_lib.evaluation") == "vae_lib.evaluation.sandwich"


def test_a_docstring_names_the_section_and_not_only_the_chapter_and_the_section_exists():
    for name, number, words in MENTIONS:
        if number == "erratum":
            assert f"erratum-{words}" in library.sections(), f"{name}: there is no erratum {words}"
        elif number in library.chapters():
            assert words, f"{name}: say which section of chapter {number}, as in 'chapter 2 (the divergence)'"
            label = library.label_of(number, words)
            assert label in library.sections(), f"{name}: no section of the book has the label ({label})="


def test_every_section_label_is_named_or_its_cells_use_the_library():
    idle = [
        label for label in library.sections()
        if label.startswith("sec-") and not library.in_section(label)
        and label not in ("sec-8-on-a-gpu", "sec-8-minibatches")
    ]  # fmt: skip
    assert idle == []


def test_every_function_that_a_chapter_imports_has_a_section_that_links_to_it():
    """Also the machinery must not be forgotten: figures and checks are linked where they are explained."""
    linked = {name for _, name in PAIRS}
    for page in library.pages():
        imports = r"^from (vae_lib\.\w+) import ([^(\n]+|\([^)]*\))"
        for room, names in re.findall(imports, library._text(page), re.M):
            for word in re.findall(r"\w+", names):
                assert f"{room}.{word}" in linked, f"{page} imports {word}, and no section links to it"


@pytest.fixture(scope="module")
def texts(site):
    """The HTML of each page, and under "api" that of each entry of the API pages."""
    pages = {page: (site / f"{page}.html").read_text(encoding="utf-8") for page in library.pages()}
    rooms = [(site / f"{page}.html").read_text(encoding="utf-8") for page in library.api_pages()]
    return pages | {"api": {name: text for room in rooms for name, text in entries(room).items()}}


def test_on_the_site_section_and_function_link_to_each_other(texts):
    for label, name in PAIRS:
        section = library.sections()[label]
        lines = re.findall(r'<p class="vae-in-library">.*?</p>', part(texts[section.docname], label), re.S)
        target = f'api/{name.split(".")[1]}.html#{name}"'
        assert any(target in line for line in lines), f"{label}: no link to {name}"
        page = section.docname.removeprefix("book/").removeprefix("appendix/")
        assert f'{page}.html#{label}"' in texts["api"][name], f"the entry of {name}: no link to {label}"


def test_on_the_site_a_planned_chapter_is_named_as_planned_and_is_no_link(texts):
    seen = 0
    for name, number, _ in MENTIONS:
        if number == "erratum" or number in library.chapters():
            continue
        said = re.search(rf"chapter {number}\b(?:(?!chapter).)*", words(texts["api"][name]), re.S)
        assert said, name
        assert "planned" in said.group(), f"{name}: {said.group()[:80]}"
        seen += 1
    assert seen > 40


def entries(page):
    """The HTML of each entry of an API page, by its full name; that of a class holds its methods."""
    starts = [(m.start(), m.group(1)) for m in re.finditer(r'<dt class="sig[^>]*id="(vae_lib[\w.]+)"', page)]
    ends = [start for start, _ in starts[1:]] + [len(page)]
    return {name: page[start:end] for (start, name), end in zip(starts, ends, strict=True)}


def part(page, label):
    """The HTML of a section, from the place that its label names to its end."""
    start = page.index(f'id="{label}"')
    depth = 1 if page.rfind("<section", 0, start) > page.rfind("</section", 0, start) else 0
    for tag in re.finditer(r"</?section\b", page[start:]):
        depth += -1 if tag.group().startswith("</") else 1
        if depth == 0:
            return page[start : start + tag.start()]
    raise AssertionError(f"the section {label} has no end")


def words(markup):
    return " ".join(re.sub(r"<[^>]+>", "", markup).split())
