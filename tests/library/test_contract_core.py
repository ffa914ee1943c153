"""The contract, swept over every argument of the bounds, the divergences and the likelihoods.

Each function is called with every argument replaced, in turn, by what a hurried reader might pass; with
no example at all; and with the same numbers in another memory layout.
"""

import math

import numpy as np
import pytest
import torch

from vae_lib.bounds import (
    beta_elbo,
    ciwae,
    cubo,
    dreg_surrogate,
    effective_sample_size,
    elbo,
    eubo,
    free_bits,
    iwae_bound,
    iwae_eubo,
    iwae_surrogate,
    log_mean_exp,
    miwae_bound,
    piwae,
    sandwich,
)
from vae_lib.divergences import (
    kl_categorical,
    kl_diagonal_gaussian,
    kl_monte_carlo,
    kl_multivariate_gaussian,
)
from vae_lib.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    bits_per_dim,
    optimal_variance,
)

LATENT, LEVELS = 3, 4


def score(likelihood, name):
    """A likelihood as a function of what the network puts out, `name`, and of x."""
    return lambda x, **output: likelihood(output[name]).log_prob(x)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def shares(*shape):
    return normal(*shape).softmax(-1)


def covariances(batch):
    root = normal(batch, LATENT, LATENT)
    return root @ root.mT + torch.eye(LATENT, dtype=torch.float64)


def levels(batch):
    return torch.randint(0, LEVELS, (batch, LATENT)).double() / (LEVELS - 1)


TABLES = [log_mean_exp, elbo, iwae_bound, eubo, effective_sample_size, iwae_surrogate, dreg_surrogate, cubo]
GROUPS = [miwae_bound, lambda log_w: piwae(log_w).theta, lambda log_w: ciwae(log_w, beta=0.3)]
# name -> (function, its arguments for a batch of any size, the axis of the batch)
CALLS = {
    f.__name__: (f, lambda b, name=("x" if f is log_mean_exp else "log_w"): {name: normal(4, b)}, 1)
    for f in TABLES
}
CALLS |= {f"group {i}": (f, lambda b: {"log_w": normal(2, 3, b)}, 2) for i, f in enumerate(GROUPS)}
PAIR = {"log_w": (4,), "log_w_posterior": (2,)}
CALLS |= {
    f"{f.__name__} {part}": (
        lambda f=f, part=part, **a: getattr(f(**a), part) if part else f(**a),
        lambda b, sizes=sizes: {name: normal(*size, b) for name, size in sizes.items()},
        1,
    )
    for f, part, sizes in [
        (iwae_eubo, "", PAIR),
        (sandwich, "upper", PAIR),
        (kl_monte_carlo, "value", {"log_q": (4,), "log_p": (4,)}),
        (kl_monte_carlo, "standard_error", {"log_q": (4,), "log_p": (4,)}),
    ]
}
CALLS |= {
    "beta_elbo": (
        lambda **a: beta_elbo(**a, beta=2),
        lambda b: {"reconstruction": normal(b), "rate": normal(b)},
        0,
    ),
    "bits_per_dim": (lambda log_prob: bits_per_dim(log_prob, 7), lambda b: {"log_prob": normal(b)}, 0),
    "kl_categorical": (kl_categorical, lambda b: {"q": shares(b, 5), "p": shares(b, 5)}, 0),
    "kl_diagonal_gaussian": (
        kl_diagonal_gaussian,
        lambda b: {n: normal(b, LATENT) for n in ("mean", "log_var", "prior_mean", "prior_log_var")},
        0,
    ),
    "kl_multivariate_gaussian": (
        kl_multivariate_gaussian,
        lambda b: {
            "mean_q": normal(b, LATENT),
            "cov_q": covariances(b),
            "mean_p": normal(b, LATENT),
            "cov_p": covariances(b),
        },
        0,
    ),
    "Bernoulli": (
        score(Bernoulli(), "logits"),
        lambda b: {"logits": normal(b, LATENT), "x": (normal(b, LATENT) > 0).double()},
        0,
    ),
    "ContinuousBernoulli": (
        score(ContinuousBernoulli(), "logits"),
        lambda b: {"logits": normal(b, LATENT), "x": shares(b, LATENT)},
        0,
    ),
    "Gaussian": (
        score(Gaussian(std=0.4), "mean"),
        lambda b: {"mean": normal(b, LATENT), "x": normal(b, LATENT)},
        0,
    ),
    "DiscretizedLogistic": (
        score(DiscretizedLogistic(scale=0.3, levels=LEVELS), "mean"),
        lambda b: {"mean": normal(b, LATENT), "x": levels(b)},
        0,
    ),
    "Categorical": (
        score(Categorical(levels=LEVELS), "logits"),
        lambda b: {"logits": normal(b, LATENT * LEVELS), "x": levels(b)},
        0,
    ),
}
WHOLE_NUMBERS_WELCOME = {("Bernoulli", "x"), ("DiscretizedLogistic", "x"), ("Categorical", "x")}
# data, levels and rows that are rounded have no gradient of their own
CONSTANT = {("DiscretizedLogistic", "x"), ("Categorical", "x")}

