r"""Knobs on the reader's own model, for a live notebook (ipywidgets).

- `latent_atlas`: the plane of codes of your own VAE, a `LatentAtlas`.
- `interpolation`: from one image to another, an `Interpolation`.
- `quick_retrain`: turn a knob and train again, a `QuickRetrain`.

Each function returns a widget; make it the last expression of a cell. While the book is built there
is no kernel behind the page, so each returns the explorable that stands in its place.

The callbacks are methods with plain arguments, so they can be called, and tested, without a browser.
An error in a callback is shown below the widget; called from a program it is raised.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ipywidgets
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import kl_divergence

from vae_lib import explorables
from vae_lib.data import ImageData
from vae_lib.explorables import Explorable, in_book_build, plane_grid
from vae_lib.explorables._pictures import strip
from vae_lib.laboratory import grid_log_evidence
from vae_lib.likelihoods import Bernoulli, Gaussian
from vae_lib.models import VAE
from vae_lib.networks import mlp_vae
from vae_lib.training import History, TrainConfig, fit

__all__ = ["Interpolation", "LatentAtlas", "QuickRetrain", "interpolation", "latent_atlas", "quick_retrain"]

MAP_PIXELS = 340
DRAWS = 256


def latent_atlas(model: VAE, data: ImageData) -> LatentAtlas | Explorable:
    r"""Move through the plane of codes of your own trained VAE.

    Two sliders move z: you see the mean of p(x|z) and a draw from it. A third picks an image: you
    see its code, its reconstruction, its ELBO (256 draws, with the standard error) and its exact
    ln p(x), by a grid.

    Args:
        model: a VAE with two latents, any likelihood. It is used as it is at that moment: train on,
            and move a slider.
        data: images such as the model was trained on: `vae_lib.data.load("digits", split="test")`.

    Raises:
        ValueError: the model has another number of latents.

    Book: chapter 8 (four test-time modes).

    >>> from vae_lib.data import load
    >>> atlas = latent_atlas(mlp_vae(64, latent=2, seed=0), load("digits", split="test"))
    >>> atlas.z1.value = 1.5
    >>> "z = (1.50, 0.00)" in atlas.pictures.value
    True
    """
    latent = model.prior.event_shape[0]
    if latent != 2:
        raise ValueError(f"model has {latent} latents; the atlas is a plane: wanted 2")
    if in_book_build():
        return explorables.latent_atlas(model, _pixels(model, data), data.labels)
    return LatentAtlas(model, data)


def interpolation(model: VAE, data: ImageData) -> Interpolation | Explorable:
    r"""Go from one image to another along the line between their codes, with your own model.

    Args:
        model: a VAE with any number of latents and any likelihood.
        data: the images to choose from.

    Book: chapter 8 (four test-time modes).

    >>> from vae_lib.data import load
    >>> line = interpolation(mlp_vae(64, latent=8, seed=0), load("digits", split="test"))
    >>> line.t.value = 0.25
    >>> "t = 0.25" in line.now.value
    True
    """
    if in_book_build():
        return explorables.interpolation(model, _pixels(model, data), data.labels)
    return Interpolation(model, data)


def quick_retrain(
    data: ImageData,
    *,
    latent: int = 2,
    hidden: Sequence[int] = (64,),
    epochs: int = 30,
    seed: int = 0,
) -> QuickRetrain | Explorable:
    r"""Turn β, the likelihood and σ, press *Train*, and see within seconds what it did.

    The trained VAE is in `.model` and its `History` in `.history`.

    Args:
        data: the images to train on.
        latent: latents of the model.
        hidden: its hidden layers.
        epochs: where the slider for the passes over the data stands at the start, up to 200.
        seed: seed of the initial weights and of training.

    Book: chapter 8 (a VAE on real digits).

    >>> from vae_lib.data import load
    >>> knobs = quick_retrain(load("digits", split="validation"), hidden=(8,), epochs=1)
    >>> knobs.train()
    History(epochs=1, ...
    """
    if in_book_build():
        return explorables.retrained(data.binarized(), seed=seed)
    return QuickRetrain(data, latent=latent, hidden=hidden, epochs=epochs, seed=seed)


class _Board(ipywidgets.VBox):
    """A column of controls that shows the errors of its callbacks below itself."""

    def __init__(self, children: Sequence[ipywidgets.Widget]):
        self.errors = ipywidgets.Output()
        super().__init__([*children, self.errors])

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Show an exception in the output area; without a notebook around, let it through."""
        self.errors.outputs = ()
        with self.errors:
            yield

    def on_change(self, control: ipywidgets.Widget, callback: Callable[[], object]) -> None:
        """Call `callback` whenever the value of `control` has changed."""

        def changed(_: dict) -> None:
            with self.reporting():
                callback()

        control.observe(changed, names="value")


class LatentAtlas(_Board):
    """The widget of `latent_atlas`. `place` and `choose` are its callbacks.

    Book: chapter 8 (four test-time modes).

    >>> from vae_lib.data import load
    >>> LatentAtlas(mlp_vae(64, latent=2, seed=0), load("digits", split="test")).codes.shape
    torch.Size([300, 2])
    """

    def __init__(self, model: VAE, data: ImageData):
        self.vae = model
        self.images = _pixels(model, data)
        self.labels = data.labels
        self.side = data.shape[0]
        self.codes = _posterior(model, self.images).mean.cpu()
        self.extent = max(3.0, math.ceil(2.2 * float(self.codes.abs().max())) / 2)
        bounds = {"min": -self.extent, "max": self.extent, "step": 0.05}
        self.z1 = ipywidgets.FloatSlider(description="z₁", value=0.0, **bounds)
        self.z2 = ipywidgets.FloatSlider(description="z₂", value=0.0, **bounds)
        self.draw = ipywidgets.Button(description="New draw")
        self.image = ipywidgets.IntSlider(
            description="image", min=0, max=len(self.images) - 1, continuous_update=False
        )
        self.map, self.pictures, self.score = (ipywidgets.HTML() for _ in range(3))
        self._draws = 0
        self._background = _map(self.codes, self.labels, self.extent)
        controls = ipywidgets.VBox([self.z1, self.z2, self.draw, self.pictures])
        evaluated = ipywidgets.VBox([self.image, self.score])
        super().__init__([ipywidgets.HBox([self.map, controls]), evaluated])
        for slider in (self.z1, self.z2):
            self.on_change(slider, self._moved)
        self.on_change(self.image, lambda: self.choose(self.image.value))
        self.draw.on_click(lambda _: self._redraw())
        self._moved()
        self.choose(0)

    def _moved(self) -> None:
        self.place(self.z1.value, self.z2.value)

    def _redraw(self) -> None:
        with self.reporting():
            self._draws += 1
            self._moved()

    def place(self, z1: float | int, z2: float | int) -> Float[Tensor, " pixels"]:
        """Decode the point (z1, z2), show it, and return the mean of p(x|z), (pixels,).

        >>> from vae_lib.data import load
        >>> atlas = LatentAtlas(mlp_vae(64, latent=2, seed=0), load("digits", split="test"))
        >>> atlas.place(1.5, 0.0).shape
        torch.Size([64])
        """
        likelihood = _decode(self.vae, torch.tensor([z1, z2]))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._draws)
            drawn = likelihood.sample()
        at = f"z = ({z1:.2f}, {z2:.2f})"
        self.pictures.value = _row(
            _picture(likelihood.mean, self.side, f"mean of p(x|z) at {at}"),
            _picture(drawn, self.side, f"one draw of x at {at}"),
        )
        self._mark(z1, z2)
        return likelihood.mean

    def choose(self, index: int) -> tuple[float, float, float]:
        """Evaluate an image, show it, and return its ELBO, the standard error, and ln p(x); nats.

        >>> from vae_lib.data import load
        >>> atlas = LatentAtlas(mlp_vae(64, latent=2, seed=0), load("digits", split="test"))
        >>> elbo, error, log_evidence = atlas.choose(3)
        >>> elbo < log_evidence + 5 * error
        True
        """
        x = self.images[index]
        posterior = _posterior(self.vae, x[None])
        likelihood = _decode(self.vae, posterior.mean[0])
        elbo, error = _elbo(self.vae, x)
        half_width, points = plane_grid(self.extent, float(posterior.stddev.min()))
        evidence = grid_log_evidence(
            lambda x, z: self.vae.decode(z.unsqueeze(1)).log_prob(x),
            x[None].to(posterior.mean),
            latent_dim=2,
            points=points,
            half_width=half_width,
        ).item()
        self.score.value = _row(
            _picture(x, self.side, _name(index, self.labels)),
            _picture(likelihood.mean, self.side, "its reconstruction"),
            f"<div>ELBO = {elbo:.2f} ± {error:.2f} nats ({DRAWS} draws)<br>"
            f"ln p(x) = {evidence:.2f} nats (grid)<br>gap = {evidence - elbo:.2f} nats</div>",
        )
        self._mark(self.z1.value, self.z2.value)
        return elbo, error, evidence

    def _mark(self, z1: float | int, z2: float | int) -> None:
        posterior = _posterior(self.vae, self.images[self.image.value][None])
        (m1, m2), (s1, s2) = posterior.mean[0].tolist(), posterior.stddev[0].tolist()
        share = 50 / self.extent
        ellipse = (
            f"left:{50 + share * (m1 - 2 * s1):.2f}%;top:{50 - share * (m2 + 2 * s2):.2f}%;"
            f"width:{4 * share * s1:.2f}%;height:{4 * share * s2:.2f}%;border-radius:50%;"
            "border:2px solid #005b68;box-sizing:border-box"
        )
        cross = (
            f"left:{50 + share * z1:.2f}%;top:{50 - share * z2:.2f}%;transform:translate(-50%,-50%);"
            "font:700 22px sans-serif;color:#000"
        )
        alt = (
            f"The latent plane from -{self.extent:g} to {self.extent:g}: the codes of the data as "
            f"digits, the point z = ({z1:.2f}, {z2:.2f}), and the posterior of the image at "
            f"({m1:.2f}, {m2:.2f})."
        )
        self.map.value = (
            f'<div style="position:relative;width:{MAP_PIXELS}px;overflow:hidden">'
            f"{_img(self._background, alt, MAP_PIXELS)}"
            f'<span style="position:absolute;{ellipse}"></span>'
            f'<span style="position:absolute;{cross}">+</span></div>'
        )


