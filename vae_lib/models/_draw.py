"""What a model says about draws from its posterior."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

__all__ = ["Draw"]


class Draw(NamedTuple):
    r"""k draws from the posterior of each example, and the two terms of their log-weights.

    .. math:: \ln w = \ln p_\theta(x|z) - \left[ \ln q_\phi(z|x) - \ln p_\theta(z) \right]

    Attributes:
        log_likelihood: :math:`\ln p_\theta(x|z)`, (k, batch), nats. Its mean over the draws is the
            reconstruction.
        log_ratio: :math:`\ln q_\phi(z|x) - \ln p_\theta(z)`, (k, batch), nats. Its mean over the draws
            is an estimate of the rate.
        latents: The tensors through which the two terms depend on the draws, one for each layer of
            latents, each (k, batch, latent). With a detached posterior this is all that they know of
            the encoder: the gradient with respect to these tensors is the pathwise one.

    Book: chapter 8 (the loss contract).

    Example:
        >>> import torch
        >>> from vae_lib.networks import mlp_vae
        >>> draw = mlp_vae(pixels=64, latent=2, seed=0).draw(torch.zeros(5, 64), k=7)
        >>> draw.log_weights.shape, [z.shape for z in draw.latents]
        (torch.Size([7, 5]), [torch.Size([7, 5, 2])])
    """

    log_likelihood: Float[Tensor, "k *batch"]
    log_ratio: Float[Tensor, "k *batch"]
    latents: tuple[Float[Tensor, "k *batch latent"], ...]

    @property
    def log_weights(self) -> Float[Tensor, "k *batch"]:
        """ln w, (k, batch), nats.

        Example:
            >>> import torch
            >>> Draw(torch.tensor([[-3.0]]), torch.tensor([[1.0]]), ()).log_weights
            tensor([[-4.]])
        """
        return self.log_likelihood - self.log_ratio
