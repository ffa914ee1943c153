"""The ledger must pass what is true, refuse what is not, and say where."""

import html
import json
import math
import re

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from vae_lib import ledger

NAN, INF = math.nan, math.inf


@pytest.fixture
def shell():
    """IPython in this process, gone again after the test."""
    InteractiveShell.clear_instance()
    running = InteractiveShell.instance()
    running.history_manager.enabled = False
    yield running
    running.history_manager.end_session()
    running.restore_sys_module_state()
    InteractiveShell.clear_instance()


class TestIdentity:
    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (1.0, 1),
            (np.float32(0.5), torch.tensor(0.5)),
            (torch.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)),
            (torch.ones(2, requires_grad=True), [1.0, torch.tensor(1.0, requires_grad=True)]),
            (np.array([True, False]), [1, 0]),
        ],
    )
    def test_holds(self, left, right, capsys):
        check = ledger.identity("eq-a", left, right)
        assert (check.kind, check.error) == ("identity", 0.0)
        assert check.count == np.size(left) if not isinstance(left, torch.Tensor) else left.numel()
        assert capsys.readouterr().out == check.text + "\n"

    def test_line_reads_as_in_the_book(self):
        check = ledger.identity("eq-kl-rearrangement", 0.5, 0.5 + 8.88e-16)
        assert check.text == (
            "✓ eq-kl-rearrangement · identity · largest difference 8.9e-16 ≤ 1e-12 · enumeration"
        )

    def test_failure_names_label_error_tolerance_and_place(self):
        left = np.zeros((2, 3))
        right = left.copy()
        right[1, 2] = 0.25
        with pytest.raises(AssertionError) as failure:
            ledger.identity("eq-b", left, right, tolerance=0.1)
        text = str(failure.value)
        for part in ("eq-b", "2.5e-1", "0.1", "(1, 2)", "left = 0.0", "right = 0.25"):
            assert part in text

    def test_error_just_above_the_tolerance_fails_and_just_below_holds(self):
        ledger.identity("eq-c", 0.0, 0.99e-12)
        with pytest.raises(AssertionError):
            ledger.identity("eq-c", 0.0, 1.01e-12)

    @pytest.mark.parametrize(
        ("left", "right"), [(NAN, NAN), (1.0, NAN), (INF, INF), (-INF, -INF), ([0.0, NAN], [9, 0])]
    )
    def test_nan_fails(self, left, right):
        with pytest.raises(AssertionError, match=r"eq-d.*NaN.*1e-12"):
            ledger.identity("eq-d", left, right)

    def test_infinite_difference_fails(self):
        with pytest.raises(AssertionError, match="inf"):
            ledger.identity("eq-e", INF, 0.0)

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (1.0, [1.0]),
            (torch.ones(3), 1.0),
            (np.ones((2, 1)), np.ones((1, 2))),
            (np.ones(3), np.ones((3, 1))),
        ],
    )
    def test_unequal_shapes_fail_where_broadcasting_would_pass(self, left, right):
        with pytest.raises(AssertionError, match=r"eq-f.*1e-12.*shape"):
            ledger.identity("eq-f", left, right)

    def test_nothing_to_compare_fails(self):
        with pytest.raises(AssertionError, match="empty"):
            ledger.identity("eq-g", [], [])

    @pytest.mark.parametrize("tolerance", [NAN, INF, -1e-9])
    def test_useless_tolerance_is_refused(self, tolerance):
        with pytest.raises(ValueError, match="tolerance"):
            ledger.identity("eq-h", 1.0, 1.0, tolerance=tolerance)

    @pytest.mark.parametrize("label", ["", "Eq-a", "eq a", "eq_a", "eq-ä", "eq-a\n"])
    def test_bad_label_is_refused(self, label):
        with pytest.raises(ValueError, match="label"):
            ledger.identity(label, 1.0, 1.0)

    def test_float32_is_compared_in_float64(self):
        with pytest.raises(AssertionError):
            ledger.identity("eq-i", torch.tensor(0.1), 0.1)


