"""The conditional variational auto-encoder: p(x|y), many answers to one question."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.models._checks import TROUBLE, called, check_images, check_makers
from vae_lib.models._prior import check_made, needs_an_argument, prior_of, prior_or_standard_normal
from vae_lib.models.vae import VAE

__all__ = ["Concatenated", "ConditionalVAE", "Joined"]


class ConditionalVAE(nn.Module):
    r"""A VAE of x given a condition y: the condition reaches encoder, decoder and prior.

    .. math:: \ln p_\theta(x|y) \ge \mathbb{E}_{q_\phi(z|x,y)} \ln p_\theta(x|z,y)
              \qquad - \mathrm{KL}\left( q_\phi(z|x,y) \,\|\, p_\theta(z|y) \right)

    Given y it is an ordinary VAE, `model.given(y)`, and every value comes from there. z says what y
    leaves open, so one y can have several answers, where a regression would give their average.

    y is one-hot or real, (batch, conditions), one row for each example. To generate, z comes from
    the prior and never from the encoder, which would have to know the answer.

    Args:
        encoder: A module; `encoder(x, y)` returns :math:`q_\phi(z|x,y)`, a distribution with
            `event_shape == (latent,)` that can be sampled with `rsample`. `Concatenated` makes one
            from an ordinary encoder.
        decoder: A module; `decoder(z, y)` returns :math:`p_\theta(x|z,y)` with
            `event_shape == (pixels,)`. z may have axes of samples in front of those of y.
        prior: A module that is called with y, `prior(y)`; or one that is called without, if its
            `forward` needs no argument; or a distribution over z. The default is the standard
            normal with `encoder.latent` variables.

    Raises:
        ValueError: If no prior is given and the encoder has no attribute `latent`.

    Book: chapter 11 (conditional VAE). Source: Sohn et al. (2015).

    Example:
        >>> from vae_lib.builders import conditional_mlp_vae
        >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
        >>> x, y = torch.zeros(5, 64), torch.eye(10)[:5]
        >>> model.elbo(x, y).shape, model.log_weights(x, y, k=7).shape
        (torch.Size([5]), torch.Size([7, 5]))
        >>> model.sample(y).shape, model.reconstruct(x, y).shape
        (torch.Size([5, 64]), torch.Size([5, 64]))
    """

    has_elbo = True

    def __init__(
        self,
        encoder: Callable[[Float[Tensor, "*batch pixels"], Float[Tensor, "*batch conditions"]], Distribution],
        decoder: Callable[[Float[Tensor, "*batch latent"], Float[Tensor, "*batch conditions"]], Distribution],
        prior: Distribution | Callable[..., Distribution] | None = None,
    ):
        super().__init__()
        check_makers(encoder=encoder, decoder=decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.prior_source = prior_or_standard_normal(prior, encoder)

    def prior(self, y: Float[Tensor, "*batch conditions"]) -> Distribution:
        r"""The distribution :math:`p_\theta(z|y)`, with `event_shape == (latent,)`.

        Raises:
            ValueError: If y has no batch axis, or is not finite.

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> model.prior(torch.eye(10)).mean.shape
            torch.Size([10, 2])
        """
        _check_condition(y)
        source = self.prior_source
        if isinstance(source, Distribution) or not needs_an_argument(source):
            return prior_of(source)
        return check_made(called("prior", source, "y", y))

    def given(self, y: Float[Tensor, "*batch conditions"]) -> VAE:
        """The ordinary VAE that this one is for the condition y. It shares all parameters.

        Raises:
            ValueError: If y has no batch axis, or is not finite.

        Example:
            >>> from vae_lib.bounds import iwae_bound
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> given = model.given(torch.eye(10)[:5])
            >>> iwae_bound(given.log_weights(torch.zeros(5, 64), k=3)).shape
            torch.Size([5])
        """
        prior = self.prior(y)
        return VAE(_Given(self.encoder, y), _Given(self.decoder, y), prior)

    def _given_both(self, x: Tensor, y: Tensor) -> VAE:
        check_images(x)
        _require.floating("y", y)
        if y.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"y has shape {tuple(y.shape)}; wanted one row for each example of x, "
                f"whose shape is {tuple(x.shape)}"
            )
        return self.given(y)

    def encode(
        self, x: Float[Tensor, "*batch pixels"], y: Float[Tensor, "*batch conditions"]
    ) -> Distribution:
        r"""The approximate posterior :math:`q_\phi(z|x,y)`, one per example. It draws nothing.

        Raises:
            ValueError: If y has not one row per example, or the encoder returns a distribution
                whose event is not (latent,).

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> model.encode(torch.zeros(5, 64), torch.eye(10)[:5]).mean.shape
            torch.Size([5, 2])
        """
        return self._given_both(x, y).encode(x)

    def decode(
        self, z: Float[Tensor, "*samples_and_batch latent"], y: Float[Tensor, "*batch conditions"]
    ) -> Distribution:
        r"""The likelihood :math:`p_\theta(x|z,y)`, one per code, with `event_shape == (pixels,)`.

        Raises:
            ValueError: If y has no batch axis or is not finite, or the decoder returns a
                distribution whose event is not (pixels,).

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> model.decode(torch.zeros(7, 5, 2), torch.eye(10)[:5]).batch_shape
            torch.Size([7, 5])
        """
        return self.given(y).decode(z)

    def log_weights(
        self,
        x: Float[Tensor, "*batch pixels"],
        y: Float[Tensor, "*batch conditions"],
        k: int = 1,
        detach_posterior: bool = False,
    ) -> Float[Tensor, "k *batch"]:
        r"""Draw :math:`z_1, \dots, z_k \sim q_\phi(z|x,y)` and return the log-weights of the draws.

        .. math:: \ln w_i = \ln p_\theta(x|z_i,y) + \ln p_\theta(z_i|y) - \ln q_\phi(z_i|x,y)

        Args:
            x: The examples, (batch, pixels).
            y: The conditions, (batch, conditions).
            k: The number of draws for each example.
            detach_posterior: As in `VAE.log_weights`.

        Returns:
            The log-weights in nats, (k, batch), for bounds on :math:`\ln p_\theta(x|y)`.

        Raises:
            ValueError: As `VAE.log_weights`, and if y does not fit x.

        Book: chapter 3 (a family of bounds), chapter 11 (conditional VAE).

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> model.log_weights(torch.zeros(5, 64), torch.eye(10)[:5], k=7).shape
            torch.Size([7, 5])
        """
        return self._given_both(x, y).log_weights(x, k, detach_posterior)

    def loss_terms(
        self,
        x: Float[Tensor, "*batch pixels"],
        y: Float[Tensor, "*batch conditions"],
        k: int = 1,
        analytic_kl: bool | None = None,
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """The two terms of the ELBO, reconstruction and rate, as in `VAE.loss_terms`.

        Returns:
            Both in nats, each (batch,).

        Raises:
            ValueError: As `VAE.loss_terms`, and if y does not fit x.

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> [term.shape for term in model.loss_terms(torch.zeros(5, 64), torch.eye(10)[:5])]
            [torch.Size([5]), torch.Size([5])]
        """
        return self._given_both(x, y).loss_terms(x, k, analytic_kl)

    def elbo(
        self,
        x: Float[Tensor, "*batch pixels"],
        y: Float[Tensor, "*batch conditions"],
        k: int = 1,
        beta: float | int = 1.0,
        analytic_kl: bool | None = None,
    ) -> Float[Tensor, "*batch"]:
        r"""An unbiased estimate, with k draws, of a lower bound on :math:`\ln p_\theta(x|y)`.

        Returns:
            Nats, one value per example, (batch,). See `VAE.elbo`.

        Raises:
            ValueError: As `VAE.elbo`, and if y does not fit x.

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> model.elbo(torch.zeros(5, 64), torch.eye(10)[:5]).shape
            torch.Size([5])
        """
        return self._given_both(x, y).elbo(x, k, beta, analytic_kl)

    @torch.no_grad()
    def sample(
        self, y: Float[Tensor, "batch conditions"], mean: bool = False
    ) -> Float[Tensor, "batch pixels"]:
        r"""Generate one example for each row of y; the encoder is not used.

        .. math:: z \sim p_\theta(z|y), \qquad x \sim p_\theta(x|z,y)

        For several answers to one question, repeat its row.

        Args:
            y: The conditions, (batch, conditions).
            mean: Whether to return the mean of :math:`p_\theta(x|z,y)` in place of a draw from it.

        Returns:
            The examples, (batch, pixels), without gradients.

        Raises:
            ValueError: If y has no batch axis, or is not finite.

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> three = torch.eye(10)[3].repeat(20, 1)
            >>> model.sample(three).shape
            torch.Size([20, 64])
        """
        given = self.given(y)
        prior = given.prior
        z = prior.sample() if prior.batch_shape else prior.sample(y.shape[:-1])  # (batch, latent)
        likelihood = given.decode(z)
        return likelihood.mean if mean else likelihood.sample()

    def reconstruct(
        self,
        x: Float[Tensor, "*batch pixels"],
        y: Float[Tensor, "*batch conditions"],
        mean: bool = True,
    ) -> Float[Tensor, "*batch pixels"]:
        """Encode x and decode it again, both with y, as `VAE.reconstruct` does.

        Raises:
            ValueError: If x has no batch axis, or y does not fit x.

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
            >>> model.reconstruct(torch.zeros(5, 64), torch.eye(10)[:5]).shape
            torch.Size([5, 64])
        """
        return self._given_both(x, y).reconstruct(x, mean)


class Concatenated(nn.Module):
    r"""Gives a condition to a module that takes one tensor: it sees both, one after the other.

    Args:
        module: A module of one input, such as a `GaussianEncoder` or a `Decoder`, that accepts
            `(..., features + conditions)`.

    Book: chapter 11 (conditional VAE). Source: Sohn et al. (2015).

    Example:
        >>> module = Concatenated(nn.Linear(2 + 10, 64))
        >>> module(torch.zeros(7, 5, 2), torch.eye(10)[:5]).shape
        torch.Size([7, 5, 64])
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        if hasattr(module, "latent"):
            self.latent = module.latent

    def forward(
        self, first: Float[Tensor, "*samples_and_batch features"], y: Float[Tensor, "*batch conditions"]
    ) -> Distribution | Float[Tensor, "*rest outputs"]:
        shape = torch.broadcast_shapes(first.shape[:-1], y.shape[:-1])
        both = torch.cat([first.expand(*shape, -1), y.expand(*shape, -1)], dim=-1)
        return self.module(both)  # (..., features + conditions)


