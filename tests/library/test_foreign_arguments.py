"""Whatever lands in an argument of the laboratory or of an estimator: one line that names it, or the answer.

The tests of each room refuse the mistakes that somebody thought of. Here every argument of every call
gets the same list of strange things, so that none is forgotten.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vae_lib import gradients, laboratory
from vae_lib.laboratory import (
    BernoulliMixture,
    BitsBackCoder,
    BugZoo,
    DiscreteLatentModel,
    LinearGaussianModel,
    QuantileModel,
    Ring,
    SmallestVAE,
)

pytestmark = pytest.mark.usefixtures("unchecked")

double = {"dtype": torch.float64}
TABLE = DiscreteLatentModel([0.4, 0.6], [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
MIXTURE = BernoulliMixture([0.4, 0.6], [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
LINEAR = LinearGaussianModel(torch.tensor([[1.0, 0.2], [0.5, 1.0]], **double), torch.zeros(2, **double), 0.5)
SYMBOLS, ROWS = torch.tensor([0, 2]), torch.tensor([[0.5, 0.5], [0.3, 0.7]], **double)
ENCODER = torch.tensor([[0.5, 0.5], [0.3, 0.7], [0.9, 0.1]], **double)
IMAGES = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], **double)
POINTS = torch.tensor([[1.1, 0.3], [0.2, 1.4]], **double)
LINE, ONE = torch.tensor([0.3, -0.4], **double), torch.tensor(1.0, **double)
NORMAL = torch.distributions.Normal(0 * ONE, ONE)
SMOOTH = QuantileModel(NORMAL, 0.5)
BEST = dict(zip(("encoder_weight", "encoder_variance"), LINEAR.best_encoder(), strict=True))
GAUSSIAN = {"mean": torch.tensor([0.3], **double), "log_var": torch.tensor([-0.5], **double), "n": 3}
LOGITS = {"logits": torch.tensor([0.3, -0.5], **double), "n": 3}


def log_joint(z: torch.Tensor) -> torch.Tensor:
    return -z.square().sum(-1)


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "DiscreteLatentModel": (
        DiscreteLatentModel,
        {"prior": TABLE.prior, "likelihood": TABLE.likelihood},
    ),
    "discrete.log_joint": (TABLE.log_joint, {"x": SYMBOLS}),
    "discrete.log_evidence": (TABLE.log_evidence, {"x": SYMBOLS}),
    "discrete.posterior": (TABLE.posterior, {"x": SYMBOLS}),
    "discrete.elbo": (TABLE.elbo, {"q": ROWS, "x": SYMBOLS}),
    "discrete.eubo": (TABLE.eubo, {"q": ROWS, "x": SYMBOLS}),
    "discrete.kl_to_posterior": (TABLE.kl_to_posterior, {"q": ROWS, "x": SYMBOLS}),
    "discrete.iwae_bound": (TABLE.iwae_bound, {"q": ROWS, "x": SYMBOLS, "k": 2}),
    "discrete.sample": (TABLE.sample, {"n": 2}),
    "BernoulliMixture": (
        BernoulliMixture,
        {"weights": MIXTURE.weights, "probabilities": MIXTURE.probabilities},
    ),
    "BernoulliMixture.fit": (BernoulliMixture.fit, {"x": IMAGES, "components": 2, "steps": 2}),
    "mixture.log_joint": (MIXTURE.log_joint, {"x": IMAGES}),
    "mixture.log_evidence": (MIXTURE.log_evidence, {"x": IMAGES}),
    "mixture.posterior": (MIXTURE.posterior, {"x": IMAGES}),
    "LinearGaussianModel": (
        LinearGaussianModel,
        {"weight": LINEAR.weight, "bias": LINEAR.bias, "variance": 0.5},
    ),
    "LinearGaussianModel.fit": (
        LinearGaussianModel.fit,
        {"x": torch.cat([POINTS, -2 * POINTS, POINTS[:1]]), "latent_dim": 1},
    ),
    "linear.log_evidence": (LINEAR.log_evidence, {"x": POINTS}),
    "linear.posterior": (LINEAR.posterior, {"x": POINTS}),
    "linear.log_likelihood": (LINEAR.log_likelihood, {"x": POINTS, "z": POINTS}),
    "linear.elbo": (LINEAR.elbo, {"x": POINTS, **BEST, "beta": 1.0}),
    "linear.best_encoder": (LINEAR.best_encoder, {"beta": 1.0}),
    "linear.sample": (LINEAR.sample, {"n": 2}),
    "waterfill": (laboratory.waterfill, {"eigenvalues": LINE.abs(), "variance": 0.5, "beta": 1.0}),
    "collapse_growth_rate": (
        laboratory.collapse_growth_rate,
        {"eigenvalue": LINE.abs(), "variance": 0.5, "beta": 1.0},
    ),
    "grid_log_evidence": (
        laboratory.grid_log_evidence,
        {"log_likelihood": LINEAR.log_likelihood, "x": POINTS, "latent_dim": 2, "points": 9, "half_width": 3},
    ),
    "grid_elbo_surgery": (
        laboratory.grid_elbo_surgery,
        {"mean": LINE[:, None], "std": LINE.abs()[:, None]},
    ),
    "ring.sample": (Ring().sample, {"n": 2}),
    "ring.log_prob": (Ring().log_prob, {"x": POINTS}),
    "ring.decoder": (Ring.decoder, {"z": POINTS}),
    "ring.noisy_log_prob": (Ring().noisy_log_prob, {"x": POINTS, "variance": 0.1}),
    "SmallestVAE": (SmallestVAE, {"variance": 0.5}),
    **{
        f"smallest.{name}": (getattr(SmallestVAE(0.5), name), {"mean": LINE, "var": LINE.abs()})
        for name in ("elbo", "log_evidence", "rate", "distortion", "aggregate_kl")
    },
    "smallest.undecided": (
        SmallestVAE(0.5).undecided,
        {"mean": LINE, "var": LINE.abs(), "threshold": 0.9},
    ),
    "BugZoo": (BugZoo, {"eigenvalue": 4.0, "variance": 0.25}),
    "zoo.row": (BugZoo().row, {"name": "none"}),
    "zoo.objective": (
        BugZoo().objective,
        {"name": "none", "weight": 1.0, "encoder_weight": ONE, "encoder_variance": 0.5},
    ),
    "QuantileModel": (QuantileModel, {"law": NORMAL, "std": 0.5}),
    "quantile.decoder": (SMOOTH.decoder, {"z": LINE}),
    "quantile.encoder": (SMOOTH.encoder, {"x": LINE}),
    "quantile.log_evidence": (SMOOTH.log_evidence, {"x": LINE}),
    "quantile.elbo": (SMOOTH.elbo, {"x": LINE}),
    "quantile.average_gap": (SMOOTH.average_gap, {"points": 5}),
    "bits_back": (laboratory.bits_back, {"model": TABLE, "q": ENCODER}),
    "BitsBackCoder": (BitsBackCoder, {"model": TABLE, "q": ENCODER, "precision": 16}),
    "coder.encode": (BitsBackCoder(TABLE, ENCODER).encode, {"x": SYMBOLS, "start": 9}),
    "coder.decode": (BitsBackCoder(TABLE, ENCODER).decode, {"message": 9, "n": 2}),
    "samples_needed": (laboratory.samples_needed, {"latent_dim": 2, "std": 0.5, "relative_error": 0.1}),
    "pathwise": (gradients.pathwise, {"log_joint": log_joint, **GAUSSIAN}),
    "pathwise_analytic_kl": (gradients.pathwise_analytic_kl, {"log_likelihood": log_joint, **GAUSSIAN}),
    "sticking_the_landing": (gradients.sticking_the_landing, {"log_joint": log_joint, **GAUSSIAN, "k": 2}),
    "iwae_pathwise": (gradients.iwae_pathwise, {"log_joint": log_joint, **GAUSSIAN, "k": 2}),
    "dreg": (gradients.dreg, {"log_joint": log_joint, **GAUSSIAN, "k": 2}),
    "vimco": (gradients.vimco, {"log_joint": log_joint, **LOGITS, "k": 2}),
    "score_function": (gradients.score_function, {"log_joint": log_joint, **LOGITS, "baseline": 0.5}),
    "gumbel_softmax": (gradients.gumbel_softmax, {"log_joint": log_joint, **LOGITS, "temperature": 1.0}),
    "relaxed_objective": (
        gradients.relaxed_objective,
        {"log_joint": log_joint, **LOGITS, "temperature": 1.0},
    ),
}


def refusal(call: str, argument: str, value: object) -> str:
    """The message with which `call` refuses this value of the argument; empty where it takes it."""
    function, arguments = CALLS[call]
    try:
        function(**arguments | {argument: value})
    except ValueError as error:  # anything else is an error of the test that asks
        return str(error)
    return ""


def strange(good: object) -> list[object]:
    """What no argument takes: things of another kind, and no finite number in place of a finite one."""
    things: list[object] = [None, "nonsense", object()]
    for value in (float("nan"), float("inf"), -float("inf")):
        if isinstance(good, torch.Tensor) and good.is_floating_point():
            things.append(torch.full_like(good, value))
        elif isinstance(good, float):
            things.append(value)
    return things


@pytest.mark.parametrize("call", CALLS)
def test_refuses_in_one_line_that_names_the_argument(call):
    function, arguments = CALLS[call]
    function(**arguments)  # nothing is wrong with the others
    for argument, good in arguments.items():
        for value in strange(good):
            message = refusal(call, argument, value)
            assert re.search(rf"\b{argument}\b", message), f"{argument} = {value!r}: {message!r}"
            assert "\n" not in message


@pytest.mark.parametrize("call", CALLS)
def test_takes_or_refuses_by_name_another_precision_and_no_rows(call):
    arguments = CALLS[call][1]
    for argument, good in arguments.items():
        if isinstance(good, torch.Tensor):
            for value in [good.float(), good.long(), *([good[:0]] if good.dim() else [])]:
                message = refusal(call, argument, value)
                named = any(re.search(rf"\b{name}\b", message) for name in arguments)
                assert not message or named, f"{argument}, {value.dtype} {tuple(value.shape)}: {message!r}"
