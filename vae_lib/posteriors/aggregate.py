"""Mixtures: the posteriors of all examples as one distribution."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from vae_lib import _require
from vae_lib.bounds import log_mean_exp
from vae_lib.posteriors._check import check_codes

__all__ = ["Mixture", "aggregate_posterior"]


class Mixture(Distribution):
    r"""A mixture of the N members of a batch of distributions.

    .. math:: p(z) = \sum_{n=1}^{N} w_n \, p_n(z), \qquad
              \ln p(z) = \operatorname{logsumexp}_n \left[ \ln w_n + \ln p_n(z) \right]

    The members may be of any kind, flows too. It can be sampled, but not with `rsample`: which
    member a draw comes from is a discrete choice. (torch's `MixtureSameFamily` draws from every member
    for every sample: too much for one member per example of a data set.)

    Args:
        components: The members, one distribution with `batch_shape == (N,)` and
            `event_shape == (latent,)`.
        logits: The logarithms of the weights, up to a constant, (N,); None gives each 1 / N.

    Raises:
        ValueError: If components are not N distributions of vectors, or logits not N numbers.

    Book: chapter 4 (the aggregate posterior), chapter 11 (learned priors). Source: Hoffman and Johnson
    (2016); Tomczak and Welling (2018).

    Example:
        >>> from vae_lib.posteriors import Diagonal
        >>> members = Diagonal(latent=1)(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]))
        >>> mixture = Mixture(members, logits=torch.tensor([0.0, 0.0]))
        >>> mixture.mean, mixture.variance
        (tensor([0.]), tensor([5.]))
        >>> mixture.sample((5,)).shape, mixture.log_prob(torch.zeros(5, 1)).shape
        (torch.Size([5, 1]), torch.Size([5]))
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    support = constraints.real_vector

    def __init__(self, components: Distribution, logits: Float[Tensor, " n"] | None = None) -> None:
        _check_members("components", components)
        if logits is not None:
            _require.floating("logits", logits)
        if logits is not None and logits.shape != components.batch_shape:
            raise ValueError(
                f"logits has shape {tuple(logits.shape)}; wanted {tuple(components.batch_shape)}, "
                "one for each component"
            )
        self.components = components
        self.log_weights = None if logits is None else logits.log_softmax(-1)
        super().__init__(torch.Size(), components.event_shape, validate_args=False)

    def log_prob(self, value: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """ln p(z) in nats, (...) for z (..., latent).

        It evaluates every member at every z: keep their number times that of the members in mind.

        Raises:
            ValueError: If z is not (..., latent).

        Example:
            >>> from vae_lib.posteriors import Diagonal
            >>> Mixture(Diagonal(latent=2)(torch.zeros(9, 4))).log_prob(torch.zeros(7, 5, 2)).shape
            torch.Size([7, 5])
        """
        check_codes(value, self.event_shape[0])
        terms = self.components.log_prob(value.unsqueeze(-2))  # (..., n)
        if self.log_weights is None:
            return log_mean_exp(terms, dim=-1)
        return (terms + self.log_weights).logsumexp(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Float[Tensor, "*sample latent"]:
        """Draw z, (..., latent), for any sample shape.

        Example:
            >>> from vae_lib.posteriors import Diagonal
            >>> Mixture(Diagonal(latent=2)(torch.zeros(9, 4))).sample((7, 5)).shape
            torch.Size([7, 5, 2])
        """
        sample_shape = torch.Size(sample_shape)
        who = self._who(sample_shape.numel()).sort().values  # the draws of one member lie together
        counts = who.bincount(minlength=self.components.batch_shape[0])
        draws = self.components.sample((int(counts.max()),))  # (most, n, latent)
        turn = torch.arange(len(who), device=who.device) - (counts.cumsum(0) - counts)[who]
        z = draws[turn, who]  # (samples, latent)
        return z[torch.randperm(len(z))].reshape(*sample_shape, *self.event_shape)

    def _who(self, samples: int) -> Tensor:
        """The member that each draw comes from, (samples,)."""
        if self.log_weights is None:
            return torch.randint(self.components.batch_shape[0], (samples,))
        # multinomial refuses to draw nothing
        return torch.multinomial(self.log_weights.exp(), max(samples, 1), replacement=True)[:samples]

    @property
    def mean(self) -> Float[Tensor, " latent"]:
        """The mean of the mixture, (latent,).

        Example:
            >>> from vae_lib.posteriors import Diagonal
            >>> Mixture(Diagonal(latent=1)(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))).mean
            tensor([1.5000])
        """
        return self._average(self.components.mean)

    @property
    def variance(self) -> Float[Tensor, " latent"]:
        """The variance, (latent,), which is the mean of their variances plus the variance of their means.

        Example:
            >>> from vae_lib.posteriors import Diagonal
            >>> Mixture(Diagonal(latent=1)(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))).variance
            tensor([3.2500])
        """
        spread = (self.components.mean - self.mean).square()  # (n, latent)
        return self._average(self.components.variance + spread)

    def _average(self, values: Tensor) -> Tensor:
        return values.mean(0) if self.log_weights is None else self.log_weights.exp() @ values


def aggregate_posterior(posterior: Distribution) -> Mixture:
    r"""The posteriors of N examples as one distribution: where the codes of the data lie.

    .. math:: q(z) = \frac{1}{N} \sum_{n=1}^{N} q_\phi(z|x_n), \qquad
              \ln q(z) = \operatorname{logsumexp}_n \ln q_\phi(z|x_n) - \ln N

    It averages densities. The mean of the log-densities is smaller (Jensen) and integrates to less
    than one; the Gaussian with the averaged parameters is another distribution altogether.

    Args:
        posterior: The posteriors of the examples, as `model.encode(x)` returns them, with
            `batch_shape == (N,)`.

    Returns:
        A distribution with `batch_shape == ()` and `event_shape == (latent,)`. Its `log_prob` is in
        nats.

    Raises:
        ValueError: If posterior is not a batch (N,) of distributions of vectors.

    Book: chapter 4 (the aggregate posterior). Source: Hoffman and Johnson (2016).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(pixels=64, latent=2, seed=0)
        >>> q = aggregate_posterior(model.encode(torch.zeros(100, 64)))
        >>> q.log_prob(torch.zeros(7, 2)).shape, q.sample((5,)).shape
        (torch.Size([7]), torch.Size([5, 2]))
    """
    _check_members("posterior", posterior)
    return Mixture(posterior)


def _check_members(name: str, members: Distribution) -> None:
    if not isinstance(members, Distribution):
        raise ValueError(f"{name} is of type {type(members).__name__}; wanted a torch Distribution")
    if len(members.batch_shape) != 1 or len(members.event_shape) != 1:
        raise ValueError(
            f"{name} has batch shape {tuple(members.batch_shape)} and event shape "
            f"{tuple(members.event_shape)}; wanted (n,) and (latent,)"
        )
    if members.batch_shape[0] == 0:
        raise ValueError(f"{name} is empty; wanted at least one distribution")
