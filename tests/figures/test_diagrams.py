"""The diagrams: text inside the sheet, clear of other text, large enough, and described."""

import itertools
import xml.etree.ElementTree as ET

import pytest
from matplotlib.patches import FancyArrowPatch

from vae_lib import figures
from vae_lib.figures import style

DIAGRAMS = {
    "without": lambda: figures.training_graph(False),
    "with": lambda: figures.training_graph(True),
    "modes": figures.train_and_test_graph,
    "distributions": figures.three_distributions,
    "map": lambda: figures.dependency_map(
        {1: "Sums", 2: "Integrals", 3: "Series", 10: "Measure", 11: "A theorem"},
        {2: {1: "limits"}, 3: {1: "terms"}, 10: {2: "area", 3: "convergence"}, 11: {10: "all", 1: "a"}},
        helps={3: {2: "a test of convergence"}, 11: {3: "an example"}},
        planned={11},
    ),
    "bernoulli loss": lambda: figures.loss_anatomy(reconstruction=-8.1, rate=2.9, log_evidence=-10.6),
    "gaussian loss": lambda: figures.loss_anatomy(reconstruction=23.9, rate=9.9, log_evidence=14.1),
}


@pytest.fixture(params=DIAGRAMS)
def fig(request):
    return DIAGRAMS[request.param]()


def words_of(fig):
    texts = [text for ax in fig.axes for text in ax.texts]
    for ax in fig.axes:
        if ax.axison:
            texts += [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label]
    return [text for text in texts if text.get_text() and text.get_visible()]


def test_words_lie_inside_and_apart(fig):
    figures.render(fig)
    fig.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in words_of(fig)]
    assert boxes
    for name, box in boxes:
        assert fig.bbox.x0 <= box.x0 <= box.x1 <= fig.bbox.x1, name
        assert fig.bbox.y0 <= box.y0 <= box.y1 <= fig.bbox.y1, name
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.padded(-1.5).overlaps(b.padded(-1.5)), (one, other)


def test_words_are_large_enough_on_a_phone(fig):
    width = fig.get_size_inches()[0] * 72
    assert width <= figures.WIDTH * 72
    for text in words_of(fig):
        assert text.get_fontsize() >= style.SMALL
        assert text.get_fontsize() * 350 / width >= 9


def test_describes_itself(fig):
    root = ET.fromstring(figures.render(fig))
    assert len(root[0].text) >= 20
    assert len(root[1].text) >= 20


def test_every_word_of_a_node_fits_its_box():
    for name in ("without", "with", "modes", "distributions", "map"):
        fig = DIAGRAMS[name]()
        fig.draw_without_rendering()
        (ax,) = fig.axes
        frames = [p.get_window_extent() for p in ax.patches if p.get_fill()]
        for text in ax.texts:
            box = text.get_window_extent()
            middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
            for frame in frames:
                if frame.contains(*middle):
                    assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, (name, text.get_text())


@pytest.mark.parametrize("name", ["without", "with", "modes", "distributions", "map"])
def test_nodes_leave_room_for_the_arrows_between_them(name):
    fig = DIAGRAMS[name]()
    fig.draw_without_rendering()
    (ax,) = fig.axes
    frames = [p.get_window_extent() for p in ax.patches if p.get_fill() and p.get_alpha() == 0.12]
    assert len(frames) >= 3
    room = 10 * fig.dpi / 72
    for one, other in itertools.combinations(frames, 2):
        assert not one.padded(room / 2).overlaps(other.padded(room / 2))


def test_the_two_training_graphs_say_opposite_things():
    without, trick = (figures.render(fig) for fig in figures.training_graphs())
    assert "blocks the gradient" in without
    assert "reaches the encoder" in trick


def test_the_loss_takes_its_numbers_from_the_caller():
    markup = figures.render(figures.loss_anatomy(reconstruction=-8.0, rate=3.0, log_evidence=-10.5))
    for number in ("8.00", "3.00", "11.00", "10.50", "0.50"):
        assert number in markup


@pytest.mark.parametrize(
    ("numbers", "part"),
    [
        ({"reconstruction": -8.0, "rate": -0.1, "log_evidence": 0.0}, "negative"),
        ({"reconstruction": -8.0, "rate": 2.0, "log_evidence": -10.6}, "exceeds"),
        ({"reconstruction": float("nan"), "rate": 2.0, "log_evidence": 0.0}, "finite"),
        ({"reconstruction": 8.0, "rate": 2.0, "log_evidence": -10.0}, "exceeds"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(numbers, part):
    with pytest.raises(ValueError, match=part):
        figures.loss_anatomy(**numbers)


class TestDependencyMap:
    def test_an_arc_for_each_use_and_none_leaves_the_sheet(self):
        fig = DIAGRAMS["map"]()
        fig.draw_without_rendering()
        arcs = [p for p in fig.axes[0].patches if isinstance(p, FancyArrowPatch)]
        assert len(arcs) == 8
        assert sum(arc.get_linestyle() != "solid" and arc.get_linestyle() != "-" for arc in arcs) == 2
        for arc in arcs:
            assert arc.get_window_extent().x0 >= fig.bbox.x0

    def test_says_in_words_what_it_draws(self):
        markup = figures.render(DIAGRAMS["map"]())
        assert "10, Measure: needs 2 for area, needs 3 for convergence." in markup
        assert "11, A theorem (planned): needs 10 for all" in markup
        assert "is helped by 2 for a test of convergence" in markup
        assert "1, Sums: needs nothing before it." in markup

    @pytest.mark.parametrize("needs", [{1: {2: "a"}}, {1: {1: "itself"}}])
    def test_an_order_that_cannot_be_is_refused(self, needs):
        with pytest.raises(ValueError, match="does not come before it"):
            figures.dependency_map({1: "Sums", 2: "Integrals"}, needs)

    def test_a_name_that_would_leave_the_sheet_is_refused(self):
        with pytest.raises(ValueError, match=r"names\[2\] has room for 34 characters"):
            figures.dependency_map({1: "Sums", 2: "Integrals of more than one variable"}, {})

    def test_a_number_without_a_name_is_refused(self):
        with pytest.raises(ValueError, match="2 uses 1; both need a name"):
            figures.dependency_map({1: "Sums"}, {}, helps={2: {1: "a"}})
