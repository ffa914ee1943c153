"""The pictures of the source note, redrawn: the structure of a VAE and the anatomy of its loss.

A box is computed, an ellipse with a dashed outline is drawn at random. Each diagram describes
itself, so `figures.show(figures.training_graph())` needs no `alt`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch

from vae_lib.figures import panels
from vae_lib.figures.emit import describe
from vae_lib.figures.style import HALF, MEDIUM, SMALL, WIDTH, house_style, new, role_named

__all__ = [
    "loss_anatomy",
    "three_distributions",
    "train_and_test_graph",
    "training_graph",
    "training_graphs",
]

Point = tuple[float | int, float | int]


@dataclass(frozen=True)
class Node:
    """A box or an ellipse of a diagram; its four sides are where arrows meet it (points)."""

    x: float | int
    y: float | int
    width: float | int
    height: float | int

    @property
    def left(self) -> Point:
        """Middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        """Middle of the right side."""
        return self.x + self.width / 2, self.y

    def top(self, dx: float | int = 0) -> Point:
        """A point of the upper side, `dx` points right of its middle."""
        return self.x + dx, self.y + self.height / 2

    def bottom(self, dx: float | int = 0) -> Point:
        """A point of the lower side, `dx` points right of its middle."""
        return self.x + dx, self.y - self.height / 2


class Sheet:
    """Paper for a diagram: no axes, one unit is one point (1/72 inch), the origin bottom left."""

    def __init__(self, width: float, height: float | int) -> None:
        """Take a sheet of `width` inches and `height` points."""
        with house_style():
            self.fig = Figure(figsize=(width, height / 72))
            self.ax = self.fig.add_axes((0, 0, 1, 1))
            self.ax.set(xlim=(0, width * 72), ylim=(0, height))
            self.ax.axis("off")

    def box(
        self,
        x: float | int,
        y: float | int,
        text: str,
        *,
        role: str = "evidence",
        width: float | int = 60,
        height: float | int = 24,
    ) -> Node:
        """A quantity that is computed."""
        kind = role_named(role)
        corner = (x - width / 2 + 3, y - height / 2 + 3)
        with house_style():
            for fill in (True, False):
                patch = FancyBboxPatch(
                    corner,
                    width - 6,
                    height - 6,
                    boxstyle="round,pad=3,rounding_size=4",
                    fill=fill,
                    alpha=0.12 if fill else 1.0,
                    linewidth=0 if fill else 1.3,
                    edgecolor=kind.colour,
                    facecolor=kind.colour,
                )
                self.ax.add_patch(patch)
        self.text(x, y, text, role=role)
        return Node(x, y, width, height)

    def draw(
        self,
        x: float | int,
        y: float | int,
        text: str,
        *,
        role: str = "evidence",
        width: float | int = 60,
        height: float | int = 28,
    ) -> Node:
        """A quantity that is drawn at random: an ellipse with a dashed outline."""
        kind = role_named(role)
        with house_style():
            for fill in (True, False):
                patch = Ellipse(
                    (x, y),
                    width,
                    height,
                    fill=fill,
                    alpha=0.12 if fill else 1.0,
                    linewidth=0 if fill else 1.3,
                    linestyle=(0, (3, 2)),
                    edgecolor=kind.colour,
                    facecolor=kind.colour,
                )
                self.ax.add_patch(patch)
        self.text(x, y, text, role=role)
        return Node(x, y, width, height)

    def arrow(
        self,
        start: Point,
        end: Point,
        *,
        role: str = "evidence",
        width: float | int = 1.2,
        dashed: bool = False,
        bend: float | int = 0,
    ) -> None:
        """An arrow from one point to another, bent to the left by `bend` (a share of its length)."""
        with house_style():
            patch = FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>,head_length=5,head_width=2.6",
                mutation_scale=1 if width < 2 else 1.35,
                shrinkA=1.5,
                shrinkB=1.5,
                linewidth=width,
                linestyle=(0, (3, 1.6)) if dashed else "solid",
                color=role_named(role).colour,
                connectionstyle=f"arc3,rad={-bend}",
            )
            self.ax.add_patch(patch)

    def cross(self, x: float | int, y: float | int, role: str = "evidence") -> None:
        """A cross: nothing passes here."""
        colour = role_named(role).colour
        with house_style():
            for sign in (1, -1):
                self.ax.plot((x - 5, x + 5), (y - 5 * sign, y + 5 * sign), color=colour, lw=2.4)

    def text(
        self,
        x: float | int,
        y: float | int,
        text: str,
        *,
        role: str = "evidence",
        align: str = "center",
        bold: bool = False,
        small: bool = False,
    ) -> None:
        """Text whose middle line is at `y`."""
        with house_style():
            self.ax.text(
                x,
                y,
                text,
                color=role_named(role).colour,
                ha=align,
                va="center",
                fontsize=SMALL if small else MEDIUM,
                fontweight="bold" if bold else "normal",
                linespacing=1.25,
            )


