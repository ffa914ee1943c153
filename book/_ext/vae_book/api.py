"""Show the library's docstrings on the API page.

The docstrings are reStructuredText, but for one habit of Markdown that reads better in an editor: a name
of code stands between single backticks. Sphinx wants two.
"""

import re

# roles and double backticks are matched first, so that theirs are left alone; formulas may break the line
# in a table the two new backticks take the place of two of the spaces that follow, so the columns stay
BACKTICKS = re.compile(r":[\w:]+:`[^`]+`|``[^`]+``|`([^`\n]+)`(?!_)(?:  (?= {2,}\S))?")


REFERENCE = re.compile(r"\{ref\}`([\w-]+)`")
CHAPTERS = {"0": "chapter-start", "2": "chapter-kl", "8": "chapter-build"}  # those that exist
CHAPTER = re.compile(r"\b([Cc]hapter (\d+))\b")


def to_rst(text):
    """Double the backticks of code; let the chapters that a docstring names be links."""
    text = REFERENCE.sub(r":ref:`\1`", text)
    text = BACKTICKS.sub(lambda m: f"``{m.group(1)}``" if m.group(1) else m.group(), text)
    return CHAPTER.sub(_chapter, text)


def _chapter(match):
    words, number = match.groups()
    return f":ref:`{words} <{CHAPTERS[number]}>`" if number in CHAPTERS else words


def process(app, what, name, obj, options, lines):
    lines[:] = to_rst("\n".join(lines)).split("\n")


def setup(app):
    # before napoleon (priority 500) reads the sections
    app.connect("autodoc-process-docstring", process, priority=400)
