"""How a figure reaches the page: inline SVG that inks itself with the page's own colours.

matplotlib draws the picture; this module rewrites its SVG. Text and axes take the page's text
colour (`currentColor`), a role takes its CSS variable, the ground is transparent, identifiers are
unique on the page, and a `<title>` and `<desc>` say what is seen. A figure without a description,
or with a colour of its own, is refused.
"""

from __future__ import annotations

import hashlib
import html
import io
import itertools
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from vae_lib.figures.panels import DIGIT, END_LABEL, NAMES, require_unit
from vae_lib.figures.style import DIGITS, INK, PIXELS_PER_INCH, ROLES, house_style

__all__ = ["describe", "render", "show"]

SHORTEST = 20  # characters of a description

COLOURS = {INK: "currentColor"}
COLOURS |= {
    role.light: f"var({role.variable}, {role.light})" for role in ROLES.values() if role.name != "evidence"
}
DIGIT_COLOURS = {light: f"var(--vae-digit-{i}, {light})" for i, (light, _) in enumerate(DIGITS)}

_descriptions: WeakKeyDictionary[Figure, str] = WeakKeyDictionary()
_claimed: dict[str, tuple[str | None, int]] = {}
_outside_ipython = itertools.count()


def describe(fig: Figure, alt: str) -> Figure:
    """Give a figure a description of its own, which `show` uses when it gets none.

    Raises:
        ValueError: as for `show`.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> describe(fig, "A blank sheet, which says nothing.") is fig
        True
    """
    _descriptions[fig] = checked_alt(alt)
    return fig


def show(
    fig: Figure | Sequence[Figure],
    alt: str | Sequence[str] | None = None,
) -> None:
    """Show a figure on the page, and close it.

    Several figures stand side by side where there is room and one above the other on a phone; each
    has its own description.

    Args:
        fig: a figure of `figures.new`, or several.
        alt: what is seen, for a reader who does not see it: at least 20 characters of plain words
            (its first sentence becomes the title). One for each figure. The diagrams of this
            package describe themselves and need none.

    Raises:
        ValueError: the description is missing, too short, the name of a file, or that of another
            figure; an axis has no label or no unit; or something has a colour that is no role's.

    Book: every chapter.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> figures.line(ax, [0, 1], [-3, -2], role="elbo", label="ELBO")
        >>> figures.axis_labels(ax, x="epoch (passes over the data)", y="ELBO (nats per image)")
        >>> figures.show(fig, alt="The ELBO rises from −3 to −2 nats in one epoch.")
        The ELBO rises from −3 to −2 nats in one epoch.
    """
    figs = [fig] if isinstance(fig, Figure) else list(fig)
    alts = [alt] * len(figs) if alt is None or isinstance(alt, str) else list(alt)
    if not figs or len(alts) != len(figs):
        raise ValueError(f"give one description for each figure, got {len(alts)} for {len(figs)}")
    pictures = [render(f, alt=a) for f, a in zip(figs, alts, strict=True)]
    words = [_alt_of(f, a) for f, a in zip(figs, alts, strict=True)]
    for text in words:
        claim(text)
    for f in figs:
        _close(f)
    publish(f'<div class="vae-plot" style="{_ROW}">{"".join(pictures)}</div>', "\n".join(words))


_ROW = "display:flex;flex-wrap:wrap;justify-content:center;gap:0.5rem 1.5rem"


def render(fig: Figure, *, alt: str | None = None) -> str:
    """The figure as an SVG element for a page, as text; the same bytes every time.

    `show` is `render` and a display; use this one to look at the bytes.

    Raises:
        ValueError: as for `show`.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> figures.line(ax, [0, 1], [1, 1], role="elbo")
        >>> figures.axis_labels(ax, x="z (prior standard deviations)", y="density (per unit of z)")
        >>> "var(--vae-elbo, #2a6cc0)" in render(fig, alt="A flat blue line at height one.")
        True
    """
    words = _alt_of(fig, alt)
    for ax in fig.axes:
        _require_labels(ax)
    fig.patch.set_visible(False)
    for ax in fig.axes:
        ax.patch.set_visible(False)
    file = io.BytesIO()
    with house_style():
        for ax in fig.axes:
            for axis in (ax.xaxis, ax.yaxis):
                if axis.get_scale() == "log":
                    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain_number(value)))
        _part_end_labels(fig)
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        fig.savefig(file, format="svg", metadata=metadata)
    return _rewrite(file.getvalue(), words, _axes_in_words(fig), float(fig.get_size_inches()[0]))