class TestBound:
    def test_margin_and_count(self):
        check = ledger.bound("eq-a", [-3.0, -2.0], [-1.0, -1.5])
        assert (check.error, check.margin, check.count) == (0.0, 0.5, 2)
        assert "holds at all 2 points, smallest margin 0.5" in check.text

    def test_rounding_is_forgiven_up_to_the_slack(self):
        check = ledger.bound("eq-a", 1.0 + 4e-13, 1.0)
        assert check.error == pytest.approx(4e-13, rel=1e-3)
        assert "margin −4e-13" in check.text
        with pytest.raises(AssertionError, match=r"eq-a.*2.0e-12.*1e-12"):
            ledger.bound("eq-a", 1.0 + 2e-12, 1.0)

    def test_failure_names_the_worst_place(self):
        with pytest.raises(AssertionError, match=r"eq-b.*5.0e-1.*index 1: lower = 2.5, upper = 2"):
            ledger.bound("eq-b", [2.1, 2.5, 0.0], [2.0, 2.0, 2.0])

    def test_minus_infinity_is_a_lower_bound(self):
        assert ledger.bound("eq-c", -INF, -1.0).margin == INF

    @pytest.mark.parametrize(
        ("lower", "upper"), [(INF, 0.0), (NAN, 0.0), (0.0, NAN), (-INF, -INF), (0.0, -INF)]
    )
    def test_nan_and_broken_infinities_fail(self, lower, upper):
        with pytest.raises(AssertionError, match="eq-d"):
            ledger.bound("eq-d", lower, upper)

    def test_unequal_shapes_fail(self):
        with pytest.raises(AssertionError, match="shape"):
            ledger.bound("eq-e", 0.0, [1.0])

    def test_swapped_sides_fail(self):
        with pytest.raises(AssertionError):
            ledger.bound("eq-f", -1.42, -98.6)


class TestStatistic:
    def test_line_shows_both_numbers_and_units_of_error(self):
        check = ledger.statistic("eq-a", -10.6004, 0.0031, -10.599, by="100,000 draws")
        assert check.error == pytest.approx(1.4 / 3.1)
        assert (check.estimate, check.standard_error, check.exact) == (-10.6004, 0.0031, -10.599)
        assert check.text.endswith("≤ 5 · 100,000 draws")

    def test_arrays_report_the_worst_element(self):
        check = ledger.statistic("eq-a", [1.0, 2.0], [0.1, 0.1], [1.0, 2.4])
        assert (check.estimate, check.exact) == (2.0, 2.4)
        assert check.error == pytest.approx(4.0)
        assert "2 values, worst 2.00 ± 0.10 against 2.40" in check.text

    def test_too_far_out_fails(self):
        with pytest.raises(AssertionError, match=r"eq-b.*6 standard errors > 5.*estimate = 1\.6"):
            ledger.statistic("eq-b", 1.6, 0.1, 1.0)

    @pytest.mark.parametrize("spread", [0.0, -0.1, NAN, INF])
    def test_useless_standard_error_is_refused(self, spread):
        with pytest.raises(AssertionError, match=r"eq-c.*standard error must be positive.*"):
            ledger.statistic("eq-c", 1.0, spread, 1.0)

    def test_one_zero_among_many_is_refused_and_named(self):
        with pytest.raises(AssertionError, match=r"index 1: standard_error = 0\.0"):
            ledger.statistic("eq-c", [1.0, 1.0], [0.1, 0.0], [1.0, 1.0])

    @pytest.mark.parametrize(("estimate", "exact"), [(NAN, 1.0), (1.0, NAN), (INF, INF)])
    def test_nan_fails(self, estimate, exact):
        with pytest.raises(AssertionError, match="NaN"):
            ledger.statistic("eq-d", estimate, 0.1, exact)

    @pytest.mark.parametrize(
        ("estimate", "spread", "exact"), [(1.0, [0.1], 1.0), ([1.0], 0.1, [1.0]), ([1.0], [0.1], 1)]
    )
    def test_unequal_shapes_fail(self, estimate, spread, exact):
        with pytest.raises(AssertionError, match="shape"):
            ledger.statistic("eq-e", estimate, spread, exact)

    @pytest.mark.parametrize("sigmas", [0, 0.0, NAN, INF, -1.0])
    def test_useless_sigmas_are_refused(self, sigmas):
        with pytest.raises(ValueError, match="sigmas"):
            ledger.statistic("eq-f", 1.0, 0.1, 1.0, sigmas=sigmas)


