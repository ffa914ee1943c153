"""The variational auto-encoder."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from vae_lib import _require
from vae_lib.bounds import beta_elbo
from vae_lib.models._checks import (
    blaming_x,
    called,
    check_event,
    check_images,
    check_makers,
    look,
    one_by_one,
    per_example,
    scored,
)
from vae_lib.models._detach import detached_log_prob
from vae_lib.models._draw import Draw
from vae_lib.models._prior import check_prior, prior_of, prior_or_standard_normal
from vae_lib.posteriors.drawing import drawn, draws

__all__ = ["VAE"]


class VAE(nn.Module):
    r"""A variational auto-encoder: a decoder, a prior, and an encoder that infers the latents.

    .. math:: \ln p_\theta(x) \ge \mathcal{L}(x)
              = \mathbb{E}_{q_\phi(z|x)} \ln p_\theta(x|z)
              \qquad - \mathrm{KL}\left( q_\phi(z|x) \,\|\, p(z) \right)

    The first term is called the reconstruction, the second the rate.

    Every value is in nats and belongs to one example: x is (batch, pixels), z is (batch, latent),
    and the axis of samples comes first, z (k, batch, latent).

    Args:
        encoder: A module; `encoder(x)` returns :math:`q_\phi(z|x)`, a distribution with
            `event_shape == (latent,)` that can be sampled with `rsample`.
        decoder: A module; `decoder(z)` returns :math:`p_\theta(x|z)` with
            `event_shape == (pixels,)`. It accepts any number of axes before the last.
        prior: A distribution over z, or a module that returns one when called; a module moves with
            the model to another device, a distribution does not. The default is the standard
            normal with `encoder.latent` variables.

    Raises:
        ValueError: If encoder or decoder cannot be called, if the prior is neither a distribution nor
            makes one when called without arguments, or if there is none and the encoder has no
            attribute `latent`.

    Book: chapter 2 (the rearrangement), chapter 8 (encoder, decoder, prior). Source: Kingma and
    Welling (2014).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(pixels=64, latent=2, seed=0)
        >>> x = torch.zeros(5, 64)
        >>> model.elbo(x).shape, model.log_weights(x, k=7).shape
        (torch.Size([5]), torch.Size([7, 5]))
        >>> model.sample(3).shape, model.reconstruct(x).shape
        (torch.Size([3, 64]), torch.Size([5, 64]))
    """

    has_elbo = True

    def __init__(
        self,
        encoder: Callable[[Float[Tensor, "*batch pixels"]], Distribution],
        decoder: Callable[[Float[Tensor, "*batch latent"]], Distribution],
        prior: Distribution | Callable[[], Distribution] | None = None,
    ):
        super().__init__()
        check_makers(encoder=encoder, decoder=decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.prior_source = prior_or_standard_normal(prior, encoder)
        check_prior(self.prior_source)

    @property
    def prior(self) -> Distribution:
        """The distribution :math:`p(z)`, with `event_shape == (latent,)`.

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> mlp_vae(pixels=64, latent=2, seed=0).prior.mean
            tensor([0., 0.])
        """
        return prior_of(self.prior_source)

    def encode(self, x: Float[Tensor, "*batch pixels"]) -> Distribution:
        r"""The approximate posterior :math:`q_\phi(z|x)`, one per example. It draws nothing.

        Its `.mean` is the code of x, (batch, latent).

        Raises:
            ValueError: If x is not finite or not what the encoder reads, or the encoder returns no
                distribution with the event (latent,).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> q = mlp_vae(pixels=64, latent=2, seed=0).encode(torch.zeros(5, 64))
            >>> q.mean.shape, q.stddev.shape
            (torch.Size([5, 2]), torch.Size([5, 2]))
        """
        look("x", x)
        return self._encoded(x)

    def _encoded(self, x: Tensor) -> Distribution:
        posterior = check_event("encoder", called("encoder", self.encoder, "x", x), "latent")
        if posterior.batch_shape != x.shape[:-1]:
            raise ValueError(
                f"encoder returned a distribution with batch shape {tuple(posterior.batch_shape)}; wanted "
                f"{tuple(x.shape[:-1])}, one posterior for each example"
            )
        return posterior

    def decode(self, z: Float[Tensor, "*batch latent"]) -> Distribution:
        r"""The likelihood :math:`p_\theta(x|z)`, one per code, with `event_shape == (pixels,)`.

        Raises:
            ValueError: If z is not what the decoder reads, or the decoder returns no distribution with
                the event (pixels,).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> p = mlp_vae(pixels=64, latent=2, seed=0).decode(torch.zeros(7, 5, 2))
            >>> p.batch_shape, p.event_shape
            (torch.Size([7, 5]), torch.Size([64]))
        """
        return self._decoded("z", z)

    def _decoded(self, name: str, z: Tensor) -> Distribution:
        return check_event("decoder", called("decoder", self.decoder, name, z), "pixels")

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """ln p(x|z), (k, batch), for z (k, batch, latent)."""
        likelihood = self._decoded("z, drawn from the posterior,", z)
        return per_example("decoder", scored(likelihood, x), z.shape[:-1])

    def _log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """ln p(x, z), (k, batch), for z (k, batch, latent)."""
        return self._log_likelihood(x, z) + self._prior_log_prob(self.prior, z)

    def _prior_log_prob(self, prior: Distribution, z: Tensor) -> Tensor:
        """ln p(z), (k, batch), for z (k, batch, latent)."""
        return per_example("prior", prior.log_prob(z), z.shape[:-1])

    def _posterior_and_prior(self, x: Tensor) -> tuple[Distribution, Distribution]:
        posterior, prior = self._encoded(x), self.prior
        if posterior.event_shape != prior.event_shape:
            raise ValueError(
                f"encoder returned {posterior.event_shape[0]} latent variables; wanted as many as "
                f"the prior has, event shape {tuple(prior.event_shape)}"
            )
        if prior.batch_shape not in ((), posterior.batch_shape):
            raise ValueError(
                f"prior has batch shape {tuple(prior.batch_shape)}; wanted (), one for all examples, or "
                f"{tuple(posterior.batch_shape)}, one for each"
            )
        return posterior, prior

    def log_weights(
        self, x: Float[Tensor, "*batch pixels"], k: int = 1, detach_posterior: bool = False
    ) -> Float[Tensor, "k *batch"]:
        r"""Draw :math:`z_1, \dots, z_k \sim q_\phi(z|x)` and return the log-weights of the draws.

        .. math:: \ln w_i = \ln p_\theta(x|z_i) + \ln p(z_i) - \ln q_\phi(z_i|x)

        Every bound on :math:`\ln p_\theta(x)` is a function of this one tensor: see
        `vae_lib.bounds`. The encoder runs once, whatever k is.

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws for each of them.
            detach_posterior: Whether :math:`\ln q_\phi(z_i|x)` is evaluated with its parameters
                detached. The values are the same. The gradient then reaches :math:`\phi` through
                the draws :math:`z_i` alone: these are the log-weights of "sticking the landing"
                and of DReG. Without it the score :math:`\partial_\phi \ln q_\phi(z_i|x)`, whose
                expectation is zero, adds noise to the gradient of the ELBO.

        Returns:
            The log-weights in nats, (k, batch), differentiable in every parameter.

        Raises:
            ValueError: If k is below 1, if x has no batch axis or values that the likelihood
                refuses, if encoder, decoder and prior do not fit together, or if the posterior
                cannot be detached: the encoder must be a module, or the posterior Gaussian.

        Book: chapter 3 (a family of bounds), chapter 6 (sticking the landing), chapter 8
        (four test-time modes). Source: Burda et al. (2016), section 3; Roeder et al. (2017) for the
        detached posterior.

        Example:
            >>> from vae_lib.bounds import iwae_bound
            >>> from vae_lib.networks import mlp_vae
            >>> log_w = mlp_vae(pixels=64, latent=2, seed=0).log_weights(torch.zeros(5, 64), k=20)
            >>> iwae_bound(log_w).shape
            torch.Size([5])
        """
        return self.draw(x, k, detach_posterior).log_weights

    @blaming_x
    def draw(self, x: Float[Tensor, "*batch pixels"], k: int = 1, detach_posterior: bool = False) -> Draw:
        r"""What `log_weights` draws, with the two terms of the log-weights apart.

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws for each of them.
            detach_posterior: As in `log_weights`.

        Returns:
            A `Draw`.

        Raises:
            ValueError: As `log_weights`.

        Book: chapter 8 (the loss contract).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> draw = mlp_vae(pixels=64, latent=2, seed=0).draw(torch.zeros(5, 64), k=7)
            >>> draw.log_likelihood.shape, draw.log_ratio.shape
            (torch.Size([7, 5]), torch.Size([7, 5]))
        """
        check_images(x)
        _require.positive_integer("k", k)
        posterior, prior = self._posterior_and_prior(x)
        if detach_posterior:
            z = draws(posterior, k)  # (k, batch, latent)
            log_q = detached_log_prob(self.encoder, x, posterior, z)
        else:
            z, log_q = drawn(posterior, k)
        return Draw(self._log_likelihood(x, z), log_q - self._prior_log_prob(prior, z), (z,))

    @blaming_x
    def loss_terms(
        self,
        x: Float[Tensor, "*batch pixels"],
        k: int = 1,
        analytic_kl: bool | None = None,
        by_latent: bool = False,
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch_and_latent"]]:
        r"""The two terms of the ELBO, estimated with k draws from the posterior.

        .. math:: \mathbb{E}_{q_\phi(z|x)} \ln p_\theta(x|z), \qquad
                  \mathrm{KL}\left( q_\phi(z|x) \,\|\, p(z) \right)

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws that are averaged.
            analytic_kl: Whether the rate is the KL in closed form. Otherwise it is the average of
                :math:`\ln q_\phi(z|x) - \ln p(z)` over the same draws: unbiased too, but
                noisier, and one estimate may well be negative. None takes the closed form where
                there is one.
            by_latent: Whether the rate is given for each latent, (batch, latent); its sum over the
                latents is the rate. Free bits need it.

        Returns:
            The reconstruction and the rate in nats, each (batch,).

        Raises:
            ValueError: As `log_weights`; if `analytic_kl` is True and the KL has no closed form; or if
                `by_latent` is True and the latents are not independent in posterior and prior.

        Book: chapter 8 (the loss contract).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> model, x = mlp_vae(pixels=64, latent=2, seed=0), torch.zeros(5, 64)
            >>> reconstruction, rate = model.loss_terms(x)
            >>> reconstruction.shape, rate.shape
            (torch.Size([5]), torch.Size([5]))
        """
        check_images(x)
        _require.positive_integer("k", k)
        posterior, prior = self._posterior_and_prior(x)
        q, p = (one_by_one(posterior), one_by_one(prior)) if by_latent else (posterior, prior)
        rate = None if analytic_kl is False else _closed_form(q, p)
        if rate is not None:
            z = draws(posterior, k)  # (k, batch, latent)
            return self._log_likelihood(x, z).mean(0), rate
        if analytic_kl:
            raise ValueError(
                f"analytic_kl is True, but KL({type(posterior).__name__} || "
                f"{type(prior).__name__}) has no closed form here; wanted analytic_kl=False"
            )
        z, log_q = drawn(q, k)  # (k, batch, latent), (k, batch)
        log_p = p.log_prob(z) if by_latent else self._prior_log_prob(p, z)
        return self._log_likelihood(x, z).mean(0), (log_q - log_p).mean(0)

    def elbo(
        self,
        x: Float[Tensor, "*batch pixels"],
        k: int = 1,
        beta: float | int = 1.0,
        analytic_kl: bool | None = None,
    ) -> Float[Tensor, "*batch"]:
        r"""An unbiased estimate of the ELBO with k draws: reconstruction − beta · rate.

        It is random, because it draws z. Only its expectation is a bound on
        :math:`\ln p_\theta(x)`, and only for beta ≥ 1. More draws make it steadier, not tighter.

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws that are averaged.
            beta: The weight of the rate.
            analytic_kl: As in `loss_terms`.

        Returns:
            The estimate in nats, one value per example, (batch,). The loss is
            `-model.elbo(x).mean()`.

        Raises:
            ValueError: As `loss_terms`.

        Book: chapter 8 (the loss contract).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> loss = -mlp_vae(pixels=64, latent=2, seed=0).elbo(torch.zeros(5, 64)).mean()
            >>> loss.shape, bool(loss > 0)
            (torch.Size([]), True)
        """
        reconstruction, rate = self.loss_terms(x, k, analytic_kl)
        return beta_elbo(reconstruction, rate, beta)

    def log_likelihood(
        self, x: Float[Tensor, "batch pixels"], z: Float[Tensor, "points latent"]
    ) -> Float[Tensor, "points batch"]:
        r""":math:`\ln p_\theta(x|z)` for every code and every example, in nats.

        This is the function that `vae_lib.laboratory.grid_log_evidence` asks for: with one or two
        latents it turns the decoder into :math:`\ln p_\theta(x)`, without any bound.

        Args:
            x: The examples, (batch, pixels).
            z: The codes, (points, latent).

        Raises:
            ValueError: If x has no batch axis or values that the likelihood refuses, or z is not
                (points, latent).

        Book: chapter 8 (is the number right?).

        Example:
            >>> from vae_lib.laboratory import grid_log_evidence
            >>> from vae_lib.networks import mlp_vae
            >>> model, x = mlp_vae(pixels=3, latent=1, seed=0), torch.zeros(5, 3)
            >>> model.log_likelihood(x, torch.zeros(11, 1)).shape
            torch.Size([11, 5])
            >>> grid_log_evidence(model.log_likelihood, x, latent_dim=1).shape
            torch.Size([5])
        """
        check_images(x)
        _require.shape("z", z, (None, None), "(points, latent)")
        likelihood = self._decoded("z", z.unsqueeze(1))
        return per_example("decoder", scored(likelihood, x), torch.Size((len(z), len(x))))

    @torch.no_grad()
    def sample(self, n: int, mean: bool = False) -> Float[Tensor, "n pixels"]:
        r"""Generate n new examples from the prior; the encoder is not used.

        .. math:: z \sim p(z), \qquad x \sim p_\theta(x|z)

        Args:
            n: How many.
            mean: Whether to return the mean of :math:`p_\theta(x|z)` in place of a draw from
                it. Such pictures look cleaner, but they are not samples of the model.

        Returns:
            The examples, (n, pixels), without gradients.

        Raises:
            ValueError: If n is below 1, or the prior is a batch of distributions.

        Book: chapter 8 (four test-time modes).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> mlp_vae(pixels=64, latent=2, seed=0).sample(3).unique()
            tensor([0., 1.])
        """
        _require.positive_integer("n", n)
        prior = self.prior
        if prior.batch_shape:
            raise ValueError(
                f"prior has batch shape {tuple(prior.batch_shape)}; wanted (), one distribution to draw n "
                "codes from"
            )
        likelihood = self._decoded("z, drawn from the prior,", prior.sample((n,)))
        return likelihood.mean if mean else likelihood.sample()

    @torch.no_grad()
    def reconstruct(
        self, x: Float[Tensor, "*batch pixels"], mean: bool = True
    ) -> Float[Tensor, "*batch pixels"]:
        r"""Encode x and decode it again.

        Args:
            x: The examples, (batch, pixels).
            mean: Whether to decode the mean of :math:`q_\phi(z|x)` and return the mean of
                :math:`p_\theta(x|z)`: the same picture each time. Otherwise both are drawn.

        Returns:
            The reconstructions, (batch, pixels), without gradients.

        Raises:
            ValueError: If x has no batch axis.

        Book: chapter 8 (four test-time modes).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> model, x = mlp_vae(pixels=64, latent=2, seed=0), torch.zeros(5, 64)
            >>> bool((model.reconstruct(x) == model.reconstruct(x)).all())
            True
        """
        check_images(x)
        posterior = self.encode(x)
        z = posterior.mean if mean else posterior.sample()  # (batch, latent)
        likelihood = self._decoded("z, from the posterior,", z)
        return likelihood.mean if mean else likelihood.sample()


def _closed_form(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """KL(posterior || prior) where torch or vae_lib knows a formula for the pair."""
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None
