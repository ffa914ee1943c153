"""Draw book/_static/readme.svg, the picture of README.md, in the house style.

The README is shown outside the book, without its style sheet: the picture brings its colours and a ground.
"""

import re
from pathlib import Path

import torch

from vae_lib import figures
from vae_lib.laboratory import LinearGaussianModel

MARGIN = 8  # points
TARGET = Path(__file__).resolve().parent.parent / "book" / "_static" / "readme.svg"
ALT = (
    "The exact ln p(x) is a horizontal line. The ELBO, drawn against the mean of q, is an arch below it "
    "that touches the line where q is the posterior; the gap between the two is shaded."
)


def draw():
    model = LinearGaussianModel(torch.ones(1, 1), torch.zeros(1), variance=0.25)
    x, variance = torch.ones(1, 1), torch.tensor([0.2])
    mean = torch.linspace(-0.2, 1.8, 101)
    elbo = torch.cat([model.elbo(x, m.view(1, 1), variance) for m in mean])
    evidence = model.log_evidence(x).item()

    fig, ax = figures.new(height=2.6)
    figures.band(ax, mean, elbo, evidence, role="gap", label="gap", at=0.0)
    figures.line(ax, mean, elbo, role="elbo", label="ELBO", at=0.8, side="below")
    figures.hline(ax, evidence, label="exact ln p(x)", at="left")
    figures.axis_labels(ax, x="mean of q (prior standard deviations)", y="value (nats)")
    return fig


def standing_alone(svg):
    """The SVG of a page as a file: no style sheet, no page colour, a white ground."""
    colours = ";".join(f"{role.variable}:{role.light}" for role in figures.ROLES.values())
    box = re.search(r'viewBox="([^"]+)"', svg).group(1)
    left, top, width, height = (float(side) for side in box.split())
    left, top, width, height = left - MARGIN, top - MARGIN, width + 2 * MARGIN, height + 2 * MARGIN
    place = f'width="{width:g}" height="{height:g}"'
    ground = f'<rect x="{left:g}" y="{top:g}" {place} rx="6" fill="#ffffff"/>'
    svg = svg.replace(f'viewBox="{box}"', f'viewBox="{left:g} {top:g} {width:g} {height:g}"', 1)
    svg = svg.replace('width="100%"', place, 1)
    style = f"<style>svg{{color:#222832;{colours}}}</style>"
    return svg.replace("</desc>", f"</desc>{style}{ground}", 1)


if __name__ == "__main__":
    TARGET.write_text(standing_alone(figures.render(draw(), alt=ALT)) + "\n", encoding="utf-8")
