"""Black-or-white pixels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent

from vae_lib import _require
from vae_lib.likelihoods._image import Image, check_output

__all__ = ["Bernoulli"]


class Bernoulli(nn.Module):
    r"""Black-or-white pixels from logits.

    .. math:: \ln p(x|z) = \sum_{d=1}^{D} \left[ x_d \ell_d - \ln(1 + e^{\ell_d}) \right],
              \qquad x_d \in \{0, 1\}

    Give it **logits**, not probabilities: a sigmoid before this module would be a second one. The
    sum above is stable for logits of any size.

    Args:
        validate: look at the values of x (each 0 or 1). Set it to False only where the same data
            have been checked before: on a GPU, looking makes every step wait for the answer.

    Raises:
        ValueError: Calling it: the logits have no pixel dimension, or one is NaN or infinite. The
            `log_prob` of the result: x has another number of pixels, NaN, or a pixel that is not 0
            or 1.

    Book: chapter 5 (black or white), chapter 8 (the loss contract). Source: Kingma and Welling
    (2014), appendix C.1.

    Example:
        >>> import math
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
        """
        check_output("logits", logits, self.validate)
        return _BinaryImage(
            TorchBernoulli(logits=logits, validate_args=False), 1, validate_args=self.validate
        )

    def extra_repr(self) -> str:
        return "" if self.validate else "validate=False"


class _BinaryImage(Image):
    """An image whose pixels are 0 or 1."""

    def log_prob(self, value: Tensor) -> Tensor:
        _require.tensor("x", value)
        logits = self.base_dist.logits
        value = value if value.is_floating_point() else value.to(logits.dtype)
        self.admit(value)
        logits, value = torch.broadcast_tensors(logits, value)
        # the minus after the sum, not in every pixel as in the parent: one pass over the images less
        return -nn.functional.binary_cross_entropy_with_logits(logits, value, reduction="none").sum(-1)

    def check(self, value: Tensor) -> None:
        grey = (value != 0) & (value != 1) & ~value.isnan()
        if bool(grey.any()):
            raise ValueError(
                f"x holds {int(grey.sum())} grey pixels, such as {value[grey][0].item():.6g}; "
                "wanted every pixel to be 0 or 1 (binarise the data, or take a likelihood "
                "for grey pixels)"
            )
        super().check(value)
