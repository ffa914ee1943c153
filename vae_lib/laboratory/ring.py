"""Doersch's ring: a cloud of noise bent into a circle, with its exact density and entropy."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib._ring import STRETCH, bend

__all__ = ["Ring"]

EULER = 0.57721566490153286  # the constant of Euler and Mascheroni
NUMBERS_AT_ONCE = 1_000_000


class Ring:
    r"""The law of x = z/10 + z/‖z‖ for z from the standard normal in the plane.

    With :math:`R = \|x\|` and :math:`r = \|z\| = 10 (R - 1)`,

    .. math:: p(x) = \frac{10 \, r \, e^{-r^2/2}}{2 \pi R} \quad (R > 1), \qquad p(x) = 0
              \quad \text{inside the unit circle}

    A simple latent and one fixed function give data that no single Gaussian resembles. And because
    the density is known, so is the ceiling: no model of these data can exceed an average ln p of
    minus the entropy, -0.593742 nats.

    Book: chapter 1 (the ring). Source: Doersch (2016), section 2, figure 2.

    Example:
        >>> ring = Ring()
        >>> x = ring.sample(1000)
        >>> bool((x.norm(dim=-1) >= 1).all())
        True
        >>> ring.entropy
        tensor(0.5937, dtype=torch.float64)
    """

    def __repr__(self) -> str:
        return "Ring()"

    @staticmethod
    def decoder(z: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """The map from noise to the ring, g(z) = z/10 + z/‖z‖.

        Args:
            z: (n, 2), not the origin.

        Raises:
            ValueError: z has another shape, holds NaN, or holds the origin, which has no direction.

        Example:
            >>> Ring.decoder(torch.tensor([[3.0, 4.0]]))
            tensor([[0.9000, 1.2000]])
        """
        _check_points("z", z)
        if bool((z == 0).all(-1).any()):
            raise ValueError("z holds the origin; wanted points with a direction")
        return bend(z)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 2"]:
        """Draw points of the ring.

        Args:
            n: how many, at least 1.
            generator: the source of randomness; torch's global one by default.

        Returns:
            (n, 2), float64.

        Raises:
            ValueError: n is below 1.

        Example:
            >>> Ring().sample(5).shape
            torch.Size([5, 2])
        """
        _require.positive_integer("n", n)
        return self.decoder(torch.randn(n, 2, dtype=torch.float64, generator=generator))

    def log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        r"""ln p(x); -inf on and inside the unit circle.

        .. math:: \ln p(x) = \ln 10 + \ln r - \tfrac{r^2}{2} - \ln 2\pi - \ln R

        Args:
            x: (n, 2).

        Returns:
            (n,), nats.

        Raises:
            ValueError: x has another shape, or holds NaN or infinities.

        Example:
            >>> Ring().log_prob(torch.tensor([[1.1, 0.0], [0.5, 0.5]]))
            tensor([-0.1306,    -inf])
        """
        _check_points("x", x)
        outside = torch.hypot(x[:, 0], x[:, 1]) > 1
        x = torch.where(outside.unsqueeze(-1), x, 1.0)  # the origin has no gradient
        radius = torch.hypot(x[:, 0], x[:, 1])
        r = torch.where(outside, STRETCH * (radius - 1), 1.0)  # any positive number inside
        log_p = math.log(STRETCH / (2 * math.pi)) + r.log() - 0.5 * r.square() - radius.log()
        return torch.where(outside, log_p, -math.inf)

    @property
    def entropy(self) -> Float[Tensor, ""]:
        r"""The entropy -E ln p(x), 0.5937420450 nats; minus it is the best average ln p of any model.

        .. math:: 1 + \ln 2\pi - \ln 10 - \mathbb{E} \ln r + \mathbb{E} \ln (1 + r/10), \qquad
                  \mathbb{E} \ln r = \tfrac12 (\ln 2 - \gamma)

        with r from Rayleigh's law and Euler's :math:`\gamma`; the last term is an integral over r,
        taken by the trapezoid rule.

        Example:
            >>> round(Ring().entropy.item(), 10)
            0.593742045
        """
        r, weight = _rayleigh_nodes(1001)
        mean_log_radius = (weight * torch.log1p(r / STRETCH)).sum()
        mean_log_r = 0.5 * (math.log(2.0) - EULER)
        return 1.0 + math.log(2 * math.pi / STRETCH) - mean_log_r + mean_log_radius

    def noisy_log_prob(self, x: Float[Tensor, "n 2"], variance: float | int) -> Float[Tensor, " n"]:
        r"""ln p(x) of the VAE that knows the ring: decoder N(g(z), sigma^2 I) with the true map g.

        .. math:: p(x) = \int N(x; y, \sigma^2 I) \, p_{\text{ring}}(y) \, dy
                  \qquad = \int_0^\infty r e^{-r^2/2} \, \frac{1}{2\pi\sigma^2}
                    e^{-\frac{\|x\|^2 + \rho^2}{2\sigma^2}} I_0\!\left(\frac{\|x\| \rho}{\sigma^2}\right) dr,
                  \qquad \rho = 1 + \frac{r}{10}

        The angle is integrated in closed form (the Bessel function), the radius by the trapezoid
        rule, on nodes that lie where r is likely **given x**. The prior has them elsewhere: r = 12 has
        the weight 1e-31, and far outside the ring it is the right r.

        Args:
            x: (n, 2), anywhere in the plane.
            variance: sigma squared, at least 1e-5.

        Returns:
            (n,), nats, float64. No gradients are kept.

        Raises:
            ValueError: the variance is smaller than the rule can resolve or not finite; x has
                another shape, or holds NaN or infinities.

        Example:
            >>> Ring().noisy_log_prob(torch.tensor([[1.1, 0.0]]), 0.01)
            tensor([-0.7425], dtype=torch.float64)
        """
        _check_points("x", x)
        x = x.detach()
        _require.positive_number("variance", variance)
        if variance < 1e-5:
            raise ValueError(f"variance is {variance!r}; wanted at least 1e-5, which the rule can resolve")
        # given x, r is nearly a Gaussian with this standard deviation, cut off at 0
        slope = 1.0 + STRETCH**2 * variance
        std = STRETCH * math.sqrt(variance / slope)
        from_zero, log_step = _logarithmic_nodes(-24.0, math.log(20.0 * std), 1001)  # (points,)
        steps = torch.linspace(-9.0, 9.0, 1001, dtype=torch.float64)
        log_p = torch.empty(x.shape[0], dtype=torch.float64)
        rows = max(1, NUMBERS_AT_ONCE // len(steps))
        for piece, out in zip(x.split(rows), log_p.split(rows), strict=True):
            radius = torch.hypot(piece[:, 0], piece[:, 1]).to(torch.float64).unsqueeze(-1)  # (rows, 1)
            mean = STRETCH * (radius - 1.0) / slope
            far = mean > 10.0 * std  # so far out that the cut is out of sight
            r = torch.where(far, mean + std * steps, from_zero)  # (rows, points)
            log_width = torch.where(far, (std * (steps[1] - steps[0])).log(), r.log() + math.log(log_step))
            rho = 1.0 + r / STRETCH
            # i0e is I_0 without its exponential growth, which completes the square
            log_kernel = torch.special.i0e(radius * rho / variance).log()
            log_kernel = log_kernel - (radius - rho).square() / (2 * variance)
            out.copy_(torch.logsumexp(r.log() - 0.5 * r.square() + log_width + log_kernel, -1))
        return log_p - math.log(2 * math.pi * variance)

    def ceiling(self, variance: float | int) -> Float[Tensor, ""]:
        r"""The average ln p over the ring of the VAE that knows the ring and adds noise.

        The best that decoder noise of this size allows with the true map; as sigma falls it climbs to
        minus the entropy.

        Args:
            variance: sigma squared of the decoder, at least 1e-5.

        Returns:
            A single number, nats.

        Raises:
            ValueError: the variance is smaller than the rule can resolve or not finite.

        Example:
            >>> [round(Ring().ceiling(variance).item(), 4) for variance in (0.05, 0.01, 0.002)]
            [-1.4499, -0.8944, -0.6594]
        """
        r, weight = _rayleigh_nodes(1001)
        radius = 1.0 + r / STRETCH
        x = torch.stack([radius, torch.zeros_like(radius)], -1)  # the model has no preferred angle
        return (weight * self.noisy_log_prob(x, variance)).sum()


def _rayleigh_nodes(points: int) -> tuple[Tensor, Tensor]:
    """Nodes r and weights that average over Rayleigh's law: the trapezoid rule in ln r.

    In ln r the integrand dies out at both ends, so the rule converges exponentially.
    """
    r, log_step = _logarithmic_nodes(-20.0, math.log(9.0), points)
    weight = r.square() * torch.exp(-0.5 * r.square()) * log_step
    return r, weight


def _logarithmic_nodes(low: float, high: float, points: int) -> tuple[Tensor, float]:
    """Nodes r whose logarithms are one step apart, and the step."""
    log_r = torch.linspace(low, high, points, dtype=torch.float64)
    return log_r.exp(), (high - low) / (points - 1)


def _check_points(name: str, x: Tensor) -> None:
    _require.floating(name, x)
    _require.shape(name, x, (None, 2), "(n, 2), points in the plane")
    _require.finite(name, x)
