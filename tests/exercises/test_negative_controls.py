"""Break a copy of a source, and see the test that guards it turn red."""

from dataclasses import replace

import pytest

import exercises as builder

NAME, NUMBER = "02_kl_rearrangement", "2.2"


@pytest.fixture(scope="module")
def source():
    return builder.source_path(NAME).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mutants():
    return builder.load_mutants(NAME)[NUMBER]


def faults(text, mutants, number=NUMBER):
    return builder.faults_of(builder.Assignment(NAME, text), number, mutants, seed=3)


def broken(text, old, new, count=1):
    assert text.count(old) == count, f"{old!r} is {text.count(old)} times in the source"
    return text.replace(old, new)


def test_the_source_itself_is_green(source, mutants):
    assert faults(source, mutants) == []


def test_a_broken_reference_is_red(source, mutants):
    found = faults(broken(source, " - 1 / 2\n", " + 1 / 2\n"), mutants)
    assert any("the reference fails values" in fault for fault in found)
    assert any("the check refuses the reference" in fault for fault in found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("agree(got_2_2, wanted_2_2)", "True"),
        ("bool((other_2_2 > 0).all())", "True"),
        ("agree(same_2_2.sum(), 0.0)", "True"),
    ],
)
def test_a_weakened_test_is_red(source, mutants, old, new):
    found = faults(broken(source, old, new), mutants)
    assert any("wanted (" in fault for fault in found), found


def test_a_test_that_no_answer_fails_is_red(source, mutants):
    kept = [mutant for mutant in mutants if "shape" not in mutant.loses]
    assert f"{NUMBER}: no catalogued answer fails test-2-2-shape" in faults(source, kept)


def test_a_test_that_refuses_a_right_answer_is_red(source, mutants):
    found = faults(broken(source, "bool((other_2_2 > 0).all())", "False"), mutants)
    assert any("the reference fails zero" in fault for fault in found)


def test_a_hint_that_belongs_to_another_mistake_is_red(source, mutants):
    swapped = [replace(m, says="negated") if m.says == "no-half" else m for m in mutants]
    found = faults(source, swapped)
    assert any("wanted the hint negated" in fault for fault in found)
    assert f"{NUMBER}: no catalogued answer gets the hint no-half" in found


def test_an_answer_that_stands_outside_its_region_is_red(source, mutants):
    leaky = broken(
        source, "    ### BEGIN SOLUTION\n    # " + builder.MARKER + "\n    second_moment", "    second_moment"
    )
    leaky = broken(leaky, "- 1 / 2\n    ### END SOLUTION", "- 1 / 2")
    found = builder.faults_of_form(builder.Assignment(NAME, leaky))
    assert f"{NUMBER}: the answer has no SOLUTION region" in found
    assert any("the blank stub has" in fault for fault in faults(leaky, mutants))


def test_a_region_without_its_marker_is_red(source):
    marked = "    ### BEGIN SOLUTION\n    # " + builder.MARKER + "\n    second_moment"
    found = builder.faults_of_form(
        builder.Assignment(NAME, broken(source, marked, marked.replace(f"    # {builder.MARKER}\n", "")))
    )
    assert found == [f"answer-2-2: a SOLUTION region does not begin with # {builder.MARKER}"]


def test_points_that_differ_from_what_is_said_are_refused(source):
    with pytest.raises(builder.Fault, match="test-2-2-values"):
        _ = builder.Assignment(
            NAME, broken(source, "# 2.2 · values (2 points)", "# 2.2 · values (3 points)")
        ).exercises


def test_an_unclosed_region_is_refused(source):
    cut = broken(source, "    return torch.log(std_p)", "    # cut\n    return torch.log(std_p)")
    start = cut.index("    ### END SOLUTION", cut.index("# cut"))
    cut = cut[:start] + cut[start + len("    ### END SOLUTION") :]
    with pytest.raises(builder.Fault, match="no END SOLUTION"):
        builder.student_notebook(builder.Assignment(NAME, cut))


def test_an_unknown_number_is_refused(source):
    with pytest.raises(builder.Fault, match=r"no variant has the number \{\{speed\}\}"):
        builder.Assignment(NAME, source.replace("{{seed}}", "{{speed}}"))


def test_a_stale_page_is_red(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "PAGES", tmp_path)
    monkeypatch.setattr(builder, "STUDENT_TEXTS", tmp_path / "files")
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    for name in builder.names():
        for path, content in builder.written(name).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
    assert builder.stale() == []
    page = tmp_path / f"{NAME}.md"
    page.write_text(page.read_text(encoding="utf-8").replace("8 minutes", "9 minutes"), encoding="utf-8")
    assert builder.stale() == [f"{NAME}.md is out of date: run python tools/exercises.py build"]


def test_an_answer_planted_in_a_page_is_red(tmp_path):
    exercise = builder.Assignment(NAME).exercise("2.6")
    planted = tmp_path / "page.md"
    clean = (builder.PAGES / f"{NAME}.md").read_text(encoding="utf-8")
    planted.write_text(clean, encoding="utf-8")
    assert builder.find_leaks(planted) == []
    line = next(line for line in builder.region_lines(exercise.answer) if "q.sample" in line)
    planted.write_text(f"{clean}\n```python\n{line}\n```\n", encoding="utf-8")
    assert [leak.secret for leak in builder.find_leaks(planted)] == [line.strip()]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("- {name: a, replace: {nowhere: x}, loses: [values], says: swapped}", "'nowhere' is 0 times"),
        ("- {name: a, code: '', loses: [colour], says: swapped}", "there are no cells"),
        ("- {name: a, code: '', loses: [values]}", "both 'loses' and 'says'"),
    ],
)
def test_a_malformed_catalogue_is_refused(entry, words):
    with pytest.raises(builder.Fault, match=words):
        builder.load_mutants(NAME, f'"2.1":\n{entry}\n')
