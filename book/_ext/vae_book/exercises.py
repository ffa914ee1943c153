"""Lay the student's notebook of each assignment beside its page, where the page's download link points."""

import sys
from pathlib import Path


def write_student_notebooks(app, exception):
    if exception or app.builder.format != "html":
        return
    pages = sorted(name for name in app.env.found_docs if name.startswith("book/exercises/"))
    names = [name.rsplit("/", 1)[1] for name in pages if not name.endswith("/index")]
    if not names:
        return
    sys.path.insert(0, str(Path(app.srcdir) / "tools"))
    from exercises import build_student

    for name in names:
        target = Path(app.outdir) / "book" / "exercises" / "files" / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        build_student(name, target)


def setup(app):
    app.connect("build-finished", write_student_notebooks)
