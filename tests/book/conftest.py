from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site():
    """The built site. These tests read it; they never build it."""
    html = ROOT / "_build" / "html"
    if not (html / "book" / "index.html").exists():
        pytest.fail("there is no _build/html: run `make book` first, or `make test`, which does it")
    return html
