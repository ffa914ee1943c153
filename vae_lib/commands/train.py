"""`python -m vae_lib train`: train a VAE and keep checkpoints."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_lib.commands.frame import Parser, run

if TYPE_CHECKING:  # --help shall not wait for torch
    from torch import Tensor

    from vae_lib.training import History, TrainConfig

__all__ = ["main"]

_ABOUT = """\
Train a VAE and keep best.safetensors, last.safetensors, history.jsonl and card.json in a folder.
The defaults train on handwritten digits that need no download, in a few seconds.
"""
_MORE = """\
examples:
  python -m vae_lib train --out runs/digits
  python -m vae_lib train --data mnist --latent 20 --hidden 400 --epochs 20 --out runs/mnist
  python -m vae_lib train --data my_images.npy --likelihood gaussian --out runs/mine

The model of Burda et al. (2016) with one layer of latents, at a tenth of its length:
  python -m vae_lib train --data mnist --binarise --latent 50 --hidden 200,200 --objective iwae \\
      --samples 5 --optimiser burda --schedule burda --learning-rate 0.001 --batch-size 20 \\
      --epochs 328 --out runs/iwae
and with two layers: --model hierarchical_mlp_vae --latent 100,50 --hidden 200,200/100,100

A run that was stopped or killed goes on with the same command and --resume, and ends as if it had
not been.

Several processes share a run when torchrun starts them: two on this machine, or, with this command
on each of four machines, 8 GPUs on every one of them (the folder --out is that of the first):
  torchrun --nproc-per-node=2 -m vae_lib train --out runs/digits
  torchrun --nnodes=4 --nproc-per-node=8 --rdzv-id=vae --rdzv-backend=c10d \\
      --rdzv-endpoint=FIRST_MACHINE:29500 -m vae_lib train --data mnist --batch-size 4096 --out runs/mnist
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib train",
        description=_ABOUT,
        epilog=_MORE,
    )
    _add_files(parser.add_argument_group("what is trained on, and where the result goes").add_argument)
    _add_model(parser.add_argument_group("the model").add_argument)
    _add_objective(parser.add_argument_group("what is maximised").add_argument)
    _add_steps(parser.add_argument_group("how it is maximised").add_argument)
    _add_machine(parser.add_argument_group("the machine").add_argument)
    return parser


def _add_files(add: Callable[..., object]) -> None:
    add(
        "--out",
        metavar="FOLDER",
        default="runs/digits",
        help="where the checkpoints go (default: %(default)s)",
    )
    add("--resume", action="store_true", help="go on from the last checkpoint in that folder")
    add(
        "--save-every",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds between saves (default: %(default)s)",
    )
    add(
        "--data",
        metavar="NAME",
        default="digits",
        help="a data set, or a .npy or .npz file (default: %(default)s)",
    )
    add(
        "--binarise",
        action="store_true",
        help="draw zeros and ones anew in every step, grey level = probability; without it a data set "
        "is cut at half grey",
    )
    add("--tensorboard", metavar="FOLDER", help="write the curves for TensorBoard, too (default: no)")
    add("--json", action="store_true", help="print one line of JSON, for scripts")


def _add_model(add: Callable[..., object]) -> None:
    add(
        "--model",
        default="mlp_vae",
        help="mlp_vae, conv_vae, linear_vae or hierarchical_mlp_vae (default: %(default)s)",
    )
    add(
        "--latent",
        metavar="N",
        default="8",
        help="latent variables; for several layers N,N, from the data up (default: %(default)s)",
    )
    add(
        "--hidden",
        metavar="N,N",
        default="128",
        help="sizes of the hidden layers; for several layers of latents N,N/N,N (default: %(default)s)",
    )
    add("--likelihood", default="bernoulli", help="bernoulli or gaussian (default: %(default)s)")


