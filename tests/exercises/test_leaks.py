"""No answer and no hidden test reaches a student: pages, notebooks, archives; and a planted one is found."""

import shutil
import subprocess
import zipfile

import nbformat
import pytest

import exercises as builder
from exercises import find_leaks

NAMES = builder.names()
PUBLIC = ["book", "vae_lib", "tests", "tools", ".gitattributes"]


def answer_lines(name):
    """Some long line of every answer, as it is written in the source."""
    return [
        max(builder.region_lines(exercise.answer), key=len).strip()
        for exercise in builder.Assignment(name).exercises
    ]


@pytest.mark.parametrize("folder", ["book", "vae_lib", "tests", "tools"])
def test_nothing_leaks_from_what_students_get(folder):
    assert find_leaks(builder.ROOT / folder) == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_leaks_from_the_student_notebooks_of_any_variant(name, tmp_path):
    for variant in range(3):
        builder.build_student(name, tmp_path / f"{variant}.ipynb", variant)
    assert find_leaks(tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_a_secret(name):
    secrets = builder.secrets(name)
    for exercise in builder.Assignment(name).exercises:
        assert any(builder._squeeze(line) in secrets for line in builder.region_lines(exercise.answer)), (
            exercise.id
        )
        for test in exercise.tests:
            assert any(builder._squeeze(line) in secrets for line in builder.region_lines(test.code)), (
                test.grade_id
            )


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_answer_is_found_in_every_kind_of_file(name, tmp_path):
    from html import escape

    for place, line in enumerate(answer_lines(name)):
        spans = "".join(f'<span class="n">{escape(word)}</span> ' for word in line.split(" "))
        (tmp_path / f"page{place}.html").write_text(f"<html><pre>{spans}</pre></html>", encoding="utf-8")
        (tmp_path / f"script{place}.js").write_text(f"var cells = {line!r};", encoding="utf-8")
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"def f():\n    {line}")])
        nbformat.write(book, tmp_path / f"book{place}.ipynb")
        with zipfile.ZipFile(tmp_path / f"pack{place}.zip", "w") as archive:
            archive.writestr("inside.py", line)
        found = {leak.file.split("/")[-1].split("!")[0] for leak in find_leaks(tmp_path)}
        wanted = {f"page{place}.html", f"script{place}.js", f"book{place}.ipynb", f"pack{place}.zip"}
        assert wanted <= found, line


def test_a_whole_source_is_found_everywhere(tmp_path):
    """Positive controls with what would really go wrong: the wrong file in the output."""
    name = NAMES[0]
    shutil.copy(builder.source_path(name), tmp_path / "page.md.txt")
    shutil.copy(builder.SOURCES / f"{name}.mutants.yml", tmp_path / "wrong.yml")
    builder.build_source(name, tmp_path / "download.ipynb")
    builder.build_instructor(name, tmp_path / "instructor.ipynb")
    stemmed = builder.MARKER[:-1] + "i"
    (tmp_path / "searchindex.js").write_text(f'Search.setIndex({{"terms":{{"{stemmed}":4}}}})')
    counts = {path.name: 0 for path in tmp_path.iterdir()}
    for leak in find_leaks(tmp_path):
        counts[leak.file.split("/")[-1]] += 1
    assert counts["page.md.txt"] > 50
    assert counts["download.ipynb"] > 50
    assert counts["instructor.ipynb"] > 50
    assert counts["wrong.yml"] >= 1
    assert counts["searchindex.js"] >= 1


def test_a_path_that_does_not_exist_is_no_clean_bill():
    with pytest.raises(FileNotFoundError):
        find_leaks(builder.ROOT / "no such folder")


def exported(tmp_path, attributes):
    """What `git archive HEAD` gives of the project, in a repository of its own."""
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    for name in [*PUBLIC, "exercises"]:
        origin = builder.ROOT / name
        if origin.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "vendor")
            shutil.copytree(origin, tree / name, ignore=ignore)
        else:
            shutil.copy(origin, tree / name)
    if not attributes:
        (tree / ".gitattributes").unlink()

    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
            cwd=tree,
            check=True,
            capture_output=True,
        )

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "everything")
    git("archive", "--format=zip", "-o", str(tmp_path / "student.zip"), "HEAD")
    with zipfile.ZipFile(tmp_path / "student.zip") as archive:
        archive.extractall(out)
    return out


def test_git_archive_leaves_the_sources_out(tmp_path):
    out = exported(tmp_path, attributes=True)
    assert not (out / "exercises").exists()
    assert (out / "book" / "exercises" / f"{NAMES[0]}.md").is_file()
    assert find_leaks(out) == []


def test_git_archive_without_attributes_would_leak(tmp_path):
    out = exported(tmp_path, attributes=False)
    assert len(find_leaks(out)) > 100