def training_graph(reparametrised: bool = True) -> Figure:
    """The computation of one training step, and the way the gradient takes back through it.

    Without the trick z is drawn inside the graph, and a draw passes no derivative with respect to
    φ on. With z = μ + σ ⊙ ε the randomness is an input, and the gradient flows through μ and σ.

    Args:
        reparametrised: draw the graph with the trick (or without).

    Book: chapter 8 (structure). Redraws "Structure" of the note, lines 103 to 117; erratum 15.

    Example:
        >>> training_graph(False).get_size_inches().tolist()
        [3.4, 4.5]
    """
    s = Sheet(HALF, 324)
    s.text(4, 312, f"{'With' if reparametrised else 'Without'} reparametrisation", align="left", bold=True)
    x = s.box(62, 282, "data x", role="data", width=64)
    encoder = s.box(62, 226, "encoder φ\nμ(x), σ(x)", role="inference", width=92, height=36)
    kl = s.box(194, 226, "rate\nKL(q‖p(z))", role="rate", width=84, height=36)
    if reparametrised:
        z = s.box(62, 156, "z = μ + σ ⊙ ε", width=92)
        noise = s.draw(194, 156, "ε ~ N(0, I)", width=84)
        s.arrow(noise.left, z.right)
    else:
        z = s.draw(62, 156, "z ~ N(μ, σ²)", width=96)
    decoder = s.box(62, 92, "decoder θ", role="generative", width=92)
    reconstruction = s.box(62, 32, "reconstruction\nln p(x|z)", role="reconstruction", width=98, height=36)

    for above, below in ((x, encoder), (encoder, z), (z, decoder), (decoder, reconstruction)):
        s.arrow(above.bottom(-14), below.top(-14))
    s.arrow((encoder.right[0], 232), (kl.left[0], 232))

    back: dict[str, Any] = {"width": 2.4, "dashed": True}
    s.arrow((kl.left[0], 219), (encoder.right[0], 219), role="inference", **back)
    s.text(130, 207, "∂/∂φ", role="inference", small=True)
    s.arrow(reconstruction.top(14), decoder.bottom(14), role="generative", **back)
    s.text(86, 64, "∂/∂θ", role="generative", align="left", small=True)
    s.arrow(decoder.top(14), z.bottom(14), role="inference", **back)
    if reparametrised:
        s.arrow(z.top(14), encoder.bottom(14), role="inference", **back)
        s.text(86, 188, "∂/∂φ flows through μ and σ", role="inference", align="left", small=True)
        s.text(86, 122, "∂/∂z", role="inference", align="left", small=True)
    else:
        s.cross(76, 187, role="generative")
        s.text(
            90,
            187,
            "blocked: the draw passes\nno derivative on to φ",
            role="generative",
            align="left",
            small=True,
        )
        s.text(86, 122, "∂/∂z", role="inference", align="left", small=True)
    s.text(124, 32, "loss = rate − ln p(x|z)", align="left", small=True)
    common = (
        "Data x goes into the encoder, which gives μ and σ. These give the rate, KL of q to the "
        "prior, and the latent z. The decoder turns z into the reconstruction term ln p of x given "
        "z. Dashed arrows show gradients: from the reconstruction term to the decoder's θ, "
    )
    if reparametrised:
        alt = (
            "Training graph with reparametrisation: the gradient reaches the encoder. "
            f"{common}on through z = μ + σ times ε to the encoder's φ, and from the rate to φ. The "
            "noise ε, drawn from a standard normal, is an input beside the path."
        )
    else:
        alt = (
            "Training graph without reparametrisation: the draw of z blocks the gradient. "
            f"{common}and from the rate to the encoder's φ. The path from z back to φ is crossed "
            "out, because a draw passes no derivative on."
        )
    return describe(s.fig, alt)


