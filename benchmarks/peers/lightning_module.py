"""Lightning: a LightningModule whose `training_step` logs its terms, under Lightning's own Trainer."""

import logging
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.pausing import OneEpochAtATime
from benchmarks.peers.examples import torchvision_mnist
from benchmarks.peers.torchvision_shim import import_torchvision
from benchmarks.rounds import Contestant
from benchmarks.workloads import LEARNING_RATE, Workload

__all__ = ["LightningTensors", "LightningToTensor"]


class LightningToTensor(Contestant):
    """With torchvision's MNIST class and ToTensor, as the usual collections of VAEs have it."""

    name = "Lightning module, ToTensor"

    def __init__(self, workload: Workload, grey: Tensor):
        import_torchvision("datasets")  # lightning's metrics import it too
        import lightning

        for noisy in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self.workload = workload
        self.networks = networks = workload.networks()

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.encoder, self.decoder = networks.encoder, networks.decoder

            def training_step(self, batch, index):
                x = batch[0].view(-1, 784)
                mean, log_var = self.encoder(x).chunk(2, -1)
                z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
                probabilities = torch.sigmoid(self.decoder(z))
                cross_entropy = F.binary_cross_entropy(probabilities, x, reduction="sum") / len(x)
                kl = torch.mean(-0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp(), dim=1))
                terms = {"loss": cross_entropy + kl, "reconstruction": cross_entropy, "kl": kl}
                self.log_dict({name: term.item() for name, term in terms.items()}, sync_dist=True)
                return terms["loss"]

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

        class Pause(lightning.Callback):
            def __init__(self, pause):
                self.pause = pause

            def on_train_epoch_end(self, trainer, module):
                trainer.should_stop = self.pause()

        loader = DataLoader(self.dataset(grey), batch_size=workload.batch, shuffle=True)

        def run(pause):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trainer = lightning.Trainer(
                    max_epochs=-1,
                    accelerator="cpu",
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    callbacks=[Pause(pause)],
                )
                trainer.fit(Module(), loader)

        self.loop = OneEpochAtATime(run)

    def dataset(self, grey: Tensor):
        return torchvision_mnist((self.workload.binary(grey) * 255).to(torch.uint8))

    def turn(self) -> int:
        self.loop.epoch()
        return self.workload.images

    def close(self) -> None:
        self.loop.close()


class LightningTensors(LightningToTensor):
    name = "Lightning module, TensorDataset"

    def dataset(self, grey: Tensor):
        return TensorDataset(self.workload.binary(grey))
