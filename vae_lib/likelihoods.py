r"""From a network's output to a distribution over the data.

Each likelihood is a small module: call it with what the decoder computed, (..., D), and you get a
distribution of x whose event is the whole image, (D,). Its `log_prob` therefore sums over pixels
and returns one value per example, in nats::

    log_p = likelihood(network(z)).log_prob(x)      # z (k, batch, latent) -> (k, batch)

A distribution refuses data it gives no probability to: grey pixels under a Bernoulli, NaN, an image
of another size.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent, Normal

from vae_lib import _require

__all__ = ["Bernoulli", "Gaussian", "bits_per_dim"]


class Bernoulli(nn.Module):
    r"""Black-or-white pixels from logits.

    .. math:: \ln p(x|z) = \sum_{d=1}^{D} \left[ x_d \ell_d - \ln(1 + e^{\ell_d}) \right],
              \qquad x_d \in \{0, 1\}

    Give it **logits**, not probabilities: a sigmoid before this module would be a second one. The
    sum above is stable for logits of any size.

    Args:
        validate: look at the values of x (each 0 or 1). Set it to False only where the same data
            have been checked before: on a GPU, looking makes every step wait for the answer.

    Book: chapter 8 (the loss contract). Source: Kingma and Welling (2014), appendix C.1.

    Example:
        >>> likelihood = Bernoulli()
        >>> p = likelihood(torch.zeros(5, 64))
        >>> p.batch_shape, p.event_shape
        (torch.Size([5]), torch.Size([64]))
        >>> p.log_prob(torch.ones(5, 64)) / math.log(2)
        tensor([-64., -64., -64., -64., -64.])
        >>> p.log_prob(torch.full((5, 64), 0.5))
        Traceback (most recent call last):
        ValueError: x holds 320 grey pixels, such as 0.5; wanted every pixel to be 0 or 1 ...
    """

    def __init__(self, validate: bool = True) -> None:
        super().__init__()
        self.validate = validate

    def forward(self, logits: Float[Tensor, "*batch pixels"]) -> Independent:
        """The distribution of x, with event shape (pixels,).

        Args:
            logits: (..., pixels).

        Raises:
            ValueError: the logits have no pixel dimension or hold NaN. The `log_prob` of the result
                raises it where x has another number of pixels, NaN, or a pixel that is not 0 or 1.
        """
        _check_output("logits", logits, self.validate)
        return _BinaryImage(
            TorchBernoulli(logits=logits, validate_args=False), 1, validate_args=self.validate
        )

    def extra_repr(self) -> str:
        return "" if self.validate else "validate=False"


class Gaussian(nn.Module):
    r"""Real-valued pixels around a mean, with one standard deviation for all of them.

    .. math:: \ln p(x|z) = -\frac{D}{2} \ln(2 \pi \sigma^2)
              - \frac{1}{2 \sigma^2} \sum_{d=1}^{D} (x_d - \mu_d)^2

    The standard deviation is a choice with consequences: dividing the squared error by
    :math:`2 \sigma^2` is the same as weighing the KL term by :math:`2 \sigma^2`. With
    ``learned=True`` it becomes a parameter, `log_var`, and the variance is

    .. math:: \sigma^2 = e^{\mathtt{log\_var}} + \sigma_{\min}^2,

    a floor that is reached smoothly, so that the gradient is not cut off there. Without a floor
    a model that reproduces its data exactly drives the density to infinity.

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

    Book: chapter 8 (the loss contract). Source: Rybkin et al. (2021) for the shared learned one.

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
        self.initial_std = float(std)
        self.learned = learned
        self.min_std = float(min_std)
        self.validate = validate
        if learned:
            _require.positive_number("min_std", min_std)
            if std <= min_std:
                raise ValueError(
                    f"std is {std!r}; wanted a learned std to start above its floor, min_std = {min_std!r}"
                )
            self.log_var = nn.Parameter(torch.tensor(math.log(std**2 - min_std**2)))
        else:
            self.register_parameter("log_var", None)

    @property
    def std(self) -> Tensor:
        """The standard deviation in use, a single number in the units of x.

        Example:
            >>> Gaussian(std=0.25).std
            tensor(0.2500)
        """
        if self.log_var is None:
            return torch.tensor(self.initial_std)
        return (self.log_var.exp() + self.min_std**2).sqrt()

    def forward(self, mean: Float[Tensor, "*batch pixels"]) -> Independent:
        """The distribution of x, with event shape (pixels,).

        Args:
            mean: (..., pixels), in the units of x.

        Raises:
            ValueError: the mean has no pixel dimension or holds NaN. The `log_prob` of the result
                raises it where x has another number of pixels or holds NaN.
        """
        _check_output("mean", mean, self.validate)
        std = mean.new_full((), self.initial_std) if self.log_var is None else self.std
        return _Image(Normal(mean, std, validate_args=False), 1, validate_args=self.validate)

    def extra_repr(self) -> str:
        return f"std={float(self.std.detach()):.4g}, learned={self.learned}"


