"""Give every chapter a notebook to take away, and a link that opens it in Colab."""

import json
from pathlib import Path

import jupytext
import nbformat

from .plain import plain_markdown

INSTALL = """\
# Needed once where the course is not installed (Colab, for instance); does nothing otherwise.
import importlib.util

if importlib.util.find_spec("vae_lib") is None:
    %pip install -q "vae_lib[book] @ git+{repository}"\
"""


def is_notebook(app, docname):
    return bool(app.env.metadata.get(docname, {}).get("kernelspec"))


def notebook_of(app, docname):
    """The chapter as a notebook without outputs, in plain Markdown, with an install cell in front."""
    source = Path(app.env.doc2path(docname))
    notebook = jupytext.read(source)
    glued = Path(app.outdir).parent / "jupyter_execute" / f"{docname}.glue.json"
    values = json.loads(glued.read_text()) if glued.exists() else {}

    def resolve(role, target):
        return _words(app.env, docname, values, role, target)

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain_markdown(cell.source, resolve)
    install = INSTALL.format(repository=app.config.html_theme_options["repository_url"])
    notebook.cells.insert(1, nbformat.v4.new_code_cell(install))
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:03d}"  # jupytext would draw new ones at each build
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def _words(env, docname, glued, role, target):
    """What a reader without Sphinx sees in the place of a role."""
    if role in ("number", "eq"):
        owner = env.get_domain("math").equations.get(target)
        if owner is None:
            return target
        numbers = env.toc_fignumbers[owner[0]]["displaymath"][f"equation-{target}"]
        number = ".".join(map(str, numbers))
        return number if role == "number" else f"({number})"
    if role == "glue:text":
        return glued[target]["data"]["text/plain"].strip("'\"") if target in glued else target
    if role in ("ref", "numref"):
        labels = env.get_domain("std").labels
        if target in labels:
            page, anchor, title = labels[target]
            number = env.toc_fignumbers.get(page, {}).get("figure", {}).get(anchor)
            return f"figure {'.'.join(map(str, number))}" if number else title
    if role == "doc":
        name = (Path(docname).parent / target).as_posix() if not target.startswith("/") else target[1:]
        return env.titles[name].astext() if name in env.titles else target
    if role.startswith("cite"):
        return f"[{target}]"
    return target


def offer_notebook(app, pagename, templatename, context, doctree):
    if doctree is None or not is_notebook(app, pagename):
        return
    target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook_of(app, pagename), target)
    context["ipynb_source"] = f"{pagename}.ipynb"


def offer_colab(app, pagename, templatename, context, doctree):
    if not context.get("ipynb_source"):
        return
    place = app.config.html_theme_options["repository_url"].removeprefix("https://github.com/")
    branch = app.config.vae_book_notebook_branch
    colab = {
        "type": "link",
        "url": f"https://colab.research.google.com/github/{place}/blob/{branch}/{pagename}.ipynb",
        "text": "Open in Colab",
        "icon": "fas fa-cloud",
        "tooltip": "Open this page as a notebook in Google Colab",
        "label": "open-in-colab-button",
    }
    launch = {
        "type": "group",
        "tooltip": "Run this page",
        "icon": "fas fa-rocket",
        "buttons": [colab],
        "label": "launch-buttons",
    }
    context["header_buttons"].append(launch)


def setup(app):
    app.add_config_value("vae_book_notebook_branch", "notebooks", "html")
    app.connect("html-page-context", offer_notebook, priority=400)
    app.connect("html-page-context", offer_colab, priority=600)
