"""What all likelihoods share: one event per image, and refusals."""

import torch
from torch import Tensor
from torch.distributions import Independent

from vae_lib import _require

__all__ = ["Image", "LevelImage", "UnitImage", "at_least_float32", "check_output", "nearest_level"]


class Image(Independent):
    """One event per image, that refuses another number of pixels where broadcasting would not."""

    def log_prob(self, value: Tensor) -> Tensor:
        self.admit(value)
        return self.base_dist.log_prob(value).sum(-1)  # the parent's sum cannot take an empty batch

    def admit(self, value: Tensor) -> None:
        """Refuse what is no image of this size, and look at the values where that is wanted."""
        _require.floating("x", value)
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"x has shape {tuple(value.shape)}; "
                f"wanted (..., {self.event_shape[0]}), the event shape of the distribution"
            )
        pairs = zip(value.shape[-2::-1], self.batch_shape[::-1], strict=False)
        if any(size != wanted and 1 not in (size, wanted) for size, wanted in pairs):
            raise ValueError(
                f"x has shape {tuple(value.shape)}, which does not fit the distribution's batch of shape "
                f"{tuple(self.batch_shape)}; wanted one image for each entry of the batch"
            )
        if self._validate_args:
            self.check(value)

    def check(self, value: Tensor) -> None:
        """Refuse values that no image of this kind has, whatever the parameters are."""
        if bool(value.isnan().any()):
            raise ValueError(f"x holds {int(value.isnan().sum())} NaN; wanted numbers")


class UnitImage(Image):
    """An image whose pixels lie in [0, 1]."""

    def check(self, value: Tensor) -> None:
        outside = (value < 0) | (value > 1)
        if bool(outside.any()):
            raise ValueError(
                f"x holds {int(outside.sum())} pixels outside [0, 1], such as "
                f"{value[outside][0].item():.6g}; wanted every pixel within [0, 1]"
            )
        super().check(value)


class LevelImage(Image):
    """An image whose pixels are levels: floats j / (levels - 1), or the whole numbers j themselves.

    Its `base_dist` has the attributes `levels` and `dtype`.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        _require.tensor("x", value)
        levels = self.base_dist.levels
        if not value.is_floating_point():
            if self._validate_args:
                _check_whole_levels(value, levels)
            value = value.to(self.base_dist.dtype) / (levels - 1)
        return super().log_prob(value)

    def check(self, value: Tensor) -> None:
        _check_levels(value, self.base_dist.levels)
        super().check(value)


def nearest_level(x: Tensor, levels: int) -> Tensor:
    """The level j of every pixel x = j / (levels - 1), a whole number in a dtype that holds j + 0.5."""
    return (at_least_float32(x) * (levels - 1)).round()


def at_least_float32(x: Tensor) -> Tensor:
    """x itself, unless it is of half precision: bfloat16 cannot tell 128.5 from 128."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_levels(x: Tensor, levels: int) -> None:
    level = nearest_level(x, levels)
    # a hundredth of a level leaves room for pixels that were divided in float32
    off = ((at_least_float32(x) * (levels - 1) - level).abs() > 0.01) | (level < 0) | (level > levels - 1)
    if bool(off.any()):
        raise ValueError(
            f"x holds {int(off.sum())} pixels that are none of the {levels} levels, such as "
            f"{x[off][0].item():.6g}; wanted every pixel to be a multiple of 1/{levels - 1} from 0 to 1"
        )


def _check_whole_levels(x: Tensor, levels: int) -> None:
    outside = (x < 0) | (x > levels - 1)
    if bool(outside.any()):
        raise ValueError(
            f"x holds {int(outside.sum())} levels out of range, such as {x[outside][0].item()}; "
            f"wanted whole numbers from 0 to {levels - 1}, or floats from 0 to 1"
        )


def check_output(name: str, output: Tensor, look: bool) -> None:
    """Refuse what a network should not put out: no pixel axis, whole numbers, NaN, infinity."""
    _require.floating(name, output)
    if output.dim() == 0:
        raise ValueError(f"{name} has shape (); wanted (..., pixels)")
    if look:
        _require.finite(name, output)
