"""Training: one function, one config, one history, and checkpoints that survive a power cut.

The loop is `vae_lib/training/loop.py`; everything it leans on has a file of its own beside it.
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
