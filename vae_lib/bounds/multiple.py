r"""Bounds from m groups of k samples: MIWAE, PIWAE and CIWAE.

One convention for all three: `log_w` is (m, k, batch). Inside a group the k weights are averaged
**under** the logarithm, which tightens the bound. The m groups are averaged **outside** of it, which
makes the estimate steadier. With m = 1 there is only the importance-weighted bound, with k = 1
only the ELBO.

Why anybody would want a looser bound: a larger k drowns the gradient of the encoder in noise. Its
signal falls as 1/k, its standard deviation only as :math:`1/\sqrt{k}`. The decoder profits from k.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.bounds import _check
from vae_lib.bounds.lower import elbo, iwae_bound
from vae_lib.bounds.weights import log_mean_exp

__all__ = ["Piwae", "ciwae", "miwae_bound", "piwae"]


class Piwae(NamedTuple):
    """What the decoder maximises (`theta`) and what the encoder maximises (`phi`), each (batch,), nats.

    Book: chapter 3 (importance weights), chapter 9 (tighter is not always better).

    Example:
        >>> import torch
        >>> Piwae(theta=torch.tensor([-2.0]), phi=torch.tensor([-2.5])).phi
        tensor([-2.5000])
    """

    theta: Float[Tensor, " batch"]
    phi: Float[Tensor, " batch"]


def miwae_bound(log_w: Float[Tensor, "m k batch"]) -> Float[Tensor, " batch"]:
    r"""The importance-weighted bound L_k, estimated m times and averaged.

    .. math:: \frac1m \sum_{a=1}^{m} \ln \frac1k \sum_{i=1}^{k} w_{ai},
              \qquad \text{on average } \mathcal{L}_k

    Args:
        log_w: (m, k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (m, k, batch) with m and k of at least 1.

    Book: chapter 3 (importance weights), chapter 9 (tighter is not always better). Source: Rainforth et
    al. (2018), section 5.

    Example:
        >>> import torch
        >>> log_w = torch.tensor([[[1.0], [3.0], [5.0]], [[27.0], [27.0], [27.0]]]).log()
        >>> log_w.shape                                      # m = 2 groups of k = 3
        torch.Size([2, 3, 1])
        >>> round(miwae_bound(log_w).exp().item(), 4)        # the geometric mean of 3 and 27
        9.0
    """
    _check.grouped_log_weights(log_w)
    return log_mean_exp(log_w, dim=1).mean(0)


def piwae(log_w: Float[Tensor, "m k batch"]) -> Piwae:
    r"""Two objectives: all m k samples in one logarithm for the decoder, m groups for the encoder.

    .. math:: \theta: \; \ln \frac{1}{mk} \sum_{a=1}^{m} \sum_{i=1}^{k} w_{ai}, \qquad
              \phi: \; \frac1m \sum_{a=1}^{m} \ln \frac1k \sum_{i=1}^{k} w_{ai}

    Both are lower bounds. Each is meant for its own parameters, so do not add them; take two
    gradients from one forward pass:

    .. code-block:: python

        theta, phi = piwae(log_w)
        decoder_gradient = torch.autograd.grad(theta.mean(), decoder_parameters, retain_graph=True)
        encoder_gradient = torch.autograd.grad(phi.mean(), encoder_parameters)

    Args:
        log_w: (m, k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        `Piwae(theta, phi)`, each (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (m, k, batch) with m and k of at least 1.

    Book: chapter 3 (importance weights), chapter 9 (tighter is not always better). Source: Rainforth et
    al. (2018), section 5.

    Example:
        >>> import torch
        >>> log_w = torch.tensor([[[1.0], [3.0], [5.0]], [[27.0], [27.0], [27.0]]]).log()
        >>> theta, phi = piwae(log_w)
        >>> round(theta.exp().item(), 4), round(phi.exp().item(), 4)
        (15.0, 9.0)
    """
    _check.grouped_log_weights(log_w)
    return Piwae(theta=iwae_bound(log_w.flatten(0, 1)), phi=miwae_bound(log_w))


def ciwae(log_w: Float[Tensor, "m k batch"], beta: float | int) -> Float[Tensor, " batch"]:
    r"""A mixture of the ELBO and the importance-weighted bound.

    .. math:: \frac{1}{m} \sum_{a=1}^{m} \Big[ \beta \, \frac1k \sum_{i=1}^{k} \ln w_{ai}
              + (1 - \beta) \ln \frac1k \sum_{i=1}^{k} w_{ai} \Big]

    A mixture of two lower bounds is a lower bound. This beta is a share; it has nothing to do with
    the price of the rate in `beta_elbo`. The paper has m = 1.

    Args:
        log_w: (m, k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).
        beta: the share of the ELBO, from 0 (`miwae_bound`) to 1 (`elbo`).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (m, k, batch) with m and k of at least 1, or
            beta does not lie between 0 and 1.

    Book: chapter 3 (importance weights), chapter 9 (tighter is not always better). Source: Rainforth et
    al. (2018), section 5.

    Example:
        >>> import torch
        >>> log_w = torch.tensor([[[1.0], [9.0]]]).log()     # geometric mean 3, mean 5
        >>> ciwae(log_w, beta=0.5).exp()                     # the geometric mean of 3 and 5
        tensor([3.8730])
    """
    _check.grouped_log_weights(log_w)
    _require.number_within("beta", beta, lowest=0.0, highest=1.0)
    looser, tighter = elbo(log_w.flatten(0, 1)), miwae_bound(log_w)
    if beta == 0 or beta == 1:  # an impossible sample makes a bound -inf, and 0 times that is NaN
        return looser if beta else tighter
    return beta * looser + (1 - beta) * tighter
