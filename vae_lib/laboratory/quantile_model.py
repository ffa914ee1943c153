"""Any law on the line as a latent-variable model: the construction of Doersch's appendix A."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.laboratory._gaussian import log_normal
from vae_lib.laboratory.grid import grid_log_evidence

__all__ = ["QuantileModel"]

HALF_WIDTH = 8.0  # of the grid in z; 1e-15 of the data lies outside
REACH = 8.2  # the largest |z| at which Phi(z) is neither 0 nor 1
MOST_POINTS = 400_001
MOST_BISECTIONS = 200
_LINE = torch.tensor([-1e30, 0.0, 1e30], dtype=torch.float64)


class QuantileModel:
    r"""The VAE whose decoder is the quantile function of the data.

    With F the distribution function of the data and :math:`\Phi` that of the standard normal,

    .. math:: z \sim N(0, 1), \qquad x|z \sim N(g(z), \sigma^2), \qquad g = F^{-1} \circ \Phi

    g turns noise into data exactly, so the model is the data plus noise of standard deviation
    :math:`\sigma`, and KL(data ‖ model) vanishes with it. The Gaussian encoder

    .. math:: q(z|x) = N\left(g^{-1}(x), \; \left[\sigma \, (g^{-1})'(x)\right]^2\right)

    is the posterior as soon as g is straight over the width of the noise: the gap vanishes as well,
    in proportion to :math:`\sigma^2`. So a simple prior, a Gaussian decoder and a Gaussian encoder
    leave no error behind, if only the decoder may be any function.

    Args:
        law: the data, a `torch.distributions` law of one real number with a smooth `cdf`; give its
            parameters in float64.
        std: sigma, the **standard deviation** of the decoder, positive.

    Raises:
        ValueError: the law is not one of a single number on the whole real line or has no cdf, the
            std is not positive, or it is so small beside the steepest part of g that the grid would
            need more than 400,001 points.

    Book: chapter 11 (Doersch's appendix A), chapter 1 (infinite mixtures). Source: Doersch (2016),
    appendix A.

    Example:
        >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> model = QuantileModel(torch.distributions.Normal(zero, one), std=0.5)
        >>> model.log_evidence(zero.reshape(1)).exp()           # N(0; 0, 1 + 0.25)
        tensor([0.3568], dtype=torch.float64)
    """

    def __init__(self, law: Distribution, std: float | int) -> None:
        _require.positive_number("std", std)
        if not isinstance(law, Distribution):
            raise ValueError(f"law is of type {type(law).__name__}; wanted a torch.distributions law")
        if tuple(law.batch_shape) or tuple(law.event_shape):
            raise ValueError(
                f"law has batch shape {tuple(law.batch_shape)} and event shape {tuple(law.event_shape)}; "
                "wanted the law of a single number, both ()"
            )
        if law.support is None or not bool(law.support.check(_LINE).all()):
            raise ValueError(f"law lives on {law.support}; wanted the whole real line")
        try:
            law.cdf(_LINE)
        except ValueError as error:  # some laws refuse the numbers that they themselves compute on the way
            reason = str(error).partition(", but")[0].partition("\n")[0]
            raise ValueError(
                f"law is {type(law).__name__}, whose cdf fails far out ({reason}); "
                "wanted a cdf on the whole line: build it with validate_args=False"
            ) from error
        except NotImplementedError:
            raise ValueError(f"law is {type(law).__name__}, which has no cdf; wanted one that has") from None
        self.law = law
        self.std = float(std)
        self.points = self._points()

    def __repr__(self) -> str:
        return f"QuantileModel({type(self.law).__name__}, std={self.std:.6g})"

    def decoder(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        r"""The quantile function of the data at Phi(z), by bisection.

        Most cdfs are rounded to 1e-16. Far out, where that much of the data is left, the result is
        rounded as well: to five digits at \|z\| = 7; beyond 8.2 it stands still.

        Args:
            z: any shape.

        Raises:
            ValueError: z holds NaN or infinities.

        Example:
            >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
            >>> model = QuantileModel(torch.distributions.Normal(zero, 2 * one), std=0.5)
            >>> model.decoder(torch.tensor([-1.0, 0.5], dtype=torch.float64))
            tensor([-2.0000,  1.0000], dtype=torch.float64)
        """
        _require.floating("z", z)
        _require.finite("z", z)
        if not z.numel():
            return z.to(torch.float64)
        # some cdfs stop a rounding short of 0 and 1: ask for no level that the law never reaches
        bottom, top = self.law.cdf(_LINE[[0, 2]])
        level = torch.special.ndtr(z.to(torch.float64)).clip(bottom, top)
        low, high = torch.full_like(level, -1.0), torch.ones_like(level)
        while bool((self.law.cdf(low) > level).any()):
            low = 2.0 * low
        while bool((self.law.cdf(high) < level).any()):
            high = 2.0 * high
        for _ in range(MOST_BISECTIONS):
            middle = 0.5 * (low + high)
            if bool(((middle == low) | (middle == high)).all()):
                break
            below = self.law.cdf(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high

    def encoder(self, x: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        r"""Mean and **variance** of q(z|x).

        .. math:: m = g^{-1}(x) = \Phi^{-1}(F(x)), \qquad
                  s = \sigma \, (g^{-1})'(x) = \sigma \, \frac{p(x)}{\phi(m)}

        Args:
            x: (batch,), where F(x) is neither 0 nor 1 in floating point.

        Returns:
            mean (batch,) and variance (batch,).

        Raises:
            ValueError: x is empty, holds NaN or infinities, or lies where F(x) rounds to 0 or 1.

        Example:
            >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
            >>> model = QuantileModel(torch.distributions.Normal(zero, 2 * one), std=0.5)
            >>> model.encoder(one.reshape(1))
            (tensor([0.5000], dtype=torch.float64), tensor([0.0625], dtype=torch.float64))
        """
        _check_data(x)
        x = x.to(torch.float64)
        mean = torch.special.ndtri(self.law.cdf(x))
        lost = ~mean.isfinite()
        if bool(lost.any()):
            raise ValueError(
                f"x holds {x[lost][0].item():.6g}, so far out that F(x) rounds to 0 or 1; "
                "wanted points within the data"
            )
        log_slope = self.law.log_prob(x) - log_normal(mean.square(), 1.0)
        return mean, (self.std * log_slope.exp()).square()

    def log_evidence(self, x: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        r"""ln p(x) of the model, by `grid_log_evidence`.

        .. math:: p(x) = \int N(x; g(z), \sigma^2) \, N(z; 0, 1) \, dz

        Args:
            x: (batch,).

        Returns:
            (batch,), nats, float64.

        Raises:
            ValueError: x is empty, or holds NaN or infinities.

        Example:
            >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
            >>> model = QuantileModel(torch.distributions.Normal(zero, one), std=1)
            >>> model.log_evidence(zero.reshape(1))             # -1/2 ln(2 pi 2)
            tensor([-1.2655], dtype=torch.float64)
        """
        _check_data(x)
        return grid_log_evidence(self._log_likelihood, x.to(torch.float64), latent_dim=1, points=self.points)

    def elbo(self, x: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The ELBO of the encoder of the construction: the KL in closed form, the rest on a grid.

        Args:
            x: (batch,).

        Returns:
            (batch,), nats, float64.

        Raises:
            ValueError: x is empty, holds NaN or infinities, or lies so far out (or the std is so large)
                that q(z|x) has weight where F is lost in rounding.

        Example:
            >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
            >>> model = QuantileModel(torch.distributions.Normal(zero, one), std=0.1)
            >>> model.log_evidence(zero.reshape(1)) - model.elbo(zero.reshape(1))
            tensor([2.4835e-05], dtype=torch.float64)
        """
        mean, variance = self.encoder(x)
        outside = ~_within_reach(mean, variance)
        if bool(outside.any()):
            raise ValueError(
                f"x holds {x[outside][0].item():.6g}, whose encoder reaches beyond |z| = {REACH}, where F is "
                "lost in rounding; wanted x further inside, or a smaller std"
            )
        x = x.to(torch.float64)
        # as fine as the grid of the evidence: each encoder is about as wide as its posterior
        z = torch.linspace(-REACH, REACH, math.ceil(self.points * REACH / HALF_WIDTH), dtype=torch.float64)
        g = self.decoder(z)
        reconstruction = []
        for x_n, m, v in zip(x, mean, variance, strict=True):
            weight = torch.exp(-0.5 * (z - m).square() / v)
            error = (weight * (x_n - g).square()).sum() / weight.sum()
            reconstruction.append(log_normal(error, self.std**2))
        rate = kl_diagonal_gaussian(mean=mean.unsqueeze(-1), log_var=variance.log().unsqueeze(-1))
        return torch.stack(reconstruction) - rate

    def kl_data_to_model(self, points: int = 1001) -> Float[Tensor, ""]:
        r"""KL(data ‖ model), how much the noise of the decoder costs on average.

        .. math:: \int p_{\text{data}}(x) \ln \frac{p_{\text{data}}(x)}{p(x)} \, dx

        Args:
            points: of the trapezoid rule in x, from one end of the data to the other, at least 2. Ask
                again with twice as many to see whether they were enough.

        Returns:
            A single number, nats.

        Raises:
            ValueError: points is below 2.

        Example:
            >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
            >>> model = QuantileModel(torch.distributions.Normal(zero, one), std=1)
            >>> model.kl_data_to_model()                        # KL(N(0, 1) ‖ N(0, 2)) = ln(2)/2 - 1/4
            tensor(0.0966, dtype=torch.float64)
        """
        x = self._data_axis(points)
        log_data = self.law.log_prob(x)
        return torch.trapezoid(log_data.exp() * (log_data - self.log_evidence(x)), x)

    def average_gap(self, points: int = 1001) -> Float[Tensor, ""]:
        """ln p(x) - ELBO, averaged over the data: what the Gaussian encoder costs.

        Args:
            points: of the trapezoid rule in x, as for `kl_data_to_model`.

        Returns:
            A single number, nats.

        Raises:
            ValueError: points is below 2, or the std is so large that encoders reach where F is lost in
                rounding.

        Example:
            >>> zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
            >>> law = torch.distributions.Normal(zero, one)
            >>> [round(QuantileModel(law, std).average_gap(201).item(), 6) for std in (0.2, 0.1)]
            [0.01962, 0.004975]
        """
        x = self._data_axis(points)
        density = self.law.log_prob(x).exp()
        inside = _within_reach(*self.encoder(x))
        missed = (density * ~inside).sum() * (x[1] - x[0])
        if missed > 1e-7:
            raise ValueError(
                f"std is {self.std:.6g}: for {missed.item():.2g} of the data the encoder reaches beyond "
                f"|z| = {REACH}, where F is lost in rounding; wanted a smaller std"
            )
        x, density = x[inside], density[inside]
        return torch.trapezoid(density * (self.log_evidence(x) - self.elbo(x)), x)

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        error = x - self.decoder(z)  # (batch,) - (rows, 1)
        return log_normal(error.square(), self.std**2)

    def _data_axis(self, points: int) -> Tensor:
        """Equal steps in x over 1 - 2e-14 of the data."""
        _require.integer_within("points", points, lowest=2)
        low, high = self.decoder(torch.tensor([-7.6, 7.6], dtype=torch.float64)).tolist()
        return torch.linspace(low, high, points, dtype=torch.float64)

    def _points(self) -> int:
        """Grid points in z so that a step is 0.7 of the narrowest posterior, sigma / max g'."""
        x = self._data_axis(20_001)
        z = torch.special.ndtri(self.law.cdf(x))
        log_slope = log_normal(z.square(), 1.0) - self.law.log_prob(x)
        steepest = log_slope.exp().max().item()
        points = max(801, math.ceil(2 * HALF_WIDTH * steepest / (0.7 * self.std)) + 1)
        if not points <= MOST_POINTS:
            raise ValueError(
                f"std is {self.std:.6g}, and the law has gaps that need {points} grid points; "
                f"wanted at most {MOST_POINTS}: a larger std, or a law whose density is nowhere so low"
            )
        return points


def _within_reach(mean: Tensor, variance: Tensor) -> Tensor:
    """Whether five standard deviations of q(z|x) lie where the decoder is known."""
    return mean.abs() + 5.0 * variance.sqrt() < REACH


def _check_data(x: Tensor) -> None:
    _require.floating("x", x)
    _require.shape("x", x, (None,), "(batch,), one number for each observation")
    if not x.numel():
        raise ValueError(f"x has shape {tuple(x.shape)}; wanted at least one observation")
    _require.finite("x", x)
