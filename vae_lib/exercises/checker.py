"""`check`: is this answer right, and if not, which mistake is it?"""

from __future__ import annotations

import math
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from vae_lib.exercises.catalogue import find
from vae_lib.exercises.compare import Numbers, WrongForm, close, numbers, show
from vae_lib.exercises.exercise import Case, Exercise
from vae_lib.exercises.result import CheckResult

__all__ = ["check"]


@dataclass
class _Tried:
    """What an answer gave on one case."""

    case: Case
    got: Mapping[str, Numbers]
    wrong: list[str]
    misshapen: list[str]

    @cached_property
    def recognised(self) -> set[str]:
        """The names of the mistakes that give what the answer gave."""
        found: set[str] = set()
        for name, expected in self.case.mistaken():
            if name not in found and self._gave(expected):
                found.add(name)
        return found

    def _gave(self, expected: Any) -> bool:
        if callable(expected):
            # one NaN for all: then `!=` compares two runs of an answer that returned NaN as equal
            values = {
                key: tuple(math.nan if v != v else v for v in value.values) for key, value in self.got.items()
            }
            return bool(expected(values))
        return all(
            _fits(self.case, key, self.got[key], value, blurred=True)
            for key, value in _read(expected).items()
        )


def check(exercise: str, *answers: Any, seed: int | None = None) -> CheckResult:
    r"""Try an answer on fresh inputs, and name the mistake if it is wrong.

    The answer is compared with values from another route than the formula it should hold:
    enumeration, the trapezoid rule, finite differences, another closed form. Where it differs, it is
    compared with what each known mistake gives **on the same inputs**. The right values are never
    shown.

    Args:
        exercise: the number of the exercise, such as "2.1".
        answers: your function, or functions in the order of the exercise; not their results.
        seed: repeats the inputs of an earlier check. Without it, every call makes new ones.

    Returns:
        A `CheckResult`; it displays itself, and it is true only when the answer is right.

    Raises:
        ValueError: there is no exercise of this number.

    Book: the exercises of every chapter.

    Example:
        >>> def kl_categorical(q, p):
        ...     return (p * torch.log(p / q)).sum(-1)
        >>> result = check("2.1", kl_categorical, seed=0)
        >>> bool(result), result.mistake
        (False, 'swapped')
        >>> result.message
        'this is what you get when the arguments are swapped: KL(p‖q) averages over p.'
    """
    lesson = find(exercise)
    refused = _refuse(lesson, answers)
    if refused is not None:
        return refused
    seed = secrets.randbits(31) if seed is None else seed
    cases = lesson.cases(np.random.default_rng(seed))
    tried: list[_Tried] = []
    for number, case in enumerate(cases):
        outcome = _try(lesson, answers, case, seed + number)
        if isinstance(outcome, CheckResult):
            return outcome
        tried.append(outcome)
    if not tried:
        raise RuntimeError(f"exercise {lesson.id} has no cases")
    if not any(trial.wrong for trial in tried):
        sets = "set" if len(tried) == 1 else "sets"
        return CheckResult(lesson.id, "right", f"right on {len(tried)} {sets} of fresh inputs.", seed=seed)
    return _diagnose(lesson, tried, seed)


def _call_text(lesson: Exercise, seed: int | None = None) -> str:
    names = ", ".join(lesson.functions)
    ending = "" if seed is None else f", seed={seed}"
    return f'check("{lesson.id}", {names}{ending})'


def _refuse(lesson: Exercise, answers: Sequence[Any]) -> CheckResult | None:
    if len(answers) == len(lesson.functions) and all(callable(answer) for answer in answers):
        return None
    kind = "function itself, not its result" if len(lesson.functions) == 1 else "functions"
    return CheckResult(lesson.id, "unanswered", f"hand over the {kind}: {_call_text(lesson)}")


def _copied(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copy(value) for name, value in inputs.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, list):
        return [_copy(v) for v in value]
    if isinstance(value, dict):
        return _copied(value)
    return value


