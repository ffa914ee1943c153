"""Five data with one code each: what the rate pays for, and what the prior misses."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from vae_lib.explorables._explorable import Explorable
from vae_lib.laboratory import grid_elbo_surgery, grid_log_evidence
from vae_lib.laboratory._quadrature import standard_normal_nodes

__all__ = ["rate_and_distortion"]

DATA = (-2.0, -1.0, 0.0, 1.0, 2.0)
MEANS, STD, NOISE = (-1.3, -0.65, 0.0, 0.65, 1.3), 0.3, 0.5  # where the figure starts


def rate_and_distortion() -> Explorable:
    r"""Five codes on a line, their aggregate against the prior, and the mean ELBO of five data.

    .. math:: q(z|x_n) = N(m_n, s^2), \qquad f(z) = \mathbb{E}_q [x|z], \qquad p(x|z) = N(f(z), \sigma^2)

    The rate falls into information and mismatch. The ink line is the exact mean of ln p(x) under the
    decoder f, which is the best one for these codes.
    Address: `#rate-and-distortion:m1=…,m2=…,m3=…,m4=…,m5=…,s=…,n=…`, with the noise σ as n.

    Book: chapter 4 (the aggregate posterior).

    >>> rate_and_distortion().kind
    'rate-and-distortion'
    """
    parts, _, log_evidence = _start()
    return Explorable(
        "rate-and-distortion",
        "The rate is what the codes say plus what the prior misses.",
        "Five narrow bells over z, their average, and the wide bell of the prior. The rate of "
        f"{parts.average_kl:.2f} nats is {parts.mutual_information:.2f} of information and "
        f"{parts.aggregate_kl:.2f} of mismatch. The ELBO stays below a horizontal line, the exact mean of "
        f"ln p(x), {log_evidence:.2f} nats.",
        poster=_poster(),
    )


def _decoder(z: Tensor) -> Tensor:
    """The mean of the data that share a code, at each z of (points,)."""
    shares = (-0.5 * ((z.unsqueeze(-1) - torch.tensor(MEANS, dtype=z.dtype)) / STD) ** 2).softmax(-1)
    return shares @ torch.tensor(DATA, dtype=z.dtype)


@cache
def _start():
    """Surgery, ELBO and ln p(x) where the figure starts."""
    means, data = torch.tensor(MEANS, dtype=torch.float64), torch.tensor(DATA, dtype=torch.float64)
    parts = grid_elbo_surgery(means[:, None], torch.full((5, 1), STD, dtype=torch.float64))

    def log_likelihood(x: Tensor, z: Tensor) -> Tensor:
        return torch.distributions.Normal(_decoder(z[:, 0])[:, None], NOISE).log_prob(x[:, 0])

    log_evidence = grid_log_evidence(log_likelihood, data[:, None], latent_dim=1, points=4801).mean()
    u, weight = standard_normal_nodes(reach=8.0, points=801)
    fits = torch.distributions.Normal(_decoder(means[:, None] + STD * u), NOISE).log_prob(data[:, None])
    elbo = (weight * fits).sum(-1).mean() - parts.average_kl
    return parts, elbo.item(), log_evidence.item()


@cache
def _poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    _, elbo, log_evidence = _start()
    z = torch.linspace(-4, 4, 401, dtype=torch.float64)
    codes = [torch.distributions.Normal(mean, STD).log_prob(z).exp() / 5 for mean in MEANS]
    fig, (lines, values) = figures.new(2, height=5.0, height_ratios=[3, 2])
    for mean, code in zip(MEANS, codes, strict=True):
        figures.line(lines, z, code, role="inference", linewidth=1.0)
        figures.label(lines, mean, code.max().item() + 0.03, f"{DATA[MEANS.index(mean)]:g}".replace("-", "−"),
            role="inference")  # fmt: skip
    figures.line(lines, z, sum(codes), role="inference", linestyle="solid")
    figures.line(
        lines, z, torch.distributions.Normal(0.0, 1.0).log_prob(z).exp(), role="generative",
        label="prior", at=-2.2, side="left")  # fmt: skip
    figures.axis_labels(lines, x="z (prior standard deviations)", y="density (per unit of z)")
    figures.hline(values, log_evidence, label="exact ln p(x)", at="left")
    figures.points(values, [1.0], [elbo], role="elbo", markersize=9)
    figures.label(values, 1.0, elbo - 0.12, f"ELBO {elbo:.3f}".replace("-", "−"), role="elbo")
    figures.span(values, 1.25, elbo, log_evidence, role="gap")
    values.set_xlim(0, 2)
    values.set_ylim(elbo - 0.35, log_evidence + 0.25)
    values.set_xticks([])
    figures.axis_labels(values, x="mean over the five data (nats)", y="value (nats)")
    return _png(fig)
