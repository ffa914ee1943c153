"""The figures' script, run in node, against SciPy, torch and the library's exact models."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from torch import nn

from vae_lib.bounds import iwae_bound
from vae_lib.data import load
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.explorables import _network
from vae_lib.laboratory import LinearGaussianModel, grid_log_evidence
from vae_lib.networks import bounded_log_var, mlp, mlp_vae
from vae_lib.training import TrainConfig, fit

TOLERANCE = 1e-6
TWO_KLS = [
    {"m": m, "s": s, "a": a}
    for m, s, a in [(1, 1, 2), (2, 0.5, 2), (0, 2, 2.5), (-4, 0.25, 3), (4, 3.25, 3), (0.3, 0.5, 0)]
]
BOUNDS = [
    {"m": m, "v": v, "w": w, "s": s, "x": x}
    for m, v, w, s, x in [
        (0.2, 0.5, 1, 0.5, 1),
        (0, 1, 1, 0.1, 1),
        (3, 4, -2, 0.1, -3),
        (-1.3, 0.001, 0.7, 2, 2.4),
        (0.5, 0.3, 0, 1, 1),
    ]
]


def mixture(a: float) -> stats.Mixture:
    parts = [stats.Normal(mu=sign * a, sigma=0.5) for sign in (-1, 1)]
    return stats.Mixture(parts, weights=[0.5, 0.5])


def kl_by_quadrature(log_t, log_u, peaks: list[float]) -> float:
    """Adaptive Gauss-Kronrod between the peaks: another rule on other nodes."""
    points = sorted({-45.0, 45.0, *(p + d for p in peaks for d in (-4, -1, 0, 1, 4))})
    pieces = [
        integrate.quad(lambda x: math.exp(log_t(x)) * (log_t(x) - log_u(x)), a, b, epsabs=1e-11, limit=400)[0]
        for a, b in pairwise(points)
    ]
    return math.fsum(pieces)


@pytest.mark.parametrize("state", TWO_KLS, ids=str)
def test_both_kls_agree_with_adaptive_quadrature(js, state):
    m, s, a = state["m"], state["s"], state["a"]

    def log_normal(x, mean, std):
        return -0.5 * ((x - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))

    def log_q(x):
        return log_normal(x, m, s)

    def log_p(x):
        return np.logaddexp(log_normal(x, -a, 0.5), log_normal(x, a, 0.5)) - math.log(2)

    found = js("twoKls", state)
    peaks = [m, -a, a]
    assert found["reverse"] == pytest.approx(kl_by_quadrature(log_q, log_p, peaks), abs=TOLERANCE)
    assert found["forward"] == pytest.approx(kl_by_quadrature(log_p, log_q, peaks), abs=TOLERANCE)
    assert found["reverse"] >= 0
    assert found["forward"] >= 0
    for which in ("reverse", "forward"):
        assert found[f"{which}Positive"] + found[f"{which}Negative"] == pytest.approx(found[which])
        assert found[f"{which}Negative"] < 0, "the integrand of a KL has a negative part"


def test_one_mode_makes_both_kls_closed_forms(js):
    for m, s in [(0.0, 0.5), (1.2, 0.4), (-3.0, 3.0)]:
        found = js("twoKls", {"m": m, "s": s, "a": 0})
        reverse = kl_diagonal_gaussian(
            mean=torch.tensor([m], dtype=torch.float64),
            log_var=torch.tensor([2 * math.log(s)], dtype=torch.float64),
            prior_log_var=torch.tensor([math.log(0.25)], dtype=torch.float64),
        )
        assert found["reverse"] == pytest.approx(reverse.item(), abs=1e-9)
        assert found["forward"] == pytest.approx(js("klGaussian", 0, 0.25, m, s * s), abs=1e-9)


def test_maps_agree_with_the_numbers(js):
    ms, ss = [-2.0, -0.5, 0.5, 2.0], [0.25, 0.7, 1.5, 3.0]
    for a in (0.0, 1.0, 2.0, 3.0):
        forward, reverse = js("forwardKlMap", a, ms, ss), js("reverseKlMap", a, ms, ss)
        for i, s in enumerate(ss):
            for j, m in enumerate(ms):
                exact = js("twoKls", {"m": m, "s": s, "a": a})
                assert forward[i][j] == pytest.approx(exact["forward"], abs=1e-6)
                assert reverse[i][j] == pytest.approx(exact["reverse"], abs=0.01, rel=0.01)


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0, 2.0, 3.0])
def test_marked_optima_are_optima(js, a):
    def reverse(theta):
        state = {"m": theta[0], "s": math.exp(theta[1]), "a": a}
        return js("twoKls", state)["reverse"]

    best = js("reverseOptimum", a)
    searched = optimize.minimize(reverse, [a, math.log(0.5)], method="Nelder-Mead",
                                 options={"xatol": 1e-6, "fatol": 1e-12})  # fmt: skip
    marked = reverse([best["m"], math.log(best["s"])])
    assert marked == pytest.approx(searched.fun, abs=1e-7)
    moments = mixture(a)
    forward = js("forwardOptimum", a)
    assert forward["m"] == pytest.approx(moments.mean(), abs=1e-12)
    assert forward["s"] == pytest.approx(moments.standard_deviation())


def linear_model(state) -> tuple[LinearGaussianModel, torch.Tensor]:
    weight = torch.tensor([[state["w"]]], dtype=torch.float64)
    model = LinearGaussianModel(weight, torch.zeros(1, dtype=torch.float64), state["s"] ** 2)
    return model, torch.tensor([[state["x"]]], dtype=torch.float64)


@pytest.mark.parametrize("state", BOUNDS, ids=str)
def test_bound_and_gap_agree_with_the_linear_gaussian_model(js, state):
    found = js("linearGaussian", state)
    model, x = linear_model(state)
    posterior = model.posterior(x)
    # the model's ELBO wants an encoder that is linear in x: this one maps x to m
    v = torch.tensor([state["v"]], dtype=torch.float64)
    elbo = model.elbo(x, torch.tensor([[state["m"] / state["x"]]], dtype=torch.float64), v)
    q = torch.distributions.Normal(torch.tensor(state["m"], dtype=torch.float64), v[0].sqrt())
    p = torch.distributions.Normal(posterior.mean[0, 0], posterior.covariance_matrix.squeeze().sqrt())
    kl = torch.distributions.kl_divergence
    evidence = model.log_evidence(x).item()
    assert found["logEvidence"] == pytest.approx(evidence, abs=TOLERANCE)
    assert found["elbo"] == pytest.approx(elbo.item(), rel=1e-12, abs=TOLERANCE)
    assert found["gap"] == pytest.approx(kl(q, p).item(), rel=1e-12, abs=TOLERANCE)
    assert found["eubo"] == pytest.approx(evidence + kl(p, q).item(), rel=1e-12, abs=TOLERANCE)
    assert found["elbo"] + found["gap"] == pytest.approx(evidence, rel=1e-12, abs=1e-9)


def test_the_notes_counter_example(js):
    found = js("linearGaussian", {"m": 0, "v": 1, "w": 1, "s": 0.1, "x": 1})
    assert round(found["elbo"], 3) == -98.616
    assert round(found["logEvidence"], 3) == -1.419


def test_evidence_is_never_crossed(js):
    generator = np.random.default_rng(0)
    for _ in range(300):
        m, w, x = generator.uniform([-3, -2, -3], [3, 2, 3])
        v, s = 10 ** generator.uniform([-3, -1], [math.log10(4), math.log10(2)])
        state = {"m": m, "v": v, "w": w, "s": s, "x": x}
        found = js("linearGaussian", state)
        bounds = [js("iwaeBound", state, k) for k in (1, 2, 10, 1000)]
        assert found["elbo"] == bounds[0]
        assert all(a <= b + 1e-6 for a, b in pairwise(bounds))
        assert bounds[-1] <= found["logEvidence"] + 1e-9
        assert found["elbo"] <= found["logEvidence"] + 1e-9
        assert found["eubo"] >= found["logEvidence"] - 1e-9


def log_ratio(state, z):
    found_model, x = linear_model(state)
    posterior = found_model.posterior(x)
    p = stats.norm(posterior.mean.item(), posterior.covariance_matrix.item() ** 0.5)
    return p.logpdf(z) - stats.norm(state["m"], state["v"] ** 0.5).logpdf(z)


@pytest.mark.parametrize(
    "state",
    [
        {"m": 0.2, "v": 0.5, "w": 1, "s": 0.5, "x": 1},
        {"m": 0, "v": 1, "w": 1, "s": 1, "x": -2},
        {"m": 1, "v": 0.1, "w": -1, "s": 1, "x": 0},
    ],
    ids=str,
)
def test_iwae_with_two_samples_agrees_with_a_double_integral(js, state):
    """E ln ½(r₁ + r₂) by the trapezoid rule in the plane; the script uses a Laplace transform."""
    e = np.linspace(-9, 9, 1201)
    weight = stats.norm.pdf(e) * (e[1] - e[0])
    r = log_ratio(state, state["m"] + state["v"] ** 0.5 * e)
    mean = np.logaddexp(r[:, None], r[None, :]) - math.log(2)
    model, x = linear_model(state)
    expected = model.log_evidence(x).item() + weight @ mean @ weight
    assert js("iwaeBound", state, 2) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("k", [3, 20, 200])
@pytest.mark.parametrize("state", BOUNDS[:4], ids=str)
def test_iwae_agrees_with_sampling(js, state, k):
    """200,000/k estimates from vae_lib.bounds; the exact value lies within five standard errors."""
    generator = np.random.default_rng(k)
    draws = 200_000 // k
    z = state["m"] + state["v"] ** 0.5 * generator.standard_normal((k, draws))
    model, x = linear_model(state)
    log_w = torch.tensor(log_ratio(state, z)) + model.log_evidence(x)
    estimates = iwae_bound(log_w)
    error = estimates.std().item() / draws**0.5
    assert abs(js("iwaeBound", state, k) - estimates.mean().item()) <= 5 * error


def test_error_function(js):
    for x in (-7.0, -2.6, -2.4, -0.5, 0.0, 1e-9, 0.3, 1.0, 2.49, 2.51, 4.0, 6.5):
        assert js("erf", x) == pytest.approx(special.erf(x), rel=1e-13, abs=1e-16)


@pytest.mark.parametrize(
    "activation",
    [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.ELU, nn.GELU],
    ids=lambda a: a.__name__,
)
def test_networks_agree_with_torch(js, activation):
    torch.manual_seed(0)
    network = mlp(7, (11, 5), 3, activation)
    for module in network:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.bias)
    x = 3 * torch.randn(7)
    expected = network.double()(x.double())
    spec = {"layers": _network.layers(network.float())}
    assert js("mlp", spec, x.tolist()) == pytest.approx(expected.tolist(), abs=1e-7)


def test_bounded_log_variance(js):
    raw = torch.tensor([-1e4, -6.5, -6.0, -1.0, 0.0, 5.9, 6.1, 30.0], dtype=torch.float64)
    found = [js("boundedLogVar", r) for r in raw.tolist()]
    assert found == pytest.approx(bounded_log_var(raw).tolist(), abs=1e-12)


@pytest.fixture(scope="module")
def trained():
    data = load("digits").binarized()
    model = mlp_vae(64, latent=2, hidden=(24,), seed=0)
    fit(model, data, TrainConfig(epochs=25, learning_rate=5e-3, progress=False))
    spec = {
        "encoder": {"layers": _network.layers(model.encoder.network)},
        "decoder": {"layers": _network.layers(model.decoder.network)},
    }
    return model.double(), spec, load("digits", split="test").binarized().double()


def test_encoder_decoder_and_likelihood_agree_with_the_model(js, trained):
    model, spec, images = trained
    with torch.no_grad():
        for x in images[:5]:
            posterior = model.encode(x)
            code = js("encode", spec["encoder"], x.tolist())
            assert code["mean"] == pytest.approx(posterior.mean.tolist(), abs=TOLERANCE)
            assert code["std"] == pytest.approx(posterior.stddev.tolist(), abs=TOLERANCE)
            logits = js("mlp", spec["decoder"], code["mean"])
            expected = model.decode(torch.tensor(code["mean"]).double()).log_prob(x)
            found = js("bernoulliLogLikelihood", x.tolist(), logits)
            assert found == pytest.approx(expected.item(), abs=TOLERANCE)


@pytest.mark.parametrize(("points", "half_width"), [(161, 8.0), (9, 1.5)])
def test_plane_evidence_agrees_with_the_laboratory(js, trained, points, half_width):
    """On the grid of the figure, and on one so small that the halved ends of the rule count."""
    model, spec, images = trained
    images = images[:4]
    exact = grid_log_evidence(
        lambda x, z: model.decode(z[:, None]).log_prob(x),
        images,
        latent_dim=2,
        points=points,
        half_width=half_width,
    )
    found = [js("gridLogEvidence", spec["decoder"], x.tolist(), points, half_width) for x in images]
    assert found == pytest.approx(exact.tolist(), abs=TOLERANCE)


def test_plane_elbo_agrees_with_a_finer_rule_and_with_sampling(js, trained):
    """E_q by 41 nodes a side in the script; by 201 nodes, and by the model's own draws, here."""
    model, spec, images = trained
    e = torch.linspace(-9, 9, 201, dtype=torch.float64)
    weight = torch.distributions.Normal(0.0, 1.0).log_prob(e).exp() * (e[1] - e[0])
    torch.manual_seed(0)
    for x in images[:3]:
        with torch.no_grad():
            posterior = model.encode(x)
            grid = torch.stack(torch.meshgrid(e, e, indexing="ij"), -1)
            z = posterior.mean + posterior.stddev * grid  # (201, 201, 2)
            likelihood = model.decode(z).log_prob(x)
            reconstruction = weight @ likelihood @ weight
            rate = torch.distributions.kl_divergence(posterior, model.prior)
            draws = model.log_weights(x[None], k=20_000)[:, 0]
        code = {"mean": posterior.mean.tolist(), "std": posterior.stddev.tolist()}
        found = js("planeElbo", spec["decoder"], x.tolist(), code)
        assert found["reconstruction"] == pytest.approx(reconstruction.item(), abs=TOLERANCE)
        assert found["rate"] == pytest.approx(rate.item(), abs=TOLERANCE)
        error = draws.std().item() / len(draws) ** 0.5
        assert abs(found["elbo"] - draws.mean().item()) <= 5 * error
        assert found["elbo"] < js("gridLogEvidence", spec["decoder"], x.tolist(), 161, 8)


