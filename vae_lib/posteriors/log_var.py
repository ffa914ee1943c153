"""A log-variance without overflow and without a dead gradient."""

from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib._soft import softened

__all__ = ["bounded_log_var"]


def bounded_log_var(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""A log-variance that stays usable whatever number the network puts out.

    .. math:: g(r) = r \quad\text{for } |r| \le 6, \qquad
              g(r) = \operatorname{sign}(r)\,\bigl(6 + \ln(1 + |r| - 6)\bigr) \quad\text{outside}

    Outside :math:`[-6, 6]` it grows like a logarithm, so :math:`e^{g(r)}` neither overflows nor
    reaches zero in float32. Its slope is continuous, :math:`1 / (1 + |r| - 6)` outside, and never
    zero: unlike a hard clamp it always lets a network that went too far come back.

    Args:
        raw: Any shape, which is kept. NaN stays NaN.

    Raises:
        ValueError: If raw does not hold floating-point numbers.

    Book: chapter 8 (initialisation, log-variance, NaN) and exercise 8.7.

    Example:
        >>> import torch
        >>> bounded_log_var(torch.tensor([-1e4, -6.0, 0.5, 6.0, 1e4]))
        tensor([-15.2098,  -6.0000,   0.5000,   6.0000,  15.2098])
    """
    _require.floating("raw", raw)
    return softened(raw)
