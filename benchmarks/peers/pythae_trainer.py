"""pythae: its `BaseTrainer.train_step` with its callbacks, its VAE and IWAE, its `get_nll`."""

import contextlib
import io
import logging
import tempfile
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rounds import Contestant
from benchmarks.workloads import LEARNING_RATE, PIXELS, Networks, Workload

__all__ = ["PythaeTrainer", "pythae_model"]


def pythae_model(networks: Networks, latent: int, samples: int = 1, dynamic: bool = False):
    """pythae's VAE, or with several samples its IWAE, around these networks."""
    from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self, network: nn.Module):
            super().__init__()
            self.network = network

        def forward(self, x: Tensor):
            mean, log_var = self.network(x).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self, network: nn.Module):
            super().__init__()
            self.network = network

        def forward(self, z: Tensor):
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    size = {"input_dim": (PIXELS,), "latent_dim": latent, "reconstruction_loss": "bce"}
    kind: Any = VAE if samples == 1 else IWAE
    config = VAEConfig(**size) if samples == 1 else IWAEConfig(**size, number_samples=samples)

    class Drawing(kind):
        def forward(self, inputs, **more):
            if dynamic:
                inputs["data"] = torch.bernoulli(inputs["data"])
            return super().forward(inputs, **more)

    return Drawing(config, Encoder(networks.encoder), Decoder(networks.decoder))


class PythaeTrainer(Contestant):
    name = "pythae"

    def __init__(self, workload: Workload, grey: Tensor, device: str = "cpu"):
        from pythae.data.datasets import BaseDataset
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        for name in list(logging.root.manager.loggerDict):
            if name.startswith("pythae."):
                logging.getLogger(name).setLevel(logging.WARNING)
        self.workload = workload
        self.networks = workload.networks()
        model = pythae_model(self.networks, workload.latent, workload.samples, workload.dynamic)
        x = workload.binary(grey)
        self.folder = tempfile.TemporaryDirectory()
        config = BaseTrainerConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=workload.batch,
            learning_rate=LEARNING_RATE,
            no_cuda=device == "cpu",
        )
        self.trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=config)
        self.trainer.model = model.to(self.trainer.device)
        self.trainer.prepare_training()
        self.epoch = 0

    def turn(self) -> int:
        self.epoch += 1
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar is drawn, out of our sight
            self.trainer.train_step(self.epoch)
            self.trainer.callback_handler.on_epoch_end(training_config=self.trainer.training_config)
        return self.workload.images

    def close(self) -> None:
        self.folder.cleanup()