def checked_alt(alt: str | None) -> str:
    """The description, its white space tidied; refuses one that describes nothing.

    Raises:
        ValueError: it is missing, short, the name of a file, or holds TeX, which no reader speaks.
    """
    if alt is None:
        raise ValueError('a figure needs alt="what is seen", for readers who do not see it')
    text = " ".join(alt.split())
    if re.search(r"\.(png|svg|jpe?g|gif|webp|pdf)$", text, flags=re.IGNORECASE):
        raise ValueError(f"alt must say what is seen, not name a file; got {text!r}")
    if len(text) < SHORTEST or " " not in text:
        raise ValueError(
            f"alt must say what is seen in at least {SHORTEST} characters and several words; got {text!r}"
        )
    if "\\" in text or re.search(r"\$[^$]+\$", text):
        raise ValueError(f"alt must be plain text without TeX; got {text!r}")
    return text


def claim(alt: str) -> None:
    """Refuse a description that another figure has already; running a cell again is no other figure.

    In Jupyter the front end names the cell. Where it does not (a notebook that is executed by a
    program), a second use is refused in the same cell, and everywhere while the book is built.

    Raises:
        ValueError: the description belongs to another figure.
    """
    cell, run = _place()
    earlier = _claimed.get(alt)
    if earlier is not None:
        same_cell = earlier[0] == cell if cell and earlier[0] else not _building() and cell != ""
        if earlier[1] == run or not same_cell:
            raise ValueError(f"another figure has this description already: {alt!r}")
    _claimed[alt] = (cell, run)


def publish(markup: str, text: str) -> None:
    """Display HTML with its plain text in IPython; print the text elsewhere."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    display({"text/plain": text, "text/html": _live_style() + markup}, raw=True)


def _place() -> tuple[str | None, int]:
    """The cell that runs ("" outside IPython, None where it has no name) and the number of the run."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return "", next(_outside_ipython)
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return (parent.get("metadata") or {}).get("cellId"), shell.execution_count


def _building() -> bool:
    return os.environ.get("VAE_BOOK_BUILD") == "1"


def _live_style() -> str:
    """The dark colours for JupyterLab, VS Code and Colab, which do not load the book's style sheet."""
    if _building():
        return ""
    dark = [f"{role.variable}:{role.dark}" for role in ROLES.values() if role.name != "evidence"]
    dark += [f"--vae-digit-{i}:{colour}" for i, (_, colour) in enumerate(DIGITS)]
    hosts = ('body[data-jp-theme-light="false"]', "body.vscode-dark", 'html[theme="dark"]')
    where = ",".join(f"{host} .vae-plot" for host in hosts)
    return f"<style>{where}{{{';'.join(dark)}}}</style>"


def _alt_of(fig: Figure, alt: str | None) -> str:
    return checked_alt(_descriptions.get(fig) if alt is None else alt)


def _close(fig: Figure) -> None:
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and getattr(fig, "number", None) is not None:
        pyplot.close(fig)


def _require_labels(ax: Axes) -> None:
    if not (ax.get_visible() and ax.axison):
        return
    sides = (
        ("x", ax.xaxis, ax.get_shared_x_axes(), "labelbottom"),
        ("y", ax.yaxis, ax.get_shared_y_axes(), "labelleft"),
    )
    for name, axis, shared, numbers in sides:
        bare = not axis.get_visible() or len(axis.get_ticklocs()) == 0
        inner = (
            len(shared.get_siblings(ax)) > 1
            and not axis.get_tick_params().get(numbers, True)
            and not axis.get_label_text()
        )
        text = axis.get_label_text()
        if bare or inner or (axis.get_gid() == NAMES and not text):
            continue
        if not text:
            raise ValueError(
                f"the {name} axis has no label; use figures.axis_labels(ax, {name}=…), or "
                "ax.axis('off') for a picture without axes"
            )
        require_unit(f"label of the {name} axis", text)


