"""The examples that a command works on: a data set by its name, or a file of the reader's own."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lib import _require
from vae_lib._files import refuse_streams
from vae_lib.cards.examples import DRAWN_WITH
from vae_lib.data import ImageData, binarize, load
from vae_lib.data.sources import PARTS

__all__ = ["Examples", "compact_examples", "examples"]

_FEWEST = 10  # rows of a file: a tenth of them is then at least one


class Examples(NamedTuple):
    """Examples ready for a model.

    Attributes:
        x: (n, pixels), floating point, or whole grey levels as bytes (uint8).
        shape: Height and width, or None if the examples are no images.
        levels: The number of grey levels of bytes; 2 if they are only 0 and 1.

    Example:
        >>> examples("digits", "test", "bernoulli").shape
        (8, 8)
    """

    x: Tensor
    shape: tuple[int, int] | None
    levels: int = 256


def examples(
    source: str, split: str, likelihood: str, binarise: bool = False, seed: int = DRAWN_WITH
) -> Examples:
    """The part `split` of a data set, or of a file with NumPy arrays, as the likelihood wants it.

    A file is .npy, or .npz with an array `x`: (n, pixels) or (n, height, width), floats, or whole
    numbers from 0 to 255 that are divided by 255 unless they are only 0 and 1. Of its rows, in an
    order that is always the same, 80 % are for training, 10 % for validation, 10 % for the test.

    Args:
        source: The name of a data set, or the path of a file.
        split: "train", "validation" or "test".
        likelihood: "bernoulli" for pixels that are 0 or 1, "gaussian" for real numbers.
        binarise: Draw zeros and ones with the grey level as probability, always the same ones.
        seed: Of that draw.

    Raises:
        ValueError: If the data set, the split or the file is not what is wanted, a value is NaN or
            infinite, or pixels are grey under a Bernoulli.
        OSError: If the file cannot be read.

    Example:
        >>> examples("digits", "test", "bernoulli").x.shape
        torch.Size([300, 64])
    """
    x, shape, levels = compact_examples(source, split, likelihood, binarise)
    if binarise:
        generator = torch.Generator().manual_seed(seed)
        if x.dtype == torch.uint8:
            return Examples(binarize(x, levels=levels, generator=generator), shape)
        return Examples(torch.bernoulli(x, generator=generator), shape)
    return Examples(x.float() / (levels - 1) if x.dtype == torch.uint8 else x, shape)


def compact_examples(source: str, split: str, likelihood: str, binarise: bool = False) -> Examples:
    """The same examples in as little memory as they need: bytes where they are whole numbers.

    Args:
        source: As for `examples`.
        split: As for `examples`.
        likelihood: As for `examples`.
        binarise: Leave the pixels grey, to be drawn later; they must lie within [0, 1].

    Raises:
        ValueError: As `examples`.
        OSError: As `examples`.

    Example:
        >>> digits = compact_examples("digits", "test", "bernoulli")
        >>> digits.x.dtype, digits.levels
        (torch.uint8, 2)
    """
    if split not in PARTS:
        raise ValueError(f"split is {split!r}; wanted one of: {', '.join(PARTS)}")
    if source.endswith((".npy", ".npz")):
        found = _from_file(Path(source), split)
    else:
        data = load(source, split=split)
        if not isinstance(data, ImageData):
            found = Examples(data.points, None)
        elif likelihood == "bernoulli" and not binarise:
            white = data.images.flatten(1) > (data.levels - 1) // 2  # as `ImageData.binarized`, in bytes
            found = Examples(white.to(torch.uint8), data.shape, 2)
        else:
            found = Examples(data.images.flatten(1), data.shape, data.levels)
    if binarise:
        if found.x.is_floating_point():
            _require.within_unit_interval(source, found.x, "grey pixels within [0, 1] to binarise")
    elif likelihood == "bernoulli":
        grey = int(((found.x != 0) & (found.x != 1)).sum())
        if grey:
            raise ValueError(
                f"{source} holds {grey} grey pixels; wanted each to be 0 or 1, or --binarise, or "
                "--likelihood gaussian"
            )
    return found


def _from_file(path: Path, split: str) -> Examples:
    import numpy as np

    refuse_streams(path)
    try:
        with path.open("rb") as file:  # which numpy leaves open if it is no zip file
            loaded = np.load(file, allow_pickle=False)
            array = loaded["x"] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except KeyError as error:
        raise ValueError(f"{path} holds no array named x") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of the parser, of zip and of zlib; whatever it is, it is no such file
        raise ValueError(f"{path} is no file of NumPy arrays") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "fuib":
        raise ValueError(
            f"{path} holds an array of shape {array.shape} and dtype {array.dtype}; wanted numbers, "
            "(n, pixels) or (n, height, width)"
        )
    if len(array) < _FEWEST or array[0].size == 0:
        raise ValueError(f"{path} holds {len(array)} examples; wanted at least {_FEWEST}")
    shape = tuple(array.shape[1:]) if array.ndim == 3 else None
    whole = array.dtype.kind != "f"
    if whole and (array.min() < 0 or array.max() > 255):
        raise ValueError(f"{path} holds whole numbers outside 0 to 255; wanted grey levels, or floats")
    x = torch.as_tensor(array.astype("uint8" if whole else "float32")).flatten(1)
    _require.finite(str(path), x)
    levels = 2 if whole and array.max() <= 1 else 256
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    tenth = len(x) // 10
    parts = {"test": order[:tenth], "validation": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    return Examples(x[parts[split].sort().values], shape, levels)