class Interpolation(_Board):
    """The widget of `interpolation`. `walk` is its callback.

    Book: chapter 8 (four test-time modes).

    >>> from vae_lib.data import load
    >>> Interpolation(mlp_vae(64, latent=3, seed=0), load("digits", split="test")).STEPS
    9
    """

    STEPS = 9

    def __init__(self, model: VAE, data: ImageData):
        self.vae = model
        self.images = _pixels(model, data)
        self.labels = data.labels
        self.side = data.shape[0]
        last = len(self.images) - 1
        self.start = ipywidgets.IntSlider(description="from", min=0, max=last, value=0)
        self.end = ipywidgets.IntSlider(description="to", min=0, max=last, value=min(1, last))
        self.t = ipywidgets.FloatSlider(description="t", min=0.0, max=1.0, step=0.01, value=0.5)
        self.strips, self.now = ipywidgets.HTML(), ipywidgets.HTML()
        super().__init__([self.start, self.end, self.strips, self.t, self.now])
        for control in (self.start, self.end, self.t):
            self.on_change(control, self._moved)
        self._moved()

    def _moved(self) -> None:
        self.walk(self.start.value, self.end.value, self.t.value)

    def walk(self, start: int, end: int, t: float | int) -> Float[Tensor, " pixels"]:
        """Show the way between two images and return what stands at t, (pixels,).

        >>> from vae_lib.data import load
        >>> line = Interpolation(mlp_vae(64, latent=3, seed=0), load("digits", split="test"))
        >>> line.walk(0, 1, 0.5).shape
        torch.Size([64])
        """
        ends = self.images[[start, end]]
        codes = _posterior(self.vae, ends).mean  # (2, latent)
        steps = torch.linspace(0, 1, self.STEPS).unsqueeze(-1)  # (steps, 1)
        decoded = _decode(self.vae, torch.lerp(codes[0], codes[1], steps.to(codes))).mean
        blended = torch.lerp(ends[0], ends[1], steps)
        names = [_name(i, self.labels) for i in (start, end)]
        self.strips.value = "".join(
            _picture(images, self.side, f"{how}, from {names[0]} to {names[1]}", columns=self.STEPS)
            for images, how in ((decoded, "decoded on the line"), (blended, "blended in pixels"))
        )
        now = _decode(self.vae, torch.lerp(codes[0], codes[1], t)).mean
        self.now.value = _picture(now, self.side, f"decoded at t = {t:.2f}")
        return now