def _axes_in_words(fig: Figure) -> str:
    words = []
    for ax in fig.axes:
        if not (ax.get_visible() and ax.axison):
            continue
        named = ax.get_title("left") or ax.get_title()
        for name, text in (("Horizontal", ax.get_xlabel()), ("Vertical", ax.get_ylabel())):
            if text:
                panel = f" of {named}" if named else ""
                words.append(f"{name} axis{panel}: {_plain(text)}.")
    return " ".join(dict.fromkeys(words))


def _plain(text: str) -> str:
    """The text of a label without the marks of matplotlib's mathematics."""
    return " ".join(re.sub(r"[\\${}^]|_(?=\{)", "", text).split())


def _plain_number(value: float | int) -> str:
    """A tick of a logarithmic axis without a small exponent: 0.01, 1, 10,000, 1e-9."""
    text = f"{value:,.0f}" if 1 <= value < 1e6 else f"{value:.4g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _part_end_labels(fig: Figure) -> None:
    """Move labels at the ends of lines out of the panel, and apart until none covers another."""
    groups: dict[Any, list[Any]] = {ax: [t for t in ax.texts if t.get_gid() == END_LABEL] for ax in fig.axes}
    if not any(groups.values()):
        return
    layout = fig.get_layout_engine()
    if layout is not None:
        layout.execute(fig)
    for ax, texts in groups.items():
        panel = ax.get_window_extent()
        for text in texts:
            box = text.get_window_extent()
            inside = panel.x1 + 3 * fig.dpi / 72 - box.x0
            if 0 < inside < max(0.1 * panel.width, box.width):
                dx, dy = text.xyann
                text.xyann = (dx + inside * 72 / fig.dpi, dy)
        boxes = [text.get_window_extent() for text in texts]
        order = sorted(range(len(texts)), key=lambda i: boxes[i].y0 + boxes[i].y1)
        # labels that end at different x do not meet
        clusters: list[list[int]] = []
        for i in order:
            before = boxes[clusters[-1][-1]] if clusters else None
            if before is not None and before.x1 > boxes[i].x0 and boxes[i].x1 > before.x0:
                clusters[-1].append(i)
            else:
                clusters.append([i])
        for cluster in clusters:
            centres = np.array([(boxes[i].y0 + boxes[i].y1) / 2 for i in cluster])
            height = max(boxes[i].height for i in cluster) * 1.05
            shift = (spread_apart(centres, height) - centres) * 72.0 / fig.dpi
            for i, points in zip(cluster, shift, strict=True):
                dx, dy = texts[i].xyann
                texts[i].xyann = (dx, dy + float(points))


def spread_apart(centres: np.ndarray, distance: float) -> np.ndarray:
    """The places nearest to sorted `centres` (least squares) that keep `distance` between them.

    Example:
        >>> spread_apart(np.array([0.0, 0.0, 10.0]), 2.0).tolist()
        [-1.0, 1.0, 10.0]
    """
    steps = np.arange(len(centres)) * distance
    blocks: list[tuple[float, int]] = []  # (mean, size) of neighbours that touch
    for value in centres - steps:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    return np.repeat([m for m, _ in blocks], [n for _, n in blocks]) + steps


