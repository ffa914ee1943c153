"""Rewrite MyST as the Markdown that every notebook program understands.

A downloaded notebook is opened in Jupyter, Colab or VS Code, which know neither roles nor directives.
"""

import re

MATH = re.compile(r"^(`{3,})\{math\}[ \t]*\n((?::\w+:[^\n]*\n)*)(.*?)^\1[ \t]*$", re.M | re.S)
BOX = re.compile(
    r"^(:{3,}|`{3,})\{(\w+(?:[:-]\w+)*)\}[ \t]*([^\n]*)\n(.*?)^\1[ \t]*$", re.M | re.S
)
ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
TARGET = re.compile(r"^\([\w-]+\)=[ \t]*\n", re.M)
OPTION = re.compile(r"\A(?::[\w-]+:[^\n]*\n)+")


def plain_markdown(text, resolve):
    """`resolve(role, target)` gives the words that stand for a role; it knows numbers and titles."""

    def math(match):
        label = re.search(r":label:\s*(\S+)", match.group(2))
        tag = rf" \tag{{{resolve('number', label.group(1))}}}" if label else ""
        return f"$$\n{match.group(3).strip()}{tag}\n$$"

    def box(match):
        _, kind, title, body = match.groups()
        body = OPTION.sub("", body).strip()
        heading = title or kind.split(":")[-1].capitalize()
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{heading}**\n>\n{quoted}"

    def role(match):
        name, content = match.groups()
        words = re.match(r"(.*?)\s*<(.+)>$", content, re.S)
        if words and name != "eq":
            return words.group(1)
        return resolve(name, content)

    text = MATH.sub(math, text)
    previous = None
    while previous != text:  # boxes inside boxes open from the outside in
        previous, text = text, BOX.sub(box, text)
    return ROLE.sub(role, TARGET.sub("", text))
