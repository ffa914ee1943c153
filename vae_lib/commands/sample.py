"""`python -m vae_lib sample`: draw examples from a trained model."""

import argparse
import io
import json
import math
from pathlib import Path

from vae_lib.commands.frame import Parser, run

__all__ = ["main"]

_ABOUT = """\
Draw examples from a trained model: a sheet of pictures (.png), or the numbers (.npz).
"""
_MORE = """\
examples:
  python -m vae_lib sample runs/digits --out samples.png
  python -m vae_lib sample runs/digits --count 1000 --out samples.npz
"""
_SHORTEST_SIDE = 560  # a sheet of small pictures is enlarged to about this many pixels


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib sample",
        description=_ABOUT,
        epilog=_MORE,
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or a folder with them (then the best one)")
    add("--out", metavar="FILE", default="samples.png", help="a .png or .npz file (default: %(default)s)")
    add("--count", type=int, default=64, help="how many (default: %(default)s)")
    add("--mean", action="store_true", help="the mean of p(x|z), which looks cleaner but is no sample")
    add("--seed", type=int, default=0, help="seed of the draws (default: %(default)s)")
    add("--json", action="store_true", help="print one line of JSON, for scripts")
    return parser


def main(argv: list[str]) -> int:
    """Run the command with the words after `sample`, and return its exit code.

    Args:
        argv: The arguments, without the program and without "sample".

    Returns:
        0, or 2 for bad input, 130 if the user stopped it.

    Example:
        >>> main(["nowhere.safetensors", "--out", "samples.gif"])
        2
    """
    return run(_parser(), argv, _sample)


def _sample(arguments: argparse.Namespace) -> None:
    import torch

    from vae_lib import _require
    from vae_lib.training import load_checkpoint
    from vae_lib.training.checkpoints import find_checkpoint
    from vae_lib.training.container import write_atomically
    from vae_lib.training.surroundings import noise

    out = Path(arguments.out)
    if out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out is {arguments.out!r}; wanted a file that ends in .png or .npz")
    _require.positive_integer("--count", arguments.count)
    if not out.parent.is_dir():
        raise ValueError(f"--out is {arguments.out!r}, but there is no folder {out.parent}")
    _require.seed("--seed", arguments.seed)
    checkpoint = load_checkpoint(find_checkpoint(arguments.checkpoint))
    with noise(torch.device("cpu"), arguments.seed):
        x = checkpoint.model.sample(arguments.count, mean=arguments.mean)
    if out.suffix == ".npz":
        import numpy as np

        content = io.BytesIO()
        np.savez(content, x=x.numpy())
        write_atomically(out, content.getvalue())
    else:
        write_atomically(out, _sheet(x, _shape(checkpoint.notes, x.shape[1])))
    if arguments.json:
        print(json.dumps({"file": str(out), "count": arguments.count, "seed": arguments.seed}))
    else:
        print(f"{out}: {arguments.count} {'means' if arguments.mean else 'samples'}")


def _shape(notes: dict, pixels: int) -> tuple[int, int]:
    """Height and width of one picture."""
    if notes.get("shape"):
        return tuple(notes["shape"])
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"an example has {pixels} pixels and no known shape; wanted --out FILE.npz")
    return side, side


def _sheet(x, shape: tuple[int, int]) -> bytes:
    """All pictures on one sheet with a line between them, enlarged, as PNG."""
    import torch

    from vae_lib.commands.png import grey_png

    height, width = shape
    columns = math.ceil(math.sqrt(len(x)))
    rows = math.ceil(len(x) / columns)
    sheet = torch.full((rows * (height + 1) + 1, columns * (width + 1) + 1), 128, dtype=torch.uint8)
    for i, picture in enumerate((x.clamp(0, 1) * 255).round().to(torch.uint8).view(-1, height, width)):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = picture
    scale = max(1, round(_SHORTEST_SIDE / min(sheet.shape)))
    return grey_png(sheet.repeat_interleave(scale, 0).repeat_interleave(scale, 1).numpy())
