r"""The interactive figures of the course: what the reader moves with the mouse or the arrow keys.

Each function returns an `Explorable`; make it the last expression of a cell. All of them are drawn
by `explorables.js` and the scripts in `figures/`, whose arithmetic the tests compare with this
library. The state of a figure stands in the address of the page, so a link such as
`#two-kls:m=2,s=0.5,a=2` sets it.

>>> two_kls()
KL(q‖p) seeks one mode, KL(p‖q) covers both.
Top: a density p with two humps ...

In the order of the chapters:

=======  ===================================================================
chapter  figures
=======  ===================================================================
all      `predict`, the question at the start
1        `noise_to_ring`, `monte_carlo_wall`
2        `two_kls`, `bound_and_gap`
3        `jensen_chord`
4        `rate_and_distortion`
5        `sigma_weight`, `grey_bernoulli`
6        `gradient_clouds`
7        `rotate_columns`, `collapse_landscape`, `bug_switchboard`
8        `latent_atlas`, `interpolation`, `retrained`, which take a model or data
=======  ===================================================================

`script`, `in_book_build`, `SCRIPT_FILES` and `CSS_FILE` are for the build of the book.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vae_lib.bounds import log_mean_exp
from vae_lib.explorables._explorable import CSS_FILE, SCRIPT_FILES, Explorable, in_book_build, script
from vae_lib.explorables._network import base64_bytes, base64_floats, layers
from vae_lib.explorables._pictures import strip
from vae_lib.explorables.gradient_estimators import gradient_clouds
from vae_lib.explorables.hidden import monte_carlo_wall, noise_to_ring
from vae_lib.explorables.jensen import jensen_chord
from vae_lib.explorables.likelihood import grey_bernoulli, sigma_weight
from vae_lib.explorables.rate import rate_and_distortion
from vae_lib.explorables.solvable import bug_switchboard, collapse_landscape, rotate_columns
from vae_lib.laboratory import LinearGaussianModel
from vae_lib.likelihoods import Bernoulli
from vae_lib.models import VAE, StandardNormal
from vae_lib.networks import Decoder, GaussianEncoder, mlp_vae
from vae_lib.training import TrainConfig, fit

__all__ = [
    "CSS_FILE",
    "SCRIPT_FILES",
    "Explorable",
    "bound_and_gap",
    "bug_switchboard",
    "collapse_landscape",
    "gradient_clouds",
    "grey_bernoulli",
    "in_book_build",
    "interpolation",
    "jensen_chord",
    "latent_atlas",
    "monte_carlo_wall",
    "noise_to_ring",
    "predict",
    "rate_and_distortion",
    "retrained",
    "rotate_columns",
    "script",
    "sigma_weight",
    "two_kls",
]

MOST_CODES = 500
GALLERY = 10


def two_kls() -> Explorable:
    r"""Both directions of the KL between a mixture and a Gaussian, as signed areas and as a map.

    .. math:: p = \tfrac12 \mathcal{N}(-a, \tfrac14) + \tfrac12 \mathcal{N}(a, \tfrac14), \qquad
              q = \mathcal{N}(m, s^2)

    The integrand may be negative, the integral may not. Drag q on the map of the KL over (m, s).
    Address: `#two-kls:m=…,s=…,a=…,map=reverse|forward`.

    Book: chapter 2 (two directions).

    >>> two_kls().kind
    'two-kls'
    """
    from vae_lib.explorables import _posters

    return Explorable(
        "two-kls",
        "KL(q‖p) seeks one mode, KL(p‖q) covers both.",
        "Top: a density p with two humps at -2 and 2, and a bell q between them. Below, the "
        "integrands of KL(q‖p) and of KL(p‖q): each has positive and negative areas, and the "
        "positive ones are larger.",
        poster=_posters.two_kls(m=1.0, s=1.0, a=2.0),
    )


def bound_and_gap(*, simple: bool = False) -> Explorable:
    r"""The ELBO and its gap against the exact ln p(x) of a model that is solved on paper.

    .. math:: z \sim \mathcal{N}(0, 1), \qquad x \mid z \sim \mathcal{N}(w z, s^2), \qquad
              q = \mathcal{N}(m, v)

    ELBO + KL(q‖p(z|x)) = ln p(x) for every q: the line never moves when q does. The IWAE bound for
    any K is computed by quadrature, not sampled, and the EUBO bounds from above.
    Address: `#bound-and-gap:m=…,v=…,w=…,s=…,x=…,k=…`.

    Args:
        simple: one idea only: the reader moves q and nothing else, and the ELBO with its gap is the
            only bar. The address still sets the model.

    Book: chapter 2 (what is fixed when).

    >>> bound_and_gap().kind
    'bound-and-gap'
    """
    from vae_lib.explorables import _posters

    m, v, s, x, k = 0.2, 0.5, 0.5, 1.0, 5  # where the figure starts
    model = LinearGaussianModel(
        torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), s * s
    )
    datum = torch.tensor([[x]], dtype=torch.float64)
    posterior = model.posterior(datum)
    evidence = model.log_evidence(datum).item()
    elbo, iwae, eubo = _scalar_bounds(
        evidence, posterior.mean.item(), posterior.covariance_matrix.item(), m, v, k
    )
    words = (
        f"Bars against a solid line at the exact ln p(x) = {evidence:.2f} nats. The ELBO, "
        f"{elbo:.2f}, and its gap on top of it reach exactly to the line"
    )
    others = None if simple else (iwae, eubo, k)
    if others is not None:
        words += (
            f"; the IWAE bound with {k} samples ends just below it; the EUBO, {eubo:.2f}, stays above it"
        )
    return Explorable(
        "bound-and-gap",
        "The ELBO and its gap always add up to ln p(x).",
        f"{words}.",
        {"simple": True} if simple else {},
        poster=_posters.bound_and_gap(evidence=evidence, elbo=elbo, others=others),
    )


def _scalar_bounds(
    evidence: float, mean: float, variance: float, m: float, v: float, k: int
) -> tuple[float, float, float]:
    """ELBO, IWAE bound (a fixed draw of 20,000 times k) and EUBO for q = N(m, v)."""
    posterior = torch.distributions.Normal(mean, math.sqrt(variance))
    q = torch.distributions.Normal(m, math.sqrt(v))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(k, 20_000, generator=generator, dtype=torch.float64)
    z = m + math.sqrt(v) * noise  # (k, draws)
    log_ratio = posterior.log_prob(z) - q.log_prob(z)
    slack = log_mean_exp(log_ratio, dim=0).mean().item()
    kl = torch.distributions.kl_divergence
    return (
        evidence - kl(q, posterior).item(),
        evidence + slack,
        evidence + kl(posterior, q).item(),
    )


def latent_atlas(
    model: VAE,
    images: Float[Tensor, "n pixels"] | None = None,
    labels: Shaped[Tensor, " labels"] | Sequence[int] | None = None,
) -> Explorable:
    r"""The plane of codes of a trained VAE: generate, encode and evaluate, with ln p(x) by a grid.

    Move through the plane and see what the decoder makes of it; pick or draw an image and see its
    posterior (shaded), the encoder's answer (ellipses of one and two standard deviations), and its
    ELBO against the exact ln p(x). The weights travel with the figure as float32, and the script
    does the same arithmetic as the model.
    Address: `#latent-atlas:u=…,v=…,map=codes|decoded,x=…`, with x the pixels as hexadecimal digits.

    Args:
        model: a VAE as `vae_lib.networks.mlp_vae` makes it, with two latents, square images, a
            Bernoulli likelihood and the standard normal prior.
        images: black-and-white images, (n, pixels), to be placed on the map; at most 500 of them
            are. One of each label, or the first ten, can be picked.
        labels: the digit of each image, (n,), whole numbers from 0 to 255.

    Raises:
        ValueError: the model is not of that kind, an image is grey or has another number of
            pixels, or the labels do not match.

    Book: chapter 8 (four test-time modes).

    >>> latent_atlas(mlp_vae(64, latent=2, hidden=(8,), seed=0)).kind
    'latent-atlas'
    """
    from vae_lib.explorables import _posters

    latent = model.prior.event_shape[0]
    if latent != 2:
        raise ValueError(f"model has {latent} latents; the atlas is a plane: wanted 2")
    spec = _network_spec(model) | _gallery(model, images, labels)
    codes, std = torch.zeros(0, 2), torch.ones(1, 2)
    if images is not None:
        with torch.no_grad():
            posterior = model.encode(_like(model, images))
        codes, std = posterior.mean.cpu(), posterior.stddev.cpu()
    extent = min(6.0, max(3.0, math.ceil(2.2 * codes.abs().max().item()) / 2)) if len(codes) else 3.0
    half_width, points = plane_grid(extent, std.min().item())
    spec |= {"extent": extent, "halfWidth": half_width, "points": points}
    shown = torch.linspace(0, len(codes) - 1, min(len(codes), MOST_CODES)).round().long()
    plain_labels = None
    if len(codes):
        spec["codes"] = base64_floats(codes[shown])
    if labels is not None:
        plain_labels = torch.as_tensor(labels).cpu()
        spec["labels"] = base64_bytes(plain_labels[shown])
    return Explorable(
        "latent-atlas",
        "One plane of codes: decode any point of it, encode any image into it.",
        "A map of the latent plane: pictures that the decoder makes of a grid of codes change "
        "smoothly into one another" + (", and the codes of the data lie in groups." if len(codes) else "."),
        spec,
        poster=_posters.latent_atlas(
            _mosaic(model, extent, spec["side"]),
            extent,
            codes[shown].numpy() if len(codes) else None,
            None if plain_labels is None else plain_labels[shown].numpy(),
        ),
    )


def interpolation(
    model: VAE,
    images: Float[Tensor, "n pixels"],
    labels: Shaped[Tensor, " labels"] | Sequence[int] | None = None,
) -> Explorable:
    r"""From one image to another along the straight line between their codes.

    .. math:: z_t = (1 - t)\, \mu_\phi(x_a) + t\, \mu_\phi(x_b)

    Below it the same steps in pixels: a cross-fade. Any number of latents will do.
    Address: `#interpolation:from=…,to=…,t=…`.

    Args:
        model: a VAE as `vae_lib.networks.mlp_vae` makes it, with a Bernoulli likelihood.
        images: black-and-white images to choose from, (n, pixels): one of each label, or the
            first ten.
        labels: the digit of each image, (n,).

    Raises:
        ValueError: as `latent_atlas`.

    Book: chapter 8 (four test-time modes).

    >>> interpolation(mlp_vae(64, latent=3, hidden=(8,), seed=0), torch.eye(64)[:4]).kind
    'interpolation'
    """
    spec = _network_spec(model) | _gallery(model, images, labels)
    first = _like(model, images[_gallery_rows(images, labels)[:2]])
    with torch.no_grad():
        ends = model.encode(first).mean
        steps = torch.linspace(0, 1, 9).to(ends).unsqueeze(-1)
        decoded = model.decode((1 - steps) * ends[0] + steps * ends[-1]).mean
        blended = (1 - steps) * first[0] + steps * first[-1]
    return Explorable(
        "interpolation",
        "A line between two codes is not a cross-fade between two images.",
        "Two rows of nine pictures from one image to another: in the first, decoded along the line "
        "between the codes, every step is a picture of its own; in the second both images shine "
        "through each other.",
        spec,
        poster=strip(torch.cat([decoded, blended]), spec["side"], columns=9),
    )


def retrained(
    data: Float[Tensor, "n pixels"],
    *,
    betas: Sequence[float | int] = (0.25, 0.5, 1, 2, 4),
    epochs: int = 30,
    seed: int = 0,
) -> Explorable:
    r"""One small VAE trained once for each β: what the weight of the rate does to it.

    The models are trained here and now, one after the other, each for `epochs` passes over the
    data; the figure shows the results and trains nothing.
    Address: `#retrained:beta=…`.

    Args:
        data: black-and-white images, (n, pixels), square.
        betas: the weights to train with, each once.
        epochs: passes over the data for each.
        seed: seed of the initial weights and of training.

    Raises:
        ValueError: the images are not square, or `betas` repeat or are empty.

    Book: chapter 8 (a VAE on real digits).

    >>> retrained(torch.eye(64), betas=(0.5, 2), epochs=1).kind
    'retrained'
    """
    if not betas or len(set(betas)) != len(betas):
        raise ValueError(f"betas must be one or more different numbers, got {list(betas)}")
    side = _side(data.shape[1])
    shown = data[torch.linspace(0, len(data) - 1, 10).round().long()].cpu()
    runs: list[dict[str, Any]] = []
    sheets: dict[float, Tensor] = {}
    for beta in sorted(betas):
        model = mlp_vae(data.shape[1], latent=8, hidden=(64,), seed=seed)
        config = TrainConfig(epochs=epochs, beta=float(beta), learning_rate=3e-3, seed=seed, progress=False)
        history = fit(model, data, config)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            samples = model.sample(10, mean=True).cpu()
        rebuilt = model.reconstruct(_like(model, shown)).cpu()
        sheets[beta] = torch.cat([shown, rebuilt, samples])
        runs.append(
            {
                "beta": float(beta),
                "elbo": history.elbo[-1],
                "reconstruction": history.reconstruction[-1],
                "rate": history.rate[-1],
                "images": base64_bytes((255 * shown).round()),
                "rebuilt": base64_bytes((255 * rebuilt).round()),
                "samples": base64_bytes((255 * samples).round()),
            }
        )
    values = [run["beta"] for run in runs]
    start = 1.0 if 1.0 in values else values[0]
    spec = {
        "side": side,
        "knobs": [{"key": "beta", "text": "weight β", "values": values, "value": start}],
        "strips": {
            "images": "images",
            "rebuilt": "their reconstructions",
            "samples": "decoder means at codes drawn from the prior",
        },
        "note": f"{len(runs)} models with 8 latents, trained for {epochs} epochs each when this page "
        "was made. The values are means over the training images at the last epoch, in nats.",
        "runs": runs,
    }
    return Explorable(
        "retrained",
        "A larger β buys a lower rate and pays with the reconstruction.",
        f"Three rows of ten pictures for a model trained with β = {start:g}: images, their "
        "reconstructions, and pictures decoded from the prior.",
        spec,
        poster=strip(sheets[start], side, columns=10),
    )


def predict(*, question: str, choices: Sequence[str], answer: int, why: str) -> Explorable:
    """A question that the reader answers before reading on; the answer stays locked until then.

    Args:
        question: plain text (Unicode, no LaTeX).
        choices: two or more different answers.
        answer: the place of the right one, from 0.
        why: a sentence or two that the reader sees after choosing.

    Raises:
        ValueError: there are fewer than two choices, they repeat, a text is empty, or `answer` is
            not one of them.

    Book: every chapter opens with one.

    >>> predict(question="Is a KL ever negative?", choices=["yes", "no"], answer=1,
    ...         why="Gibbs' inequality.").kind
    'predict'
    """
    choices = list(choices)
    if len(choices) < 2 or len(set(choices)) != len(choices):
        raise ValueError(f"choices must be two or more different answers, got {choices}")
    if isinstance(answer, bool) or answer not in range(len(choices)):
        raise ValueError(f"answer must be a place from 0 to {len(choices) - 1}, got {answer!r}")
    if not all(text.strip() for text in (question, why, *choices)):
        raise ValueError("question, choices and why must not be empty")
    items = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices)
    still = (
        f"<p>{html.escape(question)}</p><ul>{items}</ul>"
        f"<details><summary>Show the answer</summary>"
        f"<p><strong>{html.escape(choices[answer])}</strong> {html.escape(why)}</p></details>"
    )
    listed = " ".join(f"({i}) {choice}" for i, choice in enumerate(choices, 1))
    return Explorable(
        "predict",
        "Predict first",
        f"A question: {question} {listed}",
        {"question": question, "choices": choices, "answer": answer, "why": why},
        still=still,
    )


def plane_grid(extent: float, narrowest: float) -> tuple[float, int]:
    """Half width and points per dimension of a grid that sees every posterior of an atlas.

    It reaches two prior deviations beyond the map, six at least. Its spacing is at most 0.1, and at
    most 1.1 of the narrowest posterior: the trapezoid rule is then off by 2 exp(−2π²/1.1²) = 1.6e-7
    of p(x). Below 0.05 it does not go: a browser must hold the table.

    >>> plane_grid(3.0, 0.2), plane_grid(4.5, 0.06)
    ((6.0, 121), (6.5, 198))
    """
    half_width = max(6.0, extent + 2.0)
    spacing = min(0.1, max(0.05, 1.1 * narrowest))
    return half_width, math.ceil(2 * half_width / spacing) + 1


def _side(pixels: int) -> int:
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"images must be square, got {pixels} pixels")
    return side


def _network_spec(model: VAE) -> dict[str, Any]:
    """Encoder and decoder as JSON, after a look at whether the script can do their arithmetic."""
    encoder, decoder = model.encoder, model.decoder
    if not isinstance(encoder, GaussianEncoder) or not isinstance(decoder, Decoder):
        raise ValueError(
            "model must be made of a GaussianEncoder and a Decoder, as mlp_vae makes it; got "
            f"{type(encoder).__name__} and {type(decoder).__name__}"
        )
    if not isinstance(decoder.likelihood, Bernoulli):
        raise ValueError(f"model has the likelihood {decoder.likelihood}; wanted Bernoulli")
    if not isinstance(model.prior_source, StandardNormal):
        raise ValueError("model must have the standard normal prior")
    spec = {"encoder": layers(encoder.network), "decoder": layers(decoder.network)}
    return spec | {"side": _side(spec["decoder"][-1]["shape"][0])}


def _like(model: VAE, images: Tensor) -> Tensor:
    parameter = next(model.parameters())
    return images.to(parameter.device, parameter.dtype)


def _gallery_rows(images: Tensor, labels: Tensor | Sequence[int] | None) -> list[int]:
    """The rows that can be picked: the first of each label, or the first ten."""
    if labels is None:
        return list(range(min(GALLERY, len(images))))
    first: dict[int, int] = {}
    for row, label in enumerate(torch.as_tensor(labels).tolist()):
        first.setdefault(label, row)
    return [row for _, row in sorted(first.items())][:GALLERY]


def _gallery(model: VAE, images: Tensor | None, labels: Tensor | Sequence[int] | None) -> dict[str, Any]:
    if images is None:
        if labels is not None:
            raise ValueError("labels were given without images")
        return {"gallery": [], "galleryNames": []}
    pixels = _pixels(model)
    if images.dim() != 2 or images.shape[1] != pixels or len(images) == 0:
        raise ValueError(f"images must be (n > 0, {pixels}), got {tuple(images.shape)}")
    if not bool(((images == 0) | (images == 1)).all()):
        raise ValueError("images must be black and white, every pixel 0 or 1: binarise them first")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels must be {len(images)}, got {len(labels)}")
    rows = _gallery_rows(images, labels)
    names = [f"image {row + 1}" if labels is None else f"digit {int(labels[row])}" for row in rows]
    return {"gallery": [_hexadecimal(images[row]) for row in rows], "galleryNames": names}


def _pixels(model: VAE) -> int:
    """The number of pixels that the decoder of `model` makes."""
    decoder: Any = model.decoder  # a `vae_lib.networks.Decoder`
    return layers(decoder.network)[-1]["shape"][0]


def _hexadecimal(image: Tensor) -> str:
    """A black-and-white image as hexadecimal digits, four pixels in each."""
    bits = "".join("1" if pixel else "0" for pixel in image.tolist())
    bits = bits.ljust(-(-len(bits) // 4) * 4, "0")
    return "".join(f"{int(bits[i : i + 4], 2):x}" for i in range(0, len(bits), 4))


def _mosaic(model: VAE, extent: float, side: int, tiles: int = 13) -> Any:
    """Decoder means on a grid of codes as one picture, (tiles · side, tiles · side)."""
    axis = extent * (2 * torch.arange(tiles) + 1 - tiles) / tiles
    rows, columns = torch.meshgrid(-axis, axis, indexing="ij")
    z = torch.stack([columns, rows], -1).reshape(-1, 2)
    with torch.no_grad():
        mean = model.decode(_like(model, z)).mean.cpu()
    sheet = mean.reshape(tiles, tiles, side, side).permute(0, 2, 1, 3)
    return sheet.reshape(tiles * side, tiles * side).numpy()
