"""For nbgrader's own feedback: the notebook without the hidden tests, which nbgrader would show."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from vae_lib.grading.normalize import without

__all__ = ["HideTests"]


class HideTests(NbGraderPreprocessor):
    """Takes hidden tests and mark schemes out of the cells; nbgrader_config.py of a course names it."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], _index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """The cell as students may see it."""
        for region in ("HIDDEN TESTS", "MARK SCHEME"):
            cell.source = without(cell.source, region)
        return cell, resources
