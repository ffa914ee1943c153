"""A latent variable with K values and an observation with M symbols: exact by enumeration."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vae_lib import _require
from vae_lib.divergences import kl_categorical
from vae_lib.laboratory._tables import log_table, table

__all__ = ["DiscreteLatentModel"]

MOST_TUPLES = 2_000_000


class DiscreteLatentModel:
    r"""The smallest latent-variable model: two tables of probabilities.

    .. math:: p(x) = \sum_{z=1}^{K} p(z) \, p(x|z), \qquad p(z|x) = \frac{p(z) \, p(x|z)}{p(x)}

    Observations are symbols 0 .. M-1, given as a long tensor (batch,). Encoders are tables
    `q` (batch, K): row i is q(z|x_i). Every method returns one exact value per observation, in
    nats.

    Args:
        prior: (K,), p(z). Lists become float64.
        likelihood: (K, M), row z is p(x|z).

    Raises:
        ValueError: the shapes or precisions do not fit, or a row is not a probability distribution.

    Book: chapter 2 (the rearrangement), chapter 3 (the ELBO family).

    Example:
        >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
        >>> x = torch.tensor([0])
        >>> q = torch.tensor([[0.99, 0.01]], dtype=torch.float64)
        >>> model.log_evidence(x)
        tensor([-0.6931], dtype=torch.float64)
        >>> model.elbo(q, x) + model.kl_to_posterior(q, x)
        tensor([-0.6931], dtype=torch.float64)
    """

    def __init__(
        self,
        prior: Float[Tensor, " latents"] | Sequence[float],
        likelihood: Float[Tensor, "latents symbols"] | Sequence[Sequence[float]],
    ) -> None:
        prior, likelihood = table("prior", prior), table("likelihood", likelihood)
        _require.shape("prior", prior, (None,), "(K,), one probability for each value of z")
        _require.shape(
            "likelihood",
            likelihood,
            (prior.shape[0], None),
            f"(K, M) with K = {prior.shape[0]}, the length of the prior; row z is p(x|z)",
        )
        _require.probabilities("prior", prior)
        _require.probabilities("likelihood", likelihood)
        if likelihood.dtype != prior.dtype:
            raise ValueError(f"likelihood has dtype {likelihood.dtype}; wanted that of prior, {prior.dtype}")
        self.prior = prior
        self.likelihood = likelihood

    def __repr__(self) -> str:
        latents, symbols = self.likelihood.shape
        return f"DiscreteLatentModel(K={latents}, M={symbols})"

    def log_joint(self, x: Int64[Tensor, " batch"]) -> Float[Tensor, "batch latents"]:
        r"""ln p(x, z) for every z: the table the model knows without any sum.

        Args:
            x: (batch,), long tensor of symbols.

        Raises:
            ValueError: x holds something else than symbols of the model.

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> model.log_joint(torch.tensor([0, 1])).exp()
            tensor([[0.4500, 0.0500],
                    [0.0500, 0.4500]], dtype=torch.float64)
        """
        self._check_symbols(x)
        return (log_table(self.prior).unsqueeze(-1) + log_table(self.likelihood)).T[x]

    def log_evidence(self, x: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        r"""ln p(x), the sum over z; -inf for a symbol that the model cannot produce.

        .. math:: \ln p(x) = \ln \sum_z p(z) \, p(x|z)

        Args:
            x: (batch,), long tensor of symbols.

        Raises:
            ValueError: x holds something else than symbols of the model.

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.3, 0.7]])
            >>> model.log_evidence(torch.tensor([0, 1])).exp()
            tensor([0.6000, 0.4000], dtype=torch.float64)
        """
        return torch.logsumexp(self.log_joint(x), -1)

    def posterior(self, x: Int64[Tensor, " batch"]) -> Float[Tensor, "batch latents"]:
        r"""p(z|x) by Bayes' rule.

        Args:
            x: (batch,), long tensor of symbols.

        Raises:
            ValueError: a symbol has probability zero, so that no posterior exists; or x holds
                something else than symbols of the model.

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> model.posterior(torch.tensor([0]))
            tensor([[0.9000, 0.1000]], dtype=torch.float64)
        """
        log_joint = self.log_joint(x)
        impossible = (log_joint == -torch.inf).all(-1)
        if bool(impossible.any()):
            symbol = int(x[impossible][0])
            raise ValueError(
                f"x holds the symbol {symbol}, whose probability is 0; "
                "wanted symbols that the model can produce: the others have no posterior"
            )
        return torch.softmax(log_joint, -1)

    def elbo(self, q: Float[Tensor, "batch latents"], x: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        r"""The evidence lower bound, from the joint alone.

        .. math:: \sum_z q(z|x) \ln \frac{p(x, z)}{q(z|x)} \le \ln p(x)

        Args:
            q: (batch, K), rows q(z|x) that sum to one.
            x: (batch,), long tensor of symbols.

        Raises:
            ValueError: q is no table of distributions for these x.

        Book: chapter 2 (the rearrangement).

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> x = torch.tensor([0])
            >>> model.elbo(model.posterior(x), x)              # the posterior closes the gap
            tensor([-0.6931], dtype=torch.float64)
        """
        self._check_encoder(q, x)
        return _average(q, self.log_joint(x) - log_table(q))

    def kl_to_posterior(
        self, q: Float[Tensor, "batch latents"], x: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        r"""KL(q(z|x) ‖ p(z|x)), the gap between ln p(x) and the ELBO.

        Args:
            q: (batch, K), rows q(z|x) that sum to one.
            x: (batch,), long tensor of symbols.

        Raises:
            ValueError: q is no table of distributions for these x, or an x has probability zero.

        Book: chapter 2 (the rearrangement).

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> x = torch.tensor([0])
            >>> model.kl_to_posterior(model.posterior(x), x)
            tensor([0.], dtype=torch.float64)
        """
        self._check_encoder(q, x)
        return kl_categorical(q, self.posterior(x))

    def eubo(self, q: Float[Tensor, "batch latents"], x: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        r"""The evidence upper bound: the ELBO's log-weights averaged under the posterior.

        .. math:: \sum_z p(z|x) \ln \frac{p(x, z)}{q(z|x)}
                  = \ln p(x) + \mathrm{KL}(p(z|x) \,\|\, q(z|x))

        Args:
            q: (batch, K), rows q(z|x) that sum to one.
            x: (batch,), long tensor of symbols.

        Raises:
            ValueError: q is no table of distributions for these x, or an x has probability zero.

        Book: chapter 3 (from above).

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> q = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
            >>> model.eubo(q, torch.tensor([0]))
            tensor([-0.3251], dtype=torch.float64)
        """
        self._check_encoder(q, x)
        return _average(self.posterior(x), self.log_joint(x) - log_table(q))

    def iwae_bound(
        self, q: Float[Tensor, "batch latents"], x: Int64[Tensor, " batch"], k: int
    ) -> Float[Tensor, " batch"]:
        r"""The importance-weighted bound L_k, exactly: all K**k tuples of samples are visited.

        .. math:: \mathcal{L}_k = \sum_{z_1, \dots, z_k} q(z_1|x) \cdots q(z_k|x)
                  \ln \frac1k \sum_{i=1}^{k} \frac{p(x, z_i)}{q(z_i|x)}

        Args:
            q: (batch, K), rows q(z|x) that sum to one.
            x: (batch,), long tensor of symbols.
            k: the number of samples, at least 1.

        Raises:
            ValueError: k is below 1, there are more than 2,000,000 tuples, or q is no table of
                distributions for these x.

        Book: chapter 3 (importance weights).

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> x, q = torch.tensor([0]), torch.tensor([[0.5, 0.5]], dtype=torch.float64)
            >>> [round(model.iwae_bound(q, x, k).item(), 4) for k in (1, 2, 8)]
            [-1.204, -0.9486, -0.7391]
        """
        self._check_encoder(q, x)
        _require.positive_integer("k", k)
        latents = q.shape[-1]
        if k * math.log(latents) > math.log(MOST_TUPLES):
            raise ValueError(
                f"k is {k}, which makes {latents}**{k} tuples; "
                f"wanted at most {MOST_TUPLES}: sample with vae_lib.bounds.iwae_bound instead"
            )
        if latents == 1:
            k = 1  # there is one tuple, however long
        log_w = self.log_joint(x) - log_table(q)
        return torch.cat(
            [
                _enumerate_tuples(row_q, row_w, k)
                for row_q, row_w in zip(q.split(1), log_w.split(1), strict=True)
            ]
        )

    def sample(
        self, n: int, generator: torch.Generator | None = None
    ) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Draw z from the prior, then x from p(x|z).

        Args:
            n: how many pairs, at least 1.
            generator: the source of randomness; torch's global one by default.

        Returns:
            z and x, each (n,). Given x, its z is one exact draw from the posterior.

        Raises:
            ValueError: n is below 1.

        Example:
            >>> model = DiscreteLatentModel([1.0, 0.0], [[0.0, 1.0], [0.5, 0.5]])
            >>> model.sample(3)
            (tensor([0, 0, 0]), tensor([1, 1, 1]))
        """
        _require.positive_integer("n", n)
        z = torch.multinomial(self.prior, n, replacement=True, generator=generator)
        x = torch.multinomial(self.likelihood[z], 1, generator=generator).squeeze(-1)
        return z, x

    def _check_symbols(self, x: Tensor) -> None:
        symbols = self.likelihood.shape[1]
        _require.tensor("x", x)
        if x.dtype != torch.int64:
            raise ValueError(f"x has dtype {x.dtype}; wanted torch.int64, the numbers of symbols")
        _require.shape("x", x, (None,), "(batch,), one symbol for each observation")
        if x.numel() and (int(x.min()) < 0 or int(x.max()) >= symbols):
            raise ValueError(
                f"x holds symbols from {int(x.min())} to {int(x.max())}; "
                f"wanted 0 to {symbols - 1}, the columns of the likelihood"
            )

    def _check_encoder(self, q: Tensor, x: Tensor) -> None:
        self._check_symbols(x)
        wanted = (x.shape[0], self.prior.shape[0])
        _require.shape("q", q, wanted, f"(batch, K) = {wanted}, one distribution for each x")
        if x.numel():
            _require.probabilities("q", q)


def _average(weights: Tensor, values: Tensor) -> Tensor:
    """The mean of `values` under rows of probabilities; what has probability 0 does not count."""
    return (weights * values.masked_fill(weights == 0, 0.0)).sum(-1)


def _enumerate_tuples(q: Tensor, log_w: Tensor, k: int) -> Tensor:
    """E ln mean(w) over all k-tuples for one example; q and log_w are (1, K)."""
    probability, log_sum = q, log_w  # (1, K**j) after j samples
    for _ in range(k - 1):
        probability = (probability.unsqueeze(-1) * q.unsqueeze(-2)).flatten(-2)
        log_sum = torch.logaddexp(log_sum.unsqueeze(-1), log_w.unsqueeze(-2)).flatten(-2)
    return _average(probability, log_sum) - math.log(k)
