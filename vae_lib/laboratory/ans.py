r"""A stack of symbols in one whole number: asymmetric numeral systems, exact.

A symbol that takes f of T equal shares of the number line multiplies the stack by about T / f, so it
adds :math:`\log_2 (T/f)` bits: its information. Pushing and popping are each other's inverse **for
every stack and every table**, which is more than a compressor needs: popping a symbol from a stack of
unrelated bits draws it, with the probabilities f / T, and pushing it back restores those bits.

Python's whole numbers have no largest value, so there is nothing to flush and nothing to round.
"""

from bisect import bisect_right
from itertools import accumulate

from jaxtyping import Float
from torch import Tensor

from vae_lib import _require

__all__ = ["decode_symbol", "encode_symbol", "whole_frequencies"]


def whole_frequencies(probabilities: Float[Tensor, " symbols"], total: int) -> tuple[int, ...]:
    """Probabilities as whole shares of `total`: nothing possible is rounded away.

    Args:
        probabilities: (symbols,), summing to one.
        total: the sum of the result, at least the number of symbols that are possible.

    Returns:
        One frequency for each symbol: 0 where the probability is 0, at least 1 elsewhere.

    Raises:
        ValueError: the probabilities are none, or total is too small.

    Example:
        >>> import torch
        >>> whole_frequencies(torch.tensor([0.5, 0.499, 0.001, 0.0]), 16)
        (8, 7, 1, 0)
    """
    _require.shape("probabilities", probabilities, (None,), "(symbols,)")
    _require.probabilities("probabilities", probabilities)
    _require.positive_integer("total", total)
    wanted = [p * total for p in probabilities.tolist()]
    shares = [max(1, round(share)) if share > 0 else 0 for share in wanted]
    if sum(share > 0 for share in shares) > total:
        raise ValueError(f"total is {total}; wanted at least the number of possible symbols")
    while sum(shares) != total:
        step = 1 if sum(shares) < total else -1
        # change the share that lies furthest on the wrong side, and keep all possible symbols possible
        candidates = [i for i, share in enumerate(shares) if share + step > 0 and wanted[i] > 0]
        best = max(candidates, key=lambda i: step * (wanted[i] - shares[i]))
        shares[best] += step
    return tuple(shares)


def encode_symbol(stack: int, symbol: int, frequencies: tuple[int, ...]) -> int:
    """Push a symbol; the stack grows by the symbol's information.

    Args:
        stack: a whole number of at least 0.
        symbol: its place in `frequencies`.
        frequencies: whole numbers that are not negative.

    Raises:
        ValueError: the symbol has frequency 0 or no place in the table, or the stack is negative.

    Example:
        >>> encode_symbol(5, 1, (1, 1))         # a fair bit is a binary digit: 101 becomes 1011
        11
    """
    _check_stack(stack)
    if not 0 <= symbol < len(frequencies) or frequencies[symbol] < 1:
        raise ValueError(f"symbol is {symbol}, whose frequency is 0; wanted a possible symbol")
    share, below = frequencies[symbol], sum(frequencies[:symbol])
    return stack // share * sum(frequencies) + below + stack % share


def decode_symbol(stack: int, frequencies: tuple[int, ...]) -> tuple[int, int]:
    """Pop a symbol; the inverse of `encode_symbol`.

    Args:
        stack: a whole number of at least 0.
        frequencies: whole numbers that are not negative, not all 0.

    Returns:
        The symbol and the stack without it.

    Raises:
        ValueError: all frequencies are 0, or the stack is negative.

    Example:
        >>> decode_symbol(11, (1, 1))
        (1, 5)
    """
    _check_stack(stack)
    cumulative = [0, *accumulate(frequencies)]
    if cumulative[-1] < 1:
        raise ValueError(f"frequencies is {frequencies}; wanted at least one above 0")
    above, slot = divmod(stack, cumulative[-1])
    symbol = bisect_right(cumulative, slot) - 1
    return symbol, above * frequencies[symbol] + slot - cumulative[symbol]


def _check_stack(stack: int) -> None:
    if stack < 0:
        raise ValueError(f"stack is {stack}; wanted a whole number of at least 0")
