"""What a check says, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

__all__ = ["CheckResult"]

_COLOURS = {"right": "#2b7a3d", "unanswered": "#8a6d1a"}


@dataclass(frozen=True, repr=False)
class CheckResult:
    """The verdict on one answer. It is true only when the answer is right.

    Attributes:
        exercise: the number of the exercise, such as "2.1".
        status: "right", "wrong", "shape" (the answer has another shape or kind), "raised" (the
            function raised an exception) or "unanswered".
        message: one sentence that says what was found.
        details: lines below it: the inputs that fail, and what the function returned.
        mistake: the catalogue's name of the mistake, or None where no mistake was recognised.
        seed: `check(..., seed=seed)` repeats the same inputs.

    Book: the exercises of every chapter.

    Example:
        >>> bool(CheckResult("2.1", "right", "right on 8 sets of fresh inputs."))
        True
        >>> CheckResult("2.1", "unanswered", "not answered yet.")
        2.1 … not answered yet.
    """

    exercise: str
    status: str
    message: str
    details: tuple[str, ...] = ()
    mistake: str | None = None
    seed: int | None = None

    def __bool__(self) -> bool:
        return self.status == "right"

    @property
    def _mark(self) -> str:
        return {"right": "✓", "unanswered": "…"}.get(self.status, "✗")

    def __repr__(self) -> str:
        head = f"{self.exercise} {self._mark} {self.message}"
        return "\n    ".join([head, *self.details])

    def _repr_html_(self) -> str:
        colour = _COLOURS.get(self.status, "#b3372f")
        details = ""
        if self.details:
            lines = escape("\n".join(self.details))
            details = f'<pre style="margin:.5em 0 0;white-space:pre-wrap">{lines}</pre>'
        return (
            f'<div class="vae-check vae-check-{self.status}" role="status" '
            f'style="border-left:.3em solid {colour};padding:.3em .8em">'
            f"<strong>{escape(self.exercise)} {self._mark}</strong> {escape(self.message)}"
            f"{details}</div>"
        )
