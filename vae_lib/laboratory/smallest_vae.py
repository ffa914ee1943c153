"""The smallest VAE that shows everything: two data points, one latent, a decoder in closed form."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.laboratory._gaussian import log_normal
from vae_lib.laboratory._quadrature import standard_normal_nodes
from vae_lib.laboratory._tables import table
from vae_lib.laboratory.grid import grid_log_evidence
from vae_lib.laboratory.surgery import grid_elbo_surgery

__all__ = ["SmallestOptimum", "SmallestVAE"]

# noise that the encoder adds: 40 standard deviations, so that even the steepest decoder is covered
REACH, NODES = 40.0, 4001
MOST_POINTS = 2_000_001


class SmallestOptimum(NamedTuple):
    """The encoder that maximises the ELBO: q(z|x) = N(mean x, var).

    Book: chapter 4 (two joints), chapter 10 (the smallest VAE).

    Example:
        >>> mean, var = SmallestVAE(variance=0.5).optimum()
        >>> round(mean.item(), 4), round(var.item(), 4)
        (0.7902, 0.3755)
    """

    mean: Float[Tensor, ""]
    var: Float[Tensor, ""]


class SmallestVAE:
    r"""Data -1 and +1, encoder q(z|x) = N(m x, v), Gaussian decoder of fixed variance.

    The best decoder for an encoder is the average of the x that a z can come from, here

    .. math:: f^*(z) = \mathbb{E}_q[x|z] = \tanh \frac{m z}{v}

    so nothing needs training. Collapse (:math:`\sigma^2 \ge 1`), blur, the hole in the prior and the
    unbounded likelihood are all visible in two numbers m and v. The two data points are mirror
    images, so every value below holds for each of them and for their average.

    Wherever a method takes `mean` and `var`, both are numbers or tensors of one shape, and the
    result has that shape; `var` is the encoder's **variance**.

    Args:
        variance: sigma squared of the decoder, positive.

    Raises:
        ValueError: the variance is not positive and finite.

    Book: chapter 4 (two joints) for the best decoder, chapter 10 (the smallest VAE).

    Example:
        >>> vae = SmallestVAE(variance=0.25)
        >>> m, v = vae.optimum()
        >>> vae.elbo(m, v), vae.log_evidence(m, v)
        (tensor(-1.1620, dtype=torch.float64), tensor(-1.0153, dtype=torch.float64))
    """

    def __init__(self, variance: float | int) -> None:
        _require.positive_number("variance", variance)
        self.variance = float(variance)

    def __repr__(self) -> str:
        return f"SmallestVAE(variance={self.variance:.6g})"

    @staticmethod
    def decoder(
        z: Float[Tensor, "*shape"],
        mean: float | int | Float[Tensor, "*#shape"],
        var: float | int | Float[Tensor, "*#shape"],
    ) -> Float[Tensor, "*shape"]:
        r"""The best decoder for this encoder, tanh(mean z / var).

        Args:
            z: any shape.
            mean: m, a number or a tensor that broadcasts to z.
            var: v, positive, likewise.

        Raises:
            ValueError: a variance is not positive, or a number is not finite.

        Example:
            >>> SmallestVAE.decoder(torch.tensor([-1.0, 0.0, 1.0]), mean=0.8, var=0.4)
            tensor([-0.9640,  0.0000,  0.9640])
        """
        _check_encoder(torch.as_tensor(mean), torch.as_tensor(var))
        return torch.tanh(mean * z / var)

    def distortion(
        self, mean: float | int | Float[Tensor, "*shape"], var: float | int | Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        r"""The squared error of the best decoder, averaged over the encoder.

        .. math:: D = \mathbb{E}_{z \sim N(m, v)} \left( 1 - \tanh \frac{m z}{v} \right)^2

        Args:
            mean: the encoder's m.
            var: v, positive.

        Returns:
            The shape of the arguments.

        Raises:
            ValueError: the shapes differ, a variance is not positive, or a number is not finite.

        Example:
            >>> SmallestVAE(0.25).distortion(0.8, 0.3)
            tensor(0.2123, dtype=torch.float64)
        """
        mean, var = _tensors(mean, var)
        noise, weight = standard_normal_nodes(REACH, NODES)
        z = mean.unsqueeze(-1) + var.sqrt().unsqueeze(-1) * noise  # (*shape, nodes)
        error = 1.0 - self.decoder(z, mean.unsqueeze(-1), var.unsqueeze(-1))
        return (weight * error.square()).sum(-1)

    def rate(
        self, mean: float | int | Float[Tensor, "*shape"], var: float | int | Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        r"""KL(q(z|x) ‖ N(0, 1)), nats; what exceeds ln 2 is waste, as there are only two messages.

        Args:
            mean: the encoder's m.
            var: v, positive.

        Returns:
            The shape of the arguments.

        Raises:
            ValueError: the shapes differ, a variance is not positive, or a number is not finite.

        Example:
            >>> SmallestVAE(0.25).rate(0.0, 1.0)
            tensor(0., dtype=torch.float64)
        """
        mean, var = _tensors(mean, var)
        return kl_diagonal_gaussian(mean=mean.unsqueeze(-1), log_var=var.log().unsqueeze(-1))

    def elbo(
        self, mean: float | int | Float[Tensor, "*shape"], var: float | int | Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        r"""The ELBO with the best decoder.

        .. math:: -\tfrac12 \ln 2\pi\sigma^2 - \frac{D}{2\sigma^2} - \text{rate}

        Args:
            mean: the encoder's m.
            var: v, positive.

        Returns:
            The shape of the arguments, nats.

        Raises:
            ValueError: the shapes differ, a variance is not positive, or a number is not finite.

        Example:
            >>> SmallestVAE(0.5).elbo(0.7902, 0.3755)
            tensor(-1.3492, dtype=torch.float64)
        """
        return log_normal(self.distortion(mean, var), self.variance) - self.rate(mean, var)

    def log_evidence(
        self, mean: float | int | Float[Tensor, "*shape"], var: float | int | Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        r"""ln p(x) under the model whose decoder is the best one for this encoder.

        .. math:: p(x) = \int N\left(x; \tanh \frac{m z}{v}, \sigma^2\right) N(z; 0, 1) \, dz

        by `grid_log_evidence`, on a grid that resolves the step of the decoder and misses nothing. No
        gradients are kept.

        Args:
            mean: the encoder's m.
            var: v, positive.

        Returns:
            The shape of the arguments, nats.

        Raises:
            ValueError: the shapes differ, a variance is not positive, a number is not finite, or the
                decoder is too steep for a grid (m / v above some 10,000).

        Example:
            >>> SmallestVAE(0.5).log_evidence(0.7902, 0.3755)
            tensor(-1.3075, dtype=torch.float64)
        """
        mean, var = _tensors(mean, var)
        m, v = mean.detach().reshape(-1), var.detach().reshape(-1)
        if not m.numel():
            return mean.clone()
        steepest = (m.abs() / v).max().item()
        # ln p is at least the ELBO, and beyond h it can gain no more than e^(-h²/2): leave off e^-37
        missing = 37.0 + log_normal(torch.zeros(()), self.variance).item() - self.elbo(m, v).min().item()
        half_width = math.sqrt(2.0 * max(32.0, missing))
        # ten nodes for every v / m, the width of the decoder's step
        points = 2 * math.ceil(half_width * max(250.0, 10.0 * steepest)) + 1
        if points > MOST_POINTS:
            raise ValueError(
                f"mean / var reaches {steepest:.6g}, so steep a decoder that the grid would need {points} "
                f"points; wanted at most {MOST_POINTS}"
            )

        def log_likelihood(x: Tensor, z: Tensor) -> Tensor:  # x (batch, 1), z (rows, 1)
            error = x.squeeze(-1) - self.decoder(z.expand(-1, m.shape[0]), m, v)  # (rows, batch)
            return log_normal(error.square(), self.variance)

        x = torch.ones_like(m).unsqueeze(-1)
        log_p = grid_log_evidence(log_likelihood, x, latent_dim=1, points=points, half_width=half_width)
        return log_p.reshape(mean.shape)

    def aggregate_kl(
        self, mean: float | int | Float[Tensor, "*shape"], var: float | int | Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        r"""KL(q(z) ‖ N(0, 1)) of the two codes together: the hole in the prior, nats.

        Args:
            mean: the encoder's m.
            var: v, positive.

        Returns:
            The shape of the arguments.

        Raises:
            ValueError: the shapes differ, a variance is not positive, or a number is not finite.

        Example:
            >>> vae = SmallestVAE(0.01)
            >>> vae.aggregate_kl(*vae.optimum())
            tensor(0.5419, dtype=torch.float64)
        """
        mean, var = _tensors(mean, var)
        both = torch.stack([mean.reshape(-1), -mean.reshape(-1)], -1).unsqueeze(-1)  # (n, 2, 1)
        stds = var.reshape(-1, 1, 1).sqrt().expand_as(both)
        values = [grid_elbo_surgery(m, s).aggregate_kl for m, s in zip(both, stds, strict=True)]
        return torch.stack(values).reshape(mean.shape) if values else mean.clone()

    def undecided(
        self,
        mean: float | int | Float[Tensor, "*shape"],
        var: float | int | Float[Tensor, "*shape"],
        threshold: float = 0.9,
    ) -> Float[Tensor, "*shape"]:
        r"""The share of prior samples z that decode to neither point: \|f*(z)\| below the threshold.

        Args:
            mean: the encoder's m.
            var: v, positive.
            threshold: between 0 and 1.

        Returns:
            The shape of the arguments, a probability.

        Raises:
            ValueError: the shapes differ, a variance is not positive, a number is not finite, or the
                threshold lies outside (0, 1).

        Example:
            >>> vae = SmallestVAE(0.01)
            >>> vae.undecided(*vae.optimum())
            tensor(0.1039, dtype=torch.float64)
        """
        mean, var = _tensors(mean, var)
        _require.positive_number("threshold", threshold)
        if threshold >= 1.0:
            raise ValueError(f"threshold is {threshold!r}; wanted a number between 0 and 1")
        # |z| < artanh(threshold) v / |m|; a decoder that is flat at 0 is undecided everywhere
        return torch.erf(math.atanh(threshold) * var / (math.sqrt(2.0) * mean.abs()))

    def optimum(self) -> SmallestOptimum:
        r"""The encoder with the highest ELBO.

        The distortion depends on the signal-to-noise ratio :math:`a = m^2/v` alone. At a given a the
        rate is least for :math:`m^2 + v = 1`, where it is :math:`\tfrac12 \ln(1 + a)`. What is left
        is one equation in one unknown,

        .. math:: (1 + a) \, \mathbb{E} \left( 1 - f^{*2} \right)^2 = \sigma^2, \qquad
                  -\frac{dD}{da} = \mathbb{E} \left( 1 - f^{*2} \right)^2

        whose left side falls from 1 to 0: for :math:`\sigma^2 \ge 1` the best encoder is collapsed
        (a = 0), below that there is one solution, found by bisection.

        Returns:
            `SmallestOptimum(mean, var)`, with mean not negative; -mean does as well.

        Raises:
            ValueError: the variance is below 1e-100, where the bisection has no numbers left.

        Example:
            >>> SmallestVAE(variance=1.5).optimum()
            SmallestOptimum(mean=tensor(0., dtype=torch.float64), var=tensor(1., dtype=torch.float64))
        """
        if self.variance < 1e-100:
            raise ValueError(f"variance is {self.variance!r}; wanted at least 1e-100 for an optimum")
        zero = torch.zeros((), dtype=torch.float64)
        if self.variance >= 1.0:
            return SmallestOptimum(zero, zero + 1.0)
        noise, weight = standard_normal_nodes(REACH, NODES)

        def gain(log_a: float) -> float:
            a = math.exp(log_a)
            slope = torch.cosh(a + math.sqrt(a) * noise) ** -4  # (1 - f^2)^2
            return (1.0 + a) * (weight * slope).sum().item()

        low, high = math.log(1e-18), math.log(1e3)
        while low < (middle := 0.5 * (low + high)) < high:
            low, high = (middle, high) if gain(middle) > self.variance else (low, middle)
        a = zero + math.exp(low)
        return SmallestOptimum((a / (1.0 + a)).sqrt(), 1.0 / (1.0 + a))


def _tensors(mean: float | int | Tensor, var: float | int | Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 and of one shape."""
    mean, var = table("mean", mean).to(torch.float64), table("var", var).to(torch.float64)
    if mean.shape != var.shape:
        raise ValueError(f"var has shape {tuple(var.shape)}; wanted that of mean, {tuple(mean.shape)}")
    _check_encoder(mean, var)
    return mean, var


def _check_encoder(mean: Tensor, var: Tensor) -> None:
    _require.finite("mean", mean)
    _require.finite("var", var)
    _require.positive("var", var)