def _changed(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        return numbers(before) != numbers(after)
    if isinstance(before, dict):
        return any(_changed(before[name], after[name]) for name in before)
    if isinstance(before, list):
        return len(before) != len(after) or any(map(_changed, before, after))
    return False


def _try(
    lesson: Exercise, answers: Sequence[Callable[..., Any]], case: Case, seed: int
) -> _Tried | CheckResult:
    """Run the answer on one case; a `CheckResult` where there is nothing to compare."""

    def stopped(status: str, message: str, mistake: str | None = None) -> CheckResult:
        return CheckResult(lesson.id, status, message, _details(lesson, case, seed=None), mistake)

    given = _copied(case.inputs)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbgrader gives no points to a cell that writes to stderr
        torch.default_generator.manual_seed(seed)  # torch.manual_seed first notes the whole stack, for CUDA
        try:
            returned = lesson.run(answers, given)
            got = {name: numbers(value) for name, value in returned.items()}
        except NotImplementedError:
            return CheckResult(lesson.id, "unanswered", "not answered yet.")
        except WrongForm as refusal:
            return stopped("shape", _sentence(str(refusal)))
        except Exception as error:
            return stopped("raised", f"your function raised {type(error).__name__}: {error}")
    if _changed(dict(case.inputs), given):
        return stopped("wrong", "your function changes the tensors that it is given.", "changed-inputs")
    wrong = _wrong_names(case, got)
    wanted = _read(case.accepted[0])
    misshapen = [name for name in wanted if got[name].shape != wanted[name].shape]
    return _Tried(case, got, wrong, misshapen)


def _read(values: Mapping[str, Any]) -> dict[str, Numbers]:
    return {name: numbers(value) for name, value in values.items()}


def _per_name(tolerance: Any, name: str, otherwise: float) -> Any:
    return tolerance.get(name, otherwise) if isinstance(tolerance, Mapping) else tolerance


def _fits(case: Case, name: str, got: Numbers, wanted: Numbers, *, blurred: bool = False) -> bool:
    rtol = _per_name(case.rtol, name, 0.0)
    if blurred:
        rtol = max(rtol, _per_name(case.blur, name, 0.0))
    atol = _per_name(case.atol, name, 1e-6)
    slack = float(atol) if isinstance(atol, (int, float)) else numbers(atol)
    return close(got, wanted, rtol, slack)


def _wrong_names(case: Case, got: Mapping[str, Numbers]) -> list[str]:
    """The named values that differ from the accepted set which is nearest; none for a right answer."""
    return min(
        (
            [name for name, value in _read(values).items() if not _fits(case, name, got[name], value)]
            for values in case.accepted
        ),
        key=len,
    )


def _name(lesson: Exercise, tried: Sequence[_Tried]) -> str | None:
    """The first mistake of the catalogue that gives what the answer gave in all of these cases."""
    names = list(lesson.mistakes)
    for trial in tried:
        names = [name for name in names if name in trial.recognised]
        if not names:
            return None
    return names[0]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _diagnose(lesson: Exercise, tried: Sequence[_Tried], seed: int) -> CheckResult:
    failed = [trial for trial in tried if trial.wrong]
    misshapen = [trial for trial in failed if trial.misshapen]
    first = (misshapen or failed)[0]
    mistake = _name(lesson, tried) or _name(lesson, failed) or _name(lesson, [first])
    about = f" on {first.case.about}" if first.case.about and 2 * len(failed) <= len(tried) else ""
    parts = []
    if misshapen:
        name = first.misshapen[0]
        wanted = numbers(first.case.accepted[0][name])
        label = "" if name == "value" else f" of {name}"
        parts.append(f"the shape{label} is {first.got[name].shape}, wanted {wanted.shape}: {lesson.returns}")
    if mistake is not None:
        parts.append(f"this is what you get{about} when {lesson.mistakes[mistake]}")
    if not parts:
        names = ", ".join("values" if name == "value" else name.replace("_", " ") for name in first.wrong)
        plural = len(first.wrong) > 1 or (names.endswith("s") and not names.endswith(("us", "ss")))
        be = "are" if plural else "is"
        parts.append(f"the {names} {be} wrong{about}, and no mistake of the catalogue gives this")
    return CheckResult(
        lesson.id,
        "shape" if misshapen else "wrong",
        _sentence("; ".join(parts)),
        _details(lesson, first.case, first, seed),
        mistake,
        seed,
    )


def _details(
    lesson: Exercise, case: Case, trial: _Tried | None = None, seed: int | None = None
) -> tuple[str, ...]:
    lines = [f"{name} = {show(value)}" for name, value in case.inputs.items()]
    if trial is not None:
        for name in trial.wrong:
            label = "you returned" if name == "value" else f"your {name}:"
            lines.append(f"{label} {show(trial.got[name])}")
    if seed is not None:
        lines.append(f"the same inputs again: {_call_text(lesson, seed)}")
    return tuple(lines)
