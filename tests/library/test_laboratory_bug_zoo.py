"""BugZoo: the published table, an optimiser on objectives written out again, and what is unbounded."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from vae_lib.laboratory import BugZoo

# teaching.md 3.0: w², v, d, reported, true ELBO, ln p, aggregate variance, model variance
TABLE = {
    "none": (3.7500, 0.4841, 0.0625, -2.1121, -2.1121, -2.1121, 1.000, 4.000),
    "std_is_exp_logvar": (8.5220, 0.3328, 0.114, -1.3181, -3.0396, -2.2327, 0.557, 8.772),
    "logstd_as_logvar": (8.5220, 0.3328, 0.013, -1.3181, -2.3534, -2.2327, 0.456, 8.772),
    "epsilon_std": (101.765, 0.0989, 0.961, -0.2653, -195.81, -3.2511, 1.000, 102.0),
    "kl_averaged": (3.9875, 0.4992, 0.0031, -0.3950, -3.1350, -2.1129, 1.000, 4.237),
    "reconstruction_averaged": (0, 0, 1, -8.2258, -8.2258, -8.2258, 1.000, 0.250),
    "missing_half": (3.8750, 0.4921, 0.0312, -2.4587, -2.2087, -2.1123, 1.000, 4.125),
    "kl_reversed": (0.7500, 0.8660, 1, -3.7258, -3.7258, -2.9189, 4.000, 1.000),
    "scored_at_mean": (3.7500, 0.4841, 0.0625, -1.6433, -2.1121, -2.1121, 1.000, 4.000),
}
DIGITS = (1e-4, 1e-4, 6e-4, 1e-4, 6e-3, 1e-4, 6e-4, 6e-2)


def written_out(name: str, w: float, v: float, d: float, lam: float, s2: float) -> float:
    """The faulty objectives as in the text of the table, term by term."""
    error, noise, quadratic = (1 - w * v) ** 2 * lam, w * w * d, 2 * s2
    rate, beta, pixels = 0.5 * (v * v * lam + d - 1 - math.log(d)), 1.0, 1.0
    if name == "std_is_exp_logvar":
        noise = w * w * d * d
    elif name == "logstd_as_logvar":
        rate = 0.5 * (v * v * lam + math.sqrt(d) - 1 - 0.5 * math.log(d))
    elif name == "epsilon_std":
        noise = 1e-4 * w * w * d
    elif name == "kl_averaged":
        beta = 1 / 20
    elif name == "reconstruction_averaged":
        beta = 64.0
    elif name == "missing_half":
        quadratic = s2
    elif name == "kl_reversed":
        rate = 0.5 * ((1 + v * v * lam) / d - 1 + math.log(d))
    elif name in ("scored_at_mean", "trained_at_mean"):
        noise = 0.0
    elif name == "kl_without_mean":
        rate = 0.5 * (d - 1 - math.log(d))
    elif name == "kl_log_std_squared":
        rate = 0.5 * (v * v * lam + d - 1 - (0.5 * math.log(d)) ** 2)
    return pixels * (-0.5 * math.log(2 * math.pi * s2) - (error + noise) / quadratic) - beta * rate


@pytest.mark.parametrize("name", TABLE)
def test_the_published_table(name):
    row = BugZoo().row(name)
    for got, published, digits in zip(row[2:], TABLE[name], DIGITS, strict=True):
        assert got == pytest.approx(published, abs=digits)
    assert row.name == name
    assert all(type(value) is float for value in row[2:])
    assert row in BugZoo().table()


def test_the_order_of_the_table():
    assert tuple(row.name for row in BugZoo().table()) == tuple(TABLE) == BugZoo.names


@pytest.mark.parametrize("name", [*TABLE, *BugZoo.unbounded])
def test_objectives_are_the_ones_written_out(name):
    rng = np.random.default_rng(0)
    for _ in range(5):
        lam, s2 = rng.uniform(1, 5), rng.uniform(0.1, 0.9)
        w, v, d = rng.normal(), rng.normal(), rng.uniform(0.01, 2)
        got = BugZoo(lam, s2).objective(name, w, v, d)
        assert got.shape == ()
        assert got.item() == pytest.approx(written_out(name, w, v, d, lam, s2), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("lam", "s2"), [(4.0, 0.25), (1.05, 1.0), (10.0, 0.01), (2.0, 1.5)])
@pytest.mark.parametrize("name", [n for n in TABLE if n != "scored_at_mean"])
def test_no_optimiser_does_better(name, lam, s2):
    row = BugZoo(lam, s2).row(name)

    def loss(p):
        return -written_out(name, p[0], p[1], math.exp(p[2]), lam, s2)

    options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000, "maxfev": 4000}
    runs = [
        scipy.optimize.minimize(loss, start, method="Nelder-Mead", options=options)
        for start in ([1.0, 0.5, -1.0], [0.05, 0.05, 0.0], [5.0, 0.1, -2.0])
    ]
    best = min(runs, key=lambda run: run.fun)
    assert row.reported == pytest.approx(-best.fun, abs=1e-9)
    assert row.weight_squared == pytest.approx(best.x[0] ** 2, rel=1e-4, abs=1e-4)
    assert row.encoder_weight == pytest.approx(abs(best.x[1]), rel=1e-4, abs=1e-4)
    assert row.encoder_variance == pytest.approx(math.exp(best.x[2]), rel=1e-4)


@pytest.mark.parametrize("name", TABLE)
def test_the_truth_beside_the_report(name):
    # by sampling data and latents of the optimum, not by the closed form
    zoo = BugZoo()
    row, n = zoo.row(name), 200_000
    x = 2.0 * torch.randn(n, dtype=torch.float64)
    z = row.encoder_weight * x + math.sqrt(row.encoder_variance) * torch.randn(n, dtype=torch.float64)
    normal, w = torch.distributions.Normal, math.sqrt(row.weight_squared)
    log_w = normal(w * z, 0.5).log_prob(x) + normal(0.0, 1.0).log_prob(z)
    log_w = log_w - normal(row.encoder_weight * x, math.sqrt(row.encoder_variance)).log_prob(z)
    assert abs(log_w.mean().item() - row.elbo) < 5 * log_w.std().item() / math.sqrt(n) + 1e-12
    evidence = normal(0.0, math.sqrt(row.model_variance)).log_prob(x)
    assert abs(evidence.mean().item() - row.log_evidence) < 5 * evidence.std().item() / math.sqrt(n)
    assert z.var().item() == pytest.approx(row.aggregate_variance, rel=5 * math.sqrt(2 / n))
    assert row.elbo <= row.log_evidence + 1e-12 <= zoo.best_log_evidence() + 2e-12


def test_which_reports_break_the_bound():
    zoo = BugZoo()
    above = {row.name for row in zoo.table() if row.reported > zoo.best_log_evidence() + 1e-9}
    bold = {"std_is_exp_logvar", "logstd_as_logvar", "epsilon_std", "kl_averaged", "scored_at_mean"}
    assert above == bold  # as in the source
    assert zoo.best_log_evidence() == pytest.approx(-0.5 * math.log(2 * math.pi * 4) - 0.5, abs=1e-12)
    # overshoot at z = mean: half the sum of 1 - sigma²/lambda over active directions, .469 here
    row = zoo.row("scored_at_mean")
    assert row.reported - row.elbo == pytest.approx(0.5 * (1 - 0.25 / 4), abs=1e-12)


def test_losses_without_an_optimum():
    zoo = BugZoo()
    values = [zoo.objective("trained_at_mean", w, 1 / w, 1.0).item() for w in (1.0, 1e2, 1e4)]
    assert values[0] < values[1] < values[2]  # a finite least upper bound that no w reaches
    values = [zoo.objective("kl_without_mean", 1 / v, v, 1.0).item() for v in (1.0, 1e2, 1e4)]
    assert values[0] < values[1] < values[2]
    values = [zoo.objective("kl_log_std_squared", 1.9, 0.4, math.exp(2 * t)).item() for t in (-1, -5, -15)]
    assert values[0] < values[1] < values[2]
    assert values[2] == pytest.approx(112.5, abs=3)  # teaching.md no. 31: +112 at the clip
    for name in BugZoo.unbounded:
        with pytest.raises(ValueError, match=f"name is '{name}', whose loss has no optimum"):
            zoo.row(name)


def test_gradients_flow_and_vanish_at_the_optimum():
    zoo = BugZoo()
    for row in zoo.table():
        if row.name == "scored_at_mean":
            continue
        point = [math.sqrt(row.weight_squared), row.encoder_weight, row.encoder_variance]
        w, v, d = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in point)
        zoo.objective(row.name, w, v, d).backward()
        scale = 1 if row.name != "kl_averaged" else 10
        assert max(abs(p.grad.item()) for p in (w, v, d)) < 1e-9 * scale, row.name


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BugZoo(0.0), r"eigenvalue is 0\.0"),
        (lambda: BugZoo(4.0, -1.0), r"variance is -1\.0"),
        (lambda: BugZoo(1.0, 1.0), r"variance is 1\.0; wanted less than the eigenvalue, 1\.0"),
        (lambda: BugZoo().row("nothing"), "name is 'nothing'; wanted one of none, std_is_exp_logvar"),
        (lambda: BugZoo().objective("nothing", 1.0, 1.0, 1.0), "wanted one of .*, kl_log_std_squared"),
        (lambda: BugZoo().objective("none", 1.0, 1.0, 0.0), r"encoder_variance is 0\.0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert repr(BugZoo()) == "BugZoo(eigenvalue=4, variance=0.25)"