def _add_objective(add: Callable[..., object]) -> None:
    add(
        "--objective",
        default="elbo",
        help="elbo; iwae, the importance-weighted bound; or dreg, the same with the doubly "
        "reparametrised gradient (default: %(default)s)",
    )
    add(
        "--samples",
        type=int,
        default=1,
        metavar="K",
        help="draws per example and step, the k of iwae and dreg (default: %(default)s)",
    )
    add(
        "--prune",
        type=float,
        default=0.0,
        metavar="W",
        help="with iwae, leave draws out of the gradient whose normalised weight is at most W, such as "
        "1e-6 (default: %(default)s, none)",
    )
    add("--kl", default="auto", help="of elbo: closed, sampled, or auto: closed if it can be (default)")
    add("--beta", type=float, default=1.0, help="weight of the rate in the loss (default: %(default)s)")
    add(
        "--beta-warmup",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="epochs over which that weight rises from 0 (default: %(default)s)",
    )
    add(
        "--free-bits",
        type=float,
        default=0.0,
        metavar="NATS",
        help="what each latent may spend without paying (default: %(default)s)",
    )


def _add_steps(add: Callable[..., object]) -> None:
    add("--epochs", type=int, default=50, help="passes over the data (default: %(default)s)")
    add("--batch-size", type=int, default=128, help="examples per step (default: %(default)s)")
    add(
        "--optimiser",
        default="adam",
        help="adam; burda, that of the paper; or, lacking one of its details, burda-no-sum, "
        "burda-no-ones, burda-no-momentum, burda-no-delay (default: %(default)s)",
    )
    add("--learning-rate", type=float, default=0.003, help="step size at the start (default: %(default)s)")
    add("--schedule", default="cosine", help="constant, cosine or burda (default: %(default)s)")
    add("--clip-norm", type=float, metavar="N", help="shorten gradients longer than this (default: none)")
    add(
        "--patience",
        type=int,
        metavar="EPOCHS",
        help="stop when the validation bound has not risen for so long (default: never)",
    )
    add("--seed", type=int, default=0, help="seed of weights, order and noise (default: %(default)s)")


def _add_machine(add: Callable[..., object]) -> None:
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add(
        "--precision",
        default="float32",
        help="float32, or bf16: quicker on a GPU with large batches, slower on most CPUs "
        "(default: %(default)s)",
    )
    add(
        "--shards",
        type=int,
        metavar="N",
        help="parts of a batch with noise of their own; one process with N shards draws the curve of N "
        "processes (default: one for each process)",
    )
    add(
        "--compile",
        action="store_true",
        help="compile the whole step: up to twice as fast after about a minute of compiling; needs a C++ "
        "compiler",
    )


def main(argv: list[str]) -> int:
    """Run the command with the words after `train`, and return its exit code.

    Args:
        argv: The arguments, without the program and without "train".

    Returns:
        0, or 2 for bad input, 1 if the training diverged, 130 if the user stopped it.

    Example:
        >>> main(["--help"])                                # doctest: +ELLIPSIS
        usage: python -m vae_lib train ...
        0
    """
    return run(_parser(), argv, _train, _stopped)


def _stopped(arguments: argparse.Namespace) -> str:
    if Path(arguments.out, "last.safetensors").exists():
        return (
            f"stopped; what was saved is in {arguments.out}, and the same command with --resume goes on "
            "from there"
        )
    return f"stopped before the first save, after {arguments.save_every:g} seconds: nothing to resume"


def _train(arguments: argparse.Namespace) -> None:
    from vae_lib.training.processes import together

    config = _config(arguments)  # its complaints come before the data are read
    with together(config.device) as team:  # what fails in one process fails in all
        history, examples = _fit(arguments, config)
        if team.rank == 0:
            _report(arguments, history, examples)


def _fit(arguments: argparse.Namespace, config: "TrainConfig") -> "tuple[History, int]":
    """The history of the run, and the number of its training examples."""
    from vae_lib.cards import recording
    from vae_lib.commands.inputs import compact_examples
    from vae_lib.networks import set_output_bias
    from vae_lib.training import TensorBoard, fit

    if arguments.likelihood not in ("bernoulli", "gaussian"):
        raise ValueError(f"--likelihood is {arguments.likelihood!r}; wanted bernoulli or gaussian")
    words = (arguments.likelihood, arguments.binarise)
    data, shape, levels = compact_examples(arguments.data, "train", *words)
    validation = compact_examples(arguments.data, "validation", *words).x
    config = replace(config, levels=levels)
    if config.batch_size > len(data):
        raise ValueError(
            f"--batch-size is {config.batch_size}; wanted at most the {len(data)} training examples"
        )
    model = _build(arguments, data.shape[1], shape)
    set_output_bias(model, _mean(data, levels))
    on_epoch = None if arguments.tensorboard is None else TensorBoard(arguments.tensorboard)
    notes = {"data": arguments.data, "likelihood": arguments.likelihood, "shape": shape and list(shape)}
    with recording(arguments.out, arguments.words):
        history = fit(
            model,
            data,
            config,
            validation,
            on_epoch,
            checkpoint=arguments.out,
            resume=arguments.resume,
            save_every=arguments.save_every,
            notes=notes,
        )
    return history, len(data)


