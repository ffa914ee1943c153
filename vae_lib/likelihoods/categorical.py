"""Grey levels: a probability for each of them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from vae_lib import _require
from vae_lib.likelihoods._image import LevelImage, at_least_float32, check_output, nearest_level

__all__ = ["Categorical"]


class Categorical(nn.Module):
    r"""Grey levels, each with a probability of its own: any distribution over them.

    .. math:: P(x_d = \tfrac{j}{L - 1} \,|\, z)
              = \frac{e^{\ell_{d j}}}{\sum_{i=0}^{L - 1} e^{\ell_{d i}}}

    The network puts out one row, (..., pixels * levels), so that an ordinary `mlp` fits: first the
    L logits of pixel 0, then those of pixel 1, and so on. That two levels are neighbours is
    something the network has to learn; `DiscretizedLogistic` knows it.

    Pixels are floats j / (L − 1) from 0 to 1, as `ImageData.scaled` makes them, or the whole numbers
    j in an integer tensor.

    Args:
        levels: L, at least 2.
        validate: look at the values of x (each one of the levels); see `Bernoulli`.

    Attributes:
        depth: the numbers it needs for each pixel, L.

    Raises:
        ValueError: levels is below 2. Calling it: the last dimension of the logits is no multiple
            of levels, or a pixel has a NaN, plus infinity, or minus infinity at every level (at
            some it means "impossible"). The `log_prob` of the result: x has another number of
            pixels, NaN, or a pixel that is no level.

    Book: chapter 5 (grey levels). Source: van den Oord et al. (2016), arXiv 1601.06759.

    Example:
        >>> p = Categorical(levels=4)(torch.zeros(5, 64 * 4))
        >>> p.batch_shape, p.event_shape
        (torch.Size([5]), torch.Size([64]))
        >>> p.log_prob(torch.zeros(5, 64)) / torch.tensor(4.0).log()
        tensor([-64., -64., -64., -64., -64.])
        >>> p.log_prob(torch.full((5, 64), 0.5))
        Traceback (most recent call last):
        ValueError: x holds 320 pixels that are none of the 4 levels, such as 0.5; wanted every pixel ...
    """

    def __init__(self, levels: int = 256, validate: bool = True) -> None:
        super().__init__()
        _require.integer_within("levels", levels, lowest=2)
        self.levels = self.depth = levels
        self.validate = validate

    def forward(self, logits: Float[Tensor, "*batch pixels_times_levels"]) -> Independent:
        """The distribution of x, with event shape (pixels,).

        Args:
            logits: (..., pixels * levels), pixel by pixel.
        """
        check_output("logits", logits, look=False)  # minus infinity is welcome: looked at below
        if logits.shape[-1] == 0 or logits.shape[-1] % self.levels:
            raise ValueError(
                f"logits has shape {tuple(logits.shape)}; "
                f"wanted (..., pixels * levels), a multiple of levels = {self.levels}"
            )
        log_probs = at_least_float32(logits).unflatten(-1, (-1, self.levels)).log_softmax(-1)
        if self.validate and bool(log_probs.isnan().any()):
            pixels = int(log_probs.isnan().any(-1).sum())
            raise ValueError(
                f"logits holds {pixels} pixels with NaN, plus infinity, or minus infinity at every level; "
                "wanted numbers, a finite one for every pixel"
            )
        return LevelImage(_CategoricalLevels(log_probs), 1, validate_args=self.validate)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class _CategoricalLevels(Distribution):
    """One distribution over the levels for each row of log-probabilities, (..., levels)."""

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    support = constraints.unit_interval

    def __init__(self, log_probs: Tensor) -> None:
        self.log_probs = log_probs
        self.levels = log_probs.shape[-1]
        super().__init__(log_probs.shape[:-1], validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return _CategoricalLevels(self.log_probs.expand(*batch_shape, self.levels))

    @property
    def dtype(self) -> torch.dtype:
        return self.log_probs.dtype

    def log_prob(self, value: Tensor) -> Tensor:
        level = nearest_level(value, self.levels).long()
        shape = torch.broadcast_shapes(level.shape, self.batch_shape)
        table = self.log_probs.expand(*shape, self.levels)  # (..., pixels, levels)
        return table.gather(-1, level.expand(shape).unsqueeze(-1)).squeeze(-1)

    def _moment(self, power: int) -> Tensor:
        values = torch.linspace(0, 1, self.levels, dtype=self.dtype, device=self.log_probs.device)
        return (self.log_probs.exp() * values**power).sum(-1)

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self._moment(1).square()

    @torch.no_grad()
    def sample(self, sample_shape=torch.Size()):  # noqa: B008 (torch's own convention)
        shape = self._extended_shape(sample_shape)
        if 0 in shape:  # multinomial refuses to draw nothing
            return self.log_probs.new_zeros(shape)
        draws = torch.distributions.Categorical(logits=self.log_probs).sample(sample_shape)
        return draws.to(self.dtype) / (self.levels - 1)
