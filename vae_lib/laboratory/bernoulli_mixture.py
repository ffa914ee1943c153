"""Binary images from K prototypes: the model whose exact posterior is a linear encoder."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from vae_lib import _require
from vae_lib.laboratory._tables import log_table, table

__all__ = ["BernoulliMixture"]


class BernoulliMixture:
    r"""A mixture of K products of Bernoullis over D binary pixels.

    .. math:: p(k) = \pi_k, \qquad p(x|k) = \prod_{d=1}^{D} \theta_{kd}^{x_d} (1 - \theta_{kd})^{1 - x_d}

    The latent variable is the component k, so ln p(x) is a sum of K terms. Because
    :math:`\ln p(x, k)` is affine in x, the exact posterior is a softmax of a **linear** map of x
    (`exact_encoder`): here amortised inference costs nothing at all.

    Args:
        weights: pi, (K,). Lists become float64.
        probabilities: theta, (K, D): row k holds the probabilities of a 1 in each pixel.

    Raises:
        ValueError: the shapes or precisions do not fit, the weights are no distribution, or a
            probability lies outside [0, 1].

    Book: chapter 9 (approximation and amortisation). Source: Bishop (2006), section 9.3.3.

    Example:
        >>> model = BernoulliMixture([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
        >>> x = torch.tensor([[1, 0], [1, 1]])
        >>> model.log_evidence(x).exp()
        tensor([0.4100, 0.0900], dtype=torch.float64)
    """

    def __init__(
        self,
        weights: Float[Tensor, " components"] | Sequence[float],
        probabilities: Float[Tensor, "components pixels"] | Sequence[Sequence[float]],
    ) -> None:
        weights, probabilities = table("weights", weights), table("probabilities", probabilities)
        _require.shape("weights", weights, (None,), "(K,), one weight for each component")
        _require.probabilities("weights", weights)
        _require.shape(
            "probabilities",
            probabilities,
            (weights.shape[0], None),
            f"(K, D) with K = {weights.shape[0]}, the number of weights",
        )
        if probabilities.numel() == 0:
            shape = tuple(probabilities.shape)
            raise ValueError(f"probabilities has shape {shape}; wanted at least one pixel")
        if probabilities.dtype != weights.dtype:
            raise ValueError(
                f"probabilities has dtype {probabilities.dtype}; wanted that of weights, {weights.dtype}"
            )
        _require.finite("probabilities", probabilities)
        outside = (probabilities < 0) | (probabilities > 1)
        if bool(outside.any()):
            raise ValueError(
                f"probabilities holds {probabilities[outside][0].item():.6g}; wanted all within [0, 1]"
            )
        self.weights = weights
        self.probabilities = probabilities

    @classmethod
    def fit(
        cls,
        x: Shaped[Tensor, "batch pixels"],
        components: int,
        *,
        steps: int = 100,
        generator: torch.Generator | None = None,
    ) -> "BernoulliMixture":
        r"""Expectation maximisation from a random start; ln p of the data never falls on the way.

        Each step replaces every prototype by the average image of its component,

        .. math:: \theta_k = \frac{\sum_n p(k|x_n) \, x_n}{\sum_n p(k|x_n)}, \qquad
                  \pi_k = \frac1N \sum_n p(k|x_n)

        It finds a local optimum; start again with another generator to look for a better one.

        Args:
            x: (N, D), zeros and ones of any type.
            components: K, at least 1.
            steps: how many times both formulas are applied, at least 1.
            generator: the source of the random start; torch's global one by default.

        Returns:
            A model in float64.

        Raises:
            ValueError: x is empty or not binary, or a count is below 1.

        Example:
            >>> x = torch.tensor([[1, 1], [1, 1], [1, 1], [0, 0]])
            >>> BernoulliMixture.fit(x, components=1).probabilities
            tensor([[0.7500, 0.7500]], dtype=torch.float64)
        """
        _require.shape("x", x, (None, None), "(N, D)")
        if x.numel() == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}; wanted at least one example and one pixel")
        _require.positive_integer("components", components)
        _require.positive_integer("steps", steps)
        x = x.to(torch.float64)
        start = torch.rand(components, x.shape[1], dtype=torch.float64, generator=generator)
        model = cls(
            torch.full((components,), 1.0 / components, dtype=torch.float64),
            0.25 + 0.5 * start.to(x.device),  # off the edges: a 0 or a 1 would never move again
        )
        for _ in range(steps):
            share = model.posterior(x)  # (N, K)
            mass = share.sum(0)  # (K,)
            average = (share.T @ x / mass.unsqueeze(-1)).clip(max=1.0)  # rounding may leave 1 + 1e-16
            # a component that has lost every image keeps its prototype
            prototypes = torch.where(mass.unsqueeze(-1) > 0, average, model.probabilities)
            model = cls(mass / mass.sum(), prototypes)
        return model

    def __repr__(self) -> str:
        components, pixels = self.probabilities.shape
        return f"BernoulliMixture(K={components}, D={pixels})"

    def log_joint(self, x: Shaped[Tensor, "batch pixels"]) -> Float[Tensor, "batch components"]:
        r"""ln p(x, k) for every component k.

        Args:
            x: (batch, D), zeros and ones of any type.

        Raises:
            ValueError: x has another number of pixels, or one that is not 0 or 1.

        Example:
            >>> model = BernoulliMixture([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> model.log_joint(torch.tensor([[1, 0]])).exp()
            tensor([[0.4050, 0.0050]], dtype=torch.float64)
        """
        pixels = self.probabilities.shape[1]
        _require.shape("x", x, (None, pixels), f"(batch, D) with D = {pixels}")
        _require_binary(x)
        one = (x == 1).unsqueeze(1)  # (batch, 1, D)
        chance = torch.where(one, self.probabilities, 1.0 - self.probabilities)  # (batch, K, D)
        return log_table(self.weights) + log_table(chance).sum(-1)

    def log_evidence(self, x: Shaped[Tensor, "batch pixels"]) -> Float[Tensor, " batch"]:
        r"""ln p(x), the sum over the K components; -inf for an image that none of them can make.

        Args:
            x: (batch, D), zeros and ones of any type.

        Returns:
            (batch,), nats.

        Raises:
            ValueError: x has another number of pixels, or one that is not 0 or 1.

        Example:
            >>> model = BernoulliMixture([1.0], [[0.5, 0.5]])
            >>> model.log_evidence(torch.tensor([[1.0, 0.0]])).exp()
            tensor([0.2500], dtype=torch.float64)
        """
        return torch.logsumexp(self.log_joint(x), -1)

    def posterior(self, x: Shaped[Tensor, "batch pixels"]) -> Float[Tensor, "batch components"]:
        r"""p(k|x) by Bayes' rule.

        Args:
            x: (batch, D), zeros and ones of any type.

        Returns:
            (batch, K), rows that sum to one.

        Raises:
            ValueError: an image has probability zero, so that no posterior exists; or x has another
                number of pixels, or one that is not 0 or 1.

        Example:
            >>> model = BernoulliMixture([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> model.posterior(torch.tensor([[1, 1]]))
            tensor([[0.5000, 0.5000]], dtype=torch.float64)
        """
        log_joint = self.log_joint(x)
        impossible = (log_joint == -torch.inf).all(-1)
        if bool(impossible.any()):
            row = int(impossible.nonzero()[0])
            raise ValueError(
                f"x holds an image of probability 0 (row {row}); "
                "wanted images that the model can produce: the others have no posterior"
            )
        return torch.softmax(log_joint, -1)

    def exact_encoder(self) -> tuple[Float[Tensor, "components pixels"], Float[Tensor, " components"]]:
        r"""The linear layer whose softmax is the exact posterior.

        .. math:: p(k|x) = \operatorname{softmax}(A x + b)_k, \qquad
                  A_{kd} = \ln \frac{\theta_{kd}}{1 - \theta_{kd}}, \qquad
                  b_k = \ln \pi_k + \sum_d \ln (1 - \theta_{kd})

        Returns:
            weight A (K, D) and bias b (K,). A x + b is ln p(x, k) itself, not only up to a constant.

        Raises:
            ValueError: a probability is exactly 0 or 1: its logit is infinite.

        Example:
            >>> model = BernoulliMixture([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> weight, bias = model.exact_encoder()
            >>> x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
            >>> torch.softmax(x @ weight.T + bias, -1) - model.posterior(x)
            tensor([[0., 0.]], dtype=torch.float64)
        """
        certain = (self.probabilities == 0) | (self.probabilities == 1)
        if bool(certain.any()):
            raise ValueError(
                f"probabilities holds {int(certain.sum())} that are 0 or 1; wanted all strictly between: "
                "a certain pixel has an infinite logit, and no linear encoder has infinite weights"
            )
        weight = torch.logit(self.probabilities)
        bias = self.weights.log() + torch.log1p(-self.probabilities).sum(-1)
        return weight, bias

    def sample(
        self, n: int, generator: torch.Generator | None = None
    ) -> tuple[Int64[Tensor, " n"], Float[Tensor, "n pixels"]]:
        """Draw k from the weights, then x from p(x|k).

        Args:
            n: how many pairs, at least 1.
            generator: the source of randomness; torch's global one by default.

        Returns:
            k (n,) and x (n, D), zeros and ones in the precision of the model. Given x, its k is one
            exact draw from the posterior.

        Raises:
            ValueError: n is below 1.

        Example:
            >>> BernoulliMixture([1.0, 0.0], [[1.0, 0.0], [0.5, 0.5]]).sample(2)
            (tensor([0, 0]), tensor([[1., 0.],
                    [1., 0.]], dtype=torch.float64))
        """
        _require.positive_integer("n", n)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return k, torch.bernoulli(self.probabilities[k], generator=generator)


def _require_binary(x: Tensor) -> None:
    grey = (x != 0) & (x != 1)
    if bool(grey.any()):
        raise ValueError(
            f"x holds {int(grey.sum())} pixels that are not 0 or 1, such as {x[grey][0].item():.6g}; "
            "wanted binary images"
        )
