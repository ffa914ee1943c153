"""Show the library's docstrings on the API pages, with links to the sections they name and back.

The docstrings are reStructuredText, but for one habit of Markdown that reads better in an editor: a name
of code stands between single backticks. Sphinx wants two. `library` says which section belongs to which
function.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.autodoc import ModuleDocumenter
from sphinx.util import inspect as sphinx_inspect

from . import library

# roles and double backticks are matched first, so that theirs are left alone; formulas may break the line
# in a table the two new backticks take the place of two of the spaces that follow, so the columns stay
BACKTICKS = re.compile(r":[\w:]+:`[^`]+`|``[^`]+``|`([^`\n]+)`(?!_)(?:  (?= {2,}\S))?")
REFERENCE = re.compile(r"\{ref\}`([\w-]+)`")
FORMULA = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +.*|[ ]*(?=\n\1 )))*)", re.M)
# what dataclasses say about a default that is made anew, and Sphinx cannot parse
FACTORY = re.compile(r"(?P<kind>\w+)(?P<of>\[[^=]*\])? = <factory>")
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.S)
FIELD = re.compile(r"Alias for field number \d+")


def to_rst(text):
    """Double the backticks of code; let what a docstring says about the book be links."""
    text = FORMULA.sub(_stacked, text)
    text = REFERENCE.sub(r":ref:`\1`", text)
    text = BACKTICKS.sub(lambda m: f"``{m.group(1)}``" if m.group(1) else m.group(), text)
    text = library.BOOK.sub(lambda book: library.PLACE.sub(_place, book.group()), text)
    return library.ERRATUM.sub(lambda m: f":ref:`{m.group()} <erratum-{m['number']}>`", text)


def _place(match):
    """A link where the chapter exists; where it does not, the word that says so."""
    number, words = match["number"], match["words"]
    named = f"chapter {number}" + (f" ({' '.join(words.split())})" if words else "")
    if number in library.chapters():
        label = library.label_of(number, words) if words else library.chapters()[number]
        return f":ref:`{named} <{label}>`"
    return f"{named[:-1]}, planned)" if words else f"{named} (planned)"


def _stacked(match):
    r"""Formulas that stand side by side, with \qquad between them, one below the other: a phone is narrow."""
    indent, body = match.groups()
    parts = [" ".join(part.split()) for part in body.split(r"\qquad")]
    if len(parts) == 1:
        return match.group()
    return (
        f"{indent}.. math::\n\n{indent}    \\begin{{gathered}}\n"
        + " \\\\[0.8ex]\n".join(f"{indent}    {part}" for part in parts)
        + f"\n{indent}    \\end{{gathered}}\n"
    )


def process(app, what, name, obj, options, lines):
    lines[:] = to_rst("\n".join(lines)).split("\n")
    used = ", ".join(f":ref:`{_called(s, library.used_in(name))} <{s}>`" for s in library.used_in(name))
    if used:
        # below the line "Book: …", above the example
        at = next((i for i, line in enumerate(lines) if re.match(r"\s*Example:", line)), len(lines))
        lines[at:at] = [f"Used in: {used}.", ""]


def _called(label, others):
    """The number of a section; of two with the same number, their names too."""
    section = library.sections()[label]
    if sum(library.sections()[other].number == section.number for other in others) == 1:
        return section.number
    return f"{section.number} ({' '.join(label.split('-')[2:]).replace('vae', 'VAE')})"


def skip(app, what, name, obj, skip, options):
    """Fields of a named tuple stand in its signature; what torch says about `extra_repr` is not ours."""
    if FIELD.fullmatch(str(getattr(obj, "__doc__", ""))) or name == "extra_repr":
        return True
    return None


class Room(ModuleDocumenter):
    """The entries of a room in the order in which its first paragraphs name them."""

    def sort_members(self, documenters, order):
        order = library.reading_order(self.object)
        place = {name: i for i, name in enumerate(order)}
        return sorted(documenters, key=lambda entry: place.get(entry[0].name.split("::")[1], len(place)))


def signature(app, what, name, obj, options, arguments, returned):
    """Show what a class is made from, and the empty list or dict that a dataclass makes anew."""
    if what == "class" and "__init__" in vars(obj) and arguments and arguments.startswith("(*args"):
        # ipywidgets has a __new__ that takes anything
        found = sphinx_inspect.signature(obj.__init__, bound_method=True)
        arguments = sphinx_inspect.stringify_signature(found, show_return_annotation=False)
    if arguments:
        empty = {"list": "[]", "dict": "{}"}
        arguments = FACTORY.sub(
            lambda m: f"{m['kind']}{m['of'] or ''} = {empty.get(m['kind'], '...')}", arguments
        )
    return arguments, returned


def link_names(app, doctree):
    """Make the names of the library that its docstrings put between backticks lead to their entries."""
    if app.env.docname not in library.api_pages():
        return
    room = re.search(r"automodule:: (\S+)", library._text(app.env.docname))[1]
    for literal in list(doctree.findall(nodes.literal)):
        around, owner, parameters = literal.parent, "", set()
        while around is not None and not isinstance(around, (nodes.reference, nodes.title)):
            if isinstance(around, addnodes.desc):
                if around["objtype"] != "function":  # a class, or what belongs to one
                    owner = around[0]["ids"][0].split(".")[2]
                parameters |= {one[0].astext() for one in around[0].findall(addnodes.desc_parameter)}
            around = around.parent
        word = literal.astext()
        if around is not None or word in parameters:
            continue
        target = library.resolve(word, room, owner)
        if target:
            options = {"refdomain": "py", "reftype": "obj", "reftarget": target, "refdoc": app.env.docname}
            link = addnodes.pending_xref("", refwarn=True, refexplicit=True, **options)
            literal.replace_self(link)
            literal["classes"] += ["xref", "py", "py-obj"]
            link += literal


def plain_signatures(app, pagename, templatename, context, doctree):
    """Sphinx makes parameters in lines a definition list without terms; to a screen reader that is broken."""
    if pagename in library.api_pages():
        context["body"] = SIGNATURE.sub(lambda m: _without_list(m.group()), context["body"])


def _without_list(markup):
    markup = re.sub(r"<dl>", '<span class="vae-parameters">', markup)
    markup = re.sub(r"<dd>", '<span class="vae-parameter">', markup)
    return re.sub(r"</d[ld]>", "</span>", markup)


def link_back(app, doctree):
    """Give each section that a docstring names, or whose cells use a function, a line that links to it."""
    for section in list(doctree.findall(nodes.section)):
        labels = [name for name in section["ids"] if name in library.sections()]
        names = dict.fromkeys(name for label in labels for name in library.in_section(label))
        if not names:
            continue
        line = nodes.paragraph("", "", nodes.strong("", "In the library: "), classes=["vae-in-library"])
        for i, name in enumerate(names):
            word = nodes.literal("", library.short(name), classes=["xref", "py", "py-obj"])
            target = {"refdomain": "py", "reftype": "obj", "reftarget": name, "refdoc": app.env.docname}
            line += nodes.Text(", " if i else "")
            line += addnodes.pending_xref("", word, refwarn=True, refexplicit=True, **target)
        line += nodes.Text(".")
        parts = [i for i, child in enumerate(section.children) if isinstance(child, nodes.section)]
        # before the first part that has a line of its own; the others belong to this section
        own = [i for i in parts if _has_functions(section.children[i])]
        section.insert(own[0] if own else len(section.children), line)


def _has_functions(section):
    return any(name in library.sections() and library.in_section(name) for name in section["ids"])


def setup(app):
    # before napoleon (priority 500) reads the sections
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signature)
    app.add_autodocumenter(Room, override=True)
    app.connect("doctree-read", link_names)
    app.connect("html-page-context", plain_signatures)
    app.connect("doctree-read", link_back)
