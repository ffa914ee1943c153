"""Kill a training run at random moments, let it go on, and see that nothing shows.

    python tools/kill_test.py                 20 kills
    python tools/kill_test.py --kills 5       fewer
    python tools/kill_test.py --json          one line for scripts

Each run is a process of its own and dies by SIGKILL, which no program can catch. One started afterwards
goes on from the folder. In every second pair of rounds it is killed as well, again and again, until it
gets through. One round of each pair maximises the ELBO with Adam, the other the importance-weighted bound
of grey bytes that every step binarises, pruned and with Burda's optimiser. At the end the weights, the
curves and the files `last` and `best` must be those of a run that nobody disturbed, byte for byte. Needs
os.fork (Linux, macOS).
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process with a pool of threads must not fork

import torch

from vae_lib.data import load
from vae_lib.networks import mlp_vae
from vae_lib.training import TrainConfig, fit, load_checkpoint
from vae_lib.training.history import CURVES

TRAINING, VALIDATION = load("digits"), load("digits", split="validation")
PLAIN = TrainConfig(
    epochs=4, batch_size=150, learning_rate=0.01, schedule="cosine", samples=2, device="cpu", progress=False
)
SETUPS = {
    "elbo": (PLAIN, TRAINING.binarized()[:650], VALIDATION.binarized()[:90]),
    "iwae": (
        replace(PLAIN, objective="iwae", samples=4, prune=1e-3, binarise=True, levels=17,
                optimiser="burda", schedule="burda", clip_norm=5.0, patience=4),
        TRAINING.images.flatten(1)[:650],
        VALIDATION.images.flatten(1)[:90],
    ),
}  # fmt: skip


def model():
    """Everything that could get lost is in it."""
    made = mlp_vae(64, latent=2, hidden=(24,), seed=0)
    made.encoder.network.insert(0, torch.nn.Dropout(0.1))  # noise that the library does not draw itself
    return made


def train(folder, setup, save_every):
    """The run that is killed."""
    torch.manual_seed(os.getpid())  # nothing may depend on the state that the process starts with
    trained = model()
    config, data, validation = SETUPS[setup]
    history = fit(trained, data, config, validation, checkpoint=folder, resume=True, save_every=save_every)
    digest = hashlib.sha256()
    for tensor in trained.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    digest.update(repr([getattr(history, name) for name in CURVES]).encode())
    Path(folder, "digest").write_text(digest.hexdigest())


def start(folder, setup, save_every):
    """The run in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train(folder, setup, save_every)
            status = 0
        finally:
            os._exit(status)
    return child


def finish(child):
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def contents(folder):
    """What must be the same in the end; the times in history.jsonl may differ."""
    lines = [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]
    names = ("digest", "last.safetensors", "best.safetensors")
    found = {name: Path(folder, name).read_bytes() for name in names}
    found["history"] = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    found["files"] = sorted(path.name for path in Path(folder).iterdir() if path.suffix != ".unfinished")
    return found


def stand(folder):
    """Where the killed run stood, read from its checkpoint; a damaged one would be refused here."""
    if not Path(folder, "last.safetensors").exists():
        return None
    return load_checkpoint(folder, model()).position.step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="how many runs are killed (default: 20)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the moments (default: the time)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    rounds, steps, broken = [], set(), 0
    # in memory where there is such a folder: a killed process loses nothing that it gave to the system
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as home:
        reference, length = {}, {}
        for setup in SETUPS:
            for save_every in (0, 0.05):
                folder, began = f"{home}/{setup}-{save_every}", time.monotonic()
                if finish(start(folder, setup, save_every)) != 0:
                    sys.exit("the undisturbed run failed")
                length[setup, save_every] = time.monotonic() - began
                found = contents(folder)
                if reference.setdefault(setup, found) != found:
                    sys.exit("two undisturbed runs differ")
        for i in range(options.kills):
            folder, setup, again = f"{home}/{i}", list(SETUPS)[i % 2], i // 2 % 2 == 1
            save_every = (0, 0.05)[(i + i // 2) % 2]
            kills = 0
            while True:
                child = start(folder, setup, save_every)
                if kills == 0 or (again and kills < 6):
                    time.sleep(chance.uniform(0, length[setup, save_every]))
                    os.kill(child, signal.SIGKILL)
                status = finish(child)
                if status == 0:
                    break
                if status != -signal.SIGKILL:
                    sys.exit(f"round {i}: the run ended with {status}")
                kills += 1
                step = stand(folder)
                steps.add(step)
            same = contents(folder) == reference[setup]
            broken += not same
            rounds.append({"kills": kills, "last_step": step if kills else None, "same": same})
            if not options.json:
                print(f"round {i + 1}, {setup}: {kills} kill(s), went on from step {step if kills else '-'}: "
                      f"{'the same' if same else 'DIFFERENT'}", flush=True)  # fmt: skip
    total = sum(r["kills"] for r in rounds)
    report = {"rounds": len(rounds), "kills": total, "different_steps": len(steps), "broken": broken}
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{total} kills in {len(rounds)} runs, at {len(steps)} different steps; {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