def bits_per_dim(
    log_prob: Float[Tensor, "*batch"], dims: int, *, scale: float | int = 1.0
) -> Float[Tensor, "*batch"]:
    r"""A log-probability in bits per dimension, on the scale of the raw data.

    .. math:: \frac{1}{\ln 2} \left( -\frac{\ln p(x)}{D} + \ln s \right), \qquad
              x = \text{raw} / s

    A density depends on the units of x: dividing the data by s raises ln p(x) by D ln s. `scale`
    undoes that, so numbers computed on differently scaled data can be compared. Lower is better.

    Args:
        log_prob: (...), ln p(x) in nats, summed over the dimensions.
        dims: D, the number of pixels.
        scale: s, the number by which the raw data were divided (16 for the digits, 255 for bytes).

    Returns:
        (...), bits.

    Raises:
        ValueError: dims is not a positive integer or scale is not positive.

    Book: chapter 9 (evaluation). Source: Theis et al. (2016), section 3.1.

    Example:
        >>> log_prob = torch.tensor([-64 * math.log(2.0)])
        >>> bits_per_dim(log_prob, 64), bits_per_dim(log_prob, 64, scale=16)
        (tensor([1.]), tensor([5.]))
    """
    _require.floating("log_prob", log_prob)
    _require.positive_integer("dims", dims)
    _require.positive_number("scale", scale)
    return (-log_prob / dims + math.log(scale)) / math.log(2.0)


class _Image(Independent):
    """One event per image, that refuses another number of pixels where broadcasting would not."""

    def log_prob(self, value: Tensor) -> Tensor:
        _require.floating("x", value)
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"x has shape {tuple(value.shape)}; "
                f"wanted (..., {self.event_shape[0]}), the event shape of the distribution"
            )
        if self._validate_args and bool(value.isnan().any()):
            raise ValueError(f"x holds {int(value.isnan().sum())} NaN; wanted numbers")
        return super().log_prob(value)


class _BinaryImage(_Image):
    """An image whose pixels are 0 or 1."""

    def log_prob(self, value: Tensor) -> Tensor:
        value = value if value.is_floating_point() else value.to(self.base_dist.logits.dtype)
        if self._validate_args:
            grey = (value != 0) & (value != 1) & ~value.isnan()
            if bool(grey.any()):
                raise ValueError(
                    f"x holds {int(grey.sum())} grey pixels, such as {value[grey][0].item():.6g}; "
                    "wanted every pixel to be 0 or 1 (binarise the data, or take a likelihood "
                    "for grey pixels)"
                )
        return super().log_prob(value)


def _check_output(name: str, output: Tensor, look: bool) -> None:
    _require.floating(name, output)
    if output.dim() == 0:
        raise ValueError(f"{name} has shape (); wanted (..., pixels)")
    if look and bool(output.isnan().any()):
        raise ValueError(f"{name} holds {int(output.isnan().sum())} NaN; wanted numbers")
