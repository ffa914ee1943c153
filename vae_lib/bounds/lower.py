r"""Lower bounds on ln p(x), and the two changed objectives that stand beside the ELBO."""

from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.bounds import _check
from vae_lib.bounds.weights import log_mean_exp

__all__ = ["beta_elbo", "elbo", "free_bits", "iwae_bound"]


def elbo(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""The evidence lower bound, estimated from k samples of the encoder.

    .. math:: \frac{1}{k} \sum_{i=1}^{k} \ln w_i, \qquad
              \mathbb{E}_{q(z|x)} \ln w = \ln p(x) - \mathrm{KL}(q(z|x) \,\|\, p(z|x))

    More samples make the estimate steadier; they do not make the bound tighter.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 2 (the rearrangement). Source: Kingma and Welling (2014), section 2.2.

    Example:
        >>> import torch
        >>> elbo(torch.tensor([[-2.0, -5.0], [-4.0, -5.0]]))
        tensor([-3., -5.])
    """
    _check.log_weights(log_w)
    return log_w.mean(0)


def iwae_bound(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""The importance-weighted bound L_k, estimated once from k samples of the encoder.

    .. math:: \mathcal{L}_k = \mathbb{E}_{z_1 \dots z_k \sim q(z|x)}
              \ln \frac{1}{k} \sum_{i=1}^{k} w_i, \qquad
              \mathrm{ELBO} = \mathcal{L}_1 \le \mathcal{L}_2 \le \dots \le \ln p(x)

    This is the bound itself, the number to report. It is not the weighted sum of log-weights whose
    gradient some codes use: that sum is larger by up to ln k.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 3 (importance weights). Source: Burda et al. (2016), section 3.

    Example:
        >>> import torch
        >>> log_w = torch.tensor([[0.1], [0.3]]).log()
        >>> iwae_bound(log_w).exp()
        tensor([0.2000])
    """
    _check.log_weights(log_w)
    return log_mean_exp(log_w, dim=0)


def beta_elbo(
    reconstruction: Float[Tensor, "*batch"],
    rate: Float[Tensor, "*batch"],
    beta: float | int | Float[Tensor, ""],
) -> Float[Tensor, "*batch"]:
    r"""The ELBO with another price on the rate.

    .. math:: \mathbb{E}_{q(z|x)} \ln p(x|z) - \beta \, \mathrm{KL}(q(z|x) \,\|\, p(z))

    With beta = 1 it is the ELBO. With beta above 1 it is a looser lower bound, because the rate is
    never negative. **With beta below 1 it is no bound**: it may exceed ln p(x). That holds for the
    warm-up values of an annealing schedule too.

    Args:
        reconstruction: (batch,), ln p(x|z) averaged over z from the encoder, nats.
        rate: (batch,), KL(q(z|x) ‖ p(z)) or an unbiased estimate of it, nats.
        beta: the weight of the rate, at least 0; a tensor of no dimension is used as it is.

    Returns:
        (batch,), nats.

    Raises:
        ValueError: the two have different shapes or hold no floating-point numbers, or beta is
            negative, infinite or NaN.

    Book: chapter 3 (the ELBO family), chapter 10 (annealing). Source: Higgins et al. (2017),
    equation 4.

    Example:
        >>> import torch
        >>> reconstruction, rate = torch.tensor([-10.0, -12.0]), torch.tensor([3.0, 2.0])
        >>> beta_elbo(reconstruction, rate, beta=4)
        tensor([-22., -20.])
    """
    _require.floating("reconstruction", reconstruction)
    _require.floating("rate", rate)
    wanted = tuple(reconstruction.shape)
    _require.shape("rate", rate, wanted, f"the shape of reconstruction, {wanted}")
    _require.number_within("beta", beta, lowest=0.0)
    return reconstruction - beta * rate


def free_bits(kl: Float[Tensor, "batch groups"], floor: float | int) -> Float[Tensor, " groups"]:
    r"""The rate of each group of latents, and at least `floor`: what a group costs in the loss.

    .. math:: \max\Big( \lambda, \; \frac1B \sum_{i=1}^{B} \mathrm{KL}_{ij} \Big),
              \qquad j = 1, \dots, \text{groups}

    The maximum is taken **on the mean over the minibatch**, once per group, and not on each
    example. An example may then pay less than the floor where another pays more. A group whose mean
    lies under the floor has gradient zero: there is nothing to gain from making it smaller.

    This is the one function here that mixes examples, so it cannot return one value per example. It
    returns one value per group, already averaged over the batch. The loss of a batch is

    .. code-block:: python

        loss = -reconstruction.mean() + free_bits(kl, floor).sum()

    and minus this loss is a lower bound on the mean ELBO of the batch, hence on the mean of
    ln p(x): a group pays its rate or more.

    Args:
        kl: (batch, groups), the KL of each group of latents from the prior, in closed form or an
            unbiased estimate, nats. A group may be a single latent.
        floor: the free nats of one group, at least 0.

    Returns:
        (groups,), nats.

    Raises:
        ValueError: kl is not a floating-point table (batch, groups) with at least one row, or floor
            is negative, infinite or NaN.

    Book: chapter 3 (the ELBO family), chapter 10 (free bits). Source: Kingma et al. (2016), appendix
    C.8; Kingma and Welling (2019), section 2.8.1.

    Example:
        >>> import torch
        >>> kl = torch.tensor([[0.0, 1.0], [3.0, 0.2]], requires_grad=True)
        >>> cost = free_bits(kl, floor=1.0)                  # means 1.5 and 0.6
        >>> cost
        tensor([1.5000, 1.0000], grad_fn=<ClampBackward1>)
        >>> cost.sum().backward()
        >>> kl.grad
        tensor([[0.5000, 0.0000],
                [0.5000, 0.0000]])
    """
    _require.floating("kl", kl)
    _require.shape("kl", kl, (None, None), "(batch, groups)")
    if kl.shape[0] == 0:
        raise ValueError(f"kl has shape {tuple(kl.shape)}; wanted (batch, groups), at least one row")
    _require.number_within("floor", floor, lowest=0.0)
    return kl.mean(0).clamp(min=floor)
