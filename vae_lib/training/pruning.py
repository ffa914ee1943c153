"""The importance-weighted bound, differentiated only at the draws that carry weight."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_lib.bounds import iwae_bound

__all__ = ["pruned_iwae"]


def pruned_iwae(model: Any, x: Tensor, k: int, threshold: float) -> tuple[Tensor, Tensor]:
    r"""The loss − mean of :math:`L_k` whose gradient leaves out draws of next to no weight.

    .. math:: \nabla L_k = \sum_{i=1}^{k} \tilde w_i \nabla \ln w_i
              \approx \sum_{i : \tilde w_i > \tau} \tilde w_i \nabla \ln w_i

    After a few epochs most of k = 50 draws have weights below :math:`10^{-6}`: they cost as much as the
    others and change nothing. All k draws are scored without a graph; then those with a normalised weight
    above :math:`\tau` are scored once more, with one. Memory for the backward pass is needed for these
    alone. The relative error of the gradient is about :math:`\tau` times the number of draws left out.

    The value of the loss is the whole bound. It is attached to the graph of the few by adding their
    weighted sum and taking it away again, detached.

    Args:
        model: A `VAE` or a `HierarchicalVAE`, Gaussian and diagonal in every encoder.
        x: The batch, (batch, pixels).
        k: The number of draws per example.
        threshold: :math:`\tau`, from 0 to below 1/k.

    Returns:
        The loss, one number; and the sums over the batch of reconstruction, rate and bound, detached.

    Raises:
        ValueError: If the posterior is no diagonal Gaussian.

    Book: chapter 12 (speed). Source: our own; the weights are those of Burda et al. (2016).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> loss, sums = pruned_iwae(mlp_vae(8, 2, seed=0), torch.eye(8), k=5, threshold=1e-6)
        >>> loss.shape, bool(torch.isclose(-loss, sums[2] / 8))
        (torch.Size([]), True)
    """
    encoders = list(getattr(model, "encoders", None) or [model.encoder])
    decoders = list(getattr(model, "decoders", None) or [model.decoder])
    first = _gaussian(encoders[0](x))  # with a graph: it runs once per example, not once per draw
    with torch.no_grad():
        noise = [torch.randn(k, *first.loc.shape, dtype=first.loc.dtype, device=x.device)]
        every = _score(model, encoders, decoders, first, noise, x)
        log_likelihood, log_ratio = every  # (k, batch) each
        log_w = log_likelihood - log_ratio
        bound = iwae_bound(log_w)  # (batch,)
        weights = log_w.softmax(0)
        sample, example = (weights > threshold).nonzero(as_tuple=True)  # (survivors,) each
    few = Normal(first.loc[example], first.scale[example], validate_args=False)
    kept = [epsilon[sample, example] for epsilon in noise]
    log_likelihood_few, log_ratio_few = _score(model, encoders, decoders, few, kept, x[example])
    surrogate = (weights[sample, example] * (log_likelihood_few - log_ratio_few)).sum() / len(x)
    loss = surrogate.detach() - surrogate - bound.mean()
    sums = torch.stack([log_likelihood.mean(0).sum(), log_ratio.mean(0).sum(), bound.sum()])
    return loss, sums


def _score(
    model: Any, encoders: list, decoders: list, posterior: Normal, noise: list[Tensor], x: Tensor
) -> tuple[Tensor, Tensor]:
    """ln p(x|h_1), and ln q(h|x) - ln p(h), of draws made from `noise`.

    `noise` has an entry for each layer, (draws, latent); those that are not there yet are drawn and
    added, so that a second call repeats the first one for some of its draws.
    """
    h = [posterior.loc + posterior.scale * noise[0]]  # (draws, latent of the layer)
    log_q = posterior.log_prob(h[0]).sum(-1)
    for layer, encoder in enumerate(encoders[1:], start=1):
        posterior = _gaussian(encoder(h[-1]))
        if layer == len(noise):
            noise.append(torch.randn_like(posterior.loc))
        h.append(posterior.loc + posterior.scale * noise[layer])
        log_q = log_q + posterior.log_prob(h[-1]).sum(-1)
    log_p = model.prior.log_prob(h[-1])
    for below, above, decoder in zip(h, h[1:], decoders[1:], strict=False):
        log_p = log_p + decoder(above).log_prob(below)
    return model.decode(h[0]).log_prob(x), log_q - log_p


def _gaussian(posterior: Distribution) -> Normal:
    """The Gaussians of a diagonal posterior, one for each latent."""
    base = posterior.base_dist if isinstance(posterior, Independent) else posterior
    if not isinstance(base, Normal):
        raise ValueError(
            f"prune needs a diagonal Gaussian posterior, whose draws can be made again; got a "
            f"{type(base).__name__}. Wanted prune=0, or another posterior"
        )
    return base
