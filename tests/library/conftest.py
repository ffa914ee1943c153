"""What every library test has: a fixed seed, and a way to call the library as a student does."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import settings

settings.register_profile("course", derandomize=True, deadline=None, database=None)
settings.load_profile("course")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes are not checked at run time, as in a student's notebook: only our ValueErrors stand."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
