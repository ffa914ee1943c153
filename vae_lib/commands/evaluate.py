"""`python -m vae_lib evaluate`: ELBO and ln p(x) of a trained model, with standard errors."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

from vae_lib.commands.frame import Parser, add_evaluation, run

if TYPE_CHECKING:
    from torch import Tensor

    from vae_lib.training import Checkpoint

__all__ = ["main"]

_ABOUT = """\
Evaluate a trained model on test examples: ELBO and ln p(x) in nats, each with its standard error over
the examples, what the importance samples are worth, and which latent variables are used. Where pixels
are drawn they are drawn once, with a seed: the same command gives the same numbers.
"""
_MORE = """\
examples:
  python -m vae_lib evaluate runs/digits
  python -m vae_lib evaluate runs/mnist/last.safetensors --examples 500 -k 1000
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib evaluate",
        description=_ABOUT,
        epilog=_MORE,
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or a folder with them (then the best one)")
    add("--data", metavar="NAME", help="a data set or a file (default: the one it was trained on)")
    add("--chunk", type=int, help="samples at once; changes the speed, not the result")
    add_evaluation(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run the command with the words after `evaluate`, and return its exit code.

    Args:
        argv: The arguments, without the program and without "evaluate".

    Returns:
        0, or 2 for bad input, 130 if the user stopped it.

    Example:
        >>> main(["nowhere.safetensors"])
        2
    """
    return run(_parser(), argv, _evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from vae_lib import _require
    from vae_lib.evaluation import active_units, log_likelihood, mean_over_examples
    from vae_lib.training import load_checkpoint
    from vae_lib.training.checkpoints import find_checkpoint
    from vae_lib.training.surroundings import find_device

    for name in ("seed", "binarisation"):
        seed = getattr(arguments, name)
        if seed is not None:
            _require.seed(f"--{name}", seed)
    device = find_device(arguments.device)
    checkpoint = load_checkpoint(find_checkpoint(arguments.checkpoint))
    found = _examples(arguments, checkpoint)
    x, alone = found.x, len(found.x) == 1
    model = checkpoint.model.to(device)
    shown = sys.stderr.isatty() and not arguments.json
    result = log_likelihood(model, x, arguments.k, chunk=arguments.chunk, seed=arguments.seed, progress=shown)
    elbo, log_p = mean_over_examples(result.elbo), result.mean
    # of the mean over these very examples: what other samples would change
    sampling = result.standard_error.square().sum().sqrt() / len(x)
    median = result.effective_sample_size.nanmedian().item()
    units = None if alone else active_units(model, x)
    if arguments.json:
        report = {
            "checkpoint": str(checkpoint.path),
            "epoch": checkpoint.position.epoch,
            "data": found.source,
            "split": arguments.split,
            "examples": len(x),
            "binarisation": found.drawn_with,
            "samples": arguments.k,
            "seed": arguments.seed,
            "device": device.type,
            "elbo": elbo.value.item(),
            "elbo_standard_error": None if alone else elbo.standard_error.item(),
            "log_likelihood": log_p.value.item(),
            "log_likelihood_standard_error": None if alone else log_p.standard_error.item(),
            "log_likelihood_sampling_error": None if arguments.k == 1 else sampling.item(),
            "median_effective_sample_size": median,
            "active_units": units and units.count,
            "latent_variables": units and len(units.active),
        }
        print(json.dumps(report))
        return
    print(f"checkpoint    {checkpoint.path}, epoch {checkpoint.position.epoch}")
    print(f"data          {found.source}, {arguments.split}: {len(x)} examples")
    if found.pixels:
        print(f"pixels        {found.pixels}")
    print(f"ELBO          {elbo.value:.2f} ± {elbo.standard_error:.2f} nats")
    print(f"ln p(x)       {log_p.value:.2f} ± {log_p.standard_error:.2f} nats, {arguments.k} samples")
    print(f"samples       worth {median:.0f} of {arguments.k} (median over the examples)")
    print(f"              other samples would change ln p(x) by ± {sampling:.3f} nats")
    if units is not None:
        print(f"active units  {units.count} of {len(units.active)}")


class _Found(NamedTuple):
    """What to evaluate on: x, (n, pixels), where it comes from, and what was done to its pixels."""

    x: "Tensor"
    source: str
    drawn_with: int | None
    pixels: str


def _examples(arguments: argparse.Namespace, checkpoint: "Checkpoint") -> _Found:
    """By default the data set that the checkpoint names."""
    from vae_lib import _require
    from vae_lib.cards.examples import DRAWN_WITH
    from vae_lib.commands.inputs import examples

    source = arguments.data or checkpoint.notes.get("data")
    if source is None:
        raise ValueError(f"{checkpoint.path} does not say what it was trained on; wanted --data NAME")
    likelihood = checkpoint.notes.get("likelihood", "bernoulli")
    seed = arguments.binarisation
    if seed is None and checkpoint.config is not None and checkpoint.config.binarise:
        seed = DRAWN_WITH
    if seed is not None and likelihood != "bernoulli":
        raise ValueError(f"--binarisation is {seed}, but nothing is drawn under a {likelihood} likelihood")
    if seed is not None:
        pixels = f"drawn once, with seed {seed}"
        x = examples(source, arguments.split, likelihood, True, seed).x
    else:
        cut = likelihood == "bernoulli" and not source.endswith((".npy", ".npz"))
        pixels = "1 where brighter than one half" if cut else ""
        x = examples(source, arguments.split, likelihood).x
    if arguments.examples is not None:
        _require.positive_integer("--examples", arguments.examples)
        x = x[: arguments.examples]
    wanted = _pixels(checkpoint)
    if x.shape[1] != wanted:
        raise ValueError(
            f"{source} has {x.shape[1]} pixels; wanted {wanted}, as the model of {checkpoint.path}"
        )
    weight = next(checkpoint.model.parameters())
    return _Found(x.to(weight.dtype), source, seed, pixels)


def _pixels(checkpoint: "Checkpoint") -> int:
    """How many pixels the decoder puts out."""
    import torch

    from vae_lib.training.surroundings import noise

    with noise(torch.device("cpu"), 0):
        return checkpoint.model.sample(1).shape[1]
