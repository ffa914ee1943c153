"""Pyro: `SVI.step` with `Trace_ELBO` or `RenyiELBO(alpha=0)`, as its VAE example; validation as it comes."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.rounds import Contestant
from benchmarks.workloads import LEARNING_RATE, Networks, Workload

__all__ = ["PyroSVI", "pyro_pair"]


def pyro_pair(networks: Networks, latent: int):
    """Pyro's model and guide around these networks."""
    import pyro
    import pyro.distributions as dist

    def model(x: Tensor):
        pyro.module("decoder", networks.decoder)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(len(x), latent)
            z = pyro.sample("latent", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            probabilities = torch.sigmoid(networks.decoder(z))
            pyro.sample("obs", dist.Bernoulli(probabilities, validate_args=False).to_event(1), obs=x)

    def guide(x: Tensor):
        pyro.module("encoder", networks.encoder)
        with pyro.plate("data", len(x)):
            mean, log_var = networks.encoder(x).chunk(2, -1)
            pyro.sample("latent", dist.Normal(mean, torch.exp(0.5 * log_var)).to_event(1))

    return model, guide


class PyroSVI(Contestant):
    name = "Pyro SVI"

    def __init__(self, workload: Workload, grey: Tensor):
        import pyro
        from pyro.infer import SVI, RenyiELBO, Trace_ELBO

        pyro.clear_param_store()
        self.workload = workload
        self.networks = workload.networks()
        if workload.samples == 1:
            loss = Trace_ELBO()
        else:
            loss = RenyiELBO(
                alpha=0.0, num_particles=workload.samples, vectorize_particles=True, max_plate_nesting=1
            )
        model, guide = pyro_pair(self.networks, workload.latent)
        self.svi = SVI(model, guide, pyro.optim.Adam({"lr": LEARNING_RATE}), loss)
        data = TensorDataset(workload.binary(grey))
        self.loader = DataLoader(data, batch_size=workload.batch, shuffle=True)

    def turn(self) -> int:
        total = 0.0
        for (x,) in self.loader:
            total += self.svi.step(torch.bernoulli(x) if self.workload.dynamic else x)
        return self.workload.images
