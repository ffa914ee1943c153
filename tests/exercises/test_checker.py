"""`check` is right about right and wrong, names mistakes, and cannot be talked into a pass."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_lib.exercises import CheckResult, agree, check
from vae_lib.exercises.catalogue import find, known
from vae_lib.exercises.compare import WrongForm, as_named, numbers, show

ROOT = Path(__file__).resolve().parents[2]


def right_answer(q, p):
    return (torch.special.xlogy(q, q) - torch.special.xlogy(q, p)).sum(-1)


def swapped(q, p):
    return right_answer(p, q)


def test_right_answer_is_right_and_says_so():
    result = check("2.1", right_answer)
    assert result
    assert result.status == "right"
    assert repr(result) == "2.1 ✓ right on 8 sets of fresh inputs."


def test_a_wrong_answer_is_named_and_false():
    result = check("2.1", swapped, seed=1)
    assert not result
    assert result.mistake == "swapped"
    assert repr(result).startswith(
        "2.1 ✗ this is what you get when the arguments are swapped: KL(p‖q) averages over p."
    )
    assert "seed=1)" in repr(result)


def test_the_book_quotes_the_checker():
    quoted = repr(check("2.1", swapped, seed=1)).splitlines()[0]
    assert quoted in (ROOT / "book/exercises/index.md").read_text(encoding="utf-8")


def test_inputs_are_fresh_unless_a_seed_is_given():
    first, second = check("2.1", swapped), check("2.1", swapped)
    assert first.seed != second.seed
    assert first.details != second.details
    assert check("2.1", swapped, seed=first.seed) == first


def test_right_values_are_never_shown():
    for seed in range(5):
        seen = []

        def wrong(q, p, seen=seen):
            seen.append((q, p))
            return right_answer(q, p) + 0.123

        text = repr(check("2.1", wrong, seed=seed)) + check("2.1", wrong, seed=seed)._repr_html_()
        for q, p in seen:
            for value in right_answer(q, p).tolist():
                assert value == 0.0 or math.isinf(value) or f"{value:.4g}" not in text


def test_a_stub_is_unanswered():
    def stub(q, p):
        raise NotImplementedError

    result = check("2.1", stub)
    assert (result.status, repr(result)) == ("unanswered", "2.1 … not answered yet.")


@pytest.mark.parametrize(
    "error", [ValueError("no"), AssertionError(), ZeroDivisionError("x / 0"), KeyError(1)]
)
def test_an_exception_is_reported_and_never_right(error):
    def broken(q, p):
        raise error

    result = check("2.1", broken)
    assert not result
    assert result.status == "raised"
    assert type(error).__name__ in result.message
    assert any(line.startswith("q = ") for line in result.details)


def test_an_exception_after_right_values_is_not_right():
    calls = []

    def late(q, p):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("out of patience")
        return right_answer(q, p)

    assert check("2.1", late).status == "raised"


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "is the `return` missing?"),
        ("0.5", "it returned a str"),
        ({"kl": 1.0}, "it returned a dict"),
        (lambda: 0, "it returned a function"),
        (object(), "it returned an object"),
    ],
)
def test_things_that_are_no_numbers(returned, words):
    result = check("2.1", lambda q, p: returned)
    assert result.status == "shape"
    assert words in result.message


def test_shape_mistakes_come_first_and_are_named():
    result = check("2.1", lambda q, p: right_answer(p, q).sum(), seed=2)
    assert result.status == "shape"
    assert result.message.startswith("the shape is (), wanted (3,)")
    result = check("2.1", lambda q, p: right_answer(q, p).mean())
    assert result.mistake == "batch-averaged"
    assert result.message.startswith("the shape is ()")


@pytest.mark.parametrize(
    "convert",
    [
        lambda value: value.numpy(),
        lambda value: value.float(),
        lambda value: value.tolist(),
        lambda value: list(value),
        lambda value: value.clone().requires_grad_(True) * 1,
    ],
)
def test_other_kinds_of_numbers_are_accepted(convert):
    assert check("2.1", lambda q, p: convert(right_answer(q, p)))


def test_a_function_that_changes_its_inputs_is_told():
    def careless(q, p):
        value = right_answer(q, p)
        q.mul_(2)
        return value

    result = check("2.1", careless)
    assert (result.status, result.mistake) == ("wrong", "changed-inputs")


@pytest.mark.parametrize("module", [np, torch])
def test_replaced_comparisons_change_no_verdict(module, monkeypatch):
    for name in ("allclose", "isclose", "equal", "array_equal"):
        monkeypatch.setattr(module, name, lambda *a, **k: True, raising=False)
    assert not check("2.1", swapped)
    assert check("2.1", right_answer)
    assert not agree(torch.tensor([1.0]), torch.tensor([2.0]))


def test_the_random_state_of_the_notebook_is_left_alone():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    check("2.6", lambda q, p, count: (q.sample((count,)).mean(0),) * 3)
    assert torch.equal(torch.rand(1), wanted)


def test_warnings_of_an_answer_are_silent():
    def noisy(q, p):
        with np.errstate(all="warn"):
            np.log(np.zeros(1))
        return right_answer(q, p)

    assert check("2.1", noisy)


def test_handing_over_a_result_instead_of_the_function():
    result = check("2.1", torch.zeros(3))
    assert result.status == "unanswered"
    assert 'check("2.1", kl_categorical)' in result.message
    assert check("8.1", lambda x, parameters: None).status == "unanswered"


def test_an_unknown_exercise():
    with pytest.raises(ValueError, match=r"exercise is '9\.9'; wanted one of 1\.1, 1\.2"):
        check("9.9", right_answer)


def test_a_second_mistake_does_not_hide_the_first():
    """Wrong on all rows by one mistake, and on rows with zeros by another: the first is named."""

    def twice_wrong(q, p):
        return (p * (p / q).log()).sum(-1)

    assert check("2.1", twice_wrong).mistake == "swapped"


def test_an_unknown_mistake_is_not_given_a_name():
    result = check("2.1", lambda q, p: right_answer(q, p) * 1.5)
    assert (bool(result), result.mistake) == (False, None)
    assert "no mistake of the catalogue gives this" in result.message


def test_nan_and_infinity_are_not_right():
    for value in (math.nan, math.inf):
        assert not check("2.1", lambda q, p, value=value: torch.full((len(q),), value))


def test_html_is_escaped_and_carries_the_message():
    result = CheckResult("2.1", "wrong", "a < b & c", ("q = <x>",))
    html = result._repr_html_()
    assert "a &lt; b &amp; c" in html
    assert "&lt;x&gt;" in html
    assert 'class="vae-check vae-check-wrong"' in html


def test_a_notebook_shows_text_and_html():
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(check("2.1", swapped, seed=1))
    assert set(shown) == {"text/plain", "text/html"}
    for text in shown.values():
        assert "the arguments are swapped: KL(p‖q) averages over p." in text


def test_dictionaries_and_tuples_must_have_their_parts():
    with pytest.raises(WrongForm, match="lacks kl"):
        as_named({"elbo": 1}, ("elbo", "kl"), of=dict)
    with pytest.raises(WrongForm, match="returned 1 values; wanted 2"):
        as_named((1,), ("mean", "std"), of=tuple)
    assert check("2.4", lambda *a: {"elbo": 1}).status == "shape"
    assert check("2.5", lambda *a: 1.0).status == "shape"


def test_numbers_and_show():
    assert numbers(True) == ((), (1.0,))
    with pytest.raises(WrongForm, match="complex"):
        numbers(torch.zeros(1, dtype=torch.complex64))
    assert show(torch.zeros(9, 2)) == "[[0, 0], [0, 0], [0, 0], [0, 0], …] (9, 2)"
    assert show([torch.zeros(1)] * 20).endswith("… (20 in all)]")


@pytest.mark.parametrize("number", known())
def test_every_exercise_speaks_of_itself(number):
    lesson = find(number)
    assert lesson.id == number
    for text in lesson.mistakes.values():
        letters = sum(letter.isascii() and letter.isalpha() for letter in text.split()[0])
        symbol = letters < 2 or not text[0].isascii()  # D, M⁻¹, −μ, ∂f
        assert symbol or text[0].islower(), "a mistake completes the sentence 'this is what you get when …'"
    assert not any(text.endswith(".") for text in lesson.mistakes.values())


def test_import_is_quick_offline_and_without_scipy():
    code = (
        "import sys, time, torch, numpy\n"
        "import socket; socket.socket.connect = None\n"
        "start = time.process_time()\n"
        "from vae_lib.exercises import check\n"
        "spent = time.process_time() - start\n"
        "print(spent, 'scipy' in sys.modules, any('catalogue.exercise' in m for m in sys.modules))\n"
        "assert check('2.1', lambda q, p: (torch.special.xlogy(q, q) - torch.special.xlogy(q, p)).sum(-1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    spent, scipy, loaded = done.stdout.split()
    assert float(spent) < 1.0
    assert (scipy, loaded) == ("False", "False")


def three_four(values, signs):
    rises = [float(step) for step in values.diff()]
    slacks = [rise if sign == ">=" else abs(rise) for rise, sign in zip(rises, signs, strict=True)]
    return [row for row, slack in enumerate(slacks, 1) if slack > 1e-6]


@pytest.mark.parametrize(
    ("number", "answers", "words"),
    [
        ("1.1", [lambda n, generator: 3 * torch.randn(n, 2, generator=generator)], "the radius is wrong"),
        ("3.4", [lambda **numbers: torch.arange(8.0), lambda values, signs: []], "the rows, signs are wrong"),
        ("1.6", [lambda d, s, relative_error: 160.0], "the values are wrong"),
        ("3.6", [lambda q, joint: joint[:, 0]], "the values are wrong"),
        ("3.1", [lambda f, v, c: (f((c * v).sum(-1)), (c * f(v)).sum(-1), v[:, 0])], "the bend is wrong"),
        ("3.4", [lambda **numbers: torch.arange(8.0), three_four], "the rows are wrong"),
    ],
)
def test_the_verdict_is_a_sentence(number, answers, words):
    assert check(number, *answers, seed=1).message.startswith(words)