def training_graphs() -> list[Figure]:
    """Both training graphs, without and with reparametrisation, for one call of `show`.

    Book: chapter 8 (structure).

    Example:
        >>> len(training_graphs())
        2
    """
    return [training_graph(False), training_graph(True)]


def train_and_test_graph() -> Figure:
    """What is computed while training, and in each of the four modes of test time.

    Generating needs no encoder, encoding no decoder; only evaluating averages over many draws.

    Book: chapter 8 (four test-time modes). Redraws "Structure" of the note, lines 103 to 117.

    Example:
        >>> train_and_test_graph().get_size_inches().tolist()
        [4.2, 5.25]
    """
    s = Sheet(WIDTH, 378)
    columns = (14, 65, 136, 207, 273)
    rows = (
        ("Train", "both networks learn", 328, "x", "z ~ q", "loss"),
        ("Generate", "the encoder is not used", 252, None, "z ~ p(z)", "new x"),
        ("Reconstruct", "z drawn, or its mean", 176, "x", "z ~ q", "x̂"),
        ("Encode", "the decoder is not used", 100, "x", "q(z|x)", None),
        ("Evaluate", "k draws: a bound on ln p(x)", 24, "x", "k × z ~ q", "≤ ln p(x)"),
    )
    for name, remark, y, first, latent, last in rows:
        s.text(4, y + 33, name, align="left", bold=True)
        s.text(94, y + 33, remark, align="left", small=True)
        chain = []
        if first is not None:
            chain.append(s.box(columns[0], y, first, role="data", width=22))
            chain.append(s.box(columns[1], y, "encoder φ", role="inference", width=58))
        if latent == "q(z|x)":
            chain.append(s.box(columns[2], y, latent, role="inference", width=58))
        else:
            role = "generative" if first is None else "inference"
            chain.append(s.draw(columns[2], y, latent, role=role, width=62))
        if last is not None:
            chain.append(s.box(columns[3], y, "decoder θ", role="generative", width=58))
            role = {"loss": "elbo", "≤ ln p(x)": "elbo", "x̂": "reconstruction"}.get(last, "data")
            chain.append(s.box(columns[4], y, last, role=role, width=52))
        for before, after in itertools.pairwise(chain):
            s.arrow(before.right, after.left)
    return describe(
        s.fig,
        "Training against the four modes of test time, as five chains from left to right. "
        "Training: data x, encoder, a draw of z from q, decoder, loss. Generating: a draw of z from "
        "the prior, decoder, new x, without the encoder. Reconstructing: x, encoder, z from q or "
        "its mean, decoder, reconstructed x. Encoding: x, encoder, the distribution q of z given x, "
        "without the decoder. Evaluating: x, encoder, k draws of z, decoder, a bound on ln p(x).",
    )


