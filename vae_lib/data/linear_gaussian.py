"""Data from a linear-Gaussian model, for which the best VAE is known on paper."""

import torch
from jaxtyping import Float32
from torch import Tensor

from vae_lib import _require

__all__ = ["synthetic_linear_gaussian"]


def synthetic_linear_gaussian(
    n: int = 1000,
    *,
    pixels: int = 8,
    eigenvalues: tuple[float, ...] = (16.0, 6.0, 2.0),
    variance: float = 0.25,
    seed: int = 0,
) -> Float32[Tensor, "n pixels"]:
    r"""Draw data from a linear-Gaussian model, for which the best VAE is known on paper.

    .. math:: z \sim \mathcal{N}(0, I), \qquad x|z \sim \mathcal{N}(W z + \mu, \sigma^2 I), \qquad
              W = U (\Lambda - \sigma^2 I)^{1/2}

    The columns of :math:`U` are random orthonormal directions and :math:`\mu` is a random centre.
    The covariance of x then has the given `eigenvalues` in these directions and `variance` in all
    others. Eigenvalues well apart make the principal directions easy to tell.

    Args:
        n: The number of rows.
        pixels: The number of columns.
        eigenvalues: The leading eigenvalues of the covariance, largest first, fewer than `pixels`,
            each above `variance`.
        variance: The noise variance :math:`\sigma^2`.
        seed: Seed of everything that is drawn.

    Returns:
        Float32 data, (n, pixels).

    Raises:
        ValueError: If n, pixels, the eigenvalues or the variance do not fit the description.

    Book: chapter 7 (the best parameters), chapter 8 (a linear VAE). Source: Tipping and Bishop (1999).

    Example:
        >>> synthetic_linear_gaussian(500).shape
        torch.Size([500, 8])
    """
    _require.positive_integer("n", n)
    _require.positive_integer("pixels", pixels)
    _require.positive_number("variance", variance)
    for eigenvalue in eigenvalues:
        _require.positive_number("eigenvalues", eigenvalue)
    if not 1 <= len(eigenvalues) < pixels:
        raise ValueError(
            f"eigenvalues are {len(eigenvalues)}; wanted at least 1, less than pixels = {pixels}"
        )
    if min(eigenvalues) <= variance:
        raise ValueError(f"eigenvalues are {eigenvalues}; wanted each above variance = {variance}")
    generator = torch.Generator().manual_seed(seed)
    latent = len(eigenvalues)
    square = torch.randn(pixels, pixels, generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(square).Q[:, :latent]  # (pixels, latent)
    excess = torch.tensor(eigenvalues, dtype=torch.float64) - variance
    weight = directions * excess.sqrt()
    centre = torch.randn(pixels, generator=generator, dtype=torch.float64)
    z = torch.randn(n, latent, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, pixels, generator=generator, dtype=torch.float64)
    return (z @ weight.T + centre + variance**0.5 * noise).float()
