"""The object a cell shows: a poster, its numbers, and the script that brings it to life."""

from __future__ import annotations

import base64
import html
import json
import os
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["CSS_FILE", "SCRIPT_FILES", "Explorable", "in_book_build", "script"]

# the one that draws, then those of the chapters, which add their figures to it
SCRIPT_FILES = [
    Path(__file__).with_name("explorables.js"),
    *sorted(Path(__file__).with_name("figures").glob("*.js")),
]
CSS_FILE = Path(__file__).with_name("explorables.css")


def in_book_build() -> bool:
    """Whether the page that shows the output carries script and style itself.

    >>> in_book_build()
    False
    """
    return os.environ.get("VAE_BOOK_BUILD") == "1"


@cache
def script() -> str:
    """All scripts of the figures, one after the other.

    >>> "VaeFigures" in script()
    True
    """
    return "\n".join(path.read_text(encoding="utf-8") for path in SCRIPT_FILES)


@cache
def _live_assets() -> str:
    style = CSS_FILE.read_text(encoding="utf-8")
    if "</script" in script() or "</style" in style:
        raise AssertionError("script or style holds its own closing tag and cannot be inlined")
    return f"<style>{style}</style><script>{script()}\nVaeFigures.mountAll();</script>"


@dataclass(frozen=True)
class Explorable:
    """An interactive figure, as the last expression of a cell.

    In the book the page loads the script once. In a live notebook the output carries it. Without
    scripts the poster stays. Make one with a function of `vae_lib.explorables`.

    Args:
        kind: the name the script knows it by.
        title: a sentence that says what to see.
        alt: the poster in words, for those who do not see it.
        spec: the numbers of the figure, plain JSON values.
        poster: a PNG.
        still: HTML that stands in place of the poster, for what is text and no picture.

    Raises:
        ValueError: the alt text is shorter than 20 characters, or there is neither a poster nor
            still HTML.

    Book: chapter 0 (how to read).

    >>> still = "<p>two humps, one bell</p>"
    >>> figure = Explorable("two-kls", "A title.", "Two humps and one bell.", still=still)
    >>> sorted(figure._repr_mimebundle_())
    ['text/html', 'text/plain']
    """

    kind: str
    title: str
    alt: str
    spec: dict[str, Any] = field(default_factory=dict)
    poster: bytes | None = None
    still: str | None = None

    def __post_init__(self) -> None:
        if len(self.alt) < 20:
            raise ValueError(f"alt must say what is seen in 20 characters or more, got {self.alt!r}")
        if self.poster is None and self.still is None:
            raise ValueError("an explorable needs a poster or still HTML for pages without scripts")

    def __repr__(self) -> str:
        return f"{self.title}\n{self.alt}"

    def html(self, *, live: bool | None = None) -> str:
        """The figure as HTML.

        Args:
            live: whether style and script are part of it; by default they are, except in the book.

        >>> still = "<p>two humps, one bell</p>"
        >>> figure = Explorable("two-kls", "A title.", "Two humps and one bell.", still=still)
        >>> still in figure.html(live=False), "<style>" in figure.html(live=False)
        (True, False)
        """
        still = self._poster_html(self.poster or b"") if self.still is None else self.still
        # "<" as an escape: no text inside the numbers can close the element or open a comment
        spec = json.dumps(self.spec, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        parts = [
            f'<div class="vae-figure" data-vae-figure="{self.kind}" role="group"',
            f' aria-label="{html.escape(self.title)}">',
            f'<p class="vae-title">{html.escape(self.title)}</p>',
            f'<div class="vae-static">{still}</div>',
            f'<script type="application/json">{spec.replace("<", chr(92) + "u003c")}</script></div>',
        ]
        if live is None:
            live = not in_book_build()
        return "".join(parts) + (_live_assets() if live else "")

    def _poster_html(self, poster: bytes) -> str:
        width, height = struct.unpack(">II", poster[16:24])
        data = base64.b64encode(poster).decode("ascii")
        return (
            f'<img alt="{html.escape(self.alt)}" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{data}">'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/html": self.html(), "text/plain": repr(self)}
        if self.poster is not None:
            bundle["image/png"] = base64.b64encode(self.poster).decode("ascii")
        return {
            mime: value
            for mime, value in bundle.items()
            if (not include or mime in include) and (not exclude or mime not in exclude)
        }