each_call = pytest.mark.parametrize("name", CALLS)


@pytest.mark.usefixtures("unchecked")
@each_call
def test_what_is_no_tensor_of_floats_is_refused_by_name(name):
    function, make, _ = CALLS[name]
    for argument, value in make(3).items():
        wrongs = [value.tolist(), value.numpy(), None, "0.5"]
        if (name, argument) not in WHOLE_NUMBERS_WELCOME:
            wrongs += [value.long(), value.bool(), value.to(torch.complex64)]
        for wrong in wrongs:
            with pytest.raises(ValueError, match=rf"^{argument} (is|has) .*; wanted ") as caught:
                function(**(make(3) | {argument: wrong}))
            got = wrong.dtype if isinstance(wrong, torch.Tensor) else type(wrong).__name__
            assert str(got) in str(caught.value) or str(wrong) in str(caught.value)
            assert "\n" not in str(caught.value)


@each_call
def test_a_batch_of_nobody_has_no_values(name):
    function, make, _ = CALLS[name]
    assert function(**make(0)).shape == (0,)


@each_call
def test_the_memory_layout_does_not_matter_and_nothing_else_is_touched(name):
    function, make, axis = CALLS[name]
    arguments = make(5)
    before = {argument: value.clone() for argument, value in arguments.items()}
    state = torch.get_rng_state()
    value = function(**arguments)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(arguments[argument], before[argument]) for argument in arguments)
    assert value.shape == (5,)
    assert not value.requires_grad
    strided = {  # the batch innermost in memory, with a gap after every example
        argument: torch.stack([a, a + math.nan], -1).movedim(axis, -2).contiguous()[..., 0].movedim(-1, axis)
        for argument, a in arguments.items()
    }
    torch.testing.assert_close(function(**strided), value, rtol=1e-12, atol=1e-12)
    repeated = {argument: a.narrow(axis, 2, 1).expand_as(a) for argument, a in arguments.items()}
    torch.testing.assert_close(function(**repeated), value[2].expand(5), rtol=1e-12, atol=1e-12)


@each_call
def test_float32_stays_float32_and_every_argument_has_its_gradient(name):
    function, make, _ = CALLS[name]
    exact = make(3)
    single = {argument: value.float().requires_grad_() for argument, value in exact.items()}
    value = function(**single)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.detach().double(), function(**exact), rtol=1e-4, atol=1e-5)
    differentiable = {a: v for a, v in single.items() if (name, a) not in CONSTANT}
    for gradient in torch.autograd.grad(value.sum(), list(differentiable.values())):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.usefixtures("unchecked")
def test_functions_of_a_whole_batch_refuse_the_same():
    for call, argument in [
        (lambda wrong: free_bits(wrong, 0.5), "kl"),
        (lambda wrong: optimal_variance(wrong, normal(3, 2)), "x"),
        (lambda wrong: optimal_variance(normal(3, 2), wrong), "mean"),
    ]:
        for wrong in (normal(3, 2).tolist(), np.zeros((3, 2)), None, torch.zeros(3, 2).long()):
            with pytest.raises(ValueError, match=rf"^{argument} (is|has) .*; wanted "):
                call(wrong)
        for empty in (torch.zeros(0, 2), torch.tensor(1.0)):
            with pytest.raises(ValueError, match=r"(kl|mean) has shape .*; wanted "):
                call(empty)
    with pytest.raises(ValueError, match=r"mean has shape \(\); wanted"):
        optimal_variance(torch.tensor(1.0), torch.tensor(0.0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["prior_mean", "prior_log_var"])
def test_a_prior_that_is_no_number_is_refused_by_name(name):
    for wrong in (math.nan, math.inf, "0", None, [0.0], True):
        with pytest.raises(ValueError, match=rf"^{name} is .*; wanted a (finite )?number"):
            kl_diagonal_gaussian(mean=normal(3, 2), log_var=normal(3, 2), **{name: wrong})