class QuickRetrain(_Board):
    """The widget of `quick_retrain`. `train` is its callback; `model` and `history` its results.

    Book: chapter 8 (a VAE on real digits).

    >>> from vae_lib.data import load
    >>> knobs = quick_retrain(load("digits", split="validation"), hidden=(8,), epochs=1)
    >>> knobs.beta.value, knobs.model
    (1.0, None)
    """

    def __init__(self, data: ImageData, *, latent: int, hidden: Sequence[int], epochs: int, seed: int):
        self.data = data
        self.latent, self.hidden, self.seed = latent, tuple(hidden), seed
        self.model: VAE | None = None
        self.history: History | None = None
        self.beta = ipywidgets.FloatLogSlider(
            description="β", min=-1, max=1, step=0.05, value=1.0, readout_format=".2f"
        )
        self.likelihood = ipywidgets.ToggleButtons(description="p(x|z)", options=["bernoulli", "gaussian"])
        self.std = ipywidgets.FloatLogSlider(
            description="σ", min=-1.5, max=0, step=0.05, value=0.3, readout_format=".2f", disabled=True
        )
        self.epochs = ipywidgets.IntSlider(description="epochs", min=1, max=200, value=epochs)
        self.button = ipywidgets.Button(description="Train", button_style="primary")
        self.progress = ipywidgets.IntProgress(min=0, max=epochs)
        self.status, self.result = ipywidgets.HTML("Not trained yet."), ipywidgets.HTML()
        super().__init__(
            [
                self.beta,
                self.likelihood,
                self.std,
                self.epochs,
                ipywidgets.HBox([self.button, self.progress]),
                self.status,
                self.result,
            ]
        )
        self.on_change(self.likelihood, self._chose_likelihood)
        self.button.on_click(lambda _: self.train_and_report())

    def _chose_likelihood(self) -> None:
        self.std.disabled = self.likelihood.value != "gaussian"

    def train_and_report(self) -> None:
        """What the button does: train, and show an error, if there is one, below the widget.

        >>> from vae_lib.data import load
        >>> knobs = quick_retrain(load("digits", split="validation"), hidden=(8,), epochs=1)
        >>> knobs.train_and_report()
        >>> len(knobs.history), knobs.button.disabled
        (1, False)
        """
        with self.reporting():
            self.train()

    def train(self) -> History:
        """Train a new model with the knobs as they stand, show the result, and return its history.

        >>> from vae_lib.data import load
        >>> knobs = quick_retrain(load("digits", split="validation"), hidden=(8,), epochs=1)
        >>> knobs.train() is knobs.history
        True
        """
        gaussian = self.likelihood.value == "gaussian"
        likelihood = Gaussian(std=self.std.value) if gaussian else Bernoulli()
        model = mlp_vae(self.data.pixels, self.latent, self.hidden, likelihood, seed=self.seed)
        x = _pixels(model, self.data)
        config = TrainConfig(
            epochs=self.epochs.value,
            beta=self.beta.value,
            learning_rate=3e-3,
            seed=self.seed,
            progress=False,
        )
        self.progress.max = self.epochs.value
        self.button.disabled = True
        try:
            history = fit(model, x, config, on_epoch=self._epoch_done)
        finally:
            self.button.disabled = False
        self.model, self.history = model, history
        self._show(x, model, history)
        return history

    def _epoch_done(self, history: History) -> None:
        self.progress.value = len(history)
        self.status.value = _terms(history)

    def _show(self, x: Tensor, model: VAE, history: History) -> None:
        shown = x[torch.linspace(0, len(x) - 1, 10).round().long()]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            rebuilt = model.reconstruct(_like(model, shown))
            generated = model.sample(10, mean=True)
        side = self.data.shape[0]
        knobs = f"β = {self.beta.value:.2f}, {self.likelihood.value}"
        if self.likelihood.value == "gaussian":
            knobs += f", σ = {self.std.value:.2f}"
        self.status.value = f"{_terms(history)} ({knobs})"
        self.result.value = "".join(
            _picture(images, side, name, columns=10)
            for images, name in (
                (shown, "images"),
                (rebuilt, "their reconstructions"),
                (generated, "decoder means at codes drawn from the prior"),
            )
        )