def _config(arguments: argparse.Namespace) -> "TrainConfig":
    from vae_lib.training import TrainConfig

    kl = {"auto": None, "closed": True, "sampled": False}
    if arguments.kl not in kl:
        raise ValueError(f"--kl is {arguments.kl!r}; wanted one of {', '.join(kl)}")
    named = {field.name for field in fields(TrainConfig)} & vars(arguments).keys()
    return TrainConfig(
        **{name: getattr(arguments, name) for name in named},
        analytic_kl=kl[arguments.kl],
        progress=sys.stderr.isatty() and not arguments.json,
    )


def _mean(data: "Tensor", levels: int) -> "Tensor":
    """The mean image as a batch of one, (1, pixels), taken without making all bytes floats."""
    import torch

    total = sum(part.sum(0, dtype=torch.float64) for part in data.split(1024))
    mean = total / len(data)
    return (mean / (levels - 1) if data.dtype == torch.uint8 else mean).float().unsqueeze(0)


def _report(arguments: argparse.Namespace, history: "History", examples: int) -> None:
    best = history.best_epoch() or len(history)
    bound = history.bound or history.elbo
    name = "ELBO" if not history.bound else f"L_{arguments.samples}"
    validation = history.scores()[best - 1]
    file = Path(arguments.out, "best.safetensors")
    if arguments.json:
        report = {
            "checkpoint": str(file),
            "epochs": len(history),
            "best_epoch": best,
            "elbo": history.elbo[-1],
            "validation_elbo": history.validation_elbo[best - 1],
            "seconds": history.seconds,
        }
        if history.bound:
            report |= {"bound": bound[-1], "validation_bound": validation}
        print(json.dumps(report))
        return
    print(f"trained     {len(history)} epochs on {examples} examples of {arguments.data}")
    print(f"{name:<12}{bound[-1]:.2f} nats on the training examples, at the end")
    print(f"            {validation:.2f} nats on the validation examples, epoch {best}")
    print(f"checkpoint  {file}")


def _build(arguments: argparse.Namespace, pixels: int, shape: tuple[int, int] | None):
    from vae_lib import builders, networks

    layers = [_sizes("--hidden", part) for part in arguments.hidden.split("/")]
    latents = _sizes("--latent", arguments.latent)
    recipe = {"pixels": pixels, "likelihood": arguments.likelihood, "seed": arguments.seed}
    if arguments.model == "hierarchical_mlp_vae":
        return builders.hierarchical_mlp_vae(latents=latents, hidden=layers, **recipe)
    if len(layers) > 1 or len(latents) > 1:
        raise ValueError(
            f"--hidden {arguments.hidden} and --latent {arguments.latent} are of several layers of latents; "
            f"wanted one, or --model hierarchical_mlp_vae, not {arguments.model}"
        )
    recipe |= {"latent": latents[0], "hidden": layers[0]}
    if arguments.model == "mlp_vae":
        return networks.mlp_vae(**recipe)
    if arguments.model == "conv_vae":
        if shape is None:
            raise ValueError(f"--model is conv_vae, but {arguments.data} holds no images; wanted mlp_vae")
        del recipe["pixels"]
        return networks.conv_vae(shape=list(shape), **recipe)
    if arguments.model == "linear_vae":
        if arguments.likelihood != "gaussian":
            raise ValueError("--model is linear_vae, which is Gaussian; wanted --likelihood gaussian with it")
        return networks.linear_vae(pixels=pixels, latent=latents[0], seed=arguments.seed)
    raise ValueError(
        f"--model is {arguments.model!r}; wanted mlp_vae, conv_vae, linear_vae or hierarchical_mlp_vae"
    )


def _sizes(option: str, text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} is {text!r}; wanted sizes such as 128 or 256,64") from error
