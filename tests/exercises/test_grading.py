"""For every exercise: reference, blank stub and catalogued answers get the points and hints they should."""

from functools import cache

import pytest

import exercises as builder
from vae_lib.exercises import check
from vae_lib.exercises.catalogue import find, known

SEEDS = range(20)
WANTED = {
    "01_hidden_causes": {"1.1": 4, "1.2": 8, "1.3": 4, "1.4": 8, "1.5": 6, "1.6": 6},
    "02_kl_rearrangement": {"2.1": 4, "2.2": 4, "2.3": 6, "2.4": 6, "2.5": 8, "2.6": 4},
    "03_jensen_bound": {"3.1": 2, "3.2": 6, "3.3": 4, "3.4": 10, "3.5": 8, "3.6": 4, "3.7": 8},
    "04_encoder_decoder": {"4.1": 6, "4.2": 8, "4.3": 4, "4.4": 8, "4.5": 6, "4.6": 3},
    "05_likelihoods": {"5.1": 5, "5.2": 8, "5.3": 5, "5.4": 8, "5.5": 5, "5.6": 5, "5.7": 8},
    "06_gradients": {"6.1": 5, "6.2": 6, "6.3": 8, "6.4": 8, "6.5": 8, "6.6": 6},
    "07_solvable_vae": {"7.1": 8, "7.2": 6, "7.3": 8, "7.4": 4, "7.5": 8, "7.6": 4, "7.7": 10},
    "08_build_and_train": {"8.1": 8, "8.2": 10, "8.3": 10, "8.4": 3, "8.5": 6, "8.6": 3, "8.7": 4},
}
EVERY = [(name, number) for name, numbers in WANTED.items() for number in numbers]


@cache
def assignment(name, seed=None, variant=0):
    numbers = {} if seed is None else {"seed": seed}
    return builder.Assignment(name, variant=variant, numbers=numbers)


@cache
def mutants(name):
    return builder.load_mutants(name)


def test_the_set_is_complete():
    found = {name: {e.id: e.points for e in assignment(name).exercises} for name in builder.names()}
    assert found == WANTED
    assert known() == tuple(number for _, number in EVERY)


@pytest.mark.parametrize("name", WANTED)
def test_the_form_of_the_source(name):
    assert builder.faults_of_form(assignment(name)) == []


@pytest.mark.parametrize(("name", "number"), EVERY)
def test_reference_blank_and_every_catalogued_answer(name, number):
    faults = builder.faults_of(assignment(name), number, mutants(name)[number], seed=11)
    assert faults == []


@pytest.mark.parametrize(("name", "number"), EVERY)
def test_reference_has_all_points_on_twenty_seeds(name, number):
    for seed in SEEDS:
        graded = builder.grade(assignment(name, seed), number)
        assert graded.points == WANTED[name][number], (seed, graded.errors)


@pytest.mark.parametrize(("name", "number"), EVERY)
def test_check_accepts_the_reference(name, number):
    space = builder.answered(assignment(name), number)
    answers = [space[function] for function in find(number).functions]
    for seed in range(5) if number == "8.3" else SEEDS:  # 8.3 trains a model each time
        result = check(number, *answers, seed=seed)
        assert result, result


@pytest.mark.parametrize("name", WANTED)
def test_every_variant_can_be_solved_and_has_other_numbers(name):
    count = len(assignment(name).settings["variants"])
    assert count >= 3
    texts = set()
    for variant in range(count):
        this = assignment(name, variant=variant)
        texts.add("\n".join(cell.source for cell in builder.source_notebook(this).cells))
        for exercise in this.exercises:
            if exercise.id != "8.3" or variant == 1:
                assert builder.grade(this, exercise.id).points == exercise.points, (variant, exercise.id)
    assert len(texts) == count


def test_a_set_up_that_chooses_double_precision_does_not_leave_it_behind():
    import torch

    answer = "PRECISION = torch.get_default_dtype()\n" + blank_answer("3.1")
    graded = builder.grade(assignment("03_jensen_bound"), "3.1", answer)
    assert graded.names["PRECISION"] == torch.float64
    builder.answered(assignment("03_jensen_bound"), "3.1")
    builder.faults_of(assignment("03_jensen_bound"), "3.1", [])
    assert torch.get_default_dtype() == torch.float32


def blank_answer(number):
    return builder.blank(assignment("03_jensen_bound").exercise(number))


STATISTICAL = {
    "2.6": {"estimate", "negative_share"},
    "8.5": {"mean of the samples", "covariance of the samples", "average elbo"},
}


@pytest.mark.parametrize("number", STATISTICAL)
def test_five_standard_errors_tell_every_sampled_mistake(number):
    """Power: what a mistake gives is more than ten standard errors (two tolerances) from what is right."""
    import numpy as np

    from vae_lib.exercises.compare import numbers

    lesson = find(number)
    for seed in SEEDS:
        far = {}
        for case in lesson.cases(np.random.default_rng(seed)):
            right = case.accepted[0]
            for name, values in case.mistaken():
                for key in () if callable(values) else values:
                    wanted, got = numbers(right[key]).values, numbers(values[key]).values
                    if key in STATISTICAL[number]:
                        slack = numbers(case.atol[key]).values
                    elif key == "standard_error":
                        slack = tuple(case.rtol[key] * abs(value) for value in wanted)
                    else:
                        slack = (1e-6,) * len(wanted)
                    if len(got) != len(wanted):
                        far[name] = float("inf")  # told by its shape
                    else:
                        away = [abs(a - b) / s for a, b, s in zip(got, wanted, slack, strict=True)]
                        far[name] = max(far.get(name, 0.0), *away)
        weak = {name: distance for name, distance in far.items() if distance < 2.0}
        assert not weak, f"seed {seed}: in units of the tolerance, {weak}"