class TestDisplay:
    def test_bundle_carries_every_field(self, shell):
        with capture_output() as shown:
            check = ledger.statistic("eq-a", -1.0, 0.1, -1.1, by='10 "draws" & <more>')
        assert shown.stdout == ""
        (output,) = shown.outputs
        assert output.data["text/plain"] == check.text
        match = re.fullmatch(
            r"<div class=\"vae-check\" data-vae-check='([^']*)'>(.*)</div>",
            output.data["text/html"],
        )
        record = json.loads(html.unescape(match[1]))
        assert record == check.as_dict()
        assert {"label", "kind", "error", "tolerance", "by", "text"} <= record.keys()
        assert record["by"] == '10 "draws" & <more>'
        assert html.unescape(match[2]) == check.text

    def test_infinite_margin_stays_valid_json(self, shell):
        with capture_output() as shown:
            ledger.bound("eq-a", -INF, 0.0)
        attribute = re.search(r"data-vae-check='([^']*)'", shown.outputs[0].data["text/html"])[1]

        def refuse(constant):
            raise AssertionError(constant)

        record = json.loads(html.unescape(attribute), parse_constant=refuse)
        assert record["margin"] is None

    def test_the_value_of_a_cell_is_not_shown_twice(self, shell):
        with capture_output() as shown:
            check = ledger.identity("eq-a", 1.0, 1.0)
            shell.display_formatter.format(check)
        assert len(shown.outputs) == 1
        shell.execution_count += 1
        with capture_output() as shown:
            shell.display_formatter.format(check)
        assert len(shown.outputs) == 1

    def test_a_failed_check_shows_nothing(self, shell):
        with capture_output() as shown, pytest.raises(AssertionError):
            ledger.identity("eq-a", 1.0, 2.0)
        assert shown.outputs == []

    def test_a_check_cannot_be_changed(self):
        check = ledger.identity("eq-a", 1.0, 1.0)
        with pytest.raises(AttributeError):
            check.error = 0.5


class TestGlue:
    @pytest.mark.parametrize(
        ("value", "spec", "spread", "text"),
        [
            (-10.59991, ".3f", 0.0031, "−10.600 ± 0.003"),
            (0.4105, "+.4f", None, "+0.4105"),
            (-0.4105, "+.2f", 0.1, "−0.41 ± 0.10"),
            (4.5e-9, ".1e", None, "4.5·10⁻⁹"),
            (-2.25e12, ".0e", None, "−2·10¹²"),
            (5.31, ".1e", None, "5.3"),
            (100_000, ",", None, "100,000"),
            (torch.tensor(0.25, requires_grad=True), ".2f", None, "0.25"),
            (np.array([3]), "d", None, "3"),
            ("two-dimensional", ".4f", None, "two-dimensional"),
        ],
    )
    def test_text(self, value, spec, spread, text, capsys):
        assert ledger.glue("n-1", value, spec, spread) == text
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("name", ["", "a_b", "A", "a b", "a:b", "ü"])
    def test_bad_name_is_refused(self, name):
        with pytest.raises(ValueError, match="name"):
            ledger.glue(name, 1.0)

    @pytest.mark.parametrize("value", [NAN, torch.ones(2), np.array([])])
    def test_what_is_no_number_is_refused(self, value):
        with pytest.raises(ValueError, match="value"):
            ledger.glue("n", value)

    @pytest.mark.parametrize("spread", [0.0, -1.0, NAN, INF])
    def test_useless_standard_error_is_refused(self, spread):
        with pytest.raises(ValueError, match="standard_error"):
            ledger.glue("n", 1.0, standard_error=spread)

    def test_text_has_no_standard_error(self):
        with pytest.raises(ValueError, match="belong to a number"):
            ledger.glue("n", "many", standard_error=0.1)

    def test_same_bundle_as_myst_nb(self, shell):
        from myst_nb import glue

        with capture_output() as ours:
            text = ledger.glue("gap", -10.6, ".3f", standard_error=0.003)
            shell.display_formatter.format(text)
        with capture_output() as theirs:
            glue("gap", str(text), display=False)
        assert len(ours.outputs) == len(theirs.outputs) == 1
        assert ours.outputs[0].data == theirs.outputs[0].data
        assert ours.outputs[0].metadata == theirs.outputs[0].metadata
