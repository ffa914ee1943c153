"""Why p(x) cannot be estimated with samples of the prior: the price grows like a power of d."""

import math

from vae_lib import _require

__all__ = ["samples_needed"]


def samples_needed(latent_dim: int, std: float | int, relative_error: float | int) -> float:
    r"""How many prior samples estimate p(x) to a given relative error.

    The model is x|z ~ N(z, s^2 I) with z ~ N(0, I) in d dimensions, and x a typical point of it:
    :math:`x_j^2 = 1 + s^2` in every dimension. The mean of p(x|z) over n samples of the prior has
    the relative variance :math:`(\rho^d - 1)/n`, with the relative second moment of one dimension

    .. math:: \rho = \frac{\mathbb{E} \, p(x_j|z_j)^2}{p(x_j)^2}
              \qquad = \frac{N(x_j; 0, 1 + s^2/2)}{2 s \sqrt{\pi} \; N(x_j; 0, 1 + s^2)^2}
              \qquad = \frac{1 + s^2}{s \sqrt{2 + s^2}} \, e^{1/(2 + s^2)}

    Drawing z is easy in any number of dimensions. What explodes is the variance of the estimate.

    Args:
        latent_dim: d, at least 1.
        std: s, the **standard deviation** of the decoder, positive.
        relative_error: the wanted standard error as a fraction of p(x), positive.

    Returns:
        :math:`n = (\rho^d - 1) / \text{relative error}^2`, not rounded; infinite where it exceeds
        the largest float.

    Raises:
        ValueError: latent_dim is below 1, or std or relative_error is not positive and finite.

    Book: chapter 1 (the Monte-Carlo wall). Source: Doersch (2016), section 2.1, for the problem.

    Example:
        >>> [round(samples_needed(d, 0.5, 0.1)) for d in (1, 2, 5, 10)]
        [160, 576, 11767, 1408168]
    """
    _require.positive_integer("latent_dim", latent_dim)
    _require.positive_number("std", std)
    _require.positive_number("relative_error", relative_error)
    variance = std * std
    # ln of (1 + s^2) / (s sqrt(2 + s^2)): the one form keeps its digits where s is large, the other small
    a = 1.0 / (std * math.sqrt(2.0 + variance))
    log_ratio = 0.5 * math.log1p(a * a) if a < 1.0 else math.log(math.hypot(1.0, a))
    log_rho = log_ratio + 1.0 / (2.0 + variance)
    try:
        return math.expm1(latent_dim * log_rho) / relative_error / relative_error
    except OverflowError:
        return math.inf
