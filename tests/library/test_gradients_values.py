"""The numbers of the course, the limits of each estimator, and what each refuses."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from vae_lib.gradients import (
    CategoricalGradient,
    GaussianGradient,
    dreg,
    gumbel_softmax,
    iwae_pathwise,
    pathwise,
    pathwise_analytic_kl,
    relaxed_objective,
    score_function,
    sticking_the_landing,
    vimco,
)

LN_2PI = math.log(2 * math.pi)
PATHWISE = [pathwise, pathwise_analytic_kl, sticking_the_landing]
WITH_K = [iwae_pathwise, dreg, vimco]


def double(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# x = 1.5, p(x|z) = N(x; z, 0.25): the posterior is N(1.2, 0.2) and ln p(x) = -1.9305
OPTIMUM = {"mean": double([1.2]), "log_var": double([0.2]).log()}
LOG_EVIDENCE = -0.5 * (LN_2PI + math.log(1.25) + 1.5**2 / 1.25)


def log_likelihood(z):
    return (-0.5 * ((1.5 - z) / 0.5) ** 2 - math.log(0.5) - 0.5 * LN_2PI).sum(-1)


def log_joint(z):
    return log_likelihood(z) - 0.5 * (z**2 + LN_2PI).sum(-1)


def call(estimator, n=10, **changes):
    """An estimator at the optimum, with the arguments that it needs."""
    needs_k = {"k": 3} if estimator in WITH_K else {}
    return estimator(log_joint, **OPTIMUM | needs_k | {"n": n} | changes)


def assert_variance(values: torch.Tensor, expected: float) -> None:
    """The sample variance within five of its own standard errors, and these below 5 %."""
    squares = (values - values.mean()).square()
    error = squares.std() / math.sqrt(len(values))
    assert error < 0.05 * expected
    assert abs(squares.mean() - expected) < 5 * error


class TestNoiseAtTheOptimum:
    """teaching.md 3.3, no. 36: score 18.6, full path 5.0, analytic KL 3.2, STL 4e-32."""

    N = 200_000

    def test_score_function(self):
        gradient = score_function(log_joint, **OPTIMUM, n=self.N)
        exact = LOG_EVIDENCE**2 / 0.2  # f is constant, ln p(x), and the score has variance 1 / 0.2
        assert exact == pytest.approx(18.6, abs=0.05)
        assert_variance(gradient.mean[:, 0], exact)

    def test_a_perfect_baseline_leaves_nothing(self):
        gradient = score_function(log_joint, **OPTIMUM, n=1000, baseline=LOG_EVIDENCE)
        assert gradient.mean.var().item() < 1e-25
        gradient = score_function(log_joint, **OPTIMUM, n=1000, baseline="leave_one_out")
        assert gradient.mean.var().item() < 1e-25

    def test_pathwise(self):
        assert_variance(pathwise(log_joint, **OPTIMUM, n=self.N).mean[:, 0], 5.0)

    def test_pathwise_with_analytic_kl(self):
        assert_variance(pathwise_analytic_kl(log_likelihood, **OPTIMUM, n=self.N).mean[:, 0], 3.2)

    def test_sticking_the_landing(self):
        gradient = sticking_the_landing(log_joint, **OPTIMUM, n=1000)
        assert gradient.mean.var().item() < 1e-28
        assert gradient.log_var.var().item() < 1e-28
        assert gradient.mean.abs().max().item() < 1e-13

    def test_doubly_reparametrised(self):
        for gradient in dreg(log_joint, **OPTIMUM, n=1000, k=8):
            assert gradient.abs().max().item() < 1e-13


@pytest.mark.parametrize(("dim", "n"), [(1, 200_000), (10, 50_000), (100, 20_000)])
class TestSumOfSquares:
    """E15: d/dmu E_{N(mu, 1)} sum z_i**2 at mu = 1. Path: variance 4. Score: 30 + 22 (D-1) + 4 (D-1)**2."""

    @staticmethod
    def q(dim):
        return {"mean": torch.ones(dim).double(), "log_var": torch.zeros(dim).double()}

    def test_pathwise(self, dim, n):
        # the path of -ln q has no share in d/d mean: it is constant along z = mean + noise
        gradient = pathwise(lambda z: z.square().sum(-1), **self.q(dim), n=n).mean
        assert_variance(gradient[:, 0], 4.0)
        assert abs(gradient[:, 0].mean() - 2) < 5 * 2 / math.sqrt(n)

    def test_score_function(self, dim, n):
        # + ln q, so that the estimator's own - ln q leaves the sum of squares
        def plus_log_q(z):
            return z.square().sum(-1) - 0.5 * ((z - 1) ** 2 + LN_2PI).sum(-1)

        gradient = score_function(plus_log_q, **self.q(dim), n=n).mean
        variance = 30 + 22 * (dim - 1) + 4 * (dim - 1) ** 2
        assert variance == {1: 30, 10: 552, 100: 41_412}[dim]
        assert_variance(gradient[:, 0], variance)
        assert abs(gradient[:, 0].mean() - 2) < 5 * math.sqrt(variance / n)


class TestRelaxation:
    """teaching.md 3.3, no. 37: codes +1 and -1, x = 0, s = 0.1; ln p = -48.6."""

    LOG_EVIDENCE = -0.5 * LN_2PI - math.log(0.1) - 50.0

    @staticmethod
    def log_joint(z):
        code = z @ double([1.0, -1.0])
        return -0.5 * (code / 0.1) ** 2 - math.log(0.1) - 0.5 * LN_2PI - math.log(2)

    @pytest.mark.parametrize(("temperature", "quoted"), [(0.1, -43.6), (1, -15.3), (20, 1.28)])
    def test_the_relaxed_objective_exceeds_the_evidence(self, temperature, quoted):
        assert pytest.approx(-48.6, abs=0.05) == self.LOG_EVIDENCE
        n = 200_000
        values = relaxed_objective(self.log_joint, logits=double([0.0, 0.0]), n=n, temperature=temperature)

        def integrand(u):  # the difference of two Gumbel variables is logistic
            density = 1 / (4 * math.cosh(u / 2) ** 2)
            code = math.tanh(u / (2 * temperature))
            return density * (-0.5 * (code / 0.1) ** 2 - math.log(0.1) - 0.5 * LN_2PI)

        exact = 2 * quad(integrand, 0, 60, limit=500)[0]
        assert exact == pytest.approx(quoted, abs=0.06)
        assert abs(values.mean().item() - exact) < 5 * values.std().item() / math.sqrt(n)
        assert exact > self.LOG_EVIDENCE + 4

    def test_cold_it_is_the_elbo_and_hot_it_is_not(self):
        logits = double([0.7, -0.4])
        probability = logits.softmax(-1)
        log_p = self.log_joint(torch.eye(2).double())
        elbo = (probability * (log_p - probability.log())).sum().item()
        cold = relaxed_objective(self.log_joint, logits=logits, n=100_000, temperature=1e-4)
        assert cold.mean().item() == pytest.approx(elbo, abs=0.1)
        hot = relaxed_objective(self.log_joint, logits=logits, n=1000, temperature=100)
        assert hot.mean().item() > elbo + 45
        assert not cold.requires_grad

    def test_the_estimator_is_the_gradient_of_the_relaxed_objective(self):
        """Central differences with the same noise, sample by sample."""
        logits, step = double([0.7, -0.4]), 1e-5

        def objective(moved):
            generator = torch.Generator().manual_seed(3)
            return relaxed_objective(self.log_joint, logits=moved, n=50, temperature=2.0, generator=generator)

        gradient = gumbel_softmax(
            self.log_joint, logits=logits, n=50, temperature=2.0, generator=torch.Generator().manual_seed(3)
        ).logits
        for place in range(2):
            ends = [objective(logits + sign * step * torch.eye(2)[place]) for sign in (1, -1)]
            difference = (ends[0] - ends[1]) / (2 * step)
            torch.testing.assert_close(gradient[:, place], difference, rtol=1e-6, atol=1e-6)

    def test_several_variables(self):
        """Two independent variables of three values: the relaxed rows lie in two simplices."""
        seen = []

        def log_joint(z):
            seen.append(z.detach())
            return z[:, 0, 0] - 2 * z[:, 1, 2]

        logits = double([[0.0, 1.0, 2.0], [0.5, 0.5, -1.0]])
        gradient = gumbel_softmax(log_joint, logits=logits, n=7, temperature=0.5)
        assert gradient.logits.shape == (7, 2, 3)
        torch.testing.assert_close(seen[0].sum(-1), torch.ones(7, 2).double())
        assert ((seen[0] > 0) & (seen[0] < 1)).all()


class TestSamples:
    """What log_joint is shown."""

    def test_gaussian(self):
        seen = []

        def remember(z):
            seen.append(z.detach())
            return log_joint(z)

        q = {"mean": double([1.0, -2.0]), "log_var": double([0.25, 4.0]).log()}
        for estimator in (pathwise, sticking_the_landing, score_function):
            estimator(remember, **q, n=50_000)
        iwae_pathwise(remember, **q, n=10_000, k=5)
        for z in seen:
            assert z.shape == (50_000, 2)
            error = double([0.5, 2.0]) / math.sqrt(50_000)
            assert ((z.mean(0) - q["mean"]).abs() < 5 * error).all()
            # a log-variance taken for a log-std would give 0.25 and 4 here
            assert z.std(0).tolist() == pytest.approx([0.5, 2.0], rel=0.02)

    def test_categorical(self):
        seen = []

        def remember(z):
            seen.append(z)
            return z[:, 0, 0]

        logits = double([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]).log()
        score_function(remember, logits=logits, n=50_000)
        vimco(remember, logits=logits, n=10_000, k=5)
        for z in seen:
            assert z.shape == (50_000, 2, 3)
            assert ((z == 0) | (z == 1)).all()
            assert (z.sum(-1) == 1).all()
            share = logits.exp()
            error = (share * (1 - share) / 50_000).sqrt()
            assert ((z.mean(0) - share).abs() < 5 * error).all()
            together = (z[:, 0, 1] * z[:, 1, 0]).mean().item()  # independent
            assert abs(together - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 50_000)


@pytest.mark.parametrize("estimator", [*PATHWISE, score_function, *WITH_K])
def test_shapes_types_and_the_generator(estimator):
    for dtype in (torch.float32, torch.float64):
        q = {"mean": torch.tensor([1.0, 0.5], dtype=dtype), "log_var": torch.tensor([-1.0, 0.3], dtype=dtype)}
        runs = [call(estimator, **q, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
        for gradient in runs:
            assert isinstance(gradient, GaussianGradient)
            for values in gradient:
                assert values.shape == (10, 2)
                assert values.dtype == dtype
                assert values.isfinite().all()
                assert not values.requires_grad
        assert (runs[0].mean == runs[1].mean).all()
        assert (runs[0].mean != runs[2].mean).all()


@pytest.mark.parametrize("estimator", [*PATHWISE, score_function, *WITH_K])
def test_the_caller_is_left_alone(estimator):
    """Parameters get no .grad, the global generator is not touched, and no_grad does not matter."""
    q = {name: value.clone().requires_grad_() for name, value in OPTIMUM.items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        inside = call(estimator, **q, generator=torch.Generator().manual_seed(0))
    outside = call(estimator, **q, generator=torch.Generator().manual_seed(0))
    assert all(value.grad is None for value in q.values())
    assert (torch.get_rng_state() == state).all()
    assert (inside.mean == outside.mean).all()
    call(estimator)
    assert (torch.get_rng_state() != state).any()


def test_one_sample_reduces_to_the_simpler_estimator():
    q = {"mean": double([0.4, 1.0]), "log_var": double([0.1, -1.0])}

    def seeded(estimator, **options):
        generator = torch.Generator().manual_seed(4)
        return torch.cat(estimator(log_joint, **q, n=30, generator=generator, **options))

    torch.testing.assert_close(seeded(iwae_pathwise, k=1), seeded(pathwise), rtol=1e-13, atol=1e-13)
    stl = seeded(sticking_the_landing)
    torch.testing.assert_close(seeded(dreg, k=1), stl, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(seeded(sticking_the_landing, k=1), stl, rtol=0, atol=0)


def test_leave_one_out_is_the_mean_of_the_others():
    generator = [torch.Generator().manual_seed(9) for _ in range(2)]
    logits = double([0.3, -0.1, 0.2])
    values = double([2.0, 5.0, -1.0])
    plain = score_function(lambda z: z @ values, logits=logits, n=4, generator=generator[0]).logits
    quiet = score_function(
        lambda z: z @ values, logits=logits, n=4, baseline="leave_one_out", generator=generator[1]
    ).logits
    # undo the score: row i of `plain` is f_i (e_i - q), and no two entries of e_i - q are equal in size
    log_q = logits.log_softmax(-1)
    for i in range(4):
        candidates = torch.eye(3).double() - log_q.exp()  # one row for each z
        f = values - log_q
        chosen = [int((plain[j] - f[:, None] * candidates).abs().sum(-1).argmin()) for j in range(4)]
        others = np.mean([f[chosen[j]].item() for j in range(4) if j != i])
        expected = (f[chosen[i]] - others) * candidates[chosen[i]]
        torch.testing.assert_close(quiet[i], expected, rtol=1e-12, atol=1e-12)


def test_a_categorical_gradient_sums_to_zero_over_the_classes():
    """Adding one number to all logits changes nothing."""
    logits = double([[0.3, -0.1, 0.2], [1.0, 0.0, 0.0]])

    def log_joint(z):
        return (z * double([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])).sum((-1, -2)) ** 2

    for gradient in (
        score_function(log_joint, logits=logits, n=20, baseline="leave_one_out"),
        vimco(log_joint, logits=logits, n=20, k=4),
        gumbel_softmax(log_joint, logits=logits, n=20, temperature=0.7),
    ):
        assert isinstance(gradient, CategoricalGradient)
        assert gradient.logits.shape == (20, 2, 3)
        torch.testing.assert_close(gradient.logits.sum(-1), torch.zeros(20, 2).double(), rtol=0, atol=1e-12)


def test_extreme_widths_stay_finite():
    q = {"mean": double([1e4, -1e4]), "log_var": double([-60.0, 8.0])}
    for estimator in (*PATHWISE, score_function, *WITH_K):
        for values in call(estimator, **q):
            assert values.isfinite().all()
    for gradient in (
        score_function(lambda z: z[:, 0], logits=double([1e4, -1e4]), n=5),
        gumbel_softmax(lambda z: z[:, 0], logits=double([1e4, -1e4]), n=5, temperature=1e-3),
    ):
        assert gradient.logits.isfinite().all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("estimator", [*PATHWISE, score_function, *WITH_K])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n is 0; wanted an integer of at least 1"),
        ({"n": 2.0}, r"n is 2\.0; wanted an integer"),
        ({"mean": torch.zeros(2, 3)}, r"mean has shape \(2, 3\); wanted \(latent,\)"),
        ({"mean": torch.zeros(1).long()}, "mean has dtype torch.int64"),
        ({"mean": double([math.nan])}, "mean holds 1 value that is NaN"),
        ({"log_var": double([0.0, 0.0])}, r"log_var has shape \(2,\); wanted the shape of mean, \(1,\)"),
        ({"log_var": torch.zeros(1)}, "log_var has dtype torch.float32; wanted that of mean, torch.float64"),
        ({"log_var": double([-math.inf])}, "log_var holds 1 value"),
        ({"mean": double([]), "log_var": double([])}, r"mean has shape \(0,\); wanted at least one latent"),
    ],
)
def test_refuses_what_is_no_gaussian(estimator, changes, message):
    with pytest.raises(ValueError, match=message):
        call(estimator, **changes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("estimator", [*PATHWISE, iwae_pathwise, dreg])
def test_refuses_a_density_that_torch_cannot_differentiate(estimator):
    name = "log_likelihood" if estimator is pathwise_analytic_kl else "log_joint"
    options = OPTIMUM | ({"k": 2} if estimator in WITH_K else {})
    with pytest.raises(ValueError, match=rf"{name}\(z\) carries no gradient; wanted a function"):
        estimator(lambda z: log_joint(z).detach(), **options, n=4)
    with pytest.raises(ValueError, match=rf"{name}\(z\) has shape \(.*, 1\); wanted \(.*,\): one number"):
        estimator(lambda z: -z.square(), **options, n=4)
    with pytest.raises(ValueError, match=rf"{name}\(z\) has shape \(\); wanted"):
        estimator(lambda z: log_joint(z).sum(), **options, n=4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("estimator", [score_function, lambda f, **o: vimco(f, k=3, **o)])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "q is given by nothing; wanted either mean and log_var, or logits"),
        ({"mean": double([0.0])}, "q is given by mean; wanted"),
        ({"log_var": double([0.0])}, "q is given by log_var; wanted"),
        ({**OPTIMUM, "logits": double([0.0, 1.0])}, "q is given by mean and log_var and logits"),
        ({"mean": double([0.0]), "logits": double([0.0])}, "q is given by mean and logits"),
        ({"logits": double(0.0)}, r"logits has shape \(\); wanted \(classes,\)"),
        ({"logits": double([[[0.0]]])}, r"logits has shape \(1, 1, 1\)"),
        ({"logits": double([])}, r"logits has shape \(0,\)"),
        ({"logits": torch.tensor([1, 2])}, "logits has dtype"),
        ({"logits": double([0.0, math.inf])}, "logits holds 1 value"),
    ],
)
def test_refuses_what_is_no_single_q(estimator, options, message):
    with pytest.raises(ValueError, match=message):
        estimator(log_joint, **options, n=4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: call(score_function, n=1, baseline="leave_one_out"), "n is 1; wanted at least 2"),
        (lambda: call(score_function, baseline="mean"), "baseline is 'mean'; wanted \"none\", "),
        (lambda: call(score_function, baseline=math.nan), "baseline is nan"),
        (lambda: call(score_function, baseline=math.inf), "baseline is inf"),
        (lambda: call(score_function, baseline=True), "baseline is True"),
        (
            lambda: vimco(lambda z: z @ double([0.5, 0.0]).log(), logits=double([0.0, 0.0]), n=9, k=2),
            r"log_joint\(z\) holds \d+ values that are NaN or infinite; wanted finite numbers",
        ),
        (lambda: call(vimco, k=1), "k is 1; wanted at least 2: the other samples"),
        (lambda: call(vimco, k=0), "k is 0"),
        (lambda: call(dreg, k=0), "k is 0; wanted an integer of at least 1"),
        (lambda: call(iwae_pathwise, k=-1), "k is -1"),
        (lambda: call(sticking_the_landing, k=1.5), r"k is 1\.5"),
        (
            lambda: gumbel_softmax(log_joint, logits=double([0.0, 0.0]), n=3, temperature=0),
            "temperature is 0",
        ),
        (
            lambda: relaxed_objective(log_joint, logits=double([0.0, 0.0]), n=3, temperature=math.nan),
            "temperature is nan",
        ),
        (lambda: gumbel_softmax(log_joint, logits=double([0.0]), n=0, temperature=1), "n is 0"),
        (
            lambda: gumbel_softmax(lambda z: z.detach().sum(-1), logits=double([0.0]), n=2, temperature=1),
            r"log_joint\(z\) carries no gradient",
        ),
        (
            lambda: score_function(lambda z: z, logits=double([0.0, 1.0]), n=2),
            r"log_joint\(z\) has shape \(2, 2\); wanted \(2,\)",
        ),
    ],
)
def test_refuses(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_the_score_function_needs_no_derivative():
    def rough(z):
        return torch.as_tensor(np.sign(z.numpy()).sum(-1))

    gradient = score_function(rough, **OPTIMUM, n=5)
    assert gradient.mean.isfinite().all()
    assert vimco(rough, **OPTIMUM, n=5, k=2).mean.isfinite().all()
