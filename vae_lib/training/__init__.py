"""Training: one function, one config, one history, and checkpoints that survive a power cut.

- `fit` trains any model with `loss_terms`, as a `TrainConfig` says, and returns a `History`.
- `save_checkpoint`, `load_checkpoint`: a model and where its run stands, in one file; a `Checkpoint`.
- `TensorBoard`: a callback, for those who use it.
- `TrainingDiverged`, `CheckpointError`: what can go wrong, in one line each.

Its values are nats, means over examples. The loop is `vae_lib/training/loop.py`; everything it
leans on has a file of its own beside it.
"""

from vae_lib.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from vae_lib.training.config import TrainConfig
from vae_lib.training.container import CheckpointError
from vae_lib.training.diverged import TrainingDiverged
from vae_lib.training.history import History
from vae_lib.training.loop import fit
from vae_lib.training.tensorboard import TensorBoard

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "History",
    "TensorBoard",
    "TrainConfig",
    "TrainingDiverged",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
]
