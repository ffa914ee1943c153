"""Colours: readable on both pages, distinguishable without full colour vision, equal to the CSS."""

import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from vae_lib import figures
from vae_lib.figures import style

CSS = Path(__file__).parents[2] / "book" / "_static" / "vae.css"
PAGES = {"light": ["#ffffff"], "dark": ["#14181e", "#121212"]}

# Machado, Oliveira and Fernandes (2009), severity 1.0, for linear RGB
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def linear(colour):
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2 contrast ratio."""
    low, high = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(colour, vision):
    """Ottosson's perceptual space of what an eye sees; 0.02 is a just noticeable difference."""
    seen = np.clip(VISION[vision] @ linear(colour), 0, 1)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return lab @ np.cbrt(cones @ seen)


def test_contrast_formula_on_known_pairs():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("mode", PAGES)
@pytest.mark.parametrize("role", figures.ROLES)
def test_roles_are_readable_as_text(role, mode):
    for page in PAGES[mode]:
        assert contrast(getattr(figures.ROLES[role], mode), page) >= 4.5


@pytest.mark.parametrize("mode", PAGES)
def test_digits_are_readable_as_text(mode):
    for pair in figures.DIGITS:
        for page in PAGES[mode]:
            assert contrast(pair[mode == "dark"], page) >= 4.5


@pytest.mark.parametrize("mode", PAGES)
@pytest.mark.parametrize("vision", VISION)
def test_roles_differ_in_colour_for_every_eye(vision, mode):
    for one, other in itertools.combinations(figures.ROLES.values(), 2):
        distance = np.linalg.norm(oklab(getattr(one, mode), vision) - oklab(getattr(other, mode), vision))
        # 0.02 is just noticeable: three such steps beside other dashes, six without
        needed = 0.12 if one.dashes == other.dashes else 0.06
        assert distance >= needed, (one.name, other.name, distance)


def test_roles_have_a_second_cue():
    roles = figures.ROLES.values()
    assert len({role.marker for role in roles}) == len(roles)
    same = [
        {one.name, other.name}
        for one, other in itertools.combinations(roles, 2)
        if one.dashes == other.dashes
    ]
    assert same == [{"evidence", "generative"}]


def test_the_eight_roles_of_the_book():
    assert list(figures.ROLES) == [
        "evidence",
        "elbo",
        "gap",
        "rate",
        "reconstruction",
        "generative",
        "inference",
        "data",
    ]


@pytest.mark.parametrize("mode", PAGES)
def test_css_holds_the_same_values(mode):
    css = CSS.read_text(encoding="utf-8")
    selector = r':root,\s*html\[data-theme="light"\]' if mode == "light" else r'html\[data-theme="dark"\]'
    block = re.search(rf"(?m)^{selector} \{{(.*?)\}}", css, flags=re.DOTALL)[1]
    values = dict(re.findall(r"(--vae-[a-z0-9-]+):\s*(#[0-9a-f]{6});", block))
    wanted = {
        role.variable: getattr(role, mode) for role in figures.ROLES.values() if role.name != "evidence"
    }
    wanted |= {f"--vae-digit-{i}": pair[mode == "dark"] for i, pair in enumerate(figures.DIGITS)}
    assert values == wanted
    if mode == "light":
        assert "--vae-evidence: currentColor;" in block


def test_css_names_only_our_own_classes_and_hosts_nothing():
    css = CSS.read_text(encoding="utf-8")
    assert "http" not in css
    assert "url(" not in css
    assert "@import" not in css


def test_text_is_nine_pixels_high_on_a_phone():
    smallest = min(value for key, value in style.STYLE.items() if key.endswith(("labelsize", "font.size")))
    assert smallest * 350 / (figures.WIDTH * 72) >= 10.5
    assert smallest * style.PIXELS_PER_INCH / 72 >= 15


def test_new_leaves_global_settings_alone():
    with matplotlib.rc_context({"font.size": 17, "text.color": "red"}):
        before = dict(matplotlib.rcParams)
        figures.new(2, 2)
        assert dict(matplotlib.rcParams) == before


def test_new_gives_the_asked_grid():
    fig, axes = figures.new(2, 3, height=4, sharex=True)
    assert axes.shape == (2, 3)
    assert fig.get_size_inches().tolist() == [4.2, 4.0]


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"columns": 0}, {"height": 0}, {"width": -1}])
def test_new_refuses_empty_sheets(wrong):
    with pytest.raises(ValueError, match="must be"):
        figures.new(**wrong)


def test_unknown_role_is_refused_with_the_list():
    _, ax = figures.new()
    with pytest.raises(ValueError, match=r"evidence, elbo.*'bound'"):
        figures.line(ax, [0, 1], [0, 1], role="bound")
