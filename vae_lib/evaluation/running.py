"""Importance sampling with any number of samples in the memory of a few."""

import math

import torch
from torch import Tensor

__all__ = ["RunningWeights"]


class RunningWeights:
    r"""What is kept of log-weights that come a few at a time.

    For every example it holds the largest log-weight so far, :math:`m`, and with it the sums

    .. math:: S_1 = \sum_i e^{\ln w_i - m}, \qquad S_2 = \sum_i e^{2 (\ln w_i - m)}

    in float64. A new largest log-weight rescales them, so nothing overflows and no weight is lost.

    Args:
        batch: The number of examples.
        device: Where the log-weights are.

    Book: chapter 9 (evaluation).

    Example:
        >>> sums = RunningWeights(1)
        >>> for log_w in (-1000.0, -999.0):
        ...     sums.add(torch.tensor([[log_w]]))
        >>> sums.log_mean()
        tensor([-999.3799], dtype=torch.float64)
    """

    def __init__(self, batch: int, device: torch.device | str = "cpu"):
        nothing = torch.zeros(batch, dtype=torch.float64, device=device)
        self.count = 0
        self.largest = nothing - math.inf
        self.sum, self.sum_of_squares = nothing, nothing
        self.sum_of_logs, self.sum_of_squared_logs = nothing, nothing

    def add(self, log_w: Tensor) -> None:
        """Take in log-weights (k, batch).

        Example:
            >>> sums = RunningWeights(2)
            >>> sums.add(torch.zeros(3, 2))
            >>> sums.count
            3
        """
        log_w = log_w.to(torch.float64)
        largest = torch.maximum(self.largest, log_w.amax(0))
        shift = largest.masked_fill(largest == -math.inf, 0.0)  # all weights zero so far: nothing to shift
        scale = torch.exp(self.largest - shift)
        weights = torch.exp(log_w - shift)  # (k, batch), at most 1
        self.count += len(log_w)
        self.largest = largest
        self.sum = self.sum * scale + weights.sum(0)
        self.sum_of_squares = self.sum_of_squares * scale.square() + weights.square().sum(0)
        self.sum_of_logs = self.sum_of_logs + log_w.sum(0)
        self.sum_of_squared_logs = self.sum_of_squared_logs + log_w.square().sum(0)

    def log_mean(self) -> Tensor:
        """The logarithm of the mean weight, (batch,): the importance-weighted bound.

        Example:
            >>> sums = RunningWeights(1)
            >>> sums.add(torch.tensor([[0.1], [0.3]]).log())
            >>> sums.log_mean().exp()
            tensor([0.2000], dtype=torch.float64)
        """
        return self.largest + self.sum.log() - math.log(self.count)

    def effective_sample_size(self) -> Tensor:
        """As `vae_lib.bounds.effective_sample_size` of all the log-weights together, (batch,).

        Example:
            >>> sums = RunningWeights(1)
            >>> sums.add(torch.tensor([[0.0], [0.0], [-100.0]]))
            >>> sums.effective_sample_size()
            tensor([2.], dtype=torch.float64)
        """
        return self.sum.square() / self.sum_of_squares

    def standard_error(self) -> Tensor:
        r"""The standard error of `log_mean`, (batch,); NaN with a single sample.

        .. math:: \frac{\operatorname{sd}(w)}{\bar w \sqrt{k}}
                  = \sqrt{\frac{k}{k-1} \left( \frac{1}{\mathrm{ESS}} - \frac1k \right)}

        Example:
            >>> sums = RunningWeights(1)
            >>> sums.add(torch.tensor([[1.0], [2.0], [3.0]]).log())     # sd 1, mean 2
            >>> sums.standard_error() * 2 * 3**0.5
            tensor([1.0000], dtype=torch.float64)
        """
        if self.count == 1:
            return torch.full_like(self.sum, math.nan)
        excess = 1 / self.effective_sample_size() - 1 / self.count
        return (excess.clamp(min=0) * self.count / (self.count - 1)).sqrt()

    def mean_log(self) -> Tensor:
        """The mean of the log-weights, (batch,): the ELBO.

        Example:
            >>> sums = RunningWeights(1)
            >>> sums.add(torch.tensor([[-1.0], [-2.0]]))
            >>> sums.mean_log()
            tensor([-1.5000], dtype=torch.float64)
        """
        return self.sum_of_logs / self.count

    def mean_log_standard_error(self) -> Tensor:
        """The standard error of `mean_log`, (batch,); NaN with a single sample.

        Example:
            >>> sums = RunningWeights(1)
            >>> sums.add(torch.tensor([[-1.0], [-3.0]]))
            >>> sums.mean_log_standard_error()
            tensor([1.], dtype=torch.float64)
        """
        if self.count == 1:
            return torch.full_like(self.sum, math.nan)
        variance = self.sum_of_squared_logs / self.count - self.mean_log().square()
        return (variance.clamp(min=0) / (self.count - 1)).sqrt()
