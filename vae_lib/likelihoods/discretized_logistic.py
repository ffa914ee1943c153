"""Grey levels: a logistic distribution, cut into bins."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from vae_lib import _require
from vae_lib._soft import hardened, softened
from vae_lib.likelihoods._image import LevelImage, at_least_float32, check_output, nearest_level

__all__ = ["DiscretizedLogistic"]

_BOUND = 30.0  # of the learned ln s; beyond it the parameter is softened


class DiscretizedLogistic(nn.Module):
    r"""Grey levels around a mean: a logistic distribution, cut into one bin for each level.

    .. math:: P(x_d = \tfrac{j}{L - 1} \,|\, z) = F(j + \tfrac12) - F(j - \tfrac12), \qquad
              F(t) = \operatorname{sigmoid} \left( \frac{t / (L - 1) - \mu_d}{s} \right)

    for the L levels :math:`j = 0, \dots, L - 1`. The lowest bin reaches down to :math:`-\infty` and
    the highest up to :math:`+\infty`: they take the tails, so that the levels have probability one
    together. Leaving the tails out is a fault of published code; a mean near black or white then
    loses up to half of its probability.

    Pixels are floats j / (L − 1) from 0 to 1, as `ImageData.scaled` makes them, or the whole numbers
    j in an integer tensor. The mean is on the scale of the floats, and not confined to it.

    With :math:`a < b` the standardised ends of a bin, the probability is computed as
    :math:`\operatorname{sigmoid}(b) \operatorname{sigmoid}(-a) (1 - e^{a - b})`, which is the
    same number, without the difference of two numbers that both round to 1.

    Args:
        scale: s, or where the learned one starts; in the units of the floats. The standard
            deviation of the logistic is :math:`s \pi / \sqrt 3`.
        learned: learn one scale, shared by all pixels and examples.
        levels: L, at least 2.
        min_scale: the floor of the learned scale, reached smoothly. A fixed `scale` is used as it is.
        validate: look at the values of x (each one of the levels); see `Bernoulli`.

    Attributes:
        log_scale: the parameter, a single number; None if `learned` is False. Read the scale from
            `scale`, which includes the floor.

    Raises:
        ValueError: scale or min_scale is not positive, a learned scale does not start above the
            floor, or levels is below 2. Calling it: the mean has no pixel dimension, or is NaN or
            infinite somewhere. The `log_prob` of the result: x has another number of pixels, NaN, or
            a pixel that is no level.

    Book: chapter 5 (grey levels). Source: Kingma et al. (2016), arXiv 1606.04934.

    Example:
        >>> likelihood = DiscretizedLogistic(scale=0.05, levels=17)
        >>> p = likelihood(torch.tensor([[0.9]]))
        >>> levels = torch.arange(17).unsqueeze(-1)                 # one image for each level
        >>> p.log_prob(levels).exp().sum()
        tensor(1.)
        >>> torch.equal(p.log_prob(levels), p.log_prob(levels / 16))
        True
        >>> p.log_prob(torch.tensor([[0.3]]))
        Traceback (most recent call last):
        ValueError: x holds 1 pixels that are none of the 17 levels, such as 0.3; wanted every pixel ...
    """

    def __init__(
        self,
        scale: float | int = 0.05,
        learned: bool = False,
        levels: int = 256,
        min_scale: float = 1e-4,
        validate: bool = True,
    ) -> None:
        super().__init__()
        _require.positive_number("scale", scale)
        _require.positive_number("min_scale", min_scale)
        _require.integer_within("levels", levels, lowest=2)
        self.initial_scale = float(scale)
        self.learned = learned
        self.levels = levels
        self.min_scale = float(min_scale)
        self.validate = validate
        if learned:
            if scale <= min_scale:
                raise ValueError(
                    f"scale is {scale!r}; wanted a learned scale to start above its floor, "
                    f"min_scale = {min_scale!r}"
                )
            self.log_scale = nn.Parameter(torch.tensor(hardened(math.log(scale - min_scale), _BOUND)))
        else:
            self.register_parameter("log_scale", None)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """The scale in use, a single number in the units of the floats.

        Example:
            >>> DiscretizedLogistic(scale=0.25).scale.item()
            0.25
        """
        if self.log_scale is None:  # the number as it was given, in float64; it does not promote images
            return torch.tensor(self.initial_scale, dtype=torch.float64)
        return softened(self.log_scale, _BOUND).exp() + self.min_scale

    def forward(self, mean: Float[Tensor, "*batch pixels"]) -> Independent:
        """The distribution of x, with event shape (pixels,).

        Its `mean` is the mean over the levels, which is not the `mean` given here: the tails are
        folded into the ends.

        Args:
            mean: (..., pixels), on the scale where black is 0 and white is 1.
        """
        check_output("mean", mean, self.validate)
        mean = at_least_float32(mean)  # autocast makes it of half precision, which has no half levels
        scale = mean.new_full((), self.initial_scale) if self.log_scale is None else self.scale
        pixels = _LogisticLevels(mean, scale, self.levels)
        return LevelImage(pixels, 1, validate_args=self.validate)

    def extra_repr(self) -> str:
        return f"scale={float(self.scale.detach()):.4g}, learned={self.learned}, levels={self.levels}"


class _LogisticLevels(Distribution):
    """One distribution over the levels for each mean; everything inside is in units of one level."""

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    support = constraints.unit_interval

    def __init__(self, mean: Tensor, scale: Tensor, levels: int) -> None:
        self.location, self.scale, self.levels = mean, scale, levels
        super().__init__(mean.shape, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return _LogisticLevels(self.location.expand(batch_shape), self.scale, self.levels)

    @property
    def dtype(self) -> torch.dtype:
        return self.location.dtype

    def _standardised(self, edge: Tensor | float) -> Tensor:
        top = self.levels - 1
        return (edge - self.location * top) / (self.scale * top)

    def log_prob(self, value: Tensor) -> Tensor:
        level = nearest_level(value, self.levels)
        logsigmoid = nn.functional.logsigmoid
        # level ± 0.5 is exact, so neighbours agree to the last bit on the edge that they share
        below = logsigmoid(self._standardised(level + 0.5))  # ln of the mass below the upper edge
        above = logsigmoid(-self._standardised(level - 0.5))  # ln of the mass above the lower edge
        width = 1 / (self.scale * (self.levels - 1))
        inner = below + above + torch.log(-torch.expm1(-width))
        return torch.where(level == 0, below, torch.where(level == self.levels - 1, above, inner))

    def _sum_over_tails(self, power: int) -> Tensor:
        """The mean of (level to the power), as a sum over P(level or more)."""
        total = torch.zeros_like(self.location)
        for level in range(1, self.levels):  # one level at a time, so that memory stays flat
            step = level**power - (level - 1) ** power
            total = total + step * torch.sigmoid(-self._standardised(level - 0.5))
        return total

    @property
    def mean(self) -> Tensor:
        return self._sum_over_tails(1) / (self.levels - 1)

    @property
    def variance(self) -> Tensor:
        return self._sum_over_tails(2) / (self.levels - 1) ** 2 - self.mean.square()

    @torch.no_grad()
    def sample(self, sample_shape=torch.Size()):  # noqa: B008 (torch's own convention)
        location = self.location.expand(self._extended_shape(sample_shape))
        logistic = location + self.scale * torch.logit(torch.rand_like(location))
        # the ends take the tails: this clamp is the definition of the first and the last bin
        level = nearest_level(logistic, self.levels).clamp(0, self.levels - 1)
        return level / (self.levels - 1)
