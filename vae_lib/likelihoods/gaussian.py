"""Real-valued pixels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vae_lib import _require
from vae_lib._soft import hardened, softened
from vae_lib.likelihoods._image import Image, check_output

__all__ = ["Gaussian", "optimal_variance"]

_BOUND = 30.0  # of the learned ln σ²; beyond it the parameter is softened


class Gaussian(nn.Module):
    r"""Real-valued pixels around a mean, with one standard deviation for all of them.

    .. math:: \ln p(x|z) = -\frac{D}{2} \ln(2 \pi \sigma^2)
              - \frac{1}{2 \sigma^2} \sum_{d=1}^{D} (x_d - \mu_d)^2

    The standard deviation is a choice with consequences: dividing the squared error by
    :math:`2 \sigma^2` is the same as weighing the KL term by :math:`2 \sigma^2`. With
    ``learned=True`` it becomes a parameter, `log_var`, and the variance is

    .. math:: \sigma^2 = e^{\mathtt{log\_var}} + \sigma_{\min}^2,

    a floor that is reached smoothly, so that the gradient is not cut off there. Without a floor
    a model that reproduces its data exactly drives the density to infinity. A `log_var` beyond ±30 is
    softened as `vae_lib.posteriors.bounded_log_var` does it, so that whatever number training makes of
    it the variance stays finite and the gradient alive.

    Args:
        std: the standard deviation, or where the learned one starts; in the units of x.
        learned: learn one standard deviation, shared by all pixels and examples.
        min_std: the floor of the learned one. A fixed `std` is used as it is.
        validate: look at the values of x (no NaN); see `Bernoulli`.

    Attributes:
        log_var: the parameter, a single number; None if `learned` is False. Read the standard
            deviation from `std`, which includes the floor.

    Raises:
        ValueError: std or min_std is not positive, or a learned std does not start above the floor.
            Calling it: the mean has no pixel dimension, or is NaN or infinite somewhere. The
            `log_prob` of the result: x has another number of pixels, or NaN.

    Book: chapter 5 (the full log-density), chapter 8 (the loss contract). Source: Rybkin et al. (2021)
    for the shared learned one.

    Example:
        >>> likelihood = Gaussian(std=0.5)
        >>> p = likelihood(torch.zeros(3, 2))
        >>> p.log_prob(torch.zeros(3, 2)).exp() * 2 * math.pi * 0.5**2
        tensor([1.0000, 1.0000, 1.0000])
        >>> Gaussian(std=0.5, learned=True).log_var.requires_grad
        True
    """

    def __init__(
        self,
        std: float | int = 1.0,
        learned: bool = False,
        min_std: float = 1e-3,
        validate: bool = True,
    ) -> None:
        super().__init__()
        _require.positive_number("std", std)
        _require.positive_number("min_std", min_std)
        self.initial_std = float(std)
        self.learned = learned
        self.min_std = float(min_std)
        self.validate = validate
        if learned:
            if std <= min_std:
                raise ValueError(
                    f"std is {std!r}; wanted a learned std to start above its floor, min_std = {min_std!r}"
                )
            self.log_var = nn.Parameter(torch.tensor(hardened(math.log(std**2 - min_std**2), _BOUND)))
        else:
            self.register_parameter("log_var", None)

    @property
    def std(self) -> Float[Tensor, ""]:
        """The standard deviation in use, a single number in the units of x.

        Example:
            >>> Gaussian(std=0.25).std.item()
            0.25
        """
        if self.log_var is None:  # the number as it was given, in float64; it does not promote images
            return torch.tensor(self.initial_std, dtype=torch.float64)
        return (softened(self.log_var, _BOUND).exp() + self.min_std**2).sqrt()

    def forward(self, mean: Float[Tensor, "*batch pixels"]) -> Independent:
        """The distribution of x, with event shape (pixels,).

        Args:
            mean: (..., pixels), in the units of x.
        """
        check_output("mean", mean, self.validate)
        std = mean.new_full((), self.initial_std) if self.log_var is None else self.std
        return Image(Normal(mean, std, validate_args=False), 1, validate_args=self.validate)

    def extra_repr(self) -> str:
        return f"std={float(self.std.detach()):.4g}, learned={self.learned}"


def optimal_variance(
    x: Float[Tensor, "*batch pixels"], mean: Float[Tensor, "*samples_and_batch pixels"]
) -> Float[Tensor, ""]:
    r"""The one variance, shared by all pixels and examples, that gives x the highest likelihood.

    .. math:: \hat\sigma^2 = \frac{1}{N D} \sum_{n=1}^{N} \sum_{d=1}^{D} (x_{nd} - \mu_{nd})^2,
              \qquad \frac{1}{N} \sum_n \ln p(x_n|z_n) = -\frac{D}{2} \ln(2 \pi e \, \hat\sigma^2)

    It is what the learned standard deviation of `Gaussian` moves towards. Put it into the density
    and the reconstruction error stands inside a logarithm: its weight against the KL term adjusts
    itself. It depends on the whole batch, so the value for one example depends on the others.

    Args:
        x: (batch, pixels).
        mean: (batch, pixels), or (k, batch, pixels) for k draws of z.

    Returns:
        A single number, in the squared units of x; gradients flow through it.

    Raises:
        ValueError: the shapes do not fit, x or mean is empty or holds NaN, or they are equal
            everywhere, so that the likelihood has no maximum.

    Book: chapter 5 (the variance of the decoder). Source: Rybkin et al. (2021), arXiv 2006.13202.

    Example:
        >>> optimal_variance(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.full((2, 2), 0.5))
        tensor(0.2500)
    """
    _require.floating("x", x)
    _require.floating("mean", mean)
    if x.dim() == 0 or mean.shape[mean.dim() - x.dim() :] != x.shape or mean.numel() == 0:
        raise ValueError(
            f"mean has shape {tuple(mean.shape)}; wanted that of x, {tuple(x.shape)}, not empty, "
            "after the axes of the samples"
        )
    variance = (x - mean).square().mean()
    if not 0 < variance < math.inf:
        raise ValueError(
            f"the mean squared error of mean and x is {variance.item():.6g}; "
            "wanted a finite number greater than 0, or the likelihood has no maximum"
        )
    return variance
