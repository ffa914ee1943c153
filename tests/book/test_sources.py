"""What the sources of the book may and may not hold. Quick: nothing is executed."""

import re
import subprocess
from pathlib import Path

import jupytext
import pytest

import notebooks

ROOT = Path(__file__).resolve().parents[2]

PAGES = [ROOT / f"{page}.md" for page in notebooks.pages()]
NOTEBOOKS = notebooks.sources()
TAGS = {"hide-input", "hide-output", "remove-cell", "remove-input", "remove-output"}
EXCUSES = re.compile(
    r"%%capture|%%script|warnings\.(filterwarnings|simplefilter)\(.ignore|except\s*(Exception|BaseException)?\s*:"
    r"\s*\n?\s*pass|allow_errors|sys\.exit|plt\.show|os\.environ\[.VAE_BOOK"
)
EQUATION = re.compile(r":label:\s*(eq-[\w-]+)")
# a label in a cell that calls the ledger; whether the call was made, the build finds out from the output
CALL = re.compile(r"ledger\.(?:identity|bound|statistic)\(")
LABEL = re.compile(r"[\"'](eq-[\w-]+)[\"']")
# other hosts, whose files a page must not load
ELSEWHERE = re.compile(
    r"(?:src|href)=[\"'](?:https?:)?//|url\(\s*[\"']?(?:https?:)?//|@import|importScripts|fetch\("
)


def ids(paths):
    return [path.relative_to(ROOT).as_posix() for path in paths]


def cells(path):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


def tracked(*patterns):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_a_page_of_the_table_of_contents_exists(page):
    assert page.is_file()


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 4


@pytest.mark.parametrize("page", NOTEBOOKS, ids=ids(NOTEBOOKS))
class TestCells:
    def test_no_tag_excuses_a_cell(self, page):
        for cell in cells(page):
            tags = set(cell.metadata.get("tags", []))
            assert tags <= TAGS, f"refused tags {tags - TAGS} on:\n{cell.source}"

    def test_no_code_excuses_a_cell(self, page):
        for cell in cells(page):
            found = EXCUSES.search(cell.source)
            assert not found, f"{found.group()!r} in:\n{cell.source}"

    def test_a_check_is_never_removed_from_the_page(self, page):
        for cell in cells(page):
            if "ledger." in cell.source and "remove-cell" in cell.metadata.get("tags", []):
                assert not CALL.search(cell.source), cell.source

    def test_a_cell_can_be_read_at_a_glance(self, page):
        for cell in cells(page):
            assert len(cell.source.splitlines()) <= 25, cell.source

    def test_a_line_fits_the_column(self, page):
        """85 characters fit the column of a wide page; folded code may be a little longer."""
        for cell in cells(page):
            folded = {"hide-input", "remove-cell"} & set(cell.metadata.get("tags", []))
            for line in cell.source.splitlines():
                assert len(line) <= (100 if folded else 85), line

    def test_every_numbered_equation_has_a_check_on_its_page(self, page):
        text = page.read_text(encoding="utf-8")
        equations = set(EQUATION.findall(text))
        calls = [cell.source for cell in cells(page) if CALL.search(cell.source)]
        checked = {label for source in calls for label in LABEL.findall(source)}
        assert equations == checked, f"without a check or without an equation: {equations ^ checked}"

    def test_a_chapter_never_sets_a_colour(self, page):
        for cell in cells(page):
            assert not re.search(r"colou?r=[\"']|rcParams|#[0-9a-fA-F]{6}\b", cell.source), cell.source

    def test_no_output_is_stored(self, page):
        assert not any(cell.outputs for cell in cells(page))


def test_equation_labels_are_unique_in_the_book():
    labels = [label for page in PAGES for label in EQUATION.findall(page.read_text(encoding="utf-8"))]
    assert sorted(set(labels)) == sorted(labels)


def test_expected_text_becomes_something_that_nbval_compares(tmp_path):
    source = tmp_path / "page.md"
    source.write_text(
        "---\njupytext:\n  text_representation: {extension: .md, format_name: myst}\n"
        "kernelspec: {display_name: Python 3, language: python, name: python3}\n---\n\n"
        "```{code-cell}\n---\nexpect: |\n  3\n---\nprint(3)\n```\n\n```{code-cell}\n1 + 1\n```\n"
    )
    first, second = notebooks.convert(source).cells
    assert first.execution_count == 1
    assert first.outputs[0].text == "3\n"
    assert "nbval-check-output" in first.metadata["tags"]
    assert second.execution_count is None


def test_no_notebook_is_committed():
    assert tracked("*.ipynb") == []


def test_there_is_no_top_level_static_folder():
    assert not (ROOT / "_static").exists()


def test_every_requirement_is_pinned_exactly():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        requirement = line.split("#")[0].strip()
        assert not requirement or re.fullmatch(r"[\w.\-]+==[\w.]+", requirement), line


def test_our_scripts_and_styles_load_nothing_from_another_host():
    ours = [*tracked("book/_static/*"), *tracked("vae_lib/explorables/*")]
    assert ours
    for path in ours:
        if path.suffix in (".js", ".css", ".svg", ".html"):
            found = ELSEWHERE.search(path.read_text(encoding="utf-8").replace("http://www.w3.org", ""))
            assert not found, f"{found.group()!r} in {path}"


def test_no_package_registry_is_named():
    # put together here, so that this file does not name them either
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org",
             "download." + "pytorch.org"]
    for path in tracked():
        if path.suffix in (".woff2", ".png", ".safetensors"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not any(host in text for host in hosts), path


def test_what_a_page_lets_its_reader_leave_out_is_there():
    place = re.compile(r"In `(vae_lib/[^`]+)`, leave out `([^`]+)`")
    found = [pair for page in PAGES for pair in place.findall(page.read_text(encoding="utf-8"))]
    assert len(found) > 1
    for file, code in found:
        assert code in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {code}"
