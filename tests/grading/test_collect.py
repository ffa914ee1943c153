"""What is handed in comes into the course: from every kind of source, nothing outside, nothing lost."""

import json
import os
import subprocess
import zipfile

import pytest

import vae_lib.grading.incoming
from vae_lib.grading.__main__ import main
from vae_lib.grading.collect import NOTE, collect, safe_name
from vae_lib.grading.course import Cell, Course, Manifest

NAME = "two-of-chapter-2"  # as in conftest
FILE = f"{NAME}.ipynb"


@pytest.fixture
def empty(tmp_path):
    """A course that only has the list of its assignments: collecting needs no more."""
    made = Course(tmp_path / "course")
    made.write_manifest(Manifest(NAME, {"2.1": "2.1 · x"}, (Cell("test-2-1-x", "2.1", "x", 1.0),)))
    return made


@pytest.fixture
def zipped(tmp_path):
    def make(files, name="class.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        return tmp_path / name

    return make


def handed_in(course):
    """student -> the files, without the time stamp."""
    return {
        student: sorted(
            path.relative_to(course.submission(student, NAME)).as_posix()
            for path in course.submission(student, NAME).rglob("*")
            if path.is_file() and path.name != "timestamp.txt"
        )
        for student in course.students(NAME)
    }


SOURCES = {
    "canvas": {f"lovelaceada_12_345_{FILE}": b"a", f"turingalan_LATE_13_346_{NAME}-1.ipynb": b"b"},
    "canvas in a folder": {
        f"submissions/lovelaceada_12_345_{FILE}": b"a",
        "submissions/noether_9_8_x.py": b"",
    },
    "moodle": {
        f"Ada Lovelace_12_assignsubmission_file_/{FILE}": b"a",
        f"Alan Turing_13_assignsubmission_file_{FILE}": b"b",
        "Alan Turing_13_assignsubmission_onlinetext_/onlinetext.html": b"c",
    },
    "folders": {f"ada/{FILE}": b"a", "alan/sub/x.ipynb": b"b", "__MACOSX/ada/x": b"", "ada/.DS_Store": b""},
    "folders in a folder": {f"class/ada/{FILE}": b"a", "class/alan/x.ipynb": b"b"},
    "nbgrader's layout": {f"submitted/ada/{NAME}/{FILE}": b"a", f"submitted/alan/{NAME}/x.ipynb": b"b"},
    "files": {"ada.ipynb": b"a", f"alan_{FILE}": b"b"},
}
WANTED = {
    "canvas": {"lovelaceada": [FILE], "turingalan": [f"{NAME}-1.ipynb"]},
    "canvas in a folder": {"lovelaceada": [FILE], "noether": ["x.py"]},
    "moodle": {"Ada_Lovelace": [FILE], "Alan_Turing": ["onlinetext.html", FILE]},
    "folders": {"ada": [FILE], "alan": ["sub/x.ipynb"]},
    "folders in a folder": {"ada": [FILE], "alan": ["x.ipynb"]},
    "nbgrader's layout": {"ada": [FILE], "alan": ["x.ipynb"]},
    "files": {"ada": [FILE], "alan": [FILE]},
}


@pytest.mark.parametrize("unzipped", [False, True], ids=["zip", "folder"])
@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_is_understood(kind, unzipped, empty, zipped, tmp_path):
    source = zipped(SOURCES[kind])
    if unzipped:
        with zipfile.ZipFile(source) as archive:
            archive.extractall(tmp_path / "folder")
        source = tmp_path / "folder"
    found = collect(empty, NAME, source)
    assert handed_in(empty) == {name: sorted(files) for name, files in WANTED[kind].items()}
    assert found.students == sorted(WANTED[kind])
    assert found.unplaced == []
    for student in found.students:
        stamp = (empty.submission(student, NAME) / "timestamp.txt").read_text()
        assert stamp.endswith(" UTC\n")


def test_of_an_exchange_the_last_version_counts(empty, tmp_path):
    inbound = tmp_path / "exchange" / "vae" / "inbound"
    for folder, content in (
        (f"ada+{NAME}+2027-01-14 10:00:00.1 UTC+Zm9v", "old"),
        (f"ada+{NAME}+2027-01-15 10:00:00.1 UTC+Zm9v", "new"),
        ("alan+other+2027-01-15 10:00:00.1 UTC", "other"),
    ):
        (inbound / folder).mkdir(parents=True)
        (inbound / folder / FILE).write_text(content)
    collect(empty, NAME, tmp_path / "exchange")
    assert handed_in(empty) == {"ada": [FILE]}
    assert (empty.submission("ada", NAME) / FILE).read_text() == "new"


def test_nothing_is_unpacked_outside(empty, zipped, tmp_path):
    inner = zipped({"../../inner.txt": b"x", "fine.ipynb": b"y"}, "inner.zip").read_bytes()
    outside = {"../evil.txt": b"x", "/evil.txt": b"x", "ada/../../evil.txt": b"x", "C:\\evil.txt": b"x"}
    found = collect(empty, NAME, zipped({**outside, "ada/work.zip": inner}))
    assert len([line for line in found.unplaced if "leads out of the folder" in line]) == 5
    assert handed_in(empty) == {"ada": ["not-collected.txt", "work.zip", "work/fine.ipynb"]}
    assert list(tmp_path.rglob("evil.txt")) == list(tmp_path.rglob("inner.txt")) == []


def test_a_bomb_costs_its_own_student_only(empty, zipped, monkeypatch):
    monkeypatch.setattr(vae_lib.grading.incoming, "LARGEST_FILE", 1_000_000)
    found = collect(empty, NAME, zipped({f"ada/{FILE}": b"\0" * 1_000_001, f"alan/{FILE}": b"fine"}))
    assert found.students == ["ada", "alan"]
    assert found.unplaced == [f"ada: ada/{FILE} has more than 1 MB"]
    assert handed_in(empty) == {"ada": [NOTE], "alan": [FILE]}


def test_a_lie_about_the_size_is_not_believed(empty, zipped, monkeypatch):
    monkeypatch.setattr(vae_lib.grading.incoming, "LARGEST_FILE", 1_000)
    source = zipped({f"ada/{FILE}": b"\0" * 5_000})
    content = source.read_bytes()
    source.write_bytes(content.replace((5_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    found = collect(empty, NAME, source)
    assert found.students == ["ada"]
    # the reader stops at the announced size, and the checksum tells
    assert len(found.unplaced) == 1
    assert handed_in(empty) == {"ada": [NOTE]}


def test_links_pipes_and_empty_folders_cost_their_own_student_only(empty, tmp_path):
    source = tmp_path / "in"
    for student in ("ada", "alan", "emmy", "..grace..h"):
        (source / student).mkdir(parents=True)
    (source / "ada" / FILE).write_text("fine")
    (source / "alan" / FILE).symlink_to(source / "ada" / FILE)
    (source / "alan" / "circle").symlink_to(source)
    os.mkfifo(source / "..grace..h" / FILE)
    found = collect(empty, NAME, source)
    assert sorted(found.students) == ["ada", "alan", "emmy", "grace..h"]
    assert found.renamed == [("..grace..h", "grace..h")]
    assert handed_in(empty) == {"ada": [FILE], "alan": [NOTE], "emmy": [], "grace..h": [NOTE]}
    assert len(found.unplaced) == 3


def test_equal_names_stay_two_students(empty, zipped):
    found = collect(
        empty, NAME, zipped({f"ada_12_1_{FILE}": b"a", f"ada_13_2_{FILE}": b"b", f"a!_1_3_{FILE}": b"c"})
    )
    assert handed_in(empty) == {"ada_12": [FILE], "ada_13": [FILE], "a": [FILE]}
    assert ("a!", "a") in found.renamed
    again = collect(empty, NAME, zipped({f"b!/{FILE}": b"a", f"b?/{FILE}": b"b"}))
    assert again.students == ["b", "b-2"]


def test_a_second_collection_knows_who_is_who(empty, zipped):
    """Equal names are told apart in every zip as in the first, also where only one of them hands in again."""
    collect(
        empty,
        NAME,
        zipped({f"ada_12_1_{FILE}": b"a", f"ada_13_2_{FILE}": b"b", f"b!/{FILE}": b"c", f"b?/{FILE}": b"d"}),
    )
    collect(empty, NAME, zipped({f"ada_13_9_{FILE}": b"new", f"b?/{FILE}": b"new"}))
    collect(empty, NAME, zipped({f"ada_14_7_{FILE}": b"e", f"eve_15_8_{FILE}": b"f"}))
    found = collect(empty, NAME, zipped({f"eve_16_8_{FILE}": b"g"}))
    assert found.students == ["eve_16"]
    kept = {s: (empty.submission(s, NAME) / FILE).read_bytes() for s in empty.students(NAME)}
    assert kept == {
        **{"ada_12": b"a", "ada_13": b"new", "ada_14": b"e"},
        **{"b": b"c", "b-2": b"new", "eve": b"f", "eve_16": b"g"},
    }


def test_two_who_come_by_different_ways_at_once_are_not_taken_for_one(empty, zipped):
    files = {f"ada/{FILE}": b"a", f"ada_12_assignsubmission_file_/{FILE}": b"b"}
    for _ in range(2):
        found = collect(empty, NAME, zipped(files))
        assert len(found.students) == 2 == len(set(found.students))
    kept = {(empty.submission(s, NAME) / FILE).read_bytes() for s in empty.students(NAME)}
    assert kept == {b"a", b"b"}


def test_a_student_may_come_by_another_way_the_second_time(empty, zipped):
    collect(empty, NAME, zipped({f"ada/{FILE}": b"old", f"alan_12_1_{FILE}": b"old"}))
    collect(empty, NAME, zipped({f"ada_12_1_{FILE}": b"new"}))
    collect(empty, NAME, zipped({f"alan/{FILE}": b"new"}))
    assert handed_in(empty) == {"ada": [FILE], "alan": [FILE]}


def test_a_name_of_which_nothing_is_left_is_a_student_too(empty, zipped):
    found = collect(empty, NAME, zipped({f"🦊/{FILE}": b"a", f"🐻/{FILE}": b"b", f"+++_7_1_{FILE}": b"c"}))
    assert len(found.students) == 3 == len(set(found.students))
    assert all(name.startswith("unnamed-") for name in found.students)
    assert {came for came, _ in found.renamed} == {"🦊", "🐻", "+++"}
    assert found.unplaced == []


def test_names_that_are_not_in_utf_8(empty, tmp_path):
    source = os.fsencode(tmp_path / "in")
    os.makedirs(source + b"/M\xfcller")
    os.makedirs(source + b"/ada")
    for path in (b"/M\xfcller/\xff.ipynb", b"/ada/" + FILE.encode()):
        with open(source + path, "wb") as file:
            file.write(b"a")
    os.symlink("nowhere", source + b"/M\xfcller/\xfe.ipynb")
    found = collect(empty, NAME, tmp_path / "in")
    assert handed_in(empty) == {"M_ller": ["?.ipynb", NOTE], "ada": [FILE]}
    assert found.renamed == [("M?ller", "M_ller")]
    "\n".join(found.unplaced).encode()


def test_a_folder_of_any_depth_costs_its_own_student_only(empty, tmp_path, monkeypatch):
    source = tmp_path / "in"
    for student in ("ada", "deep"):
        (source / student).mkdir(parents=True)
    (source / "ada" / FILE).write_text("fine")
    (source / "deep" / FILE).write_text("fine")
    monkeypatch.chdir(source / "deep")
    for _ in range(1_100):
        os.mkdir("d")
        os.chdir("d")
    open("x", "w").close()
    monkeypatch.undo()
    try:
        found = collect(empty, NAME, source)
    finally:
        subprocess.run(["rm", "-rf", str(source / "deep" / "d")], check=True)  # pytest's own is recursive
    assert handed_in(empty) == {"ada": [FILE], "deep": [FILE]}
    assert len(found.unplaced) == 1
    assert "deeper than" in found.unplaced[0]


def test_what_a_mac_leaves_behind_is_not_handed_in(empty, zipped):
    collect(
        empty,
        NAME,
        zipped({f"ada/{FILE}": b"a", f"ada/._{FILE}": b"\0\5", "ada/desktop.ini": b"", f"._{FILE}": b""}),
    )
    assert handed_in(empty) == {"ada": [FILE]}


def test_what_nobody_signed_is_told(empty, zipped):
    found = collect(empty, NAME, zipped({FILE: b"a", f"ada/{FILE}": b"b"}))
    assert found.unplaced == [f"'{FILE}': its name does not say whose it is"]


def test_a_second_collection_replaces_only_those_who_are_in_it(empty, zipped):
    collect(empty, NAME, zipped({f"ada/{FILE}": b"old", "ada/x.py": b"", f"alan/{FILE}": b"old"}))
    collect(empty, NAME, zipped({f"ada/{FILE}": b"new"}))
    assert handed_in(empty) == {"ada": [FILE], "alan": [FILE]}
    assert (empty.submission("ada", NAME) / FILE).read_bytes() == b"new"


@pytest.mark.parametrize("content", [b"", b"PK\3\4nonsense", None], ids=["empty", "no zip", "cut"])
def test_what_is_no_zip_is_one_clear_error(content, empty, zipped):
    source = zipped({f"ada/{FILE}": json.dumps({"a": list(range(1000))})})
    source.write_bytes(source.read_bytes()[:500] if content is None else content)
    with pytest.raises(ValueError, match="cannot be read as a zip"):
        collect(empty, NAME, source)


def test_the_command_says_who_came_again_and_who_is_late(empty, zipped, capsys):
    empty.config.write_text("")
    empty.source(NAME).parent.mkdir(parents=True)
    empty.source(NAME).write_text("{}")
    words = ["collect", str(empty.root), NAME]
    assert main([*words, str(zipped(SOURCES["canvas"]))]) == 0
    said = capsys.readouterr().out
    assert f"2 students came; 2 have handed in {NAME}\n" in said
    assert "late, as Canvas says: turingalan\n" in said
    assert main([*words, str(zipped({f"lovelaceada_12_399_{NAME}-1.ipynb": b"c"}))]) == 0
    assert capsys.readouterr().out == f"1 student came (1 of them again); 2 have handed in {NAME}\n"
    for files, reason in (({}, ""), ({FILE: b""}, f"; '{FILE}': its name does not say whose it is")):
        source = zipped(files)
        assert main([*words, str(source)]) == 2
        said = capsys.readouterr().err
        assert said.endswith(f"{source} holds nothing that a student handed in{reason}\n")
        assert said.count("\n") == 1


def test_names_that_no_folder_can_have():
    assert safe_name("../..") == safe_name("+") == ""
    assert safe_name("a+b/c") == "a_b_c"
    assert len(safe_name("é" * 500).encode()) <= 120
