"""What reaches the page: one SVG that follows the page's colours and says what is seen."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from vae_lib import figures
from vae_lib.figures import emit, style

ALT = "A blue line rises from minus three. It ends below minus one."
SVG = "{http://www.w3.org/2000/svg}"


def curve(role="elbo", **kwargs):
    """A small complete figure."""
    fig, ax = figures.new(**kwargs)
    figures.line(ax, [0, 1, 2], [-3.0, -2.0, -1.6], role=role, label="curve")
    figures.axis_labels(ax, x="step (updates of q)", y="value (nats)")
    return fig


def plain():
    """A small figure without axes, quick to draw."""
    fig, ax = figures.new()
    fig.set_layout_engine("none")
    ax.axis("off")
    figures.label(ax, 0.5, 0.5, "only a word")
    return fig


def everything():
    """A figure that uses every helper."""
    fig, axes = figures.new(3, 2, height=7.0)
    x = np.linspace(0.1, 2, 20)
    for role in figures.ROLES:
        figures.line(axes[0, 0], x, x * len(role), role=role, label=role)
    figures.line(axes[0, 1], x, x, role="elbo", label="on", at=1.0)
    figures.line(axes[0, 1], x, 2 * x, role="rate", label="beside", at=1.0, side="right")
    figures.hline(axes[0, 1], 3.0, label="exact", at="left")
    figures.vline(axes[0, 1], 0.5, label="here", role="data")
    figures.band(axes[0, 1], x, x, 2 * x, role="gap", label="gap")
    figures.span(axes[0, 1], 1.5, 1.5, 3.0, label="gap")
    figures.points(axes[1, 0], x, x, errors=0.1 * x, role="reconstruction", label="points")
    axes[1, 0].set_xscale("log")
    figures.bars(axes[1, 1], ["a", "b"], [1.0, -1.0], role=["elbo", "gap"], errors=[0.1, 0.2])
    figures.contours(axes[2, 0], x, x, np.outer(x, x), role="generative", label="p(z)")
    figures.label(axes[2, 0], 1, 1, "label", role="inference")
    figures.title(axes[2, 0], "Panel")
    digits = np.arange(40) % 10
    figures.scatter_digits(axes[2, 1], np.stack([np.arange(40), digits], -1), digits)
    for ax in axes.flat:
        figures.axis_labels(ax, x="x (units)", y="y (nats)")
    return fig


@pytest.fixture(autouse=True)
def no_descriptions_yet(monkeypatch):
    monkeypatch.setattr(emit, "_claimed", {})


@pytest.fixture(scope="module")
def full():
    return figures.render(everything(), alt=ALT)


def test_is_one_svg_with_title_and_description(full):
    root = ET.fromstring(full)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    title, desc = root[0], root[1]
    assert (title.tag, desc.tag) == (f"{SVG}title", f"{SVG}desc")
    assert root.get("aria-labelledby").split() == [title.get("id"), desc.get("id")]
    assert title.text == "A blue line rises from minus three."
    assert desc.text.startswith("It ends below minus one. Horizontal axis: x (units).")


def test_one_sentence_leaves_the_axes_to_the_description():
    root = ET.fromstring(figures.render(curve(), alt="The ELBO rises to −1.6 nats in 2 steps"))
    assert root[0].text == "The ELBO rises to −1.6 nats in 2 steps"
    assert root[1].text == "Horizontal axis: step (updates of q). Vertical axis: value (nats)."


def test_scales_with_the_page(full):
    root = ET.fromstring(full)
    assert root.get("viewBox") == "0 0 302.4 504"
    assert root.get("width") == "100%"
    assert root.get("height") is None
    assert "max-width:504px" in root.get("style")


def test_no_fixed_colour_is_left(full):
    for colour in re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^<]*</(?:title|desc)>)", full):
        assert re.search(rf"var\(--vae-[a-z0-9-]+, {colour}\)", full) or colour.startswith("#vae-")
    bare = re.sub(r"var\(--vae-[a-z0-9-]+, #[0-9a-f]{6}\)", "", full)
    assert not re.search(r"(?:fill|stroke|color)\s*[:=]\s*[\"']?(?:#|black|white|rgb)", bare)
    assert "currentColor" in full
    for role in figures.ROLES.values():
        if role.name != "evidence":
            assert f"var({role.variable}, {role.light})" in full
    for i in range(10):
        assert f"var(--vae-digit-{i}, " in full


def test_what_matplotlib_leaves_black_takes_the_page_colour():
    fig = curve()
    fig.axes[0].text(0.5, -2, "black on purpose", color="black")
    root = ET.fromstring(figures.render(fig, alt=ALT))
    assert root.get("fill") == "currentColor"


def test_has_no_ground_no_style_sheet_and_no_traces(full):
    assert "<style" not in full
    assert "metadata" not in full
    assert "matplotlib" not in full
    assert not re.search(r"\d{4}-\d\d-\d\d", full)
    for shape in ET.fromstring(full).iter(f"{SVG}path"):
        assert shape.get("d") != "M 0 504 L 360 504 L 360 0 L 0 0 z"


def test_identifiers_are_unique_over_two_figures_and_all_references_hold():
    one = figures.render(curve(), alt="First figure, a blue line that rises.")
    two = figures.render(curve(), alt="Second figure, a blue line that rises.")
    for markup in (one, two):
        own = re.findall(r'\bid="([^"]+)"', markup)
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', markup)
        assert used
        assert {a or b for a, b in used} <= set(own)
    both = re.findall(r'\bid="([^"]+)"', one + two)
    assert len(both) == len(set(both))
    assert all(name.startswith("vae-") for name in both)


def test_bytes_are_the_same_every_time(full):
    assert figures.render(everything(), alt=ALT) == full


def test_bytes_are_the_same_in_another_process_with_other_settings(tmp_path):
    here = figures.render(figures.three_distributions())
    program = (
        "import hashlib, matplotlib, json\n"
        "matplotlib.rcParams.update({'font.size': 30, 'text.color': 'red', 'svg.fonttype': 'none',\n"
        "    'lines.scale_dashes': False})\n"
        "from vae_lib import figures\n"
        "print(json.dumps(figures.render(figures.three_distributions())))"
    )
    env = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True
    )
    assert json.loads(done.stdout) == here


def test_rendering_leaves_global_settings_alone():
    with matplotlib.rc_context({"font.size": 17, "text.color": "red"}):
        before = dict(matplotlib.rcParams)
        figures.render(curve(), alt=ALT)
        assert dict(matplotlib.rcParams) == before


def test_a_map_of_600_digits_stays_light():
    fig, ax = figures.new(height=4)
    digits = np.arange(600) % 10
    figures.scatter_digits(ax, np.random.default_rng(0).normal(size=(600, 2)), digits)
    figures.axis_labels(ax, x="z₁ (prior std)", y="z₂ (prior std)")
    assert len(figures.render(fig, alt=ALT)) < 70_000


class TestDescription:
    @pytest.mark.parametrize(
        "alt",
        [
            None,
            "",
            "   ",
            "ELBO curve",
            "x" * 40,
            "figures/elbo_curve_final.png",
            "the picture of the elbo.SVG",
            "The ELBO rises to $-1.6$ nats and stops.",
            r"The \ln p(x) stays above the ELBO throughout.",
        ],
    )
    def test_what_describes_nothing_is_refused(self, alt):
        fig = plain()
        with pytest.raises(ValueError, match="alt"):
            figures.show(fig, alt=alt)
        with pytest.raises(ValueError, match="alt"):
            figures.render(fig, alt=alt)

    def test_another_figure_may_not_have_the_same(self, capsys):
        figures.show(plain(), alt=ALT)
        with pytest.raises(ValueError, match="another figure"):
            figures.show(plain(), alt=f"  {ALT.replace(' ', '  ')} ")
        assert capsys.readouterr().out == f"{ALT}\n"

    def test_two_figures_need_two(self, capsys):
        pair = [plain(), plain()]
        with pytest.raises(ValueError, match="each figure"):
            figures.show(pair, alt=[ALT])
        with pytest.raises(ValueError, match="another figure"):
            figures.show(pair, alt=[ALT, ALT])
        emit._claimed.clear()
        figures.show(pair, alt=[ALT, "The second line rises as the first one does."])
        assert capsys.readouterr().out.count("\n") == 2

    @pytest.mark.parametrize(
        ("earlier", "later", "building", "refused"),
        [
            (("a", 1), ("a", 2), False, False),  # the same cell again, in JupyterLab
            (("a", 1), ("b", 2), False, True),  # another cell
            (("a", 1), ("a", 1), False, True),  # twice in one cell
            ((None, 1), (None, 2), False, False),  # cells without names, not the book
            ((None, 1), (None, 2), True, True),  # cells without names, in the book
            ((None, 1), (None, 1), False, True),  # twice in one cell, without names
            (("", 1), ("", 2), False, True),  # a program
        ],
    )
    def test_running_a_cell_again_is_no_other_figure(self, earlier, later, building, refused, monkeypatch):
        monkeypatch.setenv("VAE_BOOK_BUILD", "1" if building else "")
        places = iter([earlier, later])
        monkeypatch.setattr(emit, "_place", lambda: next(places))
        emit.claim(ALT)
        if refused:
            with pytest.raises(ValueError, match="another figure"):
                emit.claim(ALT)
        else:
            emit.claim(ALT)

    def test_a_diagram_brings_its_own_and_may_be_given_another(self):
        fig = emit.describe(plain(), "A curve that describes itself without help.")
        assert "describes itself" in figures.render(fig)
        assert "describes itself" not in figures.render(fig, alt=ALT)


class TestAxes:
    @pytest.mark.parametrize("name", ["x", "y"])
    def test_without_label_is_refused(self, name):
        fig, ax = figures.new()
        figures.axis_labels(ax, **{"y" if name == "x" else "x": "value (nats)"})
        with pytest.raises(ValueError, match=f"the {name} axis has no label"):
            figures.render(fig, alt=ALT)

    @pytest.mark.parametrize("label", ["ELBO", "ELBO ()", "(nats) ELBO", "nats", " "])
    def test_without_unit_is_refused_both_ways(self, label):
        fig, ax = figures.new()
        with pytest.raises(ValueError, match="unit"):
            figures.axis_labels(ax, y=label)
        figures.axis_labels(ax, x="x (units)")
        ax.set_ylabel(label)
        with pytest.raises(ValueError, match="unit"):
            figures.render(fig, alt=ALT)

    def test_switched_off_needs_none(self):
        fig, ax = figures.new()
        ax.axis("off")
        assert "<svg" in figures.render(fig, alt=ALT)

    def test_inner_axes_of_a_shared_column_need_none_but_the_outer_does(self):
        fig, axes = figures.new(2, 1, sharex=True)
        for ax in axes:
            figures.axis_labels(ax, y="value (nats)")
        with pytest.raises(ValueError, match="the x axis has no label"):
            figures.render(fig, alt=ALT)
        figures.axis_labels(axes[1], x="z (prior std)")
        assert "<svg" in figures.render(fig, alt=ALT)

    def test_names_under_bars_are_label_enough(self):
        fig, ax = figures.new()
        figures.bars(ax, ["a", "b"], [1, 2], role="elbo")
        figures.axis_labels(ax, y="size (nats)")
        assert "<svg" in figures.render(fig, alt=ALT)

    def test_logarithmic_ticks_carry_no_small_exponents(self):
        assert [emit._plain_number(v) for v in (1e-9, 0.01, 1, 10, 1e5, 1e7)] == [
            "1e-9",
            "0.01",
            "1",
            "10",
            "100,000",
            "1e7",
        ]


def test_a_colour_of_ones_own_is_refused():
    fig = curve()
    fig.axes[0].plot([0, 1], [0, 1], color="#123456")
    with pytest.raises(ValueError, match="#123456"):
        figures.render(fig, alt=ALT)


def test_a_colour_map_as_an_image_is_allowed():
    fig, ax = figures.new()
    ax.imshow(np.eye(4), cmap="viridis")
    figures.axis_labels(ax, x="z₁ (prior std)", y="z₂ (prior std)")
    assert "data:image/png" in figures.render(fig, alt=ALT)


def test_end_labels_leave_the_panel_and_each_other():
    fig, ax = figures.new()
    for i in range(4):
        figures.line(ax, [0, 1], [0, 0.01 * i], role="elbo", label=f"line {i}")
    figures.line(ax, [0, 1], [5, 9], role="rate", label="far away")
    figures.axis_labels(ax, x="x (units)", y="y (nats)")
    figures.render(fig, alt=ALT)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    for i, one in enumerate(boxes):
        assert one.x0 >= ax.get_window_extent().x1
        assert one.x1 <= fig.bbox.x1
        for other in boxes[:i]:
            assert not one.overlaps(other)


def test_spread_apart_is_the_nearest_allowed_place():
    random = np.random.default_rng(0)
    for _ in range(20):
        centres = np.sort(random.uniform(0, 10, 6))
        found = emit.spread_apart(centres, 2.0)
        assert np.diff(found).min() >= 2.0 - 1e-9
        nearest = ((found - centres) ** 2).sum()
        # the problem is convex, so no small allowed step may lead nearer
        for step in random.normal(scale=0.05, size=(300, 6)):
            if np.diff(found + step).min() >= 2.0:
                assert ((found + step - centres) ** 2).sum() >= nearest


class TestLive:
    @pytest.fixture
    def displayed(self, monkeypatch):
        import IPython
        import IPython.display

        shown = []
        monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"execution_count": 1})())
        monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append(data))
        return shown

    def test_one_bundle_of_html_and_text(self, displayed, monkeypatch):
        monkeypatch.setenv("VAE_BOOK_BUILD", "1")
        figures.show(curve(), alt=ALT)
        (bundle,) = displayed
        assert bundle.keys() == {"text/html", "text/plain"}
        assert bundle["text/plain"] == ALT
        assert bundle["text/html"].startswith('<div class="vae-plot"')
        assert "<style" not in bundle["text/html"]

    def test_a_live_notebook_brings_the_dark_colours_along(self, displayed, monkeypatch):
        monkeypatch.delenv("VAE_BOOK_BUILD", raising=False)
        figures.show(curve(), alt=ALT)
        sheet = re.match(r"<style>(.*?)</style>", displayed[0]["text/html"])[1]
        for role in list(figures.ROLES.values())[1:]:
            assert f"{role.variable}:{role.dark}" in sheet

    def test_pyplot_figures_are_closed(self, displayed):
        import matplotlib.pyplot as plt

        matplotlib.use("agg")
        with style.house_style():
            fig, ax = plt.subplots()
        figures.line(ax, [0, 1], [0, 1], role="elbo")
        figures.axis_labels(ax, x="x (units)", y="y (nats)")
        figures.show(fig, alt=ALT)
        assert plt.get_fignums() == []
