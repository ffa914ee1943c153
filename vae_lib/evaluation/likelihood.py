r"""ln p(x) by importance sampling: the number that models are compared by."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from tqdm.auto import tqdm

from vae_lib import _require
from vae_lib.divergences import Estimate
from vae_lib.evaluation import fast_bernoulli
from vae_lib.evaluation.arguments import (
    EXAMPLES_AT_ONCE,
    check_conditions,
    check_examples,
    evaluating,
    refuse_nan,
)
from vae_lib.evaluation.running import RunningWeights
from vae_lib.models import VAE
from vae_lib.posteriors.drawing import drawn
from vae_lib.training.surroundings import keep_the_heap, noise, seeds

__all__ = ["LogLikelihood", "log_likelihood", "mean_over_examples"]

SAMPLES_PER_DRAW = 50  # the noise depends on it too
# rows of a decoder call: enough for the matrix products, few enough for the cache
ROWS_ON_CPU, ROWS_ON_GPU = 2048, 262_144


class LogLikelihood(NamedTuple):
    r"""ln p(x) of every example, and how far to trust it; nats, float64, each (batch,).

    Attributes:
        value: The estimate of :math:`\ln p(x)`. On average it lies below, by about half its squared
            standard error.
        standard_error: Of `value`, from the scatter of the weights; NaN if there is one sample. It is
            itself an estimate, and far too small where the effective sample size is near 1.
        effective_sample_size: What the k samples are worth, from 1 to k.
        elbo: The ELBO, from the same samples.
        elbo_standard_error: Of `elbo`; NaN if there is one sample.

    Book: chapter 12 (the number).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> result = log_likelihood(mlp_vae(8, latent=2, seed=0), torch.eye(8), k=200)
        >>> result.value.shape, bool((result.value >= result.elbo).all())
        (torch.Size([8]), True)
    """

    value: Float[Tensor, " batch"]
    standard_error: Float[Tensor, " batch"]
    effective_sample_size: Float[Tensor, " batch"]
    elbo: Float[Tensor, " batch"]
    elbo_standard_error: Float[Tensor, " batch"]

    @property
    def mean(self) -> Estimate:
        """The mean over the examples, and its standard error over examples.

        Example:
            >>> values = torch.tensor([-1.0, -3.0], dtype=torch.float64)
            >>> LogLikelihood(values, *[values] * 4).mean
            Estimate(value=tensor(-2., dtype=torch.float64), standard_error=tensor(1., dtype=torch.float64))
        """
        return mean_over_examples(self.value)


def mean_over_examples(value: Float[Tensor, " batch"]) -> Estimate:
    r"""The mean of one value per example, with the standard error of drawing other examples.

    .. math:: \bar v, \qquad \sqrt{\frac{1}{N (N - 1)} \sum_n (v_n - \bar v)^2}

    Every example counts once, whatever batches it went through.

    Args:
        value: One value per example, (batch,).

    Returns:
        `Estimate(value, standard_error)`, in float64; the error of a single example is NaN.

    Raises:
        ValueError: If there is no example, or value is no floating-point (batch,).

    Book: chapter 12 (the number).

    Example:
        >>> mean_over_examples(torch.tensor([1.0, 3.0])).value
        tensor(2., dtype=torch.float64)
    """
    _require.floating("value", value)
    if value.dim() != 1 or len(value) == 0:
        raise ValueError(f"value has shape {tuple(value.shape)}; wanted (batch,), at least one example")
    value = value.to(torch.float64)
    if len(value) == 1:
        return Estimate(value[0], torch.full_like(value[0], math.nan))
    return Estimate(value.mean(), value.std() / len(value) ** 0.5)


@torch.no_grad()
def log_likelihood(
    model: nn.Module,
    x: Float[Tensor, "batch pixels"],
    k: int = 5000,
    *,
    y: Float[Tensor, "batch conditions"] | None = None,
    chunk: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> LogLikelihood:
    r"""Estimate ln p(x) of every example with k importance samples from the encoder.

    .. math:: \ln p_\theta(x) \approx \ln \frac1k \sum_{i=1}^{k}
              \frac{p_\theta(x, z_i)}{q_\phi(z_i|x)}, \qquad z_i \sim q_\phi(z|x)

    The encoder runs once for every example, and the sum goes through the samples a few at a time:
    memory is the same whatever k and the number of examples. Most of the time goes into the decoder's
    matrix products; for black-or-white images `vae_lib.evaluation.fast_bernoulli` shortens the rest.
    On a GPU these products may be done in TF32 (`torch.set_float32_matmul_precision("high")`): on a
    VAE of MNIST that moved the mean of ln p(x) by less than 0.001 nats.

    The noise comes from `seed` alone. It depends neither on `chunk` nor on torch's global random
    state, which is left alone; and the first samples of a larger k are those of a smaller one, if that
    is a multiple of 50, as many as are drawn together. So the same call gives the same numbers, and a
    difference between two models is not one of luck.

    Args:
        model: A `VAE`, or any module with `log_weights(x, k)` that returns (k, batch); a
            `ConditionalVAE` with its `y`.
        x: The examples, (batch, pixels), in the precision of the model.
        k: The number of samples for each example; the field reports 5,000.
        y: What the model is conditioned on, for every example, (batch, conditions). The value is then
            ln p(x|y).
        chunk: How many of them go through the decoder at once, for each of 64 examples; it changes
            speed and memory, not the result. None chooses what suits the device.
        seed: Seed of the noise.
        progress: Whether to show a progress bar.

    Returns:
        `LogLikelihood(value, standard_error, effective_sample_size, elbo, elbo_standard_error)`, each
        (batch,), on the device of x.

    Raises:
        ValueError: If k or chunk is below 1; if x is empty, not finite, or refused by the likelihood;
            if y is missing, not wanted or not one row per example; or if the model has no posterior or
            returns NaN.

    Book: chapter 12 (the number), chapter 9 (evaluation). Source: Burda et al. (2016), section 5;
    Rezende et al. (2014), appendix E.

    Example:
        >>> from vae_lib.networks import linear_gaussian_model, linear_vae
        >>> model, x = linear_vae(pixels=5, latent=2, seed=0), torch.zeros(3, 5)
        >>> estimate = log_likelihood(model, x, k=2000)
        >>> exact = linear_gaussian_model(model).log_evidence(x.double())
        >>> bool(((estimate.value - exact).abs() < 5 * estimate.standard_error + 1e-4).all())
        True
    """
    _require.positive_integer("k", k)
    if chunk is not None:
        _require.positive_integer("chunk", chunk)
    check_examples(model, x)
    check_conditions(model, x, y)
    _require.seed("seed", seed)
    return estimates(model, x, (k,), chunk, seed, y=y, progress=progress)[0]


def estimates(
    model: Any,
    x: Tensor,
    ks: tuple[int, ...],
    chunk: int | None,
    seed: int,
    *,
    y: Tensor | None = None,
    posterior: Callable[[slice], Distribution] | None = None,
    progress: bool = False,
) -> list[LogLikelihood]:
    """`log_likelihood` with the first k samples, for every k of the ascending `ks`, in one pass.

    The arguments are checked already; `posterior(rows)` stands in for the encoder.
    """
    streams = seeds(seed)
    keep_the_heap()
    with evaluating(model) as device, tqdm(total=len(x), unit="example", disable=not progress) as bar:
        # made before the work: small results in between would cut up the memory that large tensors leave
        found = torch.full((len(ks), 5, len(x)), math.nan, dtype=torch.float64, device=device)
        if chunk is None:
            chunk = max(1, (ROWS_ON_GPU if device.type == "cuda" else ROWS_ON_CPU) // EXAMPLES_AT_ONCE)
        for first in range(0, len(x), EXAMPLES_AT_ONCE):
            rows = slice(first, first + EXAMPLES_AT_ONCE)
            part = x[rows].to(device)
            given = model if y is None else model.given(y[rows].to(device))
            sums = RunningWeights(len(part), device)
            with noise(device, next(streams)):
                for log_w in _log_weights(given, part, ks[-1], chunk, posterior and posterior(rows)):
                    stops = [k - sums.count for k in ks if sums.count < k < sums.count + len(log_w)]
                    for some in log_w.tensor_split(stops):
                        sums.add(some)
                        if sums.count in ks:
                            found[ks.index(sums.count), :, rows] = torch.stack(_columns(sums))
            bar.update(len(part))
    for values in found[:, 0]:
        refuse_nan(values, "ln p(x, z) - ln q(z|x)")
    return [LogLikelihood(*columns) for columns in found.to(x.device)]


def _columns(sums: RunningWeights) -> tuple[Tensor, ...]:
    return (
        sums.log_mean(),
        sums.standard_error(),
        sums.effective_sample_size(),
        sums.mean_log(),
        sums.mean_log_standard_error(),
    )


def _log_weights(
    model: Any, x: Tensor, k: int, chunk: int, posterior: Distribution | None
) -> Iterator[Tensor]:
    """The log-weights of k samples, at most `chunk` at a time, each (samples, batch)."""
    draws = [min(SAMPLES_PER_DRAW, k - done) for done in range(0, k, SAMPLES_PER_DRAW)]
    if not isinstance(model, VAE):  # a model of another make draws and weighs its samples itself
        for draw in draws:
            log_w = model.log_weights(x, draw)
            if log_w.shape != (draw, len(x)):
                raise ValueError(
                    f"model.log_weights returned shape {tuple(log_w.shape)}; wanted ({draw}, {len(x)}), the "
                    "samples first"
                )
            yield log_w
        return
    q = model.encode(x) if posterior is None else posterior
    fast = fast_bernoulli.applies(model)
    if fast:
        fast_bernoulli.check(model.decoder, x)
    waiting: list[tuple[Tensor, Tensor]] = []
    for i, draw in enumerate(draws):
        waiting.append(drawn(q, draw))
        enough = sum(len(z) for z, _ in waiting) >= chunk
        if enough or i == len(draws) - 1:
            z, log_q = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            waiting = []
            for some_z, some_log_q in zip(z.split(chunk), log_q.split(chunk), strict=True):
                if fast:
                    log_p = fast_bernoulli.log_prob(model.decoder, some_z, x)
                    log_p = log_p + model._prior_log_prob(model.prior, some_z)
                else:
                    log_p = model._log_joint(x, some_z)
                yield log_p - some_log_q  # (chunk, batch)
