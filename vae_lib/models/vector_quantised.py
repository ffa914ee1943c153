"""The vector-quantised auto-encoder: a code is a row of entries in a codebook."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.models._checks import blaming_x, called, check_event, check_images, check_makers, look, scored

__all__ = ["VQVAE", "Quantised", "VQTerms"]


class Quantised(NamedTuple):
    """What the codebook makes of the vectors of an encoder; see `VQVAE.quantise`.

    Attributes:
        indices: Which entries are nearest, (batch, slots), whole numbers.
        entries: These entries in a row, (batch, slots * size); gradients go to the codebook.
        straight_through: The same numbers; gradients go to the vectors, as if nothing had happened.

    Book: chapter 11 (discrete latents).

    Example:
        >>> from vae_lib.builders import vq_mlp_vae
        >>> quantised = vq_mlp_vae(64, slots=3, size=2, seed=0).quantise(torch.zeros(5, 6))
        >>> quantised.indices.shape, torch.equal(quantised.entries, quantised.straight_through)
        (torch.Size([5, 3]), True)
    """

    indices: Int64[Tensor, "*batch slots"]
    entries: Float[Tensor, "*batch row"]
    straight_through: Float[Tensor, "*batch row"]


class VQTerms(NamedTuple):
    r"""The three terms of the loss, each (batch,).

    Attributes:
        reconstruction: :math:`\ln p_\theta(x|c)` in nats.
        codebook: :math:`\|\operatorname{sg}[e] - c\|^2`, which moves the entries only.
        commitment: :math:`\|e - \operatorname{sg}[c]\|^2`, the same number, which moves the encoder
            only. Its weight is not in it.

    Book: chapter 11 (discrete latents).

    Example:
        >>> from vae_lib.builders import vq_mlp_vae
        >>> terms = vq_mlp_vae(64, entries=16, seed=0).terms(torch.zeros(5, 64))
        >>> torch.equal(terms.codebook, terms.commitment)
        True
    """

    reconstruction: Float[Tensor, "*batch"]
    codebook: Float[Tensor, "*batch"]
    commitment: Float[Tensor, "*batch"]


class VQVAE(nn.Module):
    r"""A vector-quantised auto-encoder. **It maximises no bound** on :math:`\ln p(x)`.

    The encoder puts out `slots` vectors e of `size` numbers; each is replaced by the nearest entry
    c of a learned codebook, and the decoder sees only the entries. The nearest entry jumps, so it has
    no useful gradient: backwards, the quantisation is treated as the identity ("straight through").

    .. math:: \text{loss} = -\ln p_\theta(x|c) + \|\operatorname{sg}[e] - c\|^2
              + \gamma \, \|e - \operatorname{sg}[c]\|^2

    with sg[·] the value without its gradient. The first term trains the encoder and the decoder, the
    second the codebook, the third (weight :math:`\gamma`) keeps the encoder near its entries. With a
    uniform prior over entries the rate would be the constant slots · ln(entries); the two distances
    are no rate, and there is no prior here to sample from: that would be a second model, of the codes.

    Args:
        encoder: A module; `encoder(x)` returns vectors in a row, (batch, slots * size), or a
            distribution whose mean is taken.
        decoder: A module; `decoder(c)`, given the entries in a row, returns a distribution with
            `event_shape == (pixels,)`.
        entries: The number of entries in the codebook, at least 2.
        size: The length of an entry.
        commitment: The weight :math:`\gamma`.

    Attributes:
        codebook: The entries, (entries, size). They start uniform in ±1 / entries.

    Raises:
        ValueError: If entries is below 2, size below 1, or commitment is not positive.

    Book: chapter 11 (discrete latents). Source: van den Oord et al. (2017), section 3.

    Example:
        >>> from vae_lib.builders import vq_mlp_vae
        >>> model, x = vq_mlp_vae(64, entries=16, slots=3, size=2, seed=0), torch.zeros(5, 64)
        >>> model.encode(x).shape, model.reconstruct(x).shape, model.has_elbo
        (torch.Size([5, 3]), torch.Size([5, 64]), False)
    """

    has_elbo = False

    def __init__(
        self,
        encoder: Callable[[Float[Tensor, "*batch pixels"]], Float[Tensor, "*batch row"] | Distribution],
        decoder: Callable[[Float[Tensor, "*batch row"]], Distribution],
        entries: int,
        size: int,
        commitment: float | int = 0.25,
    ):
        super().__init__()
        _require.integer_within("entries", entries, lowest=2)
        _require.positive_integer("size", size)
        _require.positive_number("commitment", commitment)
        check_makers(encoder=encoder, decoder=decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.commitment = float(commitment)
        self.codebook = nn.Parameter(torch.empty(entries, size).uniform_(-1 / entries, 1 / entries))

    def _vectors(self, x: Tensor) -> Tensor:
        check_images(x)
        made = called("encoder", self.encoder, "x", x)
        return made.mean if isinstance(made, Distribution) else made  # (batch, slots * size)

    def quantise(self, vectors: Float[Tensor, "*batch row"]) -> Quantised:
        r"""Replace every vector by the nearest entry of the codebook.

        .. math:: c = \arg\min_{c_j} \|e - c_j\|

        Of two entries at the same distance the first one is taken.

        Args:
            vectors: What the encoder puts out, in a row, (batch, slots * size).

        Raises:
            ValueError: If the row is no multiple of the size of an entry, or not finite.

        Book: chapter 11 (discrete latents).

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> model = vq_mlp_vae(64, entries=16, slots=3, size=2, seed=0)
            >>> model.codebook.data = torch.arange(32.0).reshape(16, 2)
            >>> quantised = model.quantise(torch.tensor([[0.1, 0.9, 29.0, 31.0, 14.0, 15.0]]))
            >>> quantised.indices, quantised.entries.detach()
            (tensor([[ 0, 15,  7]]), tensor([[ 0.,  1., 30., 31., 14., 15.]]))
        """
        _require.floating("vectors", vectors)
        size = self.codebook.shape[1]
        row = vectors.shape[-1] if vectors.dim() else 0
        if row == 0 or row % size:
            raise ValueError(
                f"vectors has shape {tuple(vectors.shape)}; "
                f"wanted (..., slots * size), a multiple of size = {size}"
            )
        _require.finite("vectors", vectors)
        with torch.no_grad():
            # differences, not the expanded square: near an entry that one cancels
            mode = "donot_use_mm_for_euclid_dist"
            distances = torch.cdist(vectors.reshape(-1, size), self.codebook, compute_mode=mode)
            indices = distances.argmin(-1).view(*vectors.shape[:-1], -1)  # (batch, slots)
        entries = self._entries(indices)
        # vectors - vectors.detach() is zero, with the gradient of `vectors`
        return Quantised(indices, entries, entries.detach() + (vectors - vectors.detach()))

    def _entries(self, indices: Tensor) -> Tensor:
        return self.codebook[indices].flatten(-2)  # (batch, slots * size)

    def encode(self, x: Float[Tensor, "*batch pixels"]) -> Int64[Tensor, "*batch slots"]:
        """The code of each example: which entry of the codebook stands in which slot.

        Raises:
            ValueError: If x has no batch axis, or the encoder's row does not fit the codebook.

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> vq_mlp_vae(64, slots=3, seed=0).encode(torch.zeros(5, 64)).shape
            torch.Size([5, 3])
        """
        look("x", x)
        return self.quantise(self._vectors(x)).indices

    def decode(self, indices: Int64[Tensor, "*batch slots"]) -> Distribution:
        r"""The likelihood :math:`p_\theta(x|c)` of each code, with `event_shape == (pixels,)`.

        Raises:
            ValueError: If an index is no entry of the codebook, or the decoder returns a distribution
                whose event is not (pixels,).

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> model = vq_mlp_vae(64, slots=3, seed=0)
            >>> model.decode(torch.zeros(5, 3, dtype=torch.long)).mean.shape
            torch.Size([5, 64])
        """
        _require.tensor("indices", indices)
        if indices.dtype != torch.long or indices.dim() == 0:
            raise ValueError(
                f"indices has dtype {indices.dtype} and shape {tuple(indices.shape)}; wanted torch.int64 and "
                "(..., slots)"
            )
        entries = len(self.codebook)
        outside = (indices < 0) | (indices >= entries)
        if bool(outside.any()):
            raise ValueError(
                f"indices holds {indices[outside][0].item()}; wanted whole numbers from 0 to {entries - 1}"
            )
        return self._decoded(self._entries(indices))

    def _decoded(self, c: Tensor) -> Distribution:
        """p(x|c) for the entries c in a row, (batch, slots * size)."""
        made = called("decoder", self.decoder, "c, the entries of the indices,", c)
        return check_event("decoder", made, "pixels")

    @blaming_x
    def terms(self, x: Float[Tensor, "*batch pixels"]) -> VQTerms:
        """The three terms of the loss, one value per example each.

        Args:
            x: The examples, (batch, pixels).

        Raises:
            ValueError: If x has no batch axis or values that the likelihood refuses, or if encoder,
                codebook and decoder do not fit together.

        Book: chapter 11 (discrete latents). Source: van den Oord et al. (2017), equation 3.

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> [term.shape for term in vq_mlp_vae(64, seed=0).terms(torch.zeros(5, 64))]
            [torch.Size([5]), torch.Size([5]), torch.Size([5])]
        """
        vectors = self._vectors(x)
        _, entries, straight_through = self.quantise(vectors)
        return VQTerms(
            reconstruction=scored(self._decoded(straight_through), x),
            codebook=(vectors.detach() - entries).square().sum(-1),
            commitment=(vectors - entries.detach()).square().sum(-1),
        )

    def loss_terms(
        self, x: Float[Tensor, "*batch pixels"], k: int = 1
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        r"""The reconstruction in nats, and the penalty that stands where a VAE has its rate.

        The penalty is codebook + :math:`\gamma` · commitment, so that `vae_lib.training.fit` with
        beta = 1 minimises the loss of the paper. It is no rate, and their difference is no bound. k is
        accepted because `fit` passes it; without noise one pass is all.

        Raises:
            ValueError: If k is below 1, and as `terms`.

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> [term.shape for term in vq_mlp_vae(64, seed=0).loss_terms(torch.zeros(5, 64))]
            [torch.Size([5]), torch.Size([5])]
        """
        _require.positive_integer("k", k)
        terms = self.terms(x)
        return terms.reconstruction, terms.codebook + self.commitment * terms.commitment

    @torch.no_grad()
    def perplexity(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, ""]:
        r"""How many entries of the codebook are in use, counted by how often.

        .. math:: \exp \Bigl( -\sum_j f_j \ln f_j \Bigr) \in [1, \text{entries}]

        with :math:`f_j` the share of entry j among all slots of all examples.

        Args:
            x: The examples, (batch, pixels), at least one; the more, the better the shares.

        Returns:
            A single number, between 1 and the number of entries.

        Raises:
            ValueError: If x is empty, and as `encode`.

        Book: chapter 11 (discrete latents).

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> vq_mlp_vae(64, slots=1, seed=0).perplexity(torch.zeros(5, 64))
            tensor(1.)
        """
        counts = torch.bincount(self.encode(x).flatten(), minlength=len(self.codebook))
        shares = counts.to(self.codebook.dtype) / counts.sum()
        return torch.exp(-torch.xlogy(shares, shares).sum())

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch pixels"]:
        """The mean of the likelihood at the code of each example, (batch, pixels).

        Raises:
            ValueError: As `encode`.

        Example:
            >>> from vae_lib.builders import vq_mlp_vae
            >>> vq_mlp_vae(64, seed=0).reconstruct(torch.zeros(5, 64)).shape
            torch.Size([5, 64])
        """
        return self.decode(self.encode(x)).mean
