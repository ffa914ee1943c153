"""`python -m vae_lib train`: train a VAE and keep checkpoints."""

import argparse
import json
import sys
from pathlib import Path

from vae_lib.commands.frame import Parser, run

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

A run that was stopped or killed goes on with the same command and --resume, and ends as if it had
not been.
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib train",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--out",
        metavar="FOLDER",
        default="runs/digits",
        help="where the checkpoints go (default: %(default)s)",
    )
    add("--resume", action="store_true", help="go on from the last checkpoint in that folder")
    add(
        "--data",
        metavar="NAME",
        default="digits",
        help="a data set, or a .npy or .npz file (default: %(default)s)",
    )
    add("--model", default="mlp_vae", help="mlp_vae, conv_vae or linear_vae (default: %(default)s)")
    add("--latent", type=int, default=8, help="latent variables (default: %(default)s)")
    add("--hidden", metavar="N,N", default="128", help="sizes of the hidden layers (default: %(default)s)")
    add("--likelihood", default="bernoulli", help="bernoulli or gaussian (default: %(default)s)")
    add("--epochs", type=int, default=50, help="passes over the data (default: %(default)s)")
    add("--batch-size", type=int, default=128, help="examples per step (default: %(default)s)")
    add("--learning-rate", type=float, default=0.003, help="step size of Adam (default: %(default)s)")
    add("--schedule", default="cosine", help="constant or cosine (default: %(default)s)")
    add("--beta", type=float, default=1.0, help="weight of the rate in the loss (default: %(default)s)")
    add("--samples", type=int, default=1, help="draws per example and step (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of weights, order and noise (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add(
        "--save-every",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds between saves (default: %(default)s)",
    )
    add("--json", action="store_true", help="print one line of JSON, for scripts")
    return parser


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
    stopped = "stopped; what was saved is in {out}, and the same command with --resume goes on from there"
    return run(_parser(), argv, _train, stopped)


def _train(arguments: argparse.Namespace) -> None:
    from vae_lib.cards import recording
    from vae_lib.commands.inputs import examples
    from vae_lib.networks import set_output_bias
    from vae_lib.training import TrainConfig, fit

    config = TrainConfig(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        schedule=arguments.schedule,
        seed=arguments.seed,
        beta=arguments.beta,
        samples=arguments.samples,
        device=arguments.device,
        threads=arguments.threads,
        progress=sys.stderr.isatty() and not arguments.json,
    )
    if arguments.likelihood not in ("bernoulli", "gaussian"):
        raise ValueError(f"--likelihood is {arguments.likelihood!r}; wanted bernoulli or gaussian")
    data, shape = examples(arguments.data, "train", arguments.likelihood)
    validation, _ = examples(arguments.data, "validation", arguments.likelihood)
    if config.batch_size > len(data):
        raise ValueError(
            f"--batch-size is {config.batch_size}; wanted at most the {len(data)} training examples"
        )
    model = _build(arguments, data.shape[1], shape)
    set_output_bias(model, data)
    notes = {"data": arguments.data, "likelihood": arguments.likelihood, "shape": shape and list(shape)}
    with recording(arguments.out, arguments.words):
        history = fit(
            model,
            data,
            config,
            validation,
            checkpoint=arguments.out,
            resume=arguments.resume,
            save_every=arguments.save_every,
            notes=notes,
        )
    best = max(range(len(history)), key=history.validation_elbo.__getitem__)
    if arguments.json:
        report = {
            "checkpoint": str(Path(arguments.out, "best.safetensors")),
            "epochs": len(history),
            "best_epoch": best + 1,
            "elbo": history.elbo[-1],
            "validation_elbo": history.validation_elbo[best],
            "seconds": history.seconds,
        }
        print(json.dumps(report))
        return
    print(f"trained     {len(history)} epochs on {len(data)} examples of {arguments.data}")
    print(f"ELBO        {history.elbo[-1]:.2f} nats on the training examples, at the end")
    print(
        f"            {history.validation_elbo[best]:.2f} nats on the validation examples, epoch {best + 1}"
    )
    print(f"checkpoint  {Path(arguments.out, 'best.safetensors')}")


def _build(arguments: argparse.Namespace, pixels: int, shape: tuple[int, int] | None):
    from vae_lib import networks

    hidden = _sizes(arguments.hidden)
    common = {"latent": arguments.latent, "seed": arguments.seed}
    if arguments.model == "mlp_vae":
        recipe = {"pixels": pixels, "hidden": hidden, "likelihood": arguments.likelihood, **common}
    elif arguments.model == "conv_vae":
        if shape is None:
            raise ValueError(f"--model is conv_vae, but {arguments.data} holds no images; wanted mlp_vae")
        recipe = {"shape": list(shape), "hidden": hidden, "likelihood": arguments.likelihood, **common}
    elif arguments.model == "linear_vae":
        if arguments.likelihood != "gaussian":
            raise ValueError("--model is linear_vae, which is Gaussian; wanted --likelihood gaussian with it")
        recipe = {"pixels": pixels, **common}
    else:
        raise ValueError(f"--model is {arguments.model!r}; wanted mlp_vae, conv_vae or linear_vae")
    return getattr(networks, arguments.model)(**recipe)


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--hidden is {text!r}; wanted sizes such as 128 or 256,64") from error
