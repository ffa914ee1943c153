"""The plain auto-encoder, which is no bound on anything."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.models._checks import blaming_x, called, check_event, check_images, check_makers, look, scored

__all__ = ["AutoEncoder"]


class AutoEncoder(nn.Module):
    r"""An auto-encoder: one code per example, no prior, no noise in the code.

    It maximises :math:`\ln p_\theta(x|z = f_\phi(x))` alone. That is no bound on anything:
    without a posterior there is no rate, and without a prior there is nothing to sample from.

    Args:
        encoder: A module; `encoder(x)` returns codes (batch, latent), or a distribution whose
            mean is taken as the code.
        decoder: A module; `decoder(z)` returns a distribution with `event_shape == (pixels,)`.

    Raises:
        ValueError: If encoder or decoder cannot be called.

    Book: chapter 4 (an auto-encoder against a VAE).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> vae = mlp_vae(pixels=64, latent=2, seed=0)
        >>> model = AutoEncoder(vae.encoder, vae.decoder)
        >>> model.reconstruct(torch.zeros(5, 64)).shape
        torch.Size([5, 64])
    """

    has_elbo = False

    def __init__(
        self,
        encoder: Callable[[Float[Tensor, "*batch pixels"]], Float[Tensor, "*batch latent"] | Distribution],
        decoder: Callable[[Float[Tensor, "*batch latent"]], Distribution],
    ):
        super().__init__()
        check_makers(encoder=encoder, decoder=decoder)
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch latent"]:
        """The code of each example, (batch, latent). It draws nothing.

        Raises:
            ValueError: If x is not finite or not what the encoder reads.

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> vae = mlp_vae(pixels=64, latent=2, seed=0)
            >>> AutoEncoder(vae.encoder, vae.decoder).encode(torch.zeros(5, 64)).shape
            torch.Size([5, 2])
        """
        look("x", x)
        return self._code(x)

    def _code(self, x: Tensor) -> Tensor:
        code = called("encoder", self.encoder, "x", x)
        return code.mean if isinstance(code, Distribution) else code

    def decode(self, z: Float[Tensor, "*batch latent"]) -> Distribution:
        r"""The likelihood :math:`p_\theta(x|z)` of each code, with `event_shape == (pixels,)`.

        Raises:
            ValueError: If the decoder returns anything but a distribution with the event (pixels,).

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> vae = mlp_vae(pixels=64, latent=2, seed=0)
            >>> AutoEncoder(vae.encoder, vae.decoder).decode(torch.zeros(5, 2)).mean.shape
            torch.Size([5, 64])
        """
        return check_event("decoder", called("decoder", self.decoder, "z", z), "pixels")

    @blaming_x
    def loss_terms(
        self, x: Float[Tensor, "*batch pixels"], k: int = 1
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """The reconstruction log-likelihood in nats and zeros for the rate it does not pay.

        k is accepted so that `vae_lib.training.fit` can train both models; without noise one pass
        is all.

        Raises:
            ValueError: If k is below 1, or if x has no batch axis or values that the likelihood
                refuses.

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> vae = mlp_vae(pixels=64, latent=2, seed=0)
            >>> AutoEncoder(vae.encoder, vae.decoder).loss_terms(torch.zeros(5, 64))[1]
            tensor([0., 0., 0., 0., 0.])
        """
        check_images(x)
        _require.positive_integer("k", k)
        reconstruction = scored(self.decode(self._code(x)), x)
        return reconstruction, torch.zeros_like(reconstruction)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch pixels"]:
        """The mean of the likelihood at the code of each example, (batch, pixels).

        Raises:
            ValueError: If x has no batch axis.

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> vae = mlp_vae(pixels=64, latent=2, seed=0)
            >>> AutoEncoder(vae.encoder, vae.decoder).reconstruct(torch.zeros(5, 64)).shape
            torch.Size([5, 64])
        """
        check_images(x)
        return self.decode(self.encode(x)).mean
