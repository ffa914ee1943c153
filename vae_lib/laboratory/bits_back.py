"""Bits-back coding: a latent-variable model as a compressor whose message length is minus the ELBO."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vae_lib import _require
from vae_lib.laboratory.ans import decode_symbol, encode_symbol, whole_frequencies
from vae_lib.laboratory.discrete import DiscreteLatentModel

__all__ = ["BitsBackCoder", "BitsBackLength", "bits_back"]

PRIME, ODD = 2**61 - 1, 0x9E3779B97F4A7C15  # a hash of a whole number; any large prime and odd number do


class BitsBackLength(NamedTuple):
    """Expected lengths per symbol, in **bits**, each a single number.

    Attributes:
        net: of bits-back coding, `two_part - refund`; equally -ELBO / ln 2 and `entropy + excess`.
        two_part: of the naive code, that sends z and then x given z and gets nothing back.
        refund: the bits of other data that choosing z carries, the entropy of q(z|x).
        entropy: of the symbols; no code can be shorter.
        excess: KL(q(z|x) ‖ p(z|x)), what an inexact encoder costs.

    Book: chapter 4 (free energy).

    Example:
        >>> model = DiscreteLatentModel([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]])
        >>> length = bits_back(model, torch.full((2, 2), 0.5, dtype=torch.float64))
        >>> length.two_part, length.refund      # z costs a bit and says nothing about x
        (tensor(2., dtype=torch.float64), tensor(1., dtype=torch.float64))
    """

    net: Float[Tensor, ""]
    two_part: Float[Tensor, ""]
    refund: Float[Tensor, ""]
    entropy: Float[Tensor, ""]
    excess: Float[Tensor, ""]


def bits_back(model: DiscreteLatentModel, q: Float[Tensor, "symbols latents"]) -> BitsBackLength:
    r"""What a symbol of the model costs on average, with and without getting bits back.

    The sender takes z from q(z|x), then sends z under p(z) and x under p(x|z). A receiver who knows
    x can compute q(z|x) and reads off which z was taken: that choice is worth
    :math:`-\log_2 q(z|x)` bits of any other data, the refund. On average over z the net length is

    .. math:: \mathbb{E}_{q(z|x)} \left[ -\log_2 p(z) - \log_2 p(x|z) + \log_2 q(z|x) \right]
              \qquad = \frac{-\text{ELBO}(x)}{\ln 2}
              = -\log_2 p(x) + \frac{\mathrm{KL}(q(z|x) \,\|\, p(z|x))}{\ln 2}

    Everything is averaged over x from the model, exactly.

    Args:
        model: K latent values, M symbols.
        q: (M, K), the encoder's row q(z|x) for every symbol x = 0 .. M-1. Rows of symbols that the
            model never produces do not count.

    Returns:
        `BitsBackLength(net, two_part, refund, entropy, excess)`, bits per symbol. The lengths are
        infinite where q proposes a z that cannot have produced the symbol.

    Raises:
        ValueError: q is no table (M, K) of distributions.

    Book: chapter 11 (bits back), chapter 4 (free energy). Source: Hinton and van Camp (1993);
    Doersch (2016), section 2.4.2.

    Example:
        >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
        >>> length = bits_back(model, model.posterior(torch.arange(2)))
        >>> length.excess, round(length.net.item(), 6)      # the exact posterior wastes nothing
        (tensor(0., dtype=torch.float64), 1.0)
    """
    _check_encoder(model, q)
    x = torch.arange(model.likelihood.shape[1])
    occurs = model.log_evidence(x) > -torch.inf
    x, q = x[occurs], q[occurs]
    log_evidence = model.log_evidence(x)
    share = log_evidence.exp()

    def average_bits(nats: Tensor) -> Tensor:
        return (share * nats).sum() / math.log(2.0)

    refund = -torch.xlogy(q, q).sum(-1)
    net = -model.elbo(q, x)
    return BitsBackLength(
        net=average_bits(net),
        two_part=average_bits(net + refund),
        refund=average_bits(refund),
        entropy=average_bits(-log_evidence),
        excess=average_bits(model.kl_to_posterior(q, x)),
    )


class BitsBackCoder:
    r"""A coder that really does it: a list of symbols goes in and out of one whole number.

    The message is a stack (`vae_lib.laboratory.ans`). To push x: stir the lowest bits and pop z with
    the frequencies of q(z|x), which takes bits **off** the stack; push x given z; push z. To pop x,
    undo these steps in the opposite order. The bits that are there before the first symbol come
    back untouched at the end, whatever they were.

    Args:
        model: K latent values, M symbols.
        q: (M, K), the encoder's row q(z|x) for every symbol. It may only propose z that can have
            produced x.
        precision: probabilities become whole frequencies out of 2**precision; from 8 to 32. The
            rounding costs about 2**-precision bits per choice, and never the correctness.

    Raises:
        ValueError: q is no table (M, K) of distributions or proposes an impossible z, the precision
            is out of range, or a table has too many entries for it.

    Book: chapter 4 (free energy), chapter 11 (bits back). Source: Townsend et al. (2019); Duda
    (2009) for the stack.

    Example:
        >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
        >>> coder = BitsBackCoder(model, model.posterior(torch.arange(2)))
        >>> x = torch.tensor([0, 1, 1, 0])
        >>> message = coder.encode(x, start=12345678901234567890)
        >>> coder.decode(message, 4)
        (tensor([0, 1, 1, 0]), 12345678901234567890)
    """

    def __init__(
        self, model: DiscreteLatentModel, q: Float[Tensor, "symbols latents"], precision: int = 16
    ) -> None:
        _check_encoder(model, q)
        _require.integer_within("precision", precision, lowest=8, highest=32)
        x = torch.arange(model.likelihood.shape[1])
        impossible = (
            (q > 0) & (model.log_joint(x) == -torch.inf) & (model.log_evidence(x) > -torch.inf)[:, None]
        )
        if bool(impossible.any()):
            symbol, latent = impossible.nonzero()[0].tolist()
            raise ValueError(
                f"q proposes z = {latent} for the symbol {symbol}, which it cannot have produced; "
                "wanted 0 there: the symbol could not be sent"
            )
        self.precision = precision
        total = 1 << precision
        self.symbols = model.likelihood.shape[1]
        self.occurs = (model.log_evidence(x) > -torch.inf).tolist()
        self.prior = whole_frequencies(model.prior, total)
        self.likelihood = [whole_frequencies(row, total) for row in model.likelihood]
        self.encoder = [whole_frequencies(row, total) for row in q]

    def encode(self, x: Int64[Tensor, " n"], start: int = 1) -> int:
        """Put symbols onto the stack.

        Args:
            x: (n,), long tensor of symbols.
            start: what the stack holds before, at least 1: other data, from which the first choices
                of z are taken. With too few bits the first symbols get nothing back.

        Returns:
            The new stack. `message.bit_length() - start.bit_length()` is the net length in bits.

        Raises:
            ValueError: x holds something else than symbols that the model can produce, or start is
                no whole number of at least 1.

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]])
            >>> coder = BitsBackCoder(model, torch.full((2, 2), 0.5, dtype=torch.float64))
            >>> start = 1 << 100
            >>> coder.encode(torch.tensor([0, 1] * 50), start).bit_length() - start.bit_length()
            100
        """
        _require.positive_integer("start", start)
        _require.tensor("x", x)
        if x.dtype != torch.int64:
            raise ValueError(f"x has dtype {x.dtype}; wanted torch.int64, the numbers of symbols")
        _require.shape("x", x, (None,), "(n,), symbols in the order of sending")
        stack = start
        for symbol in x.tolist():
            if not 0 <= symbol < self.symbols or not self.occurs[symbol]:
                raise ValueError(f"x holds the symbol {symbol}; wanted symbols that the model can produce")
            z, stack = decode_symbol(self._stirred(stack), self.encoder[symbol])
            stack = encode_symbol(stack, symbol, self.likelihood[z])
            stack = encode_symbol(stack, z, self.prior)
        return stack

    def decode(self, message: int, n: int) -> tuple[Int64[Tensor, " n"], int]:
        """Take n symbols off the stack.

        Args:
            message: what `encode` returned.
            n: how many symbols it holds, at least 1.

        Returns:
            The symbols in the order in which they were sent, and the stack as it was before.

        Raises:
            ValueError: message or n is no whole number of at least 1.

        Example:
            >>> model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
            >>> coder = BitsBackCoder(model, model.posterior(torch.arange(2)))
            >>> coder.decode(coder.encode(torch.tensor([1, 0]), start=987654321), n=2)
            (tensor([1, 0]), 987654321)
        """
        _require.positive_integer("message", message)
        _require.positive_integer("n", n)
        stack, symbols = message, []
        for _ in range(n):
            z, stack = decode_symbol(stack, self.prior)
            symbol, stack = decode_symbol(stack, self.likelihood[z])
            stack = self._stirred(encode_symbol(stack, z, self.encoder[symbol]))  # the bits given back
            symbols.append(symbol)
        return torch.tensor(symbols[::-1]), stack

    def _stirred(self, stack: int) -> int:
        """The low bits, from which z is popped, mixed with those above; twice gives the stack back.

        The last push left them inside the share of the last z under p(z). Popped as they are, they
        would choose the next z by the last one, and not by q(z|x).
        """
        above = stack >> self.precision
        mixed = above % PRIME * ODD % 2**64 >> 32
        return stack ^ (mixed & ((1 << self.precision) - 1))


def _check_encoder(model: DiscreteLatentModel, q: Tensor) -> None:
    if not isinstance(model, DiscreteLatentModel):
        raise ValueError(f"model is of type {type(model).__name__}; wanted a DiscreteLatentModel")
    latents, symbols = model.likelihood.shape
    _require.shape("q", q, (symbols, latents), f"(M, K) = ({symbols}, {latents}), a row for each symbol")
    _require.probabilities("q", q)
