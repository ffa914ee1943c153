"""One process per submission, and whatever it does ends with an outcome for each of its cells."""

import os
import sqlite3

import pytest

from vae_lib.grading.confine import available
from vae_lib.grading.execute import Limits, Worker

pytestmark = [pytest.mark.timeout(120)]

SETUP = {"source": "import math", "role": "setup", "grade_id": "setup"}
CONFINED = pytest.mark.skipif(not available(), reason="this system has no Landlock of Linux 6.2 or later")


@pytest.fixture(scope="module")
def worker():
    limits = Limits(
        timeout=1.5,
        total=20,
        grace=0.5,
        memory_bytes=500_000_000,
        file_bytes=1_000_000,
        disk_bytes=4_000_000,
        files=200,
        processes=8,
    )
    with Worker(limits) as made:
        yield made


@pytest.fixture
def run(worker):
    """Runs cells of a student's, then two tests: f() == 1 and g() == 2."""

    def do(*cells):
        own = [
            {"source": source, "role": "answer", "grade_id": f"answer-{n}"}
            for n, source in enumerate(cells, start=1)
        ]
        tests = [
            {"source": f"assert {call}, 'wrong'", "role": "test", "grade_id": f"test-{n}"}
            for n, call in enumerate(("f() == 1", "g() == 2"))
        ]
        execution = worker.run([SETUP, *own, *tests])
        first = len(own) + 1
        return execution, [
            execution.errors.get(first, "was not run"),
            execution.errors.get(first + 1, "was not run"),
        ]

    return do


GOOD = "def f(): return 1\ndef g(): return 2"
WRITES = "import os, time\nfor i in range(10_000):\n  if i % 1200 == 1199: time.sleep(1)"


def test_right_and_wrong(run):
    execution, errors = run("def f(): return 1\ndef g(): return 3")
    assert errors == [None, "AssertionError: wrong"]
    assert execution.flags == []


@pytest.mark.parametrize(
    ("fatal", "told"),
    [
        ("while True: pass", "stopped after 1.5 s"),
        ("import time\nwhile True:\n  try: time.sleep(60)\n  except BaseException: pass", "did not listen"),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", "did not listen"),
        ("import os; os._exit(0)", "ended itself with code 0"),
        ("import os; os.kill(os.getpid(), 9)", "died of SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "died of SIGSEGV"),
        (
            "import os, time\nfor _ in range(12):\n  if os.fork() == 0: time.sleep(60)\ntime.sleep(5)",
            "more than 8 processes",
        ),
        ("bytearray(3_000_000_000)", "more memory than 0.5 GB in answer-2"),
        ("open('x', 'wb').write(bytes(2_000_000))", "a file of more than 1 MB in answer-2"),
        (f"{WRITES}\n  open(str(i % 20), 'wb').write(bytes(900_000))", "wrote more than 4 MB in answer-2"),
        (f"{WRITES}\n  open(str(i), 'wb').close()", "wrote more than 200 files in answer-2"),
        (f"{WRITES}\n  if i < 1000: os.mkdir('d'); os.chdir('d')", "wrote more than 200 files in answer-2"),
    ],
    ids=[
        "loop",
        "catches",
        "ignores",
        "exit",
        "kill",
        "crash",
        "forks",
        "memory",
        "file",
        "disk",
        "files",
        "deep",
    ],
)
def test_a_fatal_cell_costs_itself_and_is_told(fatal, told, run):
    execution, errors = run(GOOD, fatal)
    assert errors == [None, None]
    assert execution.errors[2] is not None
    assert any(told in flag for flag in execution.flags), execution.flags


@pytest.mark.parametrize("timer", ["ITIMER_REAL", "ITIMER_PROF"])
def test_a_timer_ends_with_its_cell(timer, run):
    sets = (
        "import signal, time\nwhich = dict(ITIMER_REAL='SIGALRM', ITIMER_PROF='SIGPROF')\n"
        "def ring(*_): raise RuntimeError('ring')\n"
        f"signal.signal(getattr(signal, which['{timer}']), ring)\n"
        f"signal.setitimer(signal.{timer}, 0.3, 0.01)\n"
    )
    works = "def f():\n  until = time.monotonic() + 0.5\n  while time.monotonic() < until: pass\n  return 1\n"
    execution, errors = run(f"{sets}{works}def g(): return 2")
    assert errors == [None, None]
    assert execution.flags == []


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("try: bytearray(3 * 10**9)\nexcept MemoryError: raise ValueError('no room')", "more memory than"),
        ("import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(9,)).start()",
         "more memory than"),
        ("import torch; torch.ones(10**9)", "more memory than"),
        ("import numpy; numpy.save('a.npy', numpy.ones(10**6))", "a file of more than"),
        ("import torch; torch.save(torch.ones(10**6), 'a.pt')", "a file of more than"),
        ("import subprocess as s; s.run('head -c 2M /dev/zero > x; kill -25 $$', shell=True, check=True)",
         "a file of more than"),
    ],
    ids=["other error", "threads", "torch", "numpy.save", "torch.save", "process"],
)  # fmt: skip
def test_a_limit_of_ours_is_told_whatever_the_error_says(cell, told, run):
    execution, errors = run(GOOD, cell)
    assert errors == [None, None]
    assert execution.errors[2] is not None
    assert [flag.removeprefix(told)[-12:] for flag in execution.flags] == [" in answer-2"], execution.flags


