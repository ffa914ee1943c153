"""Arguments of the wrong kind altogether, without the shape checker: still one clear ValueError each."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vae_lib.builders import hierarchical_mlp_vae
from vae_lib.evaluation import active_units, ais, convergence, elbo_surgery, inference_gaps, log_likelihood
from vae_lib.likelihoods import DiscretizedLogistic, Gaussian
from vae_lib.models import AutoEncoder
from vae_lib.networks import conv_vae, mlp_vae
from vae_lib.training import TrainConfig, fit, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("unchecked", "one_thread")
X = torch.eye(4)[:, :3]


def model():
    return mlp_vae(3, 2, (4,), seed=0)


def config(**settings):
    return TrainConfig(**{"epochs": 1, "batch_size": 4, "progress": False, "device": "cpu"} | settings)


class Terms(nn.Module):
    """A module with a loss of its own making."""

    def __init__(self, loss_terms):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.make = loss_terms

    def loss_terms(self, x, k=1):
        return self.make(self.weight * x)

    def log_weights(self, x, k=1):
        return torch.zeros(len(x), k)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"progress": "no"}, "progress is 'no'; wanted True or False"),
        ({"binarise": "no"}, "binarise is 'no'; wanted True or False"),  # it is true, as a condition
        ({"compile": 1}, "compile is 1; wanted True or False"),
        ({"analytic_kl": "x"}, "analytic_kl is 'x'; wanted True, False or None"),
        ({"beta": None}, "beta is None; wanted a number"),
        ({"prune": "x"}, "prune is 'x'; wanted a number"),
        ({"device": 3}, "device is 3; wanted 'auto', 'cpu'"),
        ({"seed": 1.5}, "seed is 1.5; wanted an integer from 0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, X), "model is None; wanted a torch.nn.Module"),
        ((Terms, X), "model is <class .*; wanted a torch.nn.Module"),
        ((nn.Linear(3, 3), X), "model is a Linear without loss_terms; wanted a VAE"),
        ((Terms(lambda x: x.sum(-1)), X, config()), "model.loss_terms returned a Tensor; wanted the rec"),
        ((model(), X, {"epochs": 3}), "config is {'epochs': 3}; wanted a TrainConfig"),
        ((model(), X, 5), "config is 5; wanted a TrainConfig"),
        ((model(), X, config(), None, 5), "on_epoch is 5; wanted something that can be called"),
        ((model(), X.double(), config()), "x has dtype torch.float64; wanted torch.float32"),
    ],
)
def test_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *[
            (lambda f=f, seed=seed: f(model(), X, seed=seed), "seed is .*; wanted an integer from 0")
            for f in (log_likelihood, inference_gaps, elbo_surgery, ais, convergence)
            for seed in (-1, "a", 1.5)
        ],
        (lambda: active_units(model(), X, "a"), "threshold is 'a'; wanted a number"),
        (lambda: active_units(model(), X, None), "threshold is None; wanted a number"),
        (lambda: convergence(model(), X, 5), "ks is 5; wanted a list of integers"),
        (lambda: convergence(model(), X, "12"), "ks is '12'; wanted a list of integers"),
        (lambda: log_likelihood(model(), X.double(), 3), "x has dtype torch.float64; wanted torch.float32"),
        (lambda: log_likelihood(Terms(None), X[:, :2], 3), r"model.log_weights returned shape \(4, 3\)"),
        (lambda: elbo_surgery(AutoEncoder(nn.Linear(3, 2), nn.Linear(2, 3)), X), "model is .*; wanted a VAE"),
    ],
)
def test_evaluation(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp_vae(3, 2, 5), "hidden is 5; wanted a list of integers"),
        (lambda: mlp_vae(3, 2, None), "hidden is None; wanted a list of integers"),
        (lambda: mlp_vae(3, 2, activation=3), "activation is 3; wanted one of tanh"),
        (lambda: mlp_vae(3, 2, seed="a"), "seed is 'a'; wanted an integer from 0"),
        (lambda: mlp_vae(3, 2, seed=-1), "seed is -1; wanted an integer from 0"),
        (lambda: conv_vae(28, 2), "shape is 28; wanted a list of integers"),
        (lambda: conv_vae((8, 8), 2, filters=8), "filters is 8; wanted a list of integers"),
        (lambda: hierarchical_mlp_vae(3, 2), "latents is 2; wanted a list of integers"),
        (lambda: hierarchical_mlp_vae(3, (2, 1), (4, 4)), "hidden is 4; wanted a list of integers"),
        (lambda: hierarchical_mlp_vae(3, (2, 1), 4), "hidden is 4; wanted a list of lists"),
    ],
)
def test_builders(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_integers_of_numpy_are_integers(tmp_path):
    three = np.int64(3)
    built = mlp_vae(three, np.int32(2), (three,), seed=three)
    assert built.log_weights(X, three).shape == (3, 4)
    fit(built, X, config(epochs=three, samples=np.int64(2)), checkpoint=tmp_path)  # and JSON can hold them
    assert load_checkpoint(tmp_path).config.epochs == 3
    save_checkpoint(tmp_path / "again", built, config=config(epochs=three))
    assert torch.equal(load_checkpoint(tmp_path / "again").model.reconstruct(X), built.reconstruct(X))


def test_what_a_checkpoint_cannot_hold_is_named(tmp_path):
    with pytest.raises(ValueError, match="notes is not JSON"):
        save_checkpoint(tmp_path / "x", model(), notes={"when": object()})
    with pytest.raises(ValueError, match=r"model is None; wanted a torch\.nn\.Module"):
        save_checkpoint(tmp_path / "x", None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="path is None; wanted the name of a file"):
        load_checkpoint(None)


def test_training_leaves_no_gradient_in_the_data():
    x = X.clone().requires_grad_()
    fit(model(), x, config())
    assert x.grad is None


@pytest.mark.parametrize("raw", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize(("make", "floor"), [(Gaussian, 1e-3), (DiscretizedLogistic, 1e-4)])
def test_the_spread_of_the_decoder_neither_overflows_nor_loses_its_gradient(make, floor, raw):
    likelihood = make(learned=True)
    (parameter,) = likelihood.parameters()
    parameter.data.fill_(raw)
    log_p = likelihood(torch.full((1, 2), 0.3)).log_prob(torch.ones(1, 2)).sum()
    log_p.backward()
    log_p = log_p.detach()
    spread = (likelihood.std if make is Gaussian else likelihood.scale).detach()
    assert floor <= spread < math.inf
    assert math.isfinite(log_p)
    assert math.isfinite(parameter.grad)
    assert parameter.grad != 0


@pytest.mark.parametrize("std", [1e-8, 1e-3, 0.5, 1e4, 1e8])
def test_a_learned_spread_starts_where_it_was_asked_to(std):
    gaussian = Gaussian(std, learned=True, min_std=std / 10).double()
    logistic = DiscretizedLogistic(std, learned=True, min_scale=std / 10).double()
    for spread in (gaussian.std, logistic.scale):
        assert float(spread.detach()) == pytest.approx(std, rel=1e-5)
