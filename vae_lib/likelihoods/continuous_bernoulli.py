"""Grey pixels between 0 and 1, with a density that is one."""

import math
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from vae_lib.likelihoods._image import UnitImage, check_output

__all__ = ["ContinuousBernoulli"]

# Bernoulli's numbers B_2, B_4, ...: the Taylor series of the normaliser is made of them.
_NUMBERS = ["1/6", "-1/30", "1/42", "-1/30", "5/66", "-691/2730", "7/6", "-3617/510"]
_SMALL = 0.5  # below this |logit| the series: its first omitted term is 1e-19, against 0.3


class ContinuousBernoulli(nn.Module):
    r"""Grey pixels in [0, 1] from logits: what a Bernoulli scored on grey pixels lacks.

    .. math:: \ln p(x|z) = \sum_{d=1}^{D} \left[ x_d \ell_d - A(\ell_d) \right], \qquad
              A(\ell) = \ln \int_0^1 e^{t \ell} \, dt = \ln \frac{e^\ell - 1}{\ell}

    With :math:`\lambda` the sigmoid of :math:`\ell` this is
    :math:`x \ln \lambda + (1 - x) \ln(1 - \lambda) + \ln C(\lambda)`: the cross-entropy that is
    often used for grey pixels, and the constant that makes it a density. The constant is not a
    constant of training: it depends on what the decoder says.

    Near :math:`\ell = 0` (:math:`\lambda = 1/2`) the formula is 0/0 and a Taylor series takes over.
    **The mean is not the sigmoid of the logit**, but :math:`A'(\ell)`.

    Args:
        validate: look at the values of x (each in [0, 1]); see `Bernoulli`.

    Raises:
        ValueError: Calling it: the logits have no pixel dimension, or one is NaN or infinite. The
            `log_prob` of the result: x has another number of pixels, NaN, or a pixel outside
            [0, 1].

    Book: chapter 5 (grey pixels). Source: Loaiza-Ganem and Cunningham (2019), section 3.

    Example:
        >>> likelihood = ContinuousBernoulli()
        >>> p = likelihood(torch.zeros(2, 64))          # logits 0: uniform grey, density 1
        >>> p.log_prob(torch.rand(2, 64))
        tensor([0., 0.])
        >>> likelihood(torch.tensor([2.0])).mean, torch.tensor([2.0]).sigmoid()
        (tensor([0.6565]), tensor([0.8808]))
        >>> p.log_prob(torch.full((2, 64), 255.0))
        Traceback (most recent call last):
        ValueError: x holds 128 pixels outside [0, 1], such as 255; wanted every pixel within [0, 1]
    """

    def __init__(self, validate: bool = True) -> None:
        super().__init__()
        self.validate = validate

    def forward(self, logits: Float[Tensor, "*batch pixels"]) -> Independent:
        """The distribution of x, with event shape (pixels,).

        Args:
            logits: (..., pixels).
        """
        check_output("logits", logits, self.validate)
        return UnitImage(_ContinuousBernoulliPixels(logits), 1, validate_args=self.validate)

    def extra_repr(self) -> str:
        return "" if self.validate else "validate=False"


class _ContinuousBernoulliPixels(Distribution):
    """One distribution on [0, 1] for each logit."""

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 (torch's own convention)
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return _ContinuousBernoulliPixels(self.logits.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        small, large, inside = _split(self.logits)
        size = large.abs()
        near = (value - 0.5) * small - _series(small, derivative=0)
        # l x - A(l), written with the distance of x to the end of [0, 1] that it falls off from
        distance = torch.where(large > 0, 1 - value, value)
        far = size.log() - torch.log(-torch.expm1(-size)) - distance * size
        return torch.where(inside, near, far)

    @property
    def mean(self) -> Tensor:
        small, large, inside = _split(self.logits)
        size = large.abs()
        distance = 1 / size + torch.exp(-size) / torch.expm1(-size)  # from 0, or from 1 where l > 0
        far = torch.where(large > 0, 1 - distance, distance)
        return torch.where(inside, 0.5 + _series(small, derivative=1), far)

    @property
    def variance(self) -> Tensor:
        small, large, inside = _split(self.logits)
        size = large.abs()
        far = size.square().reciprocal() - torch.exp(-size) / torch.expm1(-size).square()
        return torch.where(inside, _series(small, derivative=2), far)

    @torch.no_grad()
    def sample(self, sample_shape=torch.Size()):  # noqa: B008 (torch's own convention)
        logits = self.logits.expand(self._extended_shape(sample_shape))
        uniform = torch.rand_like(logits)
        size = logits.abs().clamp(min=torch.finfo(logits.dtype).eps)  # there x is `uniform` itself
        distance = -torch.log1p(uniform * torch.expm1(-size)) / size  # the inverse of the cdf
        distance = distance.clamp(max=1.0)  # rounding may take it one unit beyond the end
        return torch.where(logits > 0, 1 - distance, distance)


def _split(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits for the series, those for the formula, and where the series holds.

    Each is replaced by a harmless number where the other one is used: without that, the branch that
    is not taken would send NaN into the gradient.
    """
    inside = logits.abs() < _SMALL
    return logits.where(inside, 0.0), logits.where(~inside, 1.0), inside


def _series(logits: Tensor, derivative: int) -> Tensor:
    """The Taylor series of A(l) - l/2 = sum over n of B_2n l^2n / (2n (2n)!), or a derivative of it."""
    total = torch.zeros_like(logits)
    for n in range(len(_NUMBERS), 0, -1):
        power = 2 * n - derivative
        coefficient = float(Fraction(_NUMBERS[n - 1]) / (2 * n * math.factorial(power)))
        total = (total + coefficient) * logits ** min(power, 2)
    return total
