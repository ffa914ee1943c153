"""A variational auto-encoder with several stochastic layers."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.bounds import beta_elbo
from vae_lib.models._checks import (
    blaming_x,
    called,
    check_event,
    check_images,
    look,
    one_by_one,
    per_example,
    scored,
)
from vae_lib.models._detach import log_prob_with_frozen_parameters
from vae_lib.models._draw import Draw
from vae_lib.models._prior import check_prior, prior_of, prior_or_standard_normal

__all__ = ["HierarchicalVAE"]


class HierarchicalVAE(nn.Module):
    r"""A VAE whose latents stand in layers: :math:`h_1` next to the data, :math:`h_L` on top.

    .. math:: p(x, h) = p(h_L) \, p(h_{L-1}|h_L) \cdots p(h_1|h_2) \, p(x|h_1), \qquad
              q(h|x) = q(h_1|x) \, q(h_2|h_1) \cdots q(h_L|h_{L-1})

    With L = 2 it is the model of Burda et al.; with L = 1 it is a `VAE`. Both lists below are in the
    order of the layers, from the data up.

    Args:
        encoders: L modules: `encoders[0](x)` returns :math:`q(h_1|x)`, `encoders[1](h_1)` returns
            :math:`q(h_2|h_1)`, and so on; each with one event axis and with `rsample`.
        decoders: L modules: `decoders[0](h_1)` returns :math:`p(x|h_1)`, `decoders[1](h_2)` returns
            :math:`p(h_1|h_2)`, and so on. Each accepts any number of axes before the last.
        prior: :math:`p(h_L)`, a distribution, or a module that returns one when called. The default
            is the standard normal with `encoders[-1].latent` variables.

    Raises:
        ValueError: If there are no encoders, not as many decoders, or no prior is given and the
            last encoder has no attribute `latent`.

    Book: chapter 11 (hierarchies). Source: Burda et al. (2016), section 5.

    Example:
        >>> from vae_lib.bounds import iwae_bound
        >>> from vae_lib.builders import hierarchical_mlp_vae
        >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((16,), (8,)), seed=0)
        >>> x = torch.zeros(5, 64)
        >>> model.elbo(x).shape, iwae_bound(model.log_weights(x, k=7)).shape
        (torch.Size([5]), torch.Size([5]))
        >>> model.sample(3).shape, model.reconstruct(x).shape
        (torch.Size([3, 64]), torch.Size([5, 64]))
    """

    has_elbo = True

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        decoders: Sequence[nn.Module],
        prior: Distribution | Callable[[], Distribution] | None = None,
    ):
        super().__init__()
        for name, modules in (("encoders", encoders), ("decoders", decoders)):
            if not isinstance(modules, Sequence | nn.ModuleList):
                raise ValueError(f"{name} is a {type(modules).__name__}; wanted a list of modules")
        if len(encoders) == 0 or len(encoders) != len(decoders):
            raise ValueError(
                f"encoders has {len(encoders)} modules and decoders {len(decoders)}; wanted one of "
                "each for every layer of latents, and at least one layer"
            )
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.prior_source = prior_or_standard_normal(prior, encoders[-1])
        check_prior(self.prior_source)

    @property
    def prior(self) -> Distribution:
        """The distribution :math:`p(h_L)` of the top layer.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0).prior.mean
            tensor([0., 0.])
        """
        return prior_of(self.prior_source)

    def encode(self, x: Float[Tensor, "*batch pixels"]) -> Distribution:
        r"""The posterior of the layer next to the data, :math:`q(h_1|x)`. It draws nothing.

        Raises:
            ValueError: If x is not finite or not what the encoder reads, or the encoder returns no
                distribution with one event axis.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> model.encode(torch.zeros(5, 64)).mean.shape
            torch.Size([5, 4])
        """
        look("x", x)
        return self._distribution("encoders", 0, x)

    def decode(self, h: Float[Tensor, "*batch latent"]) -> Distribution:
        r"""The likelihood :math:`p(x|h_1)` of codes of the layer next to the data.

        Raises:
            ValueError: If the decoder returns a distribution that has not one event axis.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> model.decode(torch.zeros(7, 5, 4)).batch_shape
            torch.Size([7, 5])
        """
        return self._distribution("decoders", 0, h)

    def _distribution(self, side: str, layer: int, given: Tensor) -> Distribution:
        maker = f"{side}[{layer}]"
        name = "x" if maker == "encoders[0]" else "h"
        made = called(maker, getattr(self, side)[layer], name, given)
        event = "pixels" if maker == "decoders[0]" else "latent"
        return check_event(maker, made, event)

    def _log_likelihood(self, x: Tensor, h: Tensor) -> Tensor:
        return per_example("decoders[0]", scored(self.decode(h), x), h.shape[:-1])

    def _column(self, x: Tensor, k: int) -> tuple[list[Tensor], list[Distribution]]:
        """x and one draw of every layer, k times; and the posteriors that they were drawn from."""
        check_images(x)
        _require.positive_integer("k", k)
        h, posteriors = [x], []
        for layer in range(len(self.encoders)):
            posterior = self._distribution("encoders", layer, h[-1])
            if posterior.batch_shape != h[-1].shape[:-1]:
                raise ValueError(
                    f"encoders[{layer}] returned a distribution with batch shape "
                    f"{tuple(posterior.batch_shape)}; wanted {tuple(h[-1].shape[:-1])}, one for each row"
                )
            posteriors.append(posterior)
            h.append(posteriors[-1].rsample((k,) if layer == 0 else ()))  # (k, batch, latent of the layer)
        if h[-1].shape[-1:] != self.prior.event_shape:
            raise ValueError(
                f"encoders[-1] returned {h[-1].shape[-1]} latent variables; wanted as many as the "
                f"prior has, event shape {tuple(self.prior.event_shape)}"
            )
        return h, posteriors

    def _priors(self, h: list[Tensor]) -> list[Distribution]:
        """What every layer of latents is expected to be, given the one above it."""
        priors = []
        for layer, (below, above) in enumerate(pairwise(h[1:]), start=1):
            likelihood = self._distribution("decoders", layer, above)
            if likelihood.event_shape != below.shape[-1:]:
                raise ValueError(
                    f"decoders[{layer}] returned {likelihood.event_shape[0]} latent variables; wanted "
                    f"{below.shape[-1]}, as encoders[{layer - 1}]"
                )
            priors.append(likelihood)
        return [*priors, self.prior]

    @blaming_x
    def draw(self, x: Float[Tensor, "*batch pixels"], k: int = 1, detach_posterior: bool = False) -> Draw:
        r"""What `log_weights` draws, with the two terms of the log-weights apart.

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws, of all layers together.
            detach_posterior: As in `log_weights`.

        Returns:
            A `Draw`, whose `latents` are :math:`h_1, \dots, h_L`.

        Raises:
            ValueError: As `log_weights`.

        Book: chapter 11 (hierarchies).

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> [h.shape for h in model.draw(torch.zeros(5, 64), k=7).latents]
            [torch.Size([7, 5, 4]), torch.Size([7, 5, 2])]
        """
        h, posteriors = self._column(x, k)
        if detach_posterior:
            # the layers above were drawn from h itself: these views are the way of the log-weights alone
            h = [x, *(layer.view_as(layer) for layer in h[1:])]
            log_q = [
                log_prob_with_frozen_parameters(encoder, below, above)
                for encoder, (below, above) in zip(self.encoders, pairwise(h), strict=True)
            ]
        else:
            log_q = [q.log_prob(layer) for q, layer in zip(posteriors, h[1:], strict=True)]
        log_p = [p.log_prob(layer) for p, layer in zip(self._priors(h), h[1:], strict=True)]
        return Draw(
            self._log_likelihood(x, h[1]), torch.stack(log_q).sum(0) - torch.stack(log_p).sum(0), tuple(h[1:])
        )

    def log_weights(
        self, x: Float[Tensor, "*batch pixels"], k: int = 1, detach_posterior: bool = False
    ) -> Float[Tensor, "k *batch"]:
        r"""Draw all layers k times from the posterior and return the log-weights of the draws.

        .. math:: \ln w = \ln p(x|h_1) + \sum_{l=1}^{L-1} \ln p(h_l|h_{l+1}) + \ln p(h_L)
                  \qquad - \ln q(h_1|x) - \sum_{l=2}^{L} \ln q(h_l|h_{l-1})

        A draw is a whole column of layers: k columns, not k draws in every layer.

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws for each of them.
            detach_posterior: As in `VAE.log_weights`; the gradient through the drawn
                :math:`h_{l-1}` that a layer is conditioned on is kept. The encoders run twice.

        Returns:
            The log-weights in nats, (k, batch), differentiable in every parameter.

        Raises:
            ValueError: If k is below 1, if x has no batch axis or values that the likelihood
                refuses, if the layers do not fit together, or if an encoder cannot be detached.

        Book: chapter 3 (a family of bounds), chapter 11 (hierarchies). Source: Burda et al. (2016),
        sections 3 and 5.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> model.log_weights(torch.zeros(5, 64), k=7).shape
            torch.Size([7, 5])
        """
        return self.draw(x, k, detach_posterior).log_weights

    def loss_terms(
        self,
        x: Float[Tensor, "*batch pixels"],
        k: int = 1,
        analytic_kl: bool | None = None,
        by_latent: bool = False,
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch_and_latent"]]:
        r"""The two terms of the ELBO, both estimated with the same k draws.

        .. math:: \mathbb{E}_q \ln p(x|h_1), \qquad
                  \mathbb{E}_q \left[ \ln q(h|x) - \ln p(h) \right]
                  = \mathrm{KL}(q(h|x) \,\|\, p(h))

        Between layers the KL has no closed form, so the rate is an estimate too, and one of them may
        well be negative.

        Args:
            x: The examples, (batch, pixels).
            k: The number of draws that are averaged.
            analytic_kl: Not True: there is no closed form.
            by_latent: Whether the rate is given for each latent, (batch, all latents), from the layer
                next to the data up; its sum over them is the rate. Free bits need it.

        Returns:
            The reconstruction and the rate in nats, each (batch,).

        Raises:
            ValueError: As `log_weights`; if `analytic_kl` is True; or if `by_latent` is True and the
                latents of a layer are not independent.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> [term.shape for term in model.loss_terms(torch.zeros(5, 64))]
            [torch.Size([5]), torch.Size([5])]
        """
        if analytic_kl:
            raise ValueError(
                "analytic_kl is True, but between layers of latents the KL has no closed form; wanted "
                "analytic_kl=False"
            )
        if not by_latent:
            draw = self.draw(x, k)
            return draw.log_likelihood.mean(0), draw.log_ratio.mean(0)
        h, posteriors = self._column(x, k)
        ratios = [
            one_by_one(q).log_prob(layer) - one_by_one(p).log_prob(layer)
            for q, p, layer in zip(posteriors, self._priors(h), h[1:], strict=True)
        ]  # (k, batch, latent of the layer) each
        return self._log_likelihood(x, h[1]).mean(0), torch.cat(ratios, -1).mean(0)

    def elbo(
        self, x: Float[Tensor, "*batch pixels"], k: int = 1, beta: float | int = 1.0
    ) -> Float[Tensor, "*batch"]:
        r"""An unbiased estimate of the ELBO with k draws: reconstruction − beta · rate.

        Returns:
            The estimate in nats, one value per example, (batch,).

        Raises:
            ValueError: As `log_weights`.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> model.elbo(torch.zeros(5, 64), k=3).shape
            torch.Size([5])
        """
        reconstruction, rate = self.loss_terms(x, k)
        return beta_elbo(reconstruction, rate, beta)

    @torch.no_grad()
    def sample(self, n: int, mean: bool = False) -> Float[Tensor, "n pixels"]:
        r"""Generate n new examples from the top down; the encoders are not used.

        Args:
            n: How many.
            mean: Whether to return the mean of :math:`p(x|h_1)` in place of a draw from it. The
                latents are drawn in either case.

        Returns:
            The examples, (n, pixels), without gradients.

        Raises:
            ValueError: If n is below 1.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> model.sample(3).unique()
            tensor([0., 1.])
        """
        _require.positive_integer("n", n)
        h = self.prior.sample((n,))
        for layer in range(len(self.decoders) - 1, 0, -1):
            h = self._distribution("decoders", layer, h).sample()
        likelihood = self.decode(h)
        return likelihood.mean if mean else likelihood.sample()

    @torch.no_grad()
    def reconstruct(
        self, x: Float[Tensor, "*batch pixels"], mean: bool = True
    ) -> Float[Tensor, "*batch pixels"]:
        r"""Encode x into the layer next to the data and decode it again.

        The layers above play no part in it: given :math:`h_1` they say nothing more about x.

        Args:
            x: The examples, (batch, pixels).
            mean: Whether to decode the mean of :math:`q(h_1|x)` and return the mean of
                :math:`p(x|h_1)`. Otherwise both are drawn.

        Returns:
            The reconstructions, (batch, pixels), without gradients.

        Raises:
            ValueError: If x has no batch axis.

        Example:
            >>> from vae_lib.builders import hierarchical_mlp_vae
            >>> model = hierarchical_mlp_vae(64, latents=(4, 2), hidden=((8,), (8,)), seed=0)
            >>> model.reconstruct(torch.zeros(5, 64)).shape
            torch.Size([5, 64])
        """
        check_images(x)
        posterior = self.encode(x)
        likelihood = self.decode(posterior.mean if mean else posterior.sample())
        return likelihood.mean if mean else likelihood.sample()
