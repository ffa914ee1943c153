"""Likelihoods: the noise that is the weight of the KL term, and the cross-entropy of a grey pixel."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vae_lib.data import load
from vae_lib.explorables._explorable import Explorable
from vae_lib.laboratory import waterfill
from vae_lib.laboratory._gaussian import log_normal
from vae_lib.likelihoods import ContinuousBernoulli

__all__ = ["grey_bernoulli", "sigma_weight"]

NOISE, LATENTS = 0.5, 16  # where the figure of the digits starts: the note's loss
PIXEL, LAMBDA = 0.3, 0.3  # and that of the grey pixel


def sigma_weight() -> Explorable:
    r"""The best linear VAE of the digits at every noise: which axes are above water, and what is lost.

    .. math:: \lambda_j > \beta \sigma^2: \qquad w_j^2 = \lambda_j - \beta \sigma^2, \qquad
              a_j = w_j^2 + \sigma^2, \qquad
              \frac1N \sum_n \ln p(x_n)
              = -\frac12 \sum_j \left[ \ln(2 \pi a_j) + \frac{\lambda_j}{a_j} \right]

    The ink line is the exact mean ln p(x), the blue mark the ELBO with the encoder that the weight
    beta makes the best. At beta = 1 they meet.
    Address: `#sigma-weight:s2=…,beta=…,q=1|2|4|8|16|32`.

    Book: chapter 5 (sigma is the KL weight).

    >>> sigma_weight().kind
    'sigma-weight'
    """
    eigenvalues = _spectrum()
    active = int(waterfill(eigenvalues, NOISE).active.sum())
    return Explorable(
        "sigma-weight",
        "The noise of the decoder is the weight of the KL term.",
        f"The {len(eigenvalues)} variances of the digits along their axes, falling from 0.7, and a water "
        f"level at {NOISE:g}: only {active} are above it. Below, the exact mean ln p(x) against the noise "
        f"rises to {_log_evidence(_fitted()):+.1f} nats at {_fitted():.4f} and falls to "
        f"{_log_evidence(NOISE):.1f} at {NOISE:g}, where a horizontal line marks it.",
        {"eigenvalues": [float(f"{value:.12g}") for value in eigenvalues.tolist()]},
        poster=_water_poster(),
    )


def grey_bernoulli() -> Explorable:
    r"""A grey pixel under the cross-entropy and under the density that it should have been.

    .. math:: \ln p(x) = x \ln \lambda + (1 - x) \ln(1 - \lambda) + \ln C(\lambda), \qquad
              C(\lambda) = \frac{2 \operatorname{artanh}(1 - 2 \lambda)}{1 - 2 \lambda}

    The ink line is the exact ln p(x) of the continuous Bernoulli; minus the cross-entropy stays ln C
    below it, which depends on what the decoder says.
    Address: `#grey-bernoulli:x=…,lam=…`.

    Book: chapter 5 (grey pixels).

    >>> grey_bernoulli().kind
    'grey-bernoulli'
    """
    cross_entropy, log_p = _grey(torch.tensor([PIXEL], dtype=torch.float64))
    mass = math.exp(-(log_p + cross_entropy).item())
    return Explorable(
        "grey-bernoulli",
        "The cross-entropy of a grey pixel is no likelihood: its area is half or less.",
        f"For a decoder that says {LAMBDA:g}, the curve of e to the minus cross-entropy over the grey "
        f"values, with the area {mass:.3f}, and above it the density of the continuous Bernoulli, with area "
        f"1. Below, a horizontal line at the exact ln p(x) = {log_p.item():.3f} nats of the pixel {PIXEL:g}, "
        f"and minus its cross-entropy, {-cross_entropy.item():.3f}, under it.",
        poster=_grey_poster(),
    )


@cache
def _spectrum() -> Tensor:
    """The variances of the 1,797 digits along their principal axes, largest first, (64,)."""
    digits = load("digits", split="all").scaled().double()
    return torch.linalg.eigvalsh(torch.cov(digits.T, correction=0)).flip(0).clamp_min(0)


def _fitted() -> float:
    return _spectrum()[LATENTS:].mean().item()


def _log_evidence(noise: float) -> float:
    eigenvalues = _spectrum()
    variance = noise + waterfill(eigenvalues, noise).weight_squared
    variance[LATENTS:] = noise
    return log_normal(eigenvalues, variance).sum().item()


def _grey(x: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and exact ln p of grey values, each (values,)."""
    logit = torch.logit(torch.tensor([LAMBDA], dtype=torch.float64))
    cross_entropy = -(x * math.log(LAMBDA) + (1 - x) * math.log(1 - LAMBDA))
    return cross_entropy, ContinuousBernoulli()(logit).log_prob(x.unsqueeze(-1))


@cache
def _water_poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    eigenvalues = _spectrum().numpy()
    place = np.arange(1, len(eigenvalues) + 1)
    above = eigenvalues > NOISE
    fig, (spectrum, values) = figures.new(2, height=5.6)
    seen = (eigenvalues > 1e-4) & ~above
    figures.points(spectrum, place[seen], eigenvalues[seen], role="data", markersize=4)
    figures.points(spectrum, place[above], eigenvalues[above], role="generative", markersize=6)
    figures.hline(spectrum, NOISE, role="rate", label="water level βσ²")
    spectrum.set_yscale("log")
    figures.axis_labels(spectrum, x="axis (largest first)", y="variance (pixel range²)")
    noises = np.logspace(-2.2, 2, 120)
    figures.line(values, noises, [_log_evidence(noise) for noise in noises], role="data", linestyle="solid")
    figures.hline(values, _log_evidence(NOISE), label="exact ln p(x)")
    figures.points(values, NOISE, _log_evidence(NOISE), role="elbo", markersize=7)
    values.set_xscale("log")
    figures.axis_labels(values, x="σ² (pixel range²)", y="mean ln p(x) (nats per digit)")
    return _png(fig)


@cache
def _grey_poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    x = torch.linspace(0, 1, 121, dtype=torch.float64)
    cross_entropy, log_p = _grey(x)
    fig, (areas, values) = figures.new(2, height=5.0)
    figures.band(areas, x, 0, (-cross_entropy).exp(), role="elbo", label="cross-entropy", at=0.35)
    figures.line(areas, x, (-cross_entropy).exp(), role="elbo")
    figures.line(areas, x, log_p.exp(), role="evidence")
    figures.label(areas, 0.45, 1.22, "continuous Bernoulli", align="left")
    areas.set_ylim(0, 2)
    figures.axis_labels(areas, x="grey value (from 0 to 1)", y="density (per unit of grey)")
    here = _grey(torch.tensor([PIXEL], dtype=torch.float64))
    figures.hline(values, here[1].item(), label="exact ln p(x)")
    figures.span(values, PIXEL, -here[0].item(), here[1].item(), role="gap", label="ln C(λ)")
    figures.points(values, PIXEL, -here[0].item(), role="elbo", markersize=7)
    values.set_xlim(0, 1)
    values.set_ylim(-2, 1)
    figures.axis_labels(values, x="grey value (from 0 to 1)", y="ln p (nats)")
    return _png(fig)
