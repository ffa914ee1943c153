"""Refusals that the bounds share."""

from torch import Tensor

from vae_lib import _require


def log_weights(log_w: Tensor, name: str = "log_w") -> None:
    """Refuse what is no table (k, batch) of log-weights."""
    meaning = "(k, batch): one row for each of at least one sample, one column for each example"
    _require.floating(name, log_w)
    _require.shape(name, log_w, (None, None), meaning)
    if log_w.shape[0] == 0:
        raise ValueError(f"{name} has shape {tuple(log_w.shape)}, so k = 0; wanted {meaning}")


def grouped_log_weights(log_w: Tensor) -> None:
    """Refuse what is no table (m, k, batch) of log-weights."""
    meaning = "(m, k, batch): m groups of k samples for each example, m and k of at least 1"
    _require.floating("log_w", log_w)
    _require.shape("log_w", log_w, (None, None, None), meaning)
    for letter, size in zip("mk", log_w.shape, strict=False):
        if size == 0:
            raise ValueError(f"log_w has shape {tuple(log_w.shape)}, so {letter} = 0; wanted {meaning}")