class Joined(nn.Module):
    r"""A conditional VAE on rows (x, y), so that `vae_lib.training.fit` can train it.

    Args:
        model: The `ConditionalVAE`; its parameters are trained.
        conditions: How many columns at the end of a row are y, at least 1.

    Raises:
        ValueError: If conditions is below 1.

    Book: chapter 11 (conditional VAE).

    Example:
        >>> from vae_lib.builders import conditional_mlp_vae
        >>> model = conditional_mlp_vae(pixels=64, conditions=10, latent=2, seed=0)
        >>> rows = torch.cat([torch.zeros(5, 64), torch.eye(10)[:5]], dim=-1)
        >>> [term.shape for term in Joined(model, conditions=10).loss_terms(rows)]
        [torch.Size([5]), torch.Size([5])]
    """

    has_elbo = True

    def __init__(self, model: ConditionalVAE, conditions: int):
        super().__init__()
        _require.positive_integer("conditions", conditions)
        self.model = model
        self.conditions = conditions

    def loss_terms(
        self, rows: Float[Tensor, "*batch columns"], k: int = 1
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """The two terms of the ELBO of x given y, for rows (x, y).

        Raises:
            ValueError: As `ConditionalVAE.loss_terms`, and if the rows hold no column for x.

        Example:
            >>> from vae_lib.builders import conditional_mlp_vae
            >>> model = conditional_mlp_vae(pixels=1, conditions=1, latent=1, seed=0)
            >>> Joined(model, conditions=1).loss_terms(torch.zeros(5, 2))[0].shape
            torch.Size([5])
        """
        pixels = rows.shape[-1] - self.conditions
        if pixels < 1:
            raise ValueError(
                f"rows has shape {tuple(rows.shape)}; wanted (batch, pixels + {self.conditions})"
            )
        x, y = rows.split([pixels, self.conditions], dim=-1)
        return self.model.loss_terms(x, y, k)


class _Given(nn.Module):
    """A module of two inputs with the second one fixed."""

    conditioned = True  # the first layer reads more than the first input

    def __init__(self, module: Callable[[Tensor, Tensor], Distribution], y: Tensor):
        super().__init__()
        self.module = module
        self.y = y

    def forward(self, first: Tensor) -> Distribution:
        try:
            return self.module(first, self.y)
        except TROUBLE as error:
            trouble = error
        self._check_fit(first)
        raise trouble

    def _check_fit(self, first: Tensor) -> None:
        """Refuse a condition that the module cannot read beside its first input."""
        y = self.y
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return
        if y.dtype != first.dtype:
            raise ValueError(f"y has dtype {y.dtype}; wanted {first.dtype}, that of x and z")
        reads = next((part.in_features for part in self.modules() if isinstance(part, nn.Linear)), None)
        if reads is None or not isinstance(self.module, Concatenated):
            return
        if first.shape[-1:] != (reads - y.shape[-1],):
            raise ValueError(
                f"x or z has shape {tuple(first.shape)} and y {tuple(y.shape)}; wanted {reads} columns, "
                "both together"
            )


def _check_condition(y: Tensor) -> None:
    _require.floating("y", y)
    if y.dim() < 2:
        raise ValueError(f"y has shape {tuple(y.shape)}; wanted (batch, conditions)")
    _require.finite("y", y)