def _rewrite(svg: bytes, alt: str, axes: str, inches: float) -> str:
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        parent.tag = parent.tag.rsplit("}", 1)[-1]
        for child in list(parent):
            if child.tag.rsplit("}", 1)[-1] in ("metadata", "style"):
                parent.remove(child)
    prefix = f"vae-{hashlib.sha256(alt.encode()).hexdigest()[:10]}"
    _recolour(root)
    _rename(root, prefix)
    _compact(root)

    title, rest = _first_sentence(alt)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update(
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "vae-svg",
            "role": "img",
            "aria-labelledby": f"{prefix}-title {prefix}-desc",
            "viewBox": box,
            "width": "100%",
            "fill": "currentColor",
            "style": "flex:1 1 280px;min-width:min(100%,280px);"
            f"max-width:{round(inches * PIXELS_PER_INCH)}px;height:auto;"
            "stroke-linejoin:round;stroke-linecap:butt",
        }
    )
    heading = ET.Element("title", {"id": f"{prefix}-title"})
    heading.text = title
    description = ET.Element("desc", {"id": f"{prefix}-desc"})
    description.text = " ".join(part for part in (rest, axes) if part) or alt
    root.insert(0, heading)
    root.insert(1, description)
    markup = ET.tostring(root, encoding="unicode")
    strange = set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", _without_images(markup)))
    if strange:
        raise ValueError(
            f"the figure holds fixed colours, {', '.join(sorted(strange))}, which cannot follow the "
            "page; draw with a role (figures.line, figures.points, …) or rasterise a colour map"
        )
    return markup


def _without_images(markup: str) -> str:
    return re.sub(r'href="data:[^"]*"', "", markup)


def _recolour(root: ET.Element) -> None:
    for element, digit in _with_digit(root, False):
        style = element.get("style")
        if style is None:
            continue
        names = COLOURS | DIGIT_COLOURS if digit else COLOURS
        declarations = [d.strip() for d in style.split(";") if d.strip()]
        changed = []
        for declaration in declarations:
            name, value = (part.strip() for part in declaration.split(":", 1))
            changed.append(f"{name}:{names.get(value.lower(), value)}")
        element.set("style", ";".join(changed))


def _with_digit(element: ET.Element, inside: bool) -> Any:
    """Every element, and whether it belongs to a digit of `scatter_digits`."""
    inside = inside or element.get("id", "").startswith(DIGIT)
    yield element, inside
    for child in element:
        yield from _with_digit(child, inside)


def _rename(root: ET.Element, prefix: str) -> None:
    """Shorten the identifiers that something refers to, and drop the others."""
    link = "{http://www.w3.org/1999/xlink}href"
    used: dict[str, str] = {}

    def new_name(old: str) -> str:
        return used.setdefault(old, f"{prefix}-{len(used)}")

    for element in root.iter():
        if link in element.attrib:
            target = element.attrib.pop(link)
            inside = target.startswith("#")
            element.set("href", f"#{new_name(target[1:])}" if inside else target)
        for name, value in list(element.attrib.items()):
            if "url(#" in value:
                element.set(name, re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{new_name(m[1])})", value))
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in used:
            element.set("id", used[old])


def _compact(root: ET.Element) -> None:
    """Two decimals for coordinates, one style for marks that share it, no white space."""
    for element in root.iter():
        element.text = element.tail = None
        for name in ("d", "x", "y", "points"):
            if name in element.attrib:
                element.set(name, re.sub(r"-?\d+\.\d{3,}", _two_decimals, element.get(name, "")))
        if element.tag == "path" and "d" in element.attrib:
            element.set("d", " ".join(element.get("d", "").split()))
        marks = list(element)
        if len(marks) > 1 and all(mark.tag == "use" for mark in marks):
            styles = {mark.get("style") for mark in marks}
            if len(styles) == 1 and None not in styles and "style" not in element.attrib:
                element.set("style", styles.pop() or "")
                for mark in marks:
                    del mark.attrib["style"]


def _two_decimals(match: re.Match[str]) -> str:
    return format(float(match[0]), ".2f").rstrip("0").rstrip(".")


def _first_sentence(alt: str) -> tuple[str, str]:
    parts = re.split(r"(?<=[.!?])\s+(?=[A-ZΑ-Ω])", alt, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def escaped(text: str) -> str:
    """The text for an attribute or the content of an element."""
    return html.escape(text, quote=True)
