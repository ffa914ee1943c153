"""Nine losses, eight of them wrong, and where training with each of them ends, in closed form."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.laboratory._tables import table
from vae_lib.laboratory.linear_gaussian import LinearGaussianModel
from vae_lib.laboratory.waterfilling import waterfill

__all__ = ["BugRow", "BugZoo"]

LATENTS = 20  # of the code that averages the KL over them
PIXELS = 64  # of the code that averages the reconstruction over them
EPSILON_STD = 0.01  # of the code that samples with it
# bugs that weigh the KL by another number than 1, or, which comes to the same optimum, change the variance
KL_WEIGHTS = {"kl_averaged": 1 / LATENTS, "reconstruction_averaged": PIXELS, "missing_half": 0.5}

CHANGES = {
    "none": "the correct loss",
    "std_is_exp_logvar": "exp(log_var) is used as the standard deviation of the noise",
    "logstd_as_logvar": "a log standard deviation is put into the KL where a log variance belongs",
    "epsilon_std": f"the noise is drawn with standard deviation {EPSILON_STD} instead of 1",
    "kl_averaged": f"the KL is averaged over {LATENTS} latents instead of summed",
    "reconstruction_averaged": f"the reconstruction is averaged over {PIXELS} pixels instead of summed",
    "missing_half": "the 1/2 in the exponent of the Gaussian is missing",
    "kl_reversed": "KL(p ‖ q) stands for KL(q ‖ p)",
    "scored_at_mean": "trained correctly, but scored at z = mean instead of at a sample",
}
UNBOUNDED = {
    "trained_at_mean": "training at z = mean: the weight grows without end",
    "kl_without_mean": "the KL lacks the squared mean: the encoder's weight grows without end",
    "kl_log_std_squared": "the KL holds (ln std)**2 where 2 ln std belongs: the variance falls without end",
}


class BugRow(NamedTuple):
    """Where training with one loss ends; numbers, in nats where they are logarithms.

    Attributes:
        name: of the bug; the keys of `BugZoo.names`.
        change: what the code does, in words.
        weight_squared: w², of the decoder N(w z, variance).
        encoder_weight: v, of the encoder N(v x, d).
        encoder_variance: d, the variance that the encoder declares.
        reported: the average "ELBO" that the faulty code prints.
        elbo: the true average ELBO of that decoder and encoder.
        log_evidence: the average ln p(x) of that decoder.
        aggregate_variance: of z under the encoder and the data; a good VAE has 1.
        model_variance: w² + variance; the data have `BugZoo.eigenvalue`.

    Book: chapter 7 (the bug switchboard).

    Example:
        >>> row = BugZoo().row("scored_at_mean")
        >>> row.reported > row.log_evidence             # a "bound" that is above what it bounds
        True
    """

    name: str
    change: str
    weight_squared: float
    encoder_weight: float
    encoder_variance: float
    reported: float
    elbo: float
    log_evidence: float
    aggregate_variance: float
    model_variance: float


class BugZoo:
    r"""One principal direction of the data, nine losses, and the exact optimum of each.

    The data have variance :math:`\lambda`, the decoder is N(w z, sigma^2), the encoder N(v x, d).
    The correct loss maximises, on average over the data,

    .. math:: -\tfrac12 \ln 2\pi\sigma^2 - \frac{(1 - w v)^2 \lambda + w^2 d}{2 \sigma^2}
              \qquad - \tfrac12 (v^2 \lambda + d - 1 - \ln d)

    Each bug changes one term. Training then goes to another optimum, and reports another number. As
    the model is Gaussian, the truth is known as well: a faulty code is recognised by its fingerprint,
    and by the "bound" that exceeds the best possible ln p(x).

    Args:
        eigenvalue: lambda, the variance of the data, positive.
        variance: sigma squared of the decoder, positive and below lambda (otherwise the correct
            loss has nothing to learn).

    Raises:
        ValueError: the eigenvalue or the variance is not positive, or the variance is not below the
            eigenvalue.

    Book: chapter 7 (the bug switchboard), chapter 10 (the field guide).

    Example:
        >>> for row in BugZoo().table()[:3]:
        ...     print(f"{row.name:18} {row.weight_squared:8.4f} {row.reported:8.4f} {row.elbo:8.4f}")
        none                 3.7500  -2.1121  -2.1121
        std_is_exp_logvar    8.5220  -1.3181  -3.0396
        logstd_as_logvar     8.5220  -1.3181  -2.3534
    """

    names = tuple(CHANGES)
    unbounded = tuple(UNBOUNDED)

    def __init__(self, eigenvalue: float | int = 4.0, variance: float | int = 0.25) -> None:
        _require.positive_number("eigenvalue", eigenvalue)
        _require.positive_number("variance", variance)
        if variance >= eigenvalue:
            raise ValueError(
                f"variance is {variance!r}; wanted less than the eigenvalue, {eigenvalue!r}: "
                "otherwise the correct loss collapses and there is nothing to break"
            )
        self.eigenvalue = float(eigenvalue)
        self.variance = float(variance)

    def __repr__(self) -> str:
        return f"BugZoo(eigenvalue={self.eigenvalue:.6g}, variance={self.variance:.6g})"

    def table(self) -> list[BugRow]:
        """All nine rows, the correct loss first.

        Example:
            >>> [row.name for row in BugZoo().table() if row.reported > BugZoo().best_log_evidence()]
            ['std_is_exp_logvar', 'logstd_as_logvar', 'epsilon_std', 'kl_averaged', 'scored_at_mean']
        """
        return [self.row(name) for name in self.names]

    def row(self, name: str) -> BugRow:
        """Where training with the loss `name` ends.

        Args:
            name: one of `BugZoo.names`.

        Raises:
            ValueError: there is no such bug, or its loss has no optimum (`BugZoo.unbounded`).

        Example:
            >>> row = BugZoo().row("missing_half")
            >>> row.weight_squared, round(row.reported, 4)
            (3.875, -2.4587)
        """
        if name in UNBOUNDED:
            raise ValueError(
                f"name is {name!r}, whose loss has no optimum ({UNBOUNDED[name]}); "
                f"wanted one of {', '.join(self.names)}"
            )
        _check_name(name, self.names)
        weight_squared, encoder_variance = self._optimum(name)
        weight = math.sqrt(weight_squared)
        encoder_weight = self._best_encoder_weight(name, weight_squared, encoder_variance)
        model, x = self._model_and_data(weight)
        v = torch.tensor([[encoder_weight]], dtype=torch.float64)
        d = torch.tensor([encoder_variance], dtype=torch.float64)
        return BugRow(
            name=name,
            change=CHANGES[name],
            weight_squared=weight_squared,
            encoder_weight=encoder_weight,
            encoder_variance=encoder_variance,
            reported=self.objective(name, weight, encoder_weight, encoder_variance).item(),
            elbo=model.elbo(x, v, d).item(),
            log_evidence=model.log_evidence(x).item(),
            aggregate_variance=encoder_weight**2 * self.eigenvalue + encoder_variance,
            model_variance=weight_squared + self.variance,
        )

    def best_log_evidence(self) -> float:
        """The largest average ln p(x) of any decoder weight; no true bound is above it.

        Example:
            >>> round(BugZoo().best_log_evidence(), 4)
            -2.1121
        """
        return self.row("none").log_evidence

    def objective(
        self,
        name: str,
        weight: float | int | Float[Tensor, ""],
        encoder_weight: float | int | Float[Tensor, ""],
        encoder_variance: float | int | Float[Tensor, ""],
    ) -> Float[Tensor, ""]:
        """What the faulty code reports for any decoder and encoder, averaged over the data.

        Also for the losses without an optimum (`BugZoo.unbounded`). Gradients flow to tensors, so a
        loss can be trained on.

        Args:
            name: one of `BugZoo.names` or `BugZoo.unbounded`.
            weight: the decoder's weight w.
            encoder_weight: the weight v.
            encoder_variance: d, positive.

        Returns:
            A single number, nats.

        Raises:
            ValueError: there is no such bug, or the variance is not positive.

        Example:
            >>> zoo = BugZoo()
            >>> zoo.objective("trained_at_mean", 1e3, 1e-3, 1.0)    # -1/2 ln(2 pi sigma²)
            tensor(-0.2258, dtype=torch.float64)
        """
        _check_name(name, self.names + self.unbounded)
        _require.positive_number("encoder_variance", encoder_variance)
        w, v = _scalar("weight", weight), _scalar("encoder_weight", encoder_weight)
        d = _scalar("encoder_variance", encoder_variance)
        model, x = self._model_and_data(w)
        code = v * x  # (1, 1), the mean of q(z|x)

        def reconstruction(noise_variance: Tensor, model: LinearGaussianModel = model) -> Tensor:
            return model.elbo(x, v.reshape(1, 1), noise_variance.reshape(1), beta=0.0)

        def rate(declared_variance: Tensor, mean: Tensor = code) -> Tensor:
            return kl_diagonal_gaussian(mean=mean, log_var=declared_variance.log().reshape(1, 1))

        if name == "none":
            value = reconstruction(d) - rate(d)
        elif name == "std_is_exp_logvar":
            value = reconstruction(d.square()) - rate(d)
        elif name == "logstd_as_logvar":
            value = reconstruction(d) - rate(d.sqrt())
        elif name == "epsilon_std":
            value = reconstruction(EPSILON_STD**2 * d) - rate(d)
        elif name == "kl_averaged":
            value = reconstruction(d) - rate(d) / LATENTS
        elif name == "reconstruction_averaged":
            value = reconstruction(d) - rate(d) * PIXELS
        elif name == "missing_half":
            # exp(-e²/s²) is the exponent of a Gaussian of half the variance; its normaliser stayed
            half, _ = self._model_and_data(w, 0.5 * self.variance)
            value = reconstruction(d, half) - 0.5 * math.log(2.0) - rate(d)
        elif name == "kl_reversed":
            prior = torch.zeros_like(code)
            value = reconstruction(d) - kl_diagonal_gaussian(
                mean=prior, log_var=prior, prior_mean=code, prior_log_var=d.log().reshape(1, 1)
            )
        elif name in ("scored_at_mean", "trained_at_mean"):
            value = model.log_likelihood(x, code).squeeze(0) - rate(d)
        elif name == "kl_without_mean":
            value = reconstruction(d) - rate(d, torch.zeros_like(code))
        else:  # kl_log_std_squared
            log_std = 0.5 * d.log()
            value = reconstruction(d) - rate(d) - log_std + 0.5 * log_std.square()
        return value.squeeze(0)

    def _optimum(self, name: str) -> tuple[float, float]:
        """w² and d where the loss is least. With u = w², s = u + sigma² and the best v put in."""
        lam, variance = self.eigenvalue, self.variance
        if name in ("std_is_exp_logvar", "logstd_as_logvar"):
            # s = sigma sqrt(lambda) / e and 2 e² - (1 + 2 sqrt(lambda) / sigma) e + 1 = 0, where e is
            # what the KL takes for a variance: d for the one bug, sqrt(d) for the other. The product of
            # the roots is 1/2; the larger root is no maximum. For lambda > sigma² both are real.
            half = 0.5 * (1.0 + 2.0 * math.sqrt(lam / variance))
            seen = 1.0 / (half + math.sqrt(half**2 - 2.0))
            weight_squared = math.sqrt(lam * variance) / seen - variance
            return weight_squared, seen if name == "std_is_exp_logvar" else seen**2
        if name == "epsilon_std":
            # s² - lambda s - lambda sigma² (1/eps² - 1) = 0 and d = sigma² / (sigma² + eps² u)
            s = 0.5 * (lam + math.sqrt(lam**2 + 4.0 * lam * variance * (EPSILON_STD**-2 - 1.0)))
            weight_squared = s - variance
            return weight_squared, variance / (variance + EPSILON_STD**2 * weight_squared)
        if name == "kl_reversed":
            return math.sqrt(lam * variance) - variance, 1.0
        optimum = waterfill(torch.tensor([lam], dtype=torch.float64), variance * KL_WEIGHTS.get(name, 1.0))
        return optimum.weight_squared.item(), optimum.encoder_variance.item()

    def _best_encoder_weight(self, name: str, weight_squared: float, encoder_variance: float) -> float:
        """v of a ridge regression of z on x: w / (w² + what a unit of v² costs, in units of lambda)."""
        weight = 1 / encoder_variance if name == "kl_reversed" else KL_WEIGHTS.get(name, 1.0)
        cost = self.variance * weight
        return math.sqrt(weight_squared) / (weight_squared + cost)

    def _model_and_data(
        self, weight: float | Tensor, variance: float | None = None
    ) -> tuple[LinearGaussianModel, Tensor]:
        """The decoder, and one x that stands for all: every term is quadratic in x, and E x² = lambda."""
        w = _scalar("weight", weight).reshape(1, 1)
        model = LinearGaussianModel(w, torch.zeros(1, dtype=torch.float64), variance or self.variance)
        return model, torch.tensor([[math.sqrt(self.eigenvalue)]], dtype=torch.float64)


def _check_name(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"name is {name!r}; wanted one of {', '.join(known)}")


def _scalar(name: str, value: float | int | Tensor) -> Tensor:
    scalar = table(name, value).to(torch.float64)
    _require.shape(name, scalar, (), "(), a single number")
    _require.finite(name, scalar)
    return scalar