HONEST = [
    "import functools\n@functools.lru_cache\ndef f(): return 1\n@functools.cache\ndef g(): return 2",
    "f = lambda: 1\ng = (2).__int__",
    "known = {}\ndef f(): return known.setdefault('f', 1)\ndef g(): return known.setdefault('g', 2)",
    # what `torch.compile` does when it is first used
    f"import torch\ntorch._dynamo.eval_frame.TorchPatcher.patch()\n{GOOD}",
    f"import torch.fx.traceback as t\nt.current_meta = {{'a': 1}}\n{GOOD}",
    f"import torch\ntorch.set_default_device('cpu'); torch.set_num_threads(2)\n{GOOD}",
    f"import pickle, copy, torch\ncopy.deepcopy(torch.nn.Linear(2, 2)); pickle.dumps(torch.ones(2))\n{GOOD}",
    f"import warnings\nwarnings.simplefilter('error')\n{GOOD}",
    f"import faulthandler\nfaulthandler.enable()\n{GOOD}",
    f"import subprocess, sys\nsubprocess.run(['true'], stdout=sys.stdout, stderr=sys.stderr)\n{GOOD}",
]


@pytest.mark.parametrize("answer", HONEST)
def test_nobody_honest_is_told_on(answer, run):
    execution, errors = run(answer)
    assert errors == [None, None]
    assert execution.flags == []


@pytest.mark.parametrize("body", ["while True: pass", "import os; os._exit(0)", "raise SystemExit(0)"])
def test_a_fatal_answer_costs_its_own_test_only(body, run):
    execution, errors = run(f"def f():\n    {body}\ndef g(): return 2")
    assert errors[0] is not None
    assert errors[1] is None
    assert bool(execution.flags) == ("raise" not in body)


@pytest.mark.parametrize(
    "harmless",
    [
        "quit()",
        "import sys; sys.exit()",
        "1 / 0",
        "def (",
        "import warnings, sys; warnings.warn('x'); print('y', file=sys.stderr)",
        "%matplotlib inline\n%nonsense\n!true\nx = !ls",
        "for i in range(20_000): print(i)",
        "print('x' * 30_000_000)",
        "def h(n): return h(n + 1)\nh(0)",
        "import sys; sys.stdout.close(); sys.stdout = sys.stderr = None",
        "import atexit, time; atexit.register(time.sleep, 60)",
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
        "import shutil, os; shutil.rmtree(os.getcwd())",
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "all = any = bool = isinstance = len = max = None",
        "await __import__('asyncio').sleep(0)",
        "input()",
        "import os; os.fork()",
        "print('\\ud800 \\udcff')",
    ],
)
def test_what_is_harmless_costs_nothing_and_flags_nothing(harmless, run):
    execution, errors = run(harmless, GOOD)
    assert errors == [None, None]
    assert execution.flags == []
    assert sum(len(str(output)) for outputs in execution.outputs.values() for output in outputs) < 300_000


