r"""How an estimate of ln p(x) grows with the number of importance samples."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_lib import _require
from vae_lib.evaluation.arguments import check_conditions, check_examples
from vae_lib.evaluation.likelihood import LogLikelihood, estimates

__all__ = ["convergence"]


@torch.no_grad()
def convergence(
    model: nn.Module,
    x: Float[Tensor, "batch pixels"],
    ks: Sequence[int] = (1, 10, 100, 1000, 5000),
    *,
    y: Float[Tensor, "batch conditions"] | None = None,
    chunk: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[int, LogLikelihood]:
    r"""Estimate ln p(x) with more and more of the same importance samples, in one pass.

    .. math:: \ln \frac1k \sum_{i=1}^{k} w_i, \qquad
              \mathcal{L}_1 \le \mathcal{L}_{10} \le \dots \le \ln p_\theta(x)

    The mean of each over the examples estimates :math:`\mathcal{L}_k`, the importance-weighted bound:
    with k = 1 the ELBO. Where the last ones still differ by more than you can accept, k is too small, or
    the encoder too far from the posterior. A curve that is flat is no proof: see `sandwich`.

    Every k uses the first of the same samples, so the values of two k differ by much less than their
    standard errors say.

    Args:
        model: As for `log_likelihood`.
        x: The examples, (batch, pixels).
        ks: Numbers of samples, ascending. The cost is that of the last.
        y: As for `log_likelihood`.
        chunk: As for `log_likelihood`.
        seed: As for `log_likelihood`.
        progress: As for `log_likelihood`.

    Returns:
        For every k a `LogLikelihood`, with values (batch,), and their `mean` with its standard error over
        examples. For multiples of 50 it is what `log_likelihood` finds with k samples; the noise of a
        part of 50 is another one.

    Raises:
        ValueError: As `log_likelihood`, and if ks is empty or not ascending.

    Book: chapter 12 (the number), chapter 9 (evaluation). Source: Burda et al. (2016), theorem 1.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> found = convergence(mlp_vae(8, latent=2, seed=0), torch.eye(8), ks=(1, 10, 500))
        >>> found[500].mean.value.shape, bool(found[500].mean.value > found[500].elbo.mean())
        (torch.Size([]), True)
    """
    if isinstance(ks, str) or not isinstance(ks, Sequence):
        raise ValueError(f"ks is {ks!r}; wanted a list of integers")
    whole = all(map(_require.is_integer, ks))
    if not (len(ks) and whole and ks[0] >= 1 and all(few < many for few, many in pairwise(ks))):
        raise ValueError(f"ks is {tuple(ks)}; wanted whole numbers of at least 1, in ascending order")
    if chunk is not None:
        _require.positive_integer("chunk", chunk)
    check_examples(model, x)
    check_conditions(model, x, y)
    _require.seed("seed", seed)
    found = estimates(model, x, tuple(ks), chunk, seed, y=y, progress=progress)
    return dict(zip(ks, found, strict=True))
