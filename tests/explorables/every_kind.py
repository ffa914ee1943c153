"""One of each kind of explorable, for the tests of its Python side and for those in the browser.

A new figure is added here, and is then tested by both.
"""

from torch import Tensor, nn

from vae_lib import explorables

QUESTION = {
    "question": "Which of these can be negative?",
    "choices": ["the integral KL(q‖p)", "the integrand q ln(q/p)", "neither"],
    "answer": 1,
    "why": "Where q < p the logarithm is negative; the integral is not, by Gibbs' inequality.",
}
WITHOUT_DATA = (
    "noise-to-ring",
    "monte-carlo-wall",
    "two-kls",
    "bound-and-gap",
    "jensen-chord",
    "rate-and-distortion",
    "collapse-landscape",
    "rotate-columns",
    "bug-switchboard",
    "sigma-weight",
    "grey-bernoulli",
    "gradient-clouds",
)
KINDS = (*WITHOUT_DATA, "latent-atlas", "interpolation", "retrained", "predict")


def one_of_each(model: nn.Module, images: Tensor, labels: Tensor, trained_on: Tensor, epochs: int) -> dict:
    """kind -> the figure; `retrained` trains its models on images of its own."""
    figures = {kind: getattr(explorables, kind.replace("-", "_"))() for kind in WITHOUT_DATA} | {
        "latent-atlas": explorables.latent_atlas(model, images, labels),
        "interpolation": explorables.interpolation(model, images, labels),
        "retrained": explorables.retrained(trained_on, betas=(1, 4), epochs=epochs),
        "predict": explorables.predict(**QUESTION),
    }
    assert tuple(figures) == KINDS
    return figures