TRICKS = [
    "get_ipython().input_transformers_cleanup.append(lambda lines: [])",
    "import ast\nclass T(ast.NodeTransformer):\n  def visit_Assert(self, n): return ast.Pass()\n"
    "get_ipython().ast_transformers.append(T())",
    "import builtins; builtins.bool = builtins.all = lambda *a: True",
    "import numpy as np; np.allclose = np.isclose = lambda *a, **k: True",
    "import torch; torch.allclose = torch.Tensor.__eq__ = lambda *a, **k: True",
    "import vae_lib.exercises.compare as c; c._near = c.close = lambda *a, **k: True",
    "from vae_lib.exercises import agree; agree.__code__ = (lambda *a, **k: True).__code__",
    "import sys, types; sys.modules['vae_lib.exercises'] = types.ModuleType('x')",
    "get_ipython().run_code = lambda *a, **k: False",
    "import vae_lib.grading.runner as r; r.Tests.run = lambda *a: None",
    "import sys; t = sys.stdout._channel\nt.begin(2); t.tell(end=True, error=None)",
    "import sys; t = sys.stdout._channel; t.tell(end=True, error=None)\n"
    "for i in (2, 3): t.begin(i); t.tell(end=True, error=None)\nt.tell(done=True)",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_told(trick, run):
    execution, _ = run(trick)
    assert execution.flags


WRONG = "def f(): return 3.0"
COMPARED = [
    "from vae_lib.exercises import agree\nassert agree(f(), 1.0)",
    "import numpy as np\nassert np.allclose(f(), 1.0) or np.isclose(f(), 1.0)",
    "import torch\nassert torch.allclose(torch.tensor(f()), torch.tensor(1.0))",
    "import torch\nassert bool(all([(torch.tensor(f()) == 1.0).item()]))",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_earns_nothing(trick, worker):
    cells = [{"source": source, "role": "own", "grade_id": ""} for source in (WRONG, trick)]
    cells += [{"source": source, "role": "test", "grade_id": "t"} for source in COMPARED]
    errors = worker.run(cells).errors
    assert all(errors.get(place, "was not run") is not None for place in range(2, 6)), errors


def test_no_cell_can_read_a_test_that_has_not_had_its_turn(run):
    look = "import gc\nf = [o for o in gc.get_objects() if isinstance(o, dict) and 'grade_id' in o]"
    execution, _ = run(look, "import sys\nprint(open('/proc/self/cmdline').read(), f)")
    assert "g() ==" not in str(execution.outputs)


def test_an_answer_cannot_change_the_names_of_its_test(run):
    _, errors = run("import sys\ndef f():\n    sys._getframe(1).f_globals['g'] = lambda: 2\n    return 1")
    assert errors == [
        "AssertionError: the answer changes ['g'] of its test",
        "NameError: name 'g' is not defined",
    ]


def test_an_answer_may_warn_at_its_caller(run):
    warn = "import warnings\ndef f():\n    warnings.warn('x', stacklevel=2)\n    return 1\ndef g(): return 2"
    execution, errors = run(warn)
    assert errors == [None, None]
    assert execution.flags == []


def test_what_no_file_can_hold_is_replaced(run):
    execution, errors = run("print('a\\ud800b')", "def f(): raise ValueError('a\\ud800b')\ndef g(): return 2")
    assert errors == ["ValueError: a?b", None]
    assert execution.outputs[1][0]["text"] == "a?b\n"


def test_one_submission_leaves_nothing_to_the_next(run):
    run(
        "import builtins, torch, os\nbuiltins.x = torch.x = 1\n"
        "os.environ['X'] = 'y'\nopen('left', 'w').close()"
    )
    execution, _ = run(
        "import builtins, torch, os\n"
        "print(hasattr(builtins, 'x'), hasattr(torch, 'x'), os.environ.get('X'), os.listdir())"
    )
    assert execution.outputs[1][0]["text"].startswith("False False None []")


@CONFINED
def test_the_gradebook_and_other_files_are_out_of_reach(run, tmp_path):
    database = tmp_path / "gradebook.db"
    sqlite3.connect(database).close()
    database.write_bytes(b"grades")
    execution, _ = run(
        f"p = {str(database)!r}\nopen(p).read()",
        f"open({str(database)!r}, 'ab').write(b'x')",
        f"import os; os.truncate({str(database)!r}, 0)",
        f"import os; os.remove({str(database)!r})",
        f"import os; os.kill({os.getpid()}, 0)",
        "import os; os.kill(os.getppid(), 9)",
        "import socket; socket.create_connection(('127.0.0.1', 9), 1)",
    )
    assert [execution.errors[place].split(":")[0] for place in range(1, 8)] == ["PermissionError"] * 7
    assert database.read_bytes() == b"grades"


def test_the_sandbox_runs_and_has_no_network(tmp_path):
    from vae_lib.grading.sandbox import Sandbox

    try:
        wrap = Sandbox()
    except ValueError as reason:
        pytest.skip(str(reason))
    probe = "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))"
    look = f"import os; os.listdir({str(tmp_path)!r})"
    with Worker(Limits(timeout=5, total=20), wrap) as worker:
        cells = [{"source": source, "role": "own", "grade_id": ""} for source in (probe, look, "1 + 1")]
        execution = worker.run(cells)
    assert execution.errors[0].startswith("OSError: [Errno 101]")
    assert execution.errors[1].split(":")[0] in ("FileNotFoundError", "PermissionError")
    assert execution.errors[2] is None


def test_a_missing_sandbox_is_told_in_words(monkeypatch, tmp_path):
    from vae_lib.grading.sandbox import Sandbox

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="there is no bwrap"):
        Sandbox()
