"""Turn every page of _toc.yml that has code into an .ipynb under _build/notebooks.

A cell's ``expect`` metadata becomes a stored output, so that nbval has something to compare with: it
compares nothing in a cell without an execution count.
"""

from pathlib import Path

import jupytext
import nbformat
import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "_build" / "notebooks"


def pages(root=ROOT):
    """The pages of the table of contents, in reading order, without suffix."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def walk(entries):
        for entry in entries:
            yield entry["file"]
            yield from walk(entry.get("sections", []))

    yield toc["root"]
    for part in toc["parts"]:
        yield from walk(part["chapters"])


def has_code(path):
    """Whether a page is a notebook: its front matter names a kernel."""
    text = path.read_text(encoding="utf-8")
    return text.startswith("---\n") and "kernelspec:" in text.split("\n---", 1)[0]


def sources(root=ROOT):
    """The pages that are notebooks. (A page that is missing is the business of a test.)"""
    paths = (root / f"{page}.md" for page in pages(root))
    return [path for path in paths if path.is_file() and has_code(path)]


def convert(source):
    """One page as a notebook; expected text becomes the stored output."""
    notebook = jupytext.read(source)
    for count, cell in enumerate(
        (cell for cell in notebook.cells if cell.cell_type == "code"), start=1
    ):
        expected = cell.metadata.pop("expect", None)
        if expected is not None:
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=expected)]
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "nbval-check-output"]
    return notebook


def write_all(root=ROOT, target=TARGET):
    written = []
    for source in sources(root):
        path = target / source.relative_to(root).with_suffix(".ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(convert(source), path)
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write_all():
        print(path.relative_to(ROOT))
