"""Marks, labels and refusals of the helpers."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from vae_lib import figures
from vae_lib.figures import style


@pytest.fixture
def ax():
    return figures.new()[1]


def test_there_is_never_a_legend(ax):
    figures.line(ax, [0, 1], [0, 1], role="elbo", label="ELBO")
    assert ax.get_legend() is None
    assert ax.get_legend_handles_labels() == ([], [])
    (text,) = ax.texts
    assert to_hex(text.get_color()) == figures.ROLES["elbo"].light


@pytest.mark.parametrize("role", figures.ROLES)
def test_a_line_has_the_colour_and_the_dashes_of_its_role(ax, role):
    figures.line(ax, torch.arange(3.0, requires_grad=True), np.arange(3), role=role)
    (drawn,) = ax.lines
    wanted = style.INK if role == "evidence" else figures.ROLES[role].light
    assert to_hex(drawn.get_color()) == wanted
    twin = style.new()[1]
    (same,) = twin.plot([0, 1], linestyle=figures.ROLES[role].dashes, linewidth=drawn.get_linewidth())
    assert drawn._dash_pattern == same._dash_pattern


def test_evidence_crosses_the_whole_panel(ax):
    figures.line(ax, [0, 10], [-3, -2], role="elbo")
    figures.hline(ax, torch.tensor(-1.5), label="exact")
    drawn = ax.lines[-1]
    assert list(drawn.get_xdata()) == [0, 1]
    assert drawn.get_transform() == ax.get_yaxis_transform(which="grid")
    assert ax.get_ylim()[1] > -1.5


def test_a_label_stands_at_the_last_finite_value(ax):
    figures.line(ax, [0, 1, 2], [1.0, 2.0, np.nan], role="elbo", label="ELBO")
    assert ax.texts[0].xy == (1.0, 2.0)


@pytest.mark.parametrize("at", [-0.1, 2.1])
def test_a_label_off_the_curve_is_refused(ax, at):
    with pytest.raises(ValueError, match="at must lie"):
        figures.line(ax, [0, 1, 2], [1, 2, 3], role="elbo", label="ELBO", at=at)


@pytest.mark.parametrize(("x", "y"), [([0, 1], [0, 1, 2]), ([[0, 1]], [[0, 1]]), ([], []), (1.0, 1.0)])
def test_lines_of_other_shapes_are_refused(ax, x, y):
    with pytest.raises(ValueError, match="twice"):
        figures.line(ax, x, y, role="elbo")


def test_bars_write_their_values_with_a_true_minus(ax):
    figures.bars(ax, ["a", "b"], torch.tensor([1.0, -2.5]), role="rate", spec=".1f")
    assert [text.get_text() for text in ax.texts] == ["1.0", "−2.5"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "values", "role"),
    [(["a", "a"], [1, 2], "elbo"), (["a"], [1, 2], "elbo"), (["a", "b"], [1, 2], ["elbo"]), ([], [], "elbo")],
)
def test_bars_that_do_not_agree_are_refused(ax, names, values, role):
    with pytest.raises(ValueError, match="names"):
        figures.bars(ax, names, values, role=role)


def test_contours_enclose_the_promised_mass(ax):
    grid = np.linspace(-5, 5, 401)
    density = np.exp(-(grid**2 + grid[:, None] ** 2) / 2)
    figures.contours(ax, grid, grid, density, role="generative", levels=3)
    radii = [np.hypot(*path.vertices.T).mean() for path in ax.collections[0].get_paths()]
    # a standard normal in two dimensions: P(r < R) = 1 - exp(-R²/2)
    np.testing.assert_allclose(1 - np.exp(-(np.sort(radii) ** 2) / 2), [0.25, 0.5, 0.75], atol=2e-3)


@pytest.mark.parametrize(
    "density", [np.zeros((3, 3)), -np.ones((3, 3)), np.full((3, 3), np.nan), np.ones((2, 3))]
)
def test_what_is_no_density_is_refused(ax, density):
    with pytest.raises(ValueError, match="density"):
        figures.contours(ax, np.arange(3), np.arange(3), density, role="rate")


def test_each_digit_is_its_own_marker_and_colour(ax):
    figures.scatter_digits(ax, torch.randn(20, 2), torch.arange(20) % 10)
    assert [line.get_marker() for line in ax.lines] == [f"${i}$" for i in range(10)]
    assert [to_hex(line.get_color()) for line in ax.lines] == [light for light, _ in figures.DIGITS]


@pytest.mark.parametrize(
    ("z", "labels"),
    [
        (np.zeros((3, 3)), [1, 2, 3]),
        (np.zeros((3, 2)), [1, 2]),
        (np.zeros((1, 2)), [10]),
        (np.zeros((1, 2)), [1.5]),
        ([[np.nan, 0]], [1]),
    ],
)
def test_a_map_of_something_else_is_refused(ax, z, labels):
    with pytest.raises(ValueError, match=r"z must|labels"):
        figures.scatter_digits(ax, z, labels)


def test_a_gap_arrow_widens_the_panel(ax):
    figures.span(ax, 1.0, -5.0, -1.0, label="gap 4")
    low, high = ax.get_ylim()
    assert low < -5
    assert high > -1


@pytest.mark.parametrize("value", [np.nan, [1, 2], np.inf])
def test_an_exact_value_is_one_finite_number(ax, value):
    with pytest.raises(ValueError, match="one finite number"):
        figures.hline(ax, value)