def _like(model: VAE, x: Tensor) -> Tensor:
    parameter = next(model.parameters())
    return x.to(parameter.device, parameter.dtype)


def _pixels(model: VAE, data: ImageData) -> Tensor:
    """The images as the model's likelihood wants them: black and white, or grey."""
    bernoulli = isinstance(getattr(model.decoder, "likelihood", None), Bernoulli)
    return data.binarized() if bernoulli else data.scaled()


@torch.no_grad()
def _posterior(model: VAE, x: Tensor) -> torch.distributions.Distribution:
    return model.encode(_like(model, x))


@torch.no_grad()
def _decode(model: VAE, z: Tensor) -> torch.distributions.Distribution:
    return model.decode(_like(model, z))


@torch.no_grad()
def _elbo(model: VAE, x: Tensor) -> tuple[float, float]:
    """The ELBO of one image and its standard error; the rate in closed form, no noise in it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        posterior = _posterior(model, x)
        z = posterior.sample((DRAWS,))  # (draws, latent)
    reconstruction = model.decode(z).log_prob(_like(model, x)).double()  # (draws,)
    rate = kl_divergence(posterior, model.prior).item()
    return reconstruction.mean().item() - rate, reconstruction.std().item() / DRAWS**0.5


def _terms(history: History) -> str:
    return (
        f"epoch {len(history)}: ELBO {history.elbo[-1]:.2f} = reconstruction "
        f"{history.reconstruction[-1]:.2f} − rate {history.rate[-1]:.2f} nats, "
        f"{history.seconds:.1f} s"
    )


def _img(png: bytes, alt: str, width: int) -> str:
    source = base64.b64encode(png).decode("ascii")
    return (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}" '
        f'style="display:block;width:{width}px;max-width:100%;image-rendering:pixelated">'
    )


def _picture(images: Tensor, side: int, name: str, columns: int = 1) -> str:
    """One image or a strip of them with its name below."""
    shown = images.detach().reshape(-1, side * side).clamp(0, 1)
    width = 112 if columns == 1 else 54 * columns
    return (
        f'<figure style="margin:4px 8px 4px 0">{_img(strip(shown, side, columns=columns), name, width)}'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
    )


def _row(*parts: str) -> str:
    return f'<div style="display:flex;flex-wrap:wrap">{"".join(parts)}</div>'


def _name(index: int, labels: Tensor | None) -> str:
    """The number of an image, and its digit where the set has labels."""
    return f"image {index}" if labels is None else f"image {index} (digit {int(labels[index])})"


def _map(codes: Tensor, labels: Tensor | None, extent: float) -> bytes:
    """The codes as coloured digits on white, the plane from −extent to extent and nothing else."""
    from matplotlib.figure import Figure

    from vae_lib import figures

    fig = Figure(figsize=(3.4, 3.4))
    ax = fig.add_axes((0, 0, 1, 1))
    shown = torch.linspace(0, len(codes) - 1, min(len(codes), 500)).round().long()
    if labels is None:
        figures.points(ax, codes[shown, 0], codes[shown, 1])
    else:
        figures.scatter_digits(ax, codes[shown], labels[shown])
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[])
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=100, facecolor="white")
    return buffer.getvalue()
