"""What a run changes around itself and puts back: the device, the threads, the source of noise."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = [
    "HEAP",
    "at_work",
    "check_device",
    "find_device",
    "keep_the_heap",
    "noise",
    "noise_state",
    "seeds",
    "threads",
]

HEAP = 31 * 2**20  # bytes


def check_device(name: str) -> None:
    """Refuse what is no name of a device; whether it is there, only `find_device` asks."""
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError(f"device is {name!r}; wanted 'auto', 'cpu', 'cuda' or 'cuda:n'")


def find_device(name: str) -> torch.device:
    """The device of this name; "auto" is a CUDA GPU where there is one.

    Raises:
        ValueError: If a GPU is asked for and there is none, or the name is another.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}, but torch finds no CUDA GPU; wanted 'auto' or 'cpu' here")
    device = torch.device(name)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


@contextmanager
def at_work(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Move the model to the device, and afterwards back to where it was, in eval mode."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("model has no parameters; wanted something to train")
    home = parameter.device
    model.to(device)
    try:
        yield
    finally:
        model.to(home).eval()


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with this many CPU threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_the_heap() -> None:
    """Have the C library keep freed memory for the next tensor of the same size.

    glibc gives a freed block of megabytes back to the system, and every tensor then waits for fresh
    pages: up to a third of the time. It keeps blocks no larger than the largest that it has seen freed,
    up to 32 MiB. So one is freed here; it is not written to, and costs nothing.
    """
    torch.empty(HEAP, dtype=torch.uint8)


@contextmanager
def noise(device: torch.device, seed: int, state: dict[str, Tensor] | None = None) -> Iterator[None]:
    """Draw from `seed`, and leave torch's global random state as it was.

    With `state`, as `noise_state` gave it, the draws go on from there instead.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(int(seed))
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(int(seed))
        if state:
            torch.default_generator.set_state(state["cpu"])
            if cuda:
                torch.cuda.set_rng_state(state["cuda"], device)
        yield


def seeds(seed: int) -> Iterator[int]:
    """Seeds without end, all from one: for noise that comes in parts."""
    generator = torch.Generator().manual_seed(int(seed))
    while True:
        yield int(torch.randint(2**62, (), generator=generator, device="cpu"))


def noise_state(device: torch.device) -> dict[str, Tensor]:
    """Where the draws inside `noise` stand, as byte tensors on the CPU."""
    state = {"cpu": torch.default_generator.get_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state
