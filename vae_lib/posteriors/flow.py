"""A Gaussian bent by a normalising flow; the flow itself comes from the package zuko."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, Transform, constraints

from vae_lib import _require
from vae_lib.posteriors._check import check_codes, check_features

__all__ = ["Flow", "FlowPosterior"]

_KINDS = ("maf", "iaf")
_POINTS = 256  # of the rule behind `FlowPosterior.mean`


def _zuko() -> Any:
    """The package zuko, without what importing it does to every distribution of the process."""
    checks = Distribution._validate_args
    try:
        import zuko
    except ImportError as error:
        raise ImportError("Flow needs the package zuko; wanted: python -m pip install zuko") from error
    finally:
        Distribution.set_default_validate_args(checks)  # zuko turns torch's checks off
    return zuko


class FlowPosterior(Distribution):
    r"""What `Flow` returns: standard normal noise u, and an invertible map between u and z.

    .. math:: \ln q(z) = \ln \mathcal{N}(u; 0, I)
              + \ln \left| \det \frac{\partial u}{\partial z} \right|, \qquad u = u(z)

    Args:
        to_noise: The map from z to u, (..., latent) both, for each example of the batch.
        base: The distribution of u, (batch, latent).

    Book: chapter 6 (full covariance), which derives the formula; chapter 11 (flows).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> q = Flow(latent=2)(torch.zeros(5, 32))
        >>> z, log_q = q.rsample_and_log_prob((7,))
        >>> z.shape, log_q.shape, torch.allclose(log_q, q.log_prob(z), atol=1e-5)
        (torch.Size([7, 5, 2]), torch.Size([7, 5]), True)
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, to_noise: Transform, base: Independent) -> None:
        self.to_noise: Any = to_noise  # zuko gives every Transform a method more, call_and_ladj
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Float[Tensor, "*batch latent"]:
        """Draw z, (k, batch, latent), differentiable in the features and in the flow's weights.

        Example:
            >>> Flow(latent=2)(torch.zeros(5, 32)).rsample((7,)).shape
            torch.Size([7, 5, 2])
        """
        return self.to_noise.inv(self.base.rsample(torch.Size(sample_shape)))

    def log_prob(self, value: Float[Tensor, "*#batch latent"]) -> Float[Tensor, "*#batch"]:
        """ln q(z) in nats, (k, batch) for z (k, batch, latent).

        Raises:
            ValueError: If z is not (..., latent).

        Example:
            >>> Flow(latent=2)(torch.zeros(5, 32)).log_prob(torch.zeros(7, 5, 2)).shape
            torch.Size([7, 5])
        """
        check_codes(value, self.event_shape[0], self.batch_shape)
        # zuko wants the batch written out where there is one latent
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        noise, log_slope = self.to_noise.call_and_ladj(value.expand(shape))
        return self.base.log_prob(noise) + log_slope

    def rsample_and_log_prob(
        self,
        sample_shape: Sequence[int] = torch.Size(),
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch"]]:
        """Draw z and return it with ln q(z), from the noise that it was made of.

        For `kind="iaf"` this is the quick way: one pass, where `log_prob(z)` has to recover the
        noise one latent after another. The gradient with respect to the parameters is that of
        `log_prob(z)` at the drawn z, but z is not on the way: where you need the gradient with
        respect to z, call `log_prob`.

        Returns:
            z, (k, batch, latent), and ln q(z) in nats, (k, batch).

        Example:
            >>> z, log_q = Flow(latent=2, kind="iaf")(torch.zeros(5, 32)).rsample_and_log_prob((7,))
            >>> z.shape, log_q.shape
            (torch.Size([7, 5, 2]), torch.Size([7, 5]))
        """
        noise = self.base.rsample(torch.Size(sample_shape))
        z, log_slope = self.to_noise.inv.call_and_ladj(noise)
        return z, self.base.log_prob(noise) - log_slope

    @property
    def mean(self) -> Float[Tensor, "*batch latent"]:
        """The mean of z, (batch, latent), an average over 256 fixed points and no closed form.

        The points are Sobol's, put through the quantiles of the normal. They are the same at every
        call, so the mean is a function of x, without noise and without a draw from torch's
        generator. It is off by about a hundredth of a standard deviation.

        Example:
            >>> q = Flow(latent=2)(torch.zeros(5, 32))
            >>> q.mean.shape, torch.equal(q.mean, q.mean)
            (torch.Size([5, 2]), True)
        """
        loc = self.base.mean  # (batch, latent)
        sobol = torch.quasirandom.SobolEngine(loc.shape[-1])
        # half a step up: each latent then has the midpoints of 256 equal cells
        uniform = sobol.draw(_POINTS, dtype=torch.float64) + 0.5 / _POINTS  # (points, latent)
        noise = torch.special.ndtri(uniform).to(loc)
        noise = noise.reshape(_POINTS, *[1] * (loc.dim() - 1), loc.shape[-1])
        return self.to_noise.inv(noise.expand(_POINTS, *loc.shape)).mean(0)


class Flow(nn.Module):
    r"""A posterior that need not be Gaussian: noise through an autoregressive flow.

    In each of its transforms, one latent after another is shifted and scaled by amounts that depend
    on the latents before it and on the features of the example.

    ==========  =====================================  ====================  ====================
    kind        shift and scale depend on              `log_prob(z)`         `rsample()`
    ==========  =====================================  ====================  ====================
    `"maf"`     the latents on the side of z           quick, one pass       slow, latent passes
    `"iaf"`     the latents on the side of the noise   slow, latent passes   quick, one pass
    ==========  =====================================  ====================  ====================

    A VAE draws z first and then asks for ln q(z): an IAF with `rsample_and_log_prob` does both in
    one pass. A MAF is the better choice where many given z are to be scored. The two families differ.

    With one latent the shift and the scale depend on x alone, so q is a Gaussian whatever the kind.

    Args:
        latent: The number of latent variables.
        kind: "maf" or "iaf".
        context: The number of features, which is yours to choose; None takes 32, or 2 latent
            where that is more.
        transforms: The number of transforms; the order of the latents is turned round in between.
        hidden: The sizes of the hidden layers in each of them.

    Attributes:
        features: The numbers it needs for each example, `context`.

    Raises:
        ValueError: If a size is below 1, hidden is empty, or kind is unknown. Calling it: if the
            features are not (..., features).
        ImportError: If zuko is not installed.

    Book: chapter 6 (full covariance) for ln q from the noise, chapter 11 (flows). Source: Papamakarios et
    al. (2017), arXiv 1705.07057, for the MAF; Kingma et al. (2016), arXiv 1606.04934, for the IAF. The
    transforms are those of zuko.

    Example:
        >>> posterior = Flow(latent=3, kind="iaf")
        >>> q = posterior(torch.zeros(5, posterior.features))
        >>> q.batch_shape, q.event_shape, q.rsample((7,)).shape
        (torch.Size([5]), torch.Size([3]), torch.Size([7, 5, 3]))
    """

    def __init__(
        self,
        latent: int,
        kind: str = "maf",
        *,
        context: int | None = None,
        transforms: int = 2,
        hidden: Sequence[int] = (64,),
    ) -> None:
        super().__init__()
        _require.positive_integer("latent", latent)
        if kind not in _KINDS:
            raise ValueError(f"kind is {kind!r}; wanted one of {', '.join(map(repr, _KINDS))}")
        context = max(32, 2 * latent) if context is None else context
        _require.positive_integer("context", context)
        _require.positive_integer("transforms", transforms)
        _require.positive_integers("hidden", hidden)
        if not hidden:
            raise ValueError("hidden is empty; wanted the size of at least one hidden layer")
        self.latent, self.kind, self.features = int(latent), kind, int(context)
        # a smooth activation: the density then has no kinks
        flow = _zuko().flows.MAF(
            latent,
            context=context,
            transforms=transforms,
            hidden_features=tuple(hidden),
            activation=nn.GELU,
        )
        self.transform = flow.transform

    def forward(self, features: Float[Tensor, "*batch features"]) -> FlowPosterior:
        check_features(features, self.features, "the context of the flow")
        zeros = features.new_zeros(*features.shape[:-1], self.latent)
        base = Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1)
        transform = self.transform(features)
        # zuko's transform is quick forwards: the MAF goes that way from z to noise, the IAF back
        return FlowPosterior(transform if self.kind == "maf" else transform.inv, base)

    def extra_repr(self) -> str:
        return f"latent={self.latent}, kind={self.kind!r}, features={self.features}"
