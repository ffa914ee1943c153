r"""Sums whose gradient is wanted and whose value is not.

A surrogate is differentiated and then thrown away. **It is no bound; never log it and never select a
model by it.** Log `iwae_bound` of the same log-weights, which costs nothing more.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib.bounds import _check

__all__ = ["dreg_surrogate", "iwae_surrogate"]


def iwae_surrogate(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""A sum whose gradient is that of `iwae_bound`; its value is not.

    .. math:: \sum_{i=1}^{k} \tilde w_i \ln w_i, \qquad
              \tilde w_i = \frac{w_i}{\sum_j w_j} \text{ held constant}

    The value exceeds `iwae_bound` by :math:`\ln k` minus the entropy of the normalised weights, so
    by anything from 0 to ln k: several published codes report it as their bound. You need it only
    when the gradient is to be taken apart, as in `dreg_surrogate`. Otherwise differentiate
    `iwae_bound` itself.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x), differentiable.

    Returns:
        (batch,), nats, to be differentiated and not reported.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 6 (when does the order change?), chapter 9 (tighter is not always better). Source:
    Burda et al. (2016), section 3.

    Example:
        >>> from vae_lib.bounds import iwae_bound
        >>> log_w = torch.tensor([[1.0], [3.0]]).log().requires_grad_()
        >>> torch.autograd.grad(iwae_surrogate(log_w).sum(), log_w)
        (tensor([[0.2500],
                [0.7500]]),)
        >>> torch.autograd.grad(iwae_bound(log_w).sum(), log_w)
        (tensor([[0.2500],
                [0.7500]]),)
        >>> iwae_surrogate(log_w).item() > iwae_bound(log_w).item()
        True
    """
    return _weighted(log_w, power=1)


def dreg_surrogate(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""A sum whose gradient in the encoder is the doubly reparametrised one of `iwae_bound`.

    .. math:: \sum_{i=1}^{k} \tilde w_i^2 \ln w_i, \qquad
              \nabla_\phi \mathcal{L}_k = \mathbb{E} \sum_{i=1}^{k} \tilde w_i^2 \,
              \frac{\partial \ln w_i}{\partial z_i} \frac{\partial z_i}{\partial \phi}

    It is unbiased, and its noise does not drown the signal as k grows. Two conditions:

    1. The log-weights depend on the encoder **through z only**. Inside ln q(z|x) the parameters of
       q must be stopped: `VAE.log_weights(x, k, detach_posterior=True)`. By hand: draw z with
       `rsample`, then evaluate a q made from `mean.detach()` and `std.detach()` at this z.
       With ordinary log-weights the gradient is wrong, and nothing here can notice.
    2. The gradient is for the encoder **only**. The decoder wants :math:`\tilde w_i`, not the
       square: take it from `iwae_surrogate` of the same log-weights.

    .. code-block:: python

        log_w = model.log_weights(x, k, detach_posterior=True)
        encoder_gradient = torch.autograd.grad(
            dreg_surrogate(log_w).mean(), encoder_parameters, retain_graph=True
        )
        decoder_gradient = torch.autograd.grad(iwae_surrogate(log_w).mean(), decoder_parameters)

    One backward pass for both is possible: differentiate `iwae_surrogate` and let a hook on z
    multiply what passes by :math:`\tilde w_i` once more. We keep two plain functions of one tensor:
    both gradients stay visible, at the price of a second pass.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x), with q stopped.

    Returns:
        (batch,), nats, to be differentiated and not reported.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 6 (when does the order change?), chapter 9 (tighter is not always better). Source:
    Tucker et al. (2019).

    Example:
        >>> mean = torch.tensor([0.3], requires_grad=True)
        >>> z = mean + torch.tensor([[-1.0], [0.5]])         # (k, batch), reparametrised
        >>> q = torch.distributions.Normal(mean.detach(), 1.0)
        >>> log_w = -z.square() - q.log_prob(z)              # q stopped, z not
        >>> torch.autograd.grad(dreg_surrogate(log_w).sum(), mean)
        (tensor([0.0059]),)
    """
    return _weighted(log_w, power=2)


def _weighted(log_w: Tensor, power: int) -> Tensor:
    _check.log_weights(log_w)
    weights = torch.softmax(log_w, dim=0).detach() ** power  # (k, batch), over the samples
    # an impossible sample has weight 0 and log-weight -inf: it must not turn the sum into NaN
    return (weights * log_w.masked_fill(weights == 0, 0.0)).sum(0)
