"""The curves of a run for TensorBoard, for those who have it."""

from pathlib import Path
from typing import Any

from vae_lib.training.history import History

__all__ = ["TensorBoard"]


class TensorBoard:
    """A callback for `fit` that writes the numbers of every epoch for TensorBoard.

    TensorBoard is no part of this course: `pip install tensorboard` if you want it. What it shows is in
    `history.jsonl` anyway.

    Args:
        folder: Where the event files go. The folder is made with the first epoch.

    Raises:
        ImportError: If tensorboard is not installed.

    Book: chapter 8 (training).

    Example:
        >>> try:
        ...     callback = TensorBoard("runs/board")       # fit(..., on_epoch=callback)
        ... except ImportError as error:
        ...     assert "pip install tensorboard" in str(error)
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "tensorboard is not installed; wanted it to write its files: pip install tensorboard"
            ) from error
        self.folder = Path(folder)
        self._make = SummaryWriter
        self._writer: Any = None

    def __call__(self, history: History) -> None:
        """Write the numbers of the last epoch, under the names of the curves."""
        if self._writer is None:
            self._writer = self._make(str(self.folder))
        for name, value in history.latest().items():
            curve = name.removeprefix("validation_")
            part = "training" if curve == name else "validation"
            self._writer.add_scalar(f"{curve}/{part}", value, len(history))
        self._writer.flush()
