"""The formula sheet: a numbered equation once more, read from the page that derives it.

The sheet names a label and says in a few words what the formula is; the formula itself stands in one place,
so the sheet and the book cannot disagree.
"""

import re
from functools import cache
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

EQUATION = re.compile(r"^```\{math\}[ \t]*\n:label:[ \t]*(eq-[\w-]+)[ \t]*\n(.*?)^```[ \t]*$", re.M | re.S)


@cache
def equations(book):
    """label → (source file, LaTeX) of every numbered equation of the chapters."""
    return {
        label: (path, latex.strip())
        for path in sorted(Path(book).glob("[0-9][0-9]-*.md"))
        for label, latex in EQUATION.findall(path.read_text(encoding="utf-8"))
    }


class Formula(SphinxDirective):
    """One entry: the words, the number as a link, the equation. A wide one goes across all columns."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"wide": directives.flag}

    def run(self):
        label = self.arguments[0]
        known = equations(str(Path(self.env.srcdir) / "book"))
        if label not in known:
            raise self.error(f"no chapter has an equation with the label {label}")
        path, latex = known[label]
        self.env.note_dependency(str(path))
        wide = ["vae-formula-wide"] if "wide" in self.options else []
        entry = nodes.container("", classes=["vae-formula", *wide])
        self.state.nested_parse(self.content, self.content_offset, entry)
        if len(entry) != 1 or not isinstance(entry[0], nodes.paragraph):
            raise self.error("the words of a formula are one paragraph")
        number = addnodes.pending_xref(
            "",
            nodes.inline("", label),
            refdomain="math",
            reftype="eq",
            reftarget=label,
            refdoc=self.env.docname,
            refexplicit=False,
            refwarn=True,
        )
        entry[0] += [nodes.Text(" "), number]
        entry += nodes.math_block(
            latex, latex, docname=self.env.docname, number=None, label=None, nowrap=False
        )
        self.set_source_info(entry[-1])
        return [entry]


def setup(app):
    app.add_directive("formula", Formula)