def loss_anatomy(
    *,
    reconstruction: Any,
    rate: Any,
    log_evidence: Any,
    unit: str = "nats per image",
) -> Figure:
    """The loss taken apart: −ELBO = −E ln p(x|z) + KL(q‖p(z)), and its distance to −ln p(x).

    Args:
        reconstruction: E_q ln p(x|z), one number (float, array or tensor), as are the others.
        rate: KL(q‖p(z)), not negative.
        log_evidence: the exact ln p(x), or the best estimate of it.
        unit: of all three.

    Raises:
        ValueError: a value is not finite, the rate is negative, or the ELBO exceeds ln p(x), which
            cannot be (a minus sign forgotten, or an average over other images).

    Book: chapter 8 (the loss). Redraws "Loss explained" of the note.

    Example:
        >>> fig = loss_anatomy(reconstruction=-8.1, rate=2.9, log_evidence=-10.6)
        >>> loss_anatomy(reconstruction=-8.1, rate=2.0, log_evidence=-10.6)
        Traceback (most recent call last):
        ValueError: the ELBO, −10.1, exceeds log_evidence, −10.6
    """
    reconstruction = panels.scalar("reconstruction", reconstruction)
    rate = panels.scalar("rate", rate)
    log_evidence = panels.scalar("log_evidence", log_evidence)
    elbo = reconstruction - rate
    gap = log_evidence - elbo
    if rate < 0:
        raise ValueError(f"rate is a KL divergence and cannot be negative, got {rate}")
    if gap < 0:
        raise ValueError(
            f"the ELBO, {_number(elbo, 'g')}, exceeds log_evidence, {_number(log_evidence, 'g')}"
        )
    fig, ax = new(height=2.3)
    pieces = (
        ("reconstruction", "−E ln p(x|z)", 0.0, -reconstruction, "distortion"),
        ("rate", "KL(q‖p(z))", -reconstruction, -elbo, "rate"),
        ("elbo", "−ELBO", 0.0, -elbo, "loss"),
        ("gap", "KL(q‖p(z|x))", -log_evidence, -elbo, "gap"),
    )
    reach = max(0.0, -elbo, -reconstruction, -log_evidence)
    depth = min(0.0, -elbo, -reconstruction, -log_evidence)
    with house_style():
        for i, (role, _, start, end, word) in enumerate(pieces):
            colour = role_named(role).colour
            ax.barh(-i, end - start, left=start, height=0.56, color=colour, alpha=0.8, linewidth=0)
            value = end - start
            ax.annotate(
                f"{word} {_number(value, '.2f')}",
                (reach, -i),
                (8, 0),
                textcoords="offset points",
                va="center_baseline",
                annotation_clip=False,
                color=colour,
                fontsize=SMALL,
            )
        ax.set_yticks([-i for i in range(len(pieces))], [name for _, name, *_ in pieces])
        for tick, (role, *_) in zip(ax.get_yticklabels(), pieces, strict=True):
            tick.set_color(role_named(role).colour)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set(xlim=(depth, reach), ylim=(-len(pieces) + 0.4, 1.1))
        ax.axvline(0, linewidth=0.8)
        ax.yaxis.set_gid(panels.NAMES)
    panels.vline(ax, -log_evidence, label=f"−ln p(x) = {_number(-log_evidence, '.2f')}")
    panels.axis_labels(ax, x=f"contribution to the loss ({unit})")
    values = {name: _number(end - start, ".2f") for _, name, start, end, _ in pieces}
    return describe(
        fig,
        f"The loss −ELBO taken apart, in {unit}. The distortion −E ln p(x|z) is "
        f"{values['−E ln p(x|z)']} and the rate KL(q‖p(z)) is {values['KL(q‖p(z))']}; laid end to "
        f"end they are the loss, {values['−ELBO']}. A line marks the exact −ln p(x) at "
        f"{_number(-log_evidence, '.2f')}; what the loss has over it is the gap KL(q‖p(z|x)), "
        f"{values['KL(q‖p(z|x))']}.",
    )


def three_distributions() -> Figure:
    """The three distributions of a VAE: prior and decoder are the model, the encoder stands beside.

    The model runs one way, p(z) p(x|z). The encoder q(z|x) is no part of it, so there is no cycle.

    Book: chapter 8 (structure). Repairs the state diagram of the note, line 33; erratum 18.

    Example:
        >>> three_distributions().get_size_inches().tolist()
        [4.2, 1.75]
    """
    s = Sheet(WIDTH, 126)
    prior = s.box(36, 60, "prior\np(z)", role="generative", width=60, height=38)
    z = s.draw(126, 60, "z", width=46, height=46)
    s.draw(268, 60, "x", role="data", width=46, height=46)
    s.arrow(prior.right, z.left, role="generative", width=2)
    s.arrow((147, 70), (245, 70), role="generative", width=2, bend=0.28)
    s.arrow((245, 50), (147, 50), role="inference", width=2, dashed=True, bend=0.28)
    s.text(196, 104, "decoder p(x|z): the model", role="generative")
    s.text(196, 14, "encoder q(z|x): an aid beside it", role="inference")
    return describe(
        s.fig,
        "The three distributions of a variational auto-encoder, and no cycle among them. Solid "
        "arrows are the model: the prior p(z) gives z, and the decoder p(x|z) leads from z to x. A "
        "dashed arrow is the auxiliary encoder q(z|x), from x back to z.",
    )


def _number(value: float | int, spec: str) -> str:
    return format(value, spec).replace("-", "−")
