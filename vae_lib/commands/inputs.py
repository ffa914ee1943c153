"""The examples that a command works on: a data set by its name, or a file of the reader's own."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lib.data import ImageData, load

__all__ = ["SPLITS", "Examples", "examples", "find_checkpoint"]

SPLITS = ("train", "validation", "test")
_TENTH_AT_LEAST = 10


class Examples(NamedTuple):
    """Examples ready for a model.

    Attributes:
        x: (n, pixels), floating point.
        shape: Height and width, or None if the examples are no images.

    Example:
        >>> examples("digits", "test", "bernoulli").shape
        (8, 8)
    """

    x: Tensor
    shape: tuple[int, int] | None


def examples(source: str, split: str, likelihood: str) -> Examples:
    """The part `split` of a data set, or of a file with NumPy arrays, as the likelihood wants it.

    A file is .npy, or .npz with an array `x`: (n, pixels) or (n, height, width), floats, or whole
    numbers from 0 to 255 that are divided by 255 unless they are only 0 and 1. Of its rows, in an
    order that is always the same, 80 % are for training, 10 % for validation, 10 % for the test.

    Args:
        source: The name of a data set, or the path of a file.
        split: "train", "validation" or "test".
        likelihood: "bernoulli" for pixels that are 0 or 1, "gaussian" for real numbers.

    Raises:
        ValueError: If the data set, the split or the file is not what is wanted, a value is NaN or
            infinite, or pixels are grey under a Bernoulli.
        OSError: If the file cannot be read.

    Example:
        >>> examples("digits", "test", "bernoulli").x.shape
        torch.Size([300, 64])
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; wanted one of: {', '.join(SPLITS)}")
    if source.endswith((".npy", ".npz")):
        found = _from_file(Path(source), split)
    else:
        data = load(source, split=split)
        if not isinstance(data, ImageData):
            found = Examples(data.points, None)
        else:
            found = Examples(data.binarized() if likelihood == "bernoulli" else data.scaled(), data.shape)
    if likelihood == "bernoulli":
        grey = int(((found.x != 0) & (found.x != 1)).sum())
        if grey:
            raise ValueError(
                f"{source} holds {grey} grey pixels; wanted each to be 0 or 1, or --likelihood gaussian"
            )
    return found


def _from_file(path: Path, split: str) -> Examples:
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                array = loaded["x"]
        else:
            array = loaded
    except KeyError as error:
        raise ValueError(f"{path} holds no array named x") from error
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no file of NumPy arrays") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "fuib":
        raise ValueError(
            f"{path} holds an array of shape {array.shape} and dtype {array.dtype}; wanted numbers, "
            "(n, pixels) or (n, height, width)"
        )
    if len(array) < _TENTH_AT_LEAST or array[0].size == 0:
        raise ValueError(f"{path} holds {len(array)} examples; wanted at least {_TENTH_AT_LEAST}")
    shape = tuple(array.shape[1:]) if array.ndim == 3 else None
    whole = array.dtype.kind != "f"
    if whole and (array.min() < 0 or array.max() > 255):
        raise ValueError(f"{path} holds whole numbers outside 0 to 255; wanted grey levels, or floats")
    x = torch.as_tensor(array.astype("float32")).flatten(1)
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(f"{path} holds {bad} pixels that are NaN or infinite; wanted finite numbers")
    if whole and array.max() > 1:
        x = x / 255
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    tenth = len(x) // 10
    parts = {"test": order[:tenth], "validation": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    return Examples(x[parts[split].sort().values], shape)


def find_checkpoint(path: str) -> Path:
    """The file that is meant: in a folder the best checkpoint, or else the last.

    Example:
        >>> find_checkpoint("model.safetensors")
        PosixPath('model.safetensors')
    """
    found = Path(path)
    if found.is_dir():
        best = found / "best.safetensors"
        return best if best.exists() else found / "last.safetensors"
    return found