def test_images_survive_the_address(js):
    generator = np.random.default_rng(0)
    for count in (64, 49, 784):
        bits = generator.integers(0, 2, count).tolist()
        text = js("bitsToHex", bits)
        assert len(text) == math.ceil(count / 4)
        assert js("hexToBits", text, count) == bits


def test_uniform_numbers_are_uniform_and_repeatable(js):
    first = np.array(js("uniforms", 1, 10_000))
    assert (first >= 0).all()
    assert (first < 1).all()
    assert stats.kstest(first, "uniform").pvalue > 1e-3
    assert js("uniforms", 1, 10) == first[:10].tolist()
    assert js("uniforms", 2, 10) != first[:10].tolist()


def test_contours_lie_where_the_field_has_the_level(js):
    xs, ys = np.linspace(-2, 2, 41), np.linspace(-2, 2, 41)
    field = [[float(x * x + y * y) for x in xs] for y in ys]
    segments = np.array(js("contour", field, xs.tolist(), ys.tolist(), 1.5))
    radius = np.hypot(segments[..., 0], segments[..., 1])
    assert abs(radius - math.sqrt(1.5)).max() < 2e-3
    length = np.linalg.norm(segments[:, 0] - segments[:, 1], axis=-1).sum()
    assert length == pytest.approx(2 * math.pi * math.sqrt(1.5), rel=1e-3)


def test_numbers_paste_into_python(js):
    for value in (-98.61635, 0.0, -0.0004, 1234.5, 3e-9, -1e-12):
        text = js("number", value, 3)
        assert float(text) == pytest.approx(value, abs=6e-4 if abs(value) < 1000 else 0.06)
        assert text != "-0.000"


def test_axis_ticks(js):
    assert [tick["value"] for tick in js("ticks", -4, 4, 4)] == [-4, -2, 0, 2, 4]
    assert [js("niceAbove", v) for v in (0.3, 1.0, 1.01, 4.9, 7.0, 200.0)] == [
        0.5, 1, 2, 5, 10, 200,
    ]  # fmt: skip
