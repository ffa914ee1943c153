"""The checker that the exercises call: `check("2.1", your_function)` names the mistake.

It returns a `CheckResult`. `agree` is what the graded tests compare with.
"""

from vae_lib.exercises.checker import check
from vae_lib.exercises.compare import agree
from vae_lib.exercises.result import CheckResult

__all__ = ["CheckResult", "agree", "check"]
