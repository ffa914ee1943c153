"""The equation ledger: which executed check stands behind each numbered equation, and how far off it was.

A check cell calls ``vae_lib.ledger``; its output carries ``data-vae-check``. While a page is read, each such
output becomes a line that links to its equation, and the record is kept. A numbered equation without a check,
and a check that names no equation of its own page, are warnings, which fail the build.
"""

import html
import itertools
import json
import re

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
RECORD = re.compile(r"""data-vae-check=(["'])(.*?)\1""")
EXPONENT = re.compile(r"([−\d.]+e-\d+)")


class LedgerTable(nodes.General, nodes.Element):
    """Stands where the table goes until every page has been read."""


class LedgerDirective(SphinxDirective):
    def run(self):
        self.env.vae_ledger_pages.add(self.env.docname)
        return [LedgerTable()]


def read_page(app, doctree):
    env = app.env
    equations = [
        node["label"] for node in doctree.findall(nodes.math_block) if node.get("label")
    ]
    checks = []
    for raw in list(doctree.findall(nodes.raw)):
        match = RECORD.search(raw.astext())
        if match:
            record = json.loads(html.unescape(match.group(2)))
            checks.append(record)
            raw.replace_self(_line(env.docname, record))
    if equations or checks:
        env.vae_ledger[env.docname] = {"equations": equations, "checks": checks}


def _line(docname, record):
    """One check as the reader sees it: a tick, the equation's number, what was measured."""
    paragraph = nodes.paragraph("", "", nodes.Text("✓ "))
    link = addnodes.pending_xref(
        "",
        nodes.inline("", record["label"]),
        refdomain="math",
        reftype="eq",
        reftarget=record["label"],
        refdoc=docname,
        refexplicit=False,
        refwarn=False,
    )
    paragraph += [link, nodes.Text(f" {record['kind']}: ")]
    paragraph += [*_measured(record), nodes.Text(f" ({record['by']})")]
    box = nodes.container("", paragraph, classes=["vae-check", f"vae-check-{record['kind']}"])
    return box


def _measured(record):
    """The part of the record's own line that says what was measured: label · kind · measured · by.

    A number such as 4.4e-16 is kept in one piece; browsers would break it at its hyphen.
    """
    for i, part in enumerate(EXPONENT.split(record["text"].split(" · ")[2])):
        yield nodes.inline("", part, classes=["vae-nowrap"]) if i % 2 else nodes.Text(part)


def purge(app, env, docname):
    env.vae_ledger.pop(docname, None)


def merge(app, env, docnames, other):
    for docname in docnames:
        if docname in other.vae_ledger:
            env.vae_ledger[docname] = other.vae_ledger[docname]
    env.vae_ledger_pages |= other.vae_ledger_pages


def start(app):
    if not hasattr(app.env, "vae_ledger"):
        app.env.vae_ledger = {}
        app.env.vae_ledger_pages = set()


def always_outdated(app, env, added, changed, removed):
    return list(env.vae_ledger_pages & env.found_docs)


def verify(app, env):
    for docname, page in env.vae_ledger.items():
        checked = {record["label"] for record in page["checks"]}
        for label in page["equations"]:
            if label not in checked:
                logger.warning("equation %s has no check", label, location=docname)
        for label in sorted(checked - set(page["equations"])):
            logger.warning(
                "a check names %s, which is no numbered equation of this page", label, location=docname
            )


def fill(app, doctree, docname):
    for place in list(doctree.findall(LedgerTable)):
        place.replace_self(_table(app, docname))


def rows(env):
    """(page, equation, check) in the order of the book; what the table shows and the tests count."""
    for docname in _reading_order(env):
        page = env.vae_ledger.get(docname, {"equations": [], "checks": []})
        for label in page["equations"]:
            for record in page["checks"]:
                if record["label"] == label:
                    yield docname, label, record


def _table(app, docname):
    env = app.env
    entries = list(rows(env))
    equations = {label for _, label, _ in entries}
    identities = [r["error"] for *_, r in entries if r["kind"] == "identity"]
    summary = nodes.paragraph(
        "",
        f"{len(equations)} numbered equations, {len(entries)} checks. "
        + (f"Largest difference among the identities: {max(identities):.1e}." if identities else ""),
    )
    box = nodes.container("", summary)
    for page, group in itertools.groupby(entries, key=lambda entry: entry[0]):
        uri = app.builder.get_relative_uri(docname, page)
        title = nodes.reference("", env.titles[page].astext(), refuri=uri, internal=True)
        box += nodes.rubric("", "", title)
        box += _table_of_page(env, uri, page, group)
    return box


def _table_of_page(env, uri, page, entries):
    table = nodes.table(classes=["vae-ledger", "colwidths-given"])
    group = nodes.tgroup(cols=4)
    table += group
    for width in (18, 18, 36, 28):
        group += nodes.colspec(colwidth=width)
    head = nodes.thead()
    head += _row([[nodes.Text(text)] for text in ("equation", "evidence", "measured", "by")])
    body = nodes.tbody()
    group += [head, body]
    for _, label, record in entries:
        number = ".".join(map(str, env.toc_fignumbers[page]["displaymath"][f"equation-{label}"]))
        link = nodes.reference("", f"({number})", refuri=f"{uri}#equation-{label}", internal=True)
        words = [nodes.Text(record["kind"])], [*_measured(record)], [nodes.Text(record["by"])]
        body += _row([[link], *words])
    return table


def _row(cells):
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", nodes.paragraph("", "", *cell))
    return row


def _reading_order(env):
    order, queue = [], [env.config.root_doc]
    while queue:
        docname = queue.pop(0)
        order.append(docname)
        queue = list(env.toctree_includes.get(docname, [])) + queue
    return order


def setup(app):
    app.add_node(LedgerTable)
    app.add_directive("equation-ledger", LedgerDirective)
    app.connect("builder-inited", start)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-get-outdated", always_outdated)
    app.connect("doctree-read", read_page)
    app.connect("env-check-consistency", verify)
    app.connect("doctree-resolved", fill)
