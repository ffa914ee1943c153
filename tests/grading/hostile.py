"""What students hand in that is not simply right or wrong: clumsy, broken, unlucky or dishonest.

Each entry of `KINDS` makes one submission and says what is right for it. Nothing here touches what lies
outside the course folder: an attack looks only for the files of a course, and no code sends a signal to
a process that it has not named.
"""
# ruff: noqa: E501  a student's line is as long as it is

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classroom import Content, Folder, Link, Pipe, Sheet, Wanted, answer_cell, cell, packed, slug

Made = tuple[dict[str, Content], Wanted]


@dataclass(frozen=True)
class Kind:
    """A hostile kind.

    Attributes:
        make: makes the files, and what is right for them.
        student: the name of the student, where the name is what is odd.
        confined: only for graders that confine their students: nothing else could stop it.
    """

    make: Callable[[Sheet], Made]
    student: str | None = None
    confined: bool = False


KINDS: dict[str, Kind] = {}


def kind(name: str, student: str | None = None, confined: bool = False):
    def keep(make: Callable[[Sheet], Made]) -> Callable[[Sheet], Made]:
        assert name not in KINDS, name
        KINDS[name] = Kind(make, student, confined)
        return make

    return keep


# ---------------------------------------------------------------------------------------------------
# Code in an answer cell. Everything else in the notebook is right.


def lines_before(
    code: str, name: str, loses: str = "nothing", flagged: bool | None = None, confined: bool = False
) -> None:
    """Code above a right answer to the exercise in the middle.

    `loses`: "nothing"; "own", the points of that exercise; "maybe own", if a limit is set; "kernel", the
    kernel dies, so that the cells after it may or may not be run again; "kernel or own", anything between;
    "own doing", the same, and nobody need be told.
    """

    @kind(name, confined=confined)
    def make(sheet: Sheet) -> Made:
        book = sheet.book({sheet.middle: f"{code}\n\n\n{sheet.reference(sheet.middle)}"})
        return {sheet.file: packed(book)}, _wants(sheet, loses, flagged)


def _wants(sheet: Sheet, loses: str, flagged: bool | None) -> Wanted:
    number, total = sheet.middle, sheet.total
    if loses == "nothing":
        return sheet.wants(flagged=flagged)
    if loses == "own":
        return sheet.wants({number: 0}, flagged=flagged)
    if loses == "maybe own":
        return sheet.wants({number: {0, sheet.points[number]}}, flagged=flagged)
    later = sheet.numbers[sheet.numbers.index(number) + 1 :]
    own = {0} if loses == "kernel" else {0, sheet.points[number]}
    scores = {number: own} | {n: {0, sheet.points[n]} for n in later}
    deserved = total - sheet.points[number]
    if loses == "own doing":
        deserved -= sum(sheet.points[n] for n in later)
    return sheet.wants(scores, flagged=flagged, deserved=deserved)


def inside(code: str, name: str, flagged: bool | None = None, loses: str = "own") -> None:
    """An answer to the exercise in the middle whose functions do this when they are called."""

    @kind(name)
    def make(sheet: Sheet) -> Made:
        body = "\n".join(f"    {line}" for line in code.split("\n"))
        answer = "\n\n\n".join(f"def {f}(*a, **k):\n{body}" for f in sheet.functions(sheet.middle))
        return {sheet.file: packed(sheet.book({sheet.middle: answer}))}, _wants(sheet, loses, flagged)


# loops
lines_before("while True:\n    pass", "endless loop", "kernel", None)
lines_before("import time\ntime.sleep(10**6)", "endless sleep", "kernel", None)
lines_before(
    "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    "loop that catches the interrupt",
    "kernel",
    True,
)
lines_before(
    "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass",
    "loop that ignores interrupts",
    "kernel",
    True,
)
lines_before(
    "import signal\nfor s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n    signal.signal(s, signal.SIG_IGN)\n"
    "while True:\n    pass",
    "loop that ignores terminate too",
    "kernel",
    True,
)
lines_before(
    "import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "loop in C that no interrupt reaches", "kernel", True
)
inside("while True:\n    pass", "loop in a function", loses="kernel or own")
inside("import time\ntime.sleep(10**6)", "sleep in a function", loses="kernel or own")
lines_before(
    "import threading\ndef spin():\n    while True:\n        pass\nthreading.Thread(target=spin).start()",
    "thread that never ends",
    "nothing",
)
lines_before(
    "import atexit, time\natexit.register(lambda: time.sleep(10**6))", "exit that never ends", "nothing"
)
lines_before("def f(n):\n    return f(n + 1)\nf(0)", "endless recursion", "own", False)
lines_before("input('how many? ')", "asks at the keyboard", "own")
lines_before("breakpoint()", "breakpoint left in", "kernel or own")
lines_before("1 / 0", "error in the answer cell", "own", False)
lines_before("def broken(:\n    pass", "syntax error", "own", False)

# ways to end the kernel
lines_before("import os\nos._exit(0)", "os._exit", "kernel", True)
lines_before("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "kill -9", "kernel", True)
lines_before("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", "kill -15", "kernel or own")
lines_before("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "stops itself", "kernel", True)
lines_before("import ctypes\nctypes.string_at(0)", "segmentation fault", "kernel", True)
lines_before("quit()", "quit()", "kernel or own")
lines_before("exit()", "exit()", "kernel or own")
lines_before("import sys\nsys.exit(1)", "sys.exit", "own")
lines_before("raise SystemExit", "raise SystemExit", "own")
lines_before("raise KeyboardInterrupt", "raise KeyboardInterrupt", "own")
inside("import sys\nsys.exit(0)", "sys.exit in a function")
inside("import os\nos._exit(0)", "os._exit in a function", flagged=True, loses="kernel")
lines_before("get_ipython().kernel.do_shutdown(False)", "shuts the kernel down", "kernel or own")
lines_before(
    "import os, signal\nif os.getppid() > 1:\n    os.kill(os.getppid(), signal.SIGKILL)",
    "kills its parent",
    "kernel or own",
)
lines_before(
    "import os, signal\nif os.getpgid(0) > 1:\n    os.killpg(0, signal.SIGKILL)",
    "kills its process group",
    "kernel or own",
)
lines_before("import os\nos.closerange(0, 256)", "closes every file", "kernel or own")
lines_before("import os\nos.close(1)\nos.close(2)", "closes its outputs", "kernel or own")
lines_before("import sys\nsys.stdout.close()", "closes sys.stdout", "kernel or own")
lines_before("import sys\nsys.stdout = sys.stderr = None", "no sys.stdout", "kernel or own")
lines_before("get_ipython().kernel.iopub_socket.close()", "closes the kernel's channel", "kernel or own")
lines_before("import os\nwhile os.fork():\n    break\n", "forks the kernel", "kernel or own")
lines_before(
    "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))", "cuts its own time", "kernel or own"
)
lines_before("%reset -f", "forgets everything", "own doing")
lines_before("import sys\nsys.modules.clear()", "no modules", "own doing")
lines_before("import os\nos.environ.clear()\nos.chdir('/')", "no environment, another folder", "nothing")
lines_before("import sys\nsys.path.clear()", "no search path", "own doing")

# too much
lines_before("for i in range(200_000):\n    print('line', i)", "200,000 lines", "nothing")
lines_before("print('x' * 60_000_000)", "one line of 60 MB", "maybe own")
lines_before(
    "import sys\nfor i in range(50_000):\n    print('e', i, file=sys.stderr)",
    "50,000 lines on stderr",
    "nothing",
)
lines_before(
    "from IPython.display import HTML, display\nfor i in range(20_000):\n    display(HTML(f'<b>{i}</b>'))",
    "20,000 displays",
    "nothing",
)
lines_before("import numpy\nbig = numpy.ones(3 * 2**30 // 8)\ndel big", "3 GB", "maybe own")
lines_before(
    "with open('much', 'wb') as f:\n    for _ in range(128):\n        f.write(bytes(2**20))",
    "writes 128 MB",
    "maybe own",
)
lines_before(
    "import subprocess\nfor _ in range(20):\n    subprocess.Popen(['sleep', '86399'], start_new_session=True)",
    "leaves processes behind",
    "maybe own",
)
lines_before(
    "import torch\ntorch.set_num_threads(64)\ntorch.rand(999, 999) @ torch.rand(999, 999)",
    "64 threads",
    "nothing",
)
lines_before(
    "import IPython.display, numpy, matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\n"
    "for _ in range(30):\n    plt.figure()\nplt.show()",
    "figures that nobody asked for",
    "nothing",
)

lines_before(
    "for i in range(2000):\n    with open(f'much-{i}', 'wb') as f:\n        f.write(bytes(2**20))",
    "writes 2,000 files of 1 MB",
    "kernel or own",
)
lines_before(
    "import os\nhere = os.getcwd()\nfor _ in range(1200):\n    os.mkdir('d')\n    os.chdir('d')\nos.chdir(here)",
    "folders 1,200 deep",
    "nothing",
)
lines_before("import numpy\nnumpy.save('much.npy', numpy.ones(2**24))", "numpy writes 128 MB", "own", True)
lines_before(
    "import numpy\ntry:\n    numpy.ones(3 * 2**30 // 8)\nexcept MemoryError:\n    raise ValueError('no room')",
    "3 GB, under another name",
    "own",
    True,
)
lines_before(
    "import threading, time\nfor _ in range(1000):\n    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "1,000 threads",
    "maybe own",
)
lines_before("print('x' * 5000)\nprint(10**4000)", "long numbers", "nothing", False)
lines_before("print(10**5000)", "a number too long to print", "own", False)

# what stays behind a cell
lines_before("import os\nos.fork()", "two processes go on", "nothing")
lines_before(
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(86399)\n    os._exit(0)",
    "a daemon",
    "nothing",
)


@kind("a thread that ends all, later")
def _(sheet: Sheet) -> Made:
    """It ends every process that runs its cell, in whatever cell that is then."""
    code = "import os, threading\nthreading.Timer(0.2, os._exit, (5,)).start()"
    book = sheet.book({sheet.middle: f"{code}\n\n\n{sheet.reference(sheet.middle)}"})
    later = sheet.numbers[sheet.numbers.index(sheet.middle) :]
    scores = {n: set(range(sheet.points[n] + 1)) for n in later}
    return {sheet.file: packed(book)}, sheet.wants(scores, flagged=None)


lines_before(
    "import signal\ndef ring(*a):\n    raise RuntimeError('ring')\nsignal.signal(signal.SIGALRM, ring)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.5, 0.02)",
    "an alarm that rings and rings after its cell",
    "nothing",
)
lines_before(
    "import sys\ndef trace(frame, event, argument):\n    raise RuntimeError('traced')\nsys.settrace(trace)",
    "a tracer that raises",
    "own doing",
)
lines_before(
    "import sys\ndef trace(frame, event, argument):\n    return trace\nsys.settrace(trace)",
    "a tracer left on",
    "nothing",
)
lines_before(
    "import sys, threading, os\nthreading.excepthook = lambda told: os._exit(3)\nsys.excepthook = None\n"
    "threading.Thread(target=lambda: 1 / 0).start()",
    "ends all when a thread fails",
    "kernel or own",
)
lines_before("import gc\ngc.freeze()\ngc.disable()\ngc.set_threshold(0)", "no garbage collection", "nothing")
lines_before("import faulthandler\nfaulthandler.enable()", "faulthandler", "nothing", False)
lines_before(
    "import os\nlog = os.open('log', os.O_WRONLY | os.O_CREAT)\nfor fd in (0, 1, 2):\n    os.dup2(log, fd)\nprint('x')",
    "its outputs into a file",
    "nothing",
)
lines_before(
    "import os\nlog = os.open('log', os.O_WRONLY | os.O_CREAT)\nfor fd in range(3, 64):\n    if fd != log:\n        os.dup2(log, fd)",
    "every descriptor into a file",
    "kernel or own",
)
lines_before(
    "import os, shutil\nshutil.rmtree(os.getcwd())\nshutil.rmtree('..', ignore_errors=True)",
    "deletes its own folder",
    "nothing",
)
lines_before("import os\nos.execv('/bin/true', ['true'])", "becomes another program", "kernel or own")
lines_before("import json\njson.dumps = lambda *a, **k: '{}'", "replaces json.dumps", "kernel or own")
lines_before("import time\ntime.monotonic = time.time = lambda: 0", "stops the clock", "kernel or own")
lines_before(
    "import builtins\nfor name in ('len', 'str', 'type', 'Exception', 'BaseException'):\n    delattr(builtins, name)",
    "deletes builtins",
    "kernel or own",
)
lines_before("print('half a pair: \\ud800')", "prints half a surrogate pair", "nothing")
inside("raise ValueError('half a pair: \\ud800')", "raises half a surrogate pair", False)
inside("raise ValueError('x' * 10**8)", "raises 100 MB", None)
inside("raise type('E' * 10**6, (Exception,), {})", "an error with a long name", None)
inside(
    "class Odd(BaseException):\n    def __str__(self):\n        while True:\n            pass\nraise Odd",
    "an error that never says what it is",
    loses="kernel or own",
)
inside(
    "class Odd:\n    def __eq__(self, other):\n        raise SystemExit\n    __float__ = __array__ = __len__ = __eq__\nreturn Odd()",
    "an answer that quits when it is compared",
    None,
)
lines_before(
    "class Odd:\n    def __repr__(self):\n        import os\n        os._exit(0)\nprint(Odd())",
    "ends all when it is shown",
    "kernel or own",
)

# warnings, and other noise
lines_before("import warnings\nwarnings.warn('mind the gap')", "a warning", "nothing", False)
lines_before("import warnings\nwarnings.simplefilter('error')", "warnings as errors", "maybe own")
lines_before("import logging\nlogging.warning('loud')", "logs a warning", "nothing")
lines_before("import torch\ntorch.set_default_dtype(torch.float64)", "double precision", "nothing", False)
lines_before(
    "!true\n%matplotlib inline\n%config InlineBackend.figure_format = 'svg'", "magics", "nothing", False
)
lines_before("# Grüße, 你好, 🎲", "letters of all kinds", "nothing", False)


def at_every_call(sheet: Sheet, *lines: str) -> Made:
    """Right answers to the exercise in the middle, whose functions do this before they work."""
    number = sheet.middle
    before = "".join(f"    {line}\n" for line in lines)
    extra = "\n".join(
        f"_own_{f} = {f}\n\n\ndef {f}(*a, **k):\n{before}    return _own_{f}(*a, **k)"
        for f in sheet.functions(number)
    )
    answer = f"{sheet.reference(number)}\n\n\n{extra}"
    return {sheet.file: packed(sheet.book({number: answer}))}, sheet.wants(flagged=None)


@kind("warnings on stderr")
def _(sheet: Sheet) -> Made:
    """A right answer that warns and writes to stderr at every call, as tqdm does."""
    noise = "print('noise', file=sys.stderr)"
    return at_every_call(sheet, "import sys, warnings", "warnings.warn('deprecated')", noise)


@kind("a warning that points at the caller")
def _(sheet: Sheet) -> Made:
    """A right answer whose warning is recorded in the namespace of the test that calls it."""
    return at_every_call(sheet, "import warnings", "warnings.warn('deprecated', stacklevel=2)")


@kind("a cell magic on top")
def _(sheet: Sheet) -> Made:
    return {
        sheet.file: packed(sheet.book({sheet.middle: f"%%time\n{sheet.reference(sheet.middle)}"}))
    }, sheet.wants()


# ---------------------------------------------------------------------------------------------------
# Cheats. No answer is right; the code stands in the first answer cell. Nothing may be earned silently.


TOLD = ("input-transformer hook", "monkey-patched np.allclose")  # the issue wants a flag for these


def cheat(code: str, name: str, answers: str = "none") -> None:
    """`answers`: "none", the stubs are left; "wrong", catalogued wrong answers; else the body of each."""

    @kind(name)
    def make(sheet: Sheet) -> Made:
        given, honest = {}, {}
        for number in sheet.numbers:
            if answers == "none":
                given[number], honest[number] = sheet.blank(number), 0
            elif answers == "wrong":
                mutant = sheet.favourite(number)
                given[number], honest[number] = sheet.without_marks(mutant.code), sheet.kept(number, mutant)
            else:
                functions = sheet.functions(number)
                given[number] = "\n\n".join(f"def {f}(*a, **k):\n    {answers}" for f in functions)
                honest[number] = 0
        given[sheet.first] = f"{code}\n\n\n{given[sheet.first]}"
        wanted = sheet.wants({n: {0, p} for n, p in honest.items()}, flagged=True if name in TOLD else None)
        return {sheet.file: packed(sheet.book(given))}, wanted


cheat("get_ipython().input_transformers_cleanup.append(lambda lines: [])", "input-transformer hook")
cheat("get_ipython().input_transformers_post.append(lambda lines: [])", "another input-transformer hook")
cheat(
    "import ast\nclass Soft(ast.NodeTransformer):\n    def visit_Assert(self, node):\n        return ast.Pass()\n"
    "get_ipython().ast_transformers.append(Soft())",
    "removes the asserts",
    "return 0",
)
cheat("get_ipython().showtraceback = lambda *a, **k: None", "hides the tracebacks")
cheat("get_ipython().set_custom_exc((Exception,), lambda *a, **k: None)", "handles the exceptions")
cheat(
    "ip = get_ipython()\nold = ip.run_cell\ndef run_cell(raw, *a, **k):\n"
    "    return old('pass' if raw.startswith('# ') else raw, *a, **k)\nip.run_cell = run_cell",
    "replaces run_cell",
)
cheat(
    "ip = get_ipython()\nasync def run_code(*a, **k):\n    return False\nip.run_code = run_code",
    "replaces run_code",
)
cheat(
    "kernel = get_ipython().kernel\nclass_ = type(kernel)\nold = class_.do_execute\n"
    "async def do_execute(self, code, *a, **k):\n"
    "    return await old(self, 'pass' if code.startswith('# ') else code, *a, **k)\nclass_.do_execute = do_execute",
    "replaces do_execute",
)
cheat(
    "def forge(*a):\n    kernel = get_ipython().kernel\n    kernel.send_response(kernel.iopub_socket, 'execute_result', {\n"
    "        'execution_count': 1, 'metadata': {}, 'data': {'text/plain': '1'}})\n"
    "get_ipython().events.register('pre_execute', forge)\nget_ipython().events.register('pre_run_cell', forge)",
    "forges partial credit",
)
cheat(
    "import ipykernel.zmqshell as z\nz.ZMQInteractiveShell._showtraceback = lambda *a, **k: None\n"
    "type(get_ipython())._showtraceback = lambda *a, **k: None",
    "hides the tracebacks of the class",
)
cheat(
    "import numpy\nnumpy.allclose = lambda *a, **k: True\nimport torch\ntorch.allclose = numpy.allclose",
    "monkey-patched np.allclose",
    "wrong",
)
cheat(
    "import vae_lib.exercises as e\nimport vae_lib.exercises.compare as c\n"
    "e.agree = c.agree = c.close = lambda *a, **k: True",
    "monkey-patched agree",
    "wrong",
)
cheat(
    "import sys, types\nfake = types.ModuleType('vae_lib.exercises')\nfake.agree = lambda *a, **k: True\n"
    "fake.check = print\nsys.modules['vae_lib.exercises'] = fake",
    "a false vae_lib.exercises",
    "wrong",
)
cheat(
    "import builtins\nbuiltins.all = lambda *a: True\nbuiltins.bool = lambda *a: True",
    "monkey-patched builtins",
    "wrong",
)
cheat(
    "import vae_lib.exercises.compare as c\nc._near = lambda *a: True", "monkey-patched comparison", "wrong"
)
cheat(
    "import vae_lib.exercises.compare as c\n"
    "c.agree.__code__ = (lambda got, wanted, *, rtol=1e-5, atol=1e-6: True).__code__",
    "other code in agree",
    "wrong",
)
cheat(
    "import builtins\nreal = builtins.__import__\ndef other(name, *a, **k):\n    module = real(name, *a, **k)\n"
    "    if name == 'vae_lib.exercises':\n        module.agree = lambda *a, **k: True\n    return module\n"
    "builtins.__import__ = other",
    "a false import",
    "wrong",
)
cheat(
    "import sys, os\ndef raise_(*a):\n    raise RuntimeError\n"
    "class Out:\n    pass\n"
    "AssertionError = type('AssertionError', (Exception,), {})",
    "its own AssertionError",
)


cheat(
    "import builtins, sys",
    "changes its caller's names",
    "space = sys._getframe(1).f_globals\n    yes = lambda *a, **k: True\n"
    "    space.update(agree=yes, all=yes, bool=yes, abs=lambda x: 0, tuple=yes, check=yes)\n    return None",
)
cheat(
    "import gc\nfor it in gc.get_objects():\n    if type(it).__name__ == '_Channel':\n        for place in range(40):\n"
    "            it.cell = place\n            it.tell(begin=True)\n            it.tell(end=True, error=None, seconds=0.0)\n"
    "        it.tell(done=True)",
    "speaks for the grader",
)
cheat(
    "import gc\nfor it in gc.get_objects():\n    if type(it).__name__ == 'Tests':\n"
    "        type(it).run = lambda *a, **k: None",
    "replaces the grader's tests",
)


@kind("numbers that agree with all")
def _(sheet: Sheet) -> Made:
    """Answers that return an object which calls itself equal to everything."""
    yes = (
        "import torch\nclass Yes(float):\n    def __eq__(self, other):\n        return True\n    __ne__ = __lt__ = "
        "__le__ = __gt__ = __ge__ = __eq__\n    __hash__ = float.__hash__\n    def __sub__(self, other):\n"
        "        return self\n    __abs__ = __rsub__ = lambda self, *a: self\n    shape = ()\n\n\n"
    )
    answers = {
        n: yes + "\n\n".join(f"def {f}(*a, **k):\n    return Yes(1)" for f in sheet.functions(n))
        for n in sheet.numbers
    }
    wanted = sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=None)
    return {sheet.file: packed(sheet.book(answers))}, wanted


# ---------------------------------------------------------------------------------------------------
# Looking where nobody should. All other answers are right, so the points stand; no secret may get out.

LOOK = """
import glob, os
def course_files():
    here = os.getcwd()
    for _ in range(6):
        here = os.path.dirname(here)
        if here in ("/", "/tmp"):
            break
        yield from glob.glob(os.path.join(here, "gradebook.db"))
        yield from glob.glob(os.path.join(here, "source", "*", "*.ipynb"))
        yield from glob.glob(os.path.join(here, "submitted", "*", "*", "*.ipynb"))
""".strip()

UP_THE_TREE = """
import glob, os
def course_files():
    pid = os.getppid()
    while pid > 1:
        try:
            words = open(f"/proc/{pid}/cmdline").read().split(chr(0))
            places = [os.readlink(f"/proc/{pid}/cwd"), *words]
            pid = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return
        for place in places:
            if os.path.isdir(os.path.join(place, "submitted")):
                yield from glob.glob(os.path.join(place, "gradebook.db"))
                yield from glob.glob(os.path.join(place, "source", "*", "*.ipynb"))
                yield from glob.glob(os.path.join(place, "submitted", "*", "*", "*.ipynb"))
""".strip()

lines_before(
    LOOK + "\nfor name in course_files():\n    print(open(name, 'rb').read()[:200_000])",
    "reading the gradebook",
    "nothing",
)
lines_before(
    LOOK + "\nfor name in course_files():\n    with open(name, 'ab') as f:\n        f.write(b'spoilt')",
    "writing to the course",
    "nothing",
)
lines_before(
    UP_THE_TREE + "\nfor name in course_files():\n    print(open(name, 'rb').read()[:200_000])",
    "reading through /proc",
    "nothing",
)
lines_before(
    UP_THE_TREE
    + "\nfor name in course_files():\n    with open(name, 'ab') as f:\n        f.write(b'spoilt')",
    "writing through /proc",
    "nothing",
    confined=True,
)
lines_before("import os\nprint(os.listdir('.'), os.listdir('..'))", "looks around", "nothing")
lines_before(
    "import socket\ns = socket.socket()\ns.settimeout(2)\ntry:\n    s.connect(('192.0.2.1', 80))\nexcept OSError as e:\n"
    "    print(e)",
    "calls another host",
    "nothing",
)
lines_before(
    "def unhide(shell=get_ipython()):\n    for n in range(len(shell.user_ns['In'])):\n        print(shell.user_ns['In'][n])\n"
    "unhide()",
    "prints the cells that were run",
    "nothing",
)
inside(
    "import inspect, sys\nframe = sys._getframe(1)\nwhile frame is not None:\n    try:\n        print(inspect.getsource(frame))\n"
    "    except Exception:\n        pass\n    frame = frame.f_back\nreturn 0",
    "prints who calls it",
    loses="own",
)
inside(
    "import inspect, sys\nframe = sys._getframe(1)\nraise ValueError(inspect.getsource(frame))",
    "raises with who calls it",
    loses="own",
)
lines_before(
    "import sys\nframe = sys._getframe()\nwhile frame is not None:\n    for value in list(frame.f_locals.values()):\n"
    "        if 'grade_id' in repr(value)[:100_000]:\n            print(repr(value))\n            print(value)\n"
    "            for cell in value.get('cells', []) if isinstance(value, dict) else []:\n"
    "                print(cell.get('source') if hasattr(cell, 'get') else cell)\n    frame = frame.f_back",
    "prints what the grader holds",
    "nothing",
)
lines_before(
    "import gc\nfor it in gc.get_objects():\n    if isinstance(it, dict) and 'grade_id' in it:\n        print(it.get('source'))",
    "prints what the grader remembers",
    "nothing",
)
inside("return {}['missing']", "raises in a function", False)
lines_before(
    "from IPython.display import HTML, Javascript, display\n"
    'display(HTML(\'<script>document.title = "owned-by-output"</script><img src=x onerror="owned-by-image()">\'))\n'
    "display(Javascript('document.title = \"owned-by-javascript\"'))",
    "a script in the output",
    "nothing",
)


@kind("a script in the text")
def _(sheet: Sheet) -> Made:
    book = sheet.book()
    text = '<script>document.title = "owned-by-text"</script>\n\n<img src="x" onerror="owned-by-image()">'
    book["cells"].insert(1, {"cell_type": "markdown", "id": "mine", "metadata": {}, "source": text})
    return {sheet.file: packed(book)}, sheet.wants(flagged=None)


# ---------------------------------------------------------------------------------------------------
# Notebooks that were changed, honestly or not


def changed(name: str, flagged: bool | None = None, student: str | None = None):
    """A right notebook, changed by a function that may return the wanted outcome."""

    def keep(change: Callable[[Sheet, dict[str, Any]], Wanted | None]):
        @kind(name, student)
        def make(sheet: Sheet) -> Made:
            book = sheet.book()
            wanted = change(sheet, book)
            return {sheet.file: packed(book)}, wanted or sheet.wants(flagged=flagged)

        return change

    return keep


def _cells(book: dict[str, Any], beginning: str) -> list[dict[str, Any]]:
    return [
        c
        for c in book["cells"]
        if c["metadata"].get("nbgrader", {}).get("grade_id", "").startswith(beginning)
    ]


def _new(source: str, identity: str | None = None) -> dict[str, Any]:
    made = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
    return made if identity is None else {**made, "id": identity}


def _blank_book(sheet: Sheet) -> dict[str, Any]:
    return sheet.book({number: sheet.blank(number) for number in sheet.numbers})


@kind("edited tests")
def _(sheet: Sheet) -> Made:
    book = _blank_book(sheet)
    for test in _cells(book, "test-"):
        test["source"] = "assert True"
    return {sheet.file: packed(book)}, sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=None)


@kind("edited points")
def _(sheet: Sheet) -> Made:
    book = _blank_book(sheet)
    for test in _cells(book, "test-"):
        test["metadata"]["nbgrader"]["points"] = 1000
    return {sheet.file: packed(book)}, sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=None)


@kind("points on an answer")
def _(sheet: Sheet) -> Made:
    book = _blank_book(sheet)
    for answer in _cells(book, "answer-"):
        answer["metadata"]["nbgrader"].update(grade=True, points=50)
    return {sheet.file: packed(book)}, sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=None)


@changed("deleted tests")
def _(sheet, book):
    book["cells"] = [c for c in book["cells"] if c not in _cells(book, "test-")]


@changed("deleted set-up")
def _(sheet, book):
    book["cells"] = [c for c in book["cells"] if c not in _cells(book, "setup-")]


@changed("deleted solutions", True)
def _(sheet, book):
    book["cells"].remove(answer_cell(book, sheet.middle))
    return sheet.wants({sheet.middle: 0}, flagged=True)


@changed("all cells deleted", True)
def _(sheet, book):
    book["cells"] = []
    return sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=True, unscored=True)


@changed("duplicated cell", True)
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    book["cells"].insert(book["cells"].index(own) + 1, copy.deepcopy(own))


@changed("duplicated cell, pasted with another id", True)
def _(sheet, book):
    own = copy.deepcopy(answer_cell(book, sheet.middle))
    own["id"] = "pasted"
    book["cells"].insert(2, own)


@changed("duplicated test", True)
def _(sheet, book):
    book["cells"] += copy.deepcopy(_cells(book, "test-"))


@changed("two answers, the stub and then the right one", True)
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    stub = {**copy.deepcopy(own), "id": "stub", "source": sheet.blank(sheet.middle)}
    book["cells"].insert(book["cells"].index(own), stub)
    return sheet.wants({sheet.middle: {0, sheet.points[sheet.middle]}}, flagged=True)


@changed("answer in a cell of its own below the stub")
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    own["source"] = sheet.blank(sheet.middle)
    book["cells"].insert(book["cells"].index(own) + 1, _new(sheet.reference(sheet.middle), "mine"))


@changed("helpers in cells of their own")
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    own["source"] = sheet.reference(sheet.middle) + "\nassert helper() == 3"
    book["cells"].insert(book["cells"].index(own), _new("def helper():\n    return 3", "mine"))


@changed("scratch cells with errors")
def _(sheet, book):
    for place in range(len(book["cells"]), 0, -3):
        book["cells"].insert(place, _new("undefined_name + 1", f"scratch-{place}"))


@changed("an error in a cell at the top")
def _(sheet, book):
    book["cells"].insert(0, _new("raise ValueError('scratch')", "top"))


@changed("cells in another order")
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    book["cells"].remove(own)
    book["cells"].append(own)


@changed("answer made a text cell", True)
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    own["cell_type"] = "markdown"
    own.pop("outputs"), own.pop("execution_count")
    return sheet.wants({sheet.middle: {0, sheet.points[sheet.middle]}}, flagged=True, deserved=sheet.total)


@changed("answers written into the tests")
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    own["source"] = sheet.blank(sheet.middle)
    _cells(book, f"test-{sheet.middle.replace('.', '-')}-")[0]["source"] = sheet.reference(sheet.middle)
    return sheet.wants({sheet.middle: 0}, flagged=None)


@changed("metadata stripped")
def _(sheet, book):
    book["metadata"] = {}
    for each in book["cells"]:
        each["metadata"] = {}


@changed("metadata and ids stripped", True)
def _(sheet, book):
    book["nbformat_minor"], book["metadata"] = 4, {}
    for each in book["cells"]:
        each["metadata"] = {}
        each.pop("id", None)
    return sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=None, unscored=True, deserved=sheet.total
    )


@changed("no cell ids")
def _(sheet, book):
    book["nbformat_minor"] = 4
    for each in book["cells"]:
        each.pop("id", None)


@changed("new cell ids")
def _(sheet, book):
    for place, each in enumerate(book["cells"]):
        each["id"] = f"colab{place:04d}"


@changed("the same id in every cell")
def _(sheet, book):
    for each in book["cells"]:
        each["id"] = "same"


@changed("cell ids that are not allowed")
def _(sheet, book):
    for place, each in enumerate(book["cells"]):
        each["id"] = f"not allowed! {place} " + "x" * 80


@changed("another kernel")
def _(sheet, book):
    book["metadata"]["kernelspec"] = {"display_name": "mine", "language": "R", "name": "no-such-kernel"}


@changed("saved by Colab")
def _(sheet, book):
    book["nbformat_minor"] = 0
    book["metadata"] = {
        "colab": {"provenance": [], "gpuType": "T4"},
        "accelerator": "GPU",
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
    }
    for place, each in enumerate(book["cells"]):
        each.pop("id", None)
        each["metadata"]["id"] = f"c{place}"


@changed("sources as lists of lines")
def _(sheet, book):
    for each in book["cells"]:
        each["source"] = each["source"].splitlines(keepends=True)


@changed("Windows line ends")
def _(sheet, book):
    for each in book["cells"]:
        each["source"] = each["source"].replace("\n", "\r\n")


@changed("outputs of 20 MB")
def _(sheet, book):
    text = {"output_type": "stream", "name": "stdout", "text": "y" * 20_000_000}
    answer_cell(book, sheet.middle)["outputs"] = [text]


@changed("broken outputs")
def _(sheet, book):
    answer_cell(book, sheet.middle)["outputs"] = [{"output_type": "nonsense"}, 3, None]


@changed("an attachment and unknown fields")
def _(sheet, book):
    book["extra"] = {"a": 1}
    book["cells"][0]["attachments"] = {"a.png": {"image/png": "AAAA"}}
    answer_cell(book, sheet.middle)["colour"] = "red"


@changed("version 4.99")
def _(sheet, book):
    book["nbformat_minor"] = 99


@changed("version 5", None)
def _(sheet, book):
    book["nbformat"] = 5
    return sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=None, unscored=True, deserved=sheet.total
    )


@changed("10,000 cells", True)
def _(sheet, book):
    book["cells"] += [_new("1 + 1", f"more-{n}") for n in range(10_000)]
    return sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=True, unscored=True, deserved=sheet.total
    )


@changed("1,000 cells of its own")
def _(sheet, book):
    book["cells"] += [_new("1 + 1", f"more-{n}") for n in range(1_000)]


@changed("outputs of 60 MB", None)
def _(sheet, book):
    text = {"output_type": "stream", "name": "stdout", "text": "y" * 60_000_000}
    answer_cell(book, sheet.middle)["outputs"] = [text]
    return sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=None, unscored=True, deserved=sheet.total
    )


@changed("a comment of 2 MB")
def _(sheet, book):
    own = answer_cell(book, sheet.middle)
    own["source"] += "\n" + "# and so on\n" * 180_000


@changed("sources that are no text")
def _(sheet, book):
    book["cells"] += [
        {**_new("", f"odd-{n}"), "source": odd} for n, odd in enumerate([7, None, {}, [1, None, {}], True])
    ]
    own = answer_cell(book, sheet.middle)
    own["source"] = [7, None, *own["source"].splitlines(keepends=True), {}]


@changed("no numbers and long numbers in the metadata")
def _(sheet, book):
    book["metadata"]["odd"] = [float("nan"), float("inf"), 10**4000]
    for each in book["cells"]:
        each["execution_count"] = "many"
        each["metadata"]["odd"] = float("nan")


@changed("points that are no numbers")
def _(sheet, book):
    for test, odd in zip(_cells(book, "test-"), [float("nan"), "all", None, [], {}, -1, True], strict=False):
        test["metadata"]["nbgrader"]["points"] = odd


@kind("every key twice")
def _(sheet: Sheet) -> Made:
    text = _right(sheet).decode().replace('"cells": [', '"cells": [], "nbformat": 4, "cells": [', 1)
    return {sheet.file: text.encode()}, sheet.wants(flagged=None)


@kind("ten million empty cells")
def _(sheet: Sheet) -> Made:
    text = '{"nbformat": 4, "cells": [' + "{}," * 9_000_000 + "{}]}"
    return {sheet.file: text.encode()}, sheet.wants(
        dict.fromkeys(sheet.numbers, 0), flagged=True, unscored=True
    )


@kind("nbformat 3")
def _(sheet: Sheet) -> Made:
    book = sheet.book()
    cells = [
        {
            "cell_type": "code",
            "collapsed": False,
            "input": c["source"],
            "language": "python",
            "metadata": c["metadata"],
            "outputs": [],
            "prompt_number": 1,
        }
        if c["cell_type"] == "code"
        else {"cell_type": "markdown", "metadata": c["metadata"], "source": c["source"]}
        for c in book["cells"]
    ]
    old = {
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [{"cells": cells, "metadata": {}}],
    }
    wanted = sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=None, unscored=True, deserved=sheet.total
    )
    return {sheet.file: packed(old)}, wanted


@kind("the notebook of another assignment")
def _(sheet: Sheet) -> Made:
    import exercises as builder

    other = Sheet(next(name for name in builder.names() if name != sheet.name))
    wanted = sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=True, unscored=True)
    return {sheet.file: packed(other.book())}, wanted


@kind("the instructor's grade ids in nonsense cells")
def _(sheet: Sheet) -> Made:
    book = sheet.book()
    for each in book["cells"]:
        each["metadata"].setdefault("nbgrader", {"grade_id": 7, "schema_version": "new"})
    cell(book, f"answer-{sheet.middle.replace('.', '-')}")["metadata"]["nbgrader"]["schema_version"] = 1
    return {sheet.file: packed(book)}, sheet.wants(flagged=None)


# ---------------------------------------------------------------------------------------------------
# Files


def file(name: str, student: str | None = None, **other: Any):
    """A submission of which no score, or a score of nothing, is right, and somebody must be told."""

    def keep(make: Callable[[Sheet], dict[str, Content]]):
        @kind(name, student)
        def both(sheet: Sheet) -> Made:
            wanted = sheet.wants(dict.fromkeys(sheet.numbers, 0), flagged=True, unscored=True, **other)
            return make(sheet), wanted

        return make

    return keep


def right_file(name: str, flagged: bool | None = None, student: str | None = None):
    """Right answers in an odd file or under an odd name: all points."""

    def keep(make: Callable[[Sheet], dict[str, Content]]):
        kind(name, student)(lambda sheet: (make(sheet), sheet.wants(flagged=flagged)))
        return make

    return keep


def _right(sheet: Sheet) -> bytes:
    return packed(sheet.book())


@file("empty file")
def _(sheet):
    return {sheet.file: b""}


@file("bad JSON")
def _(sheet):
    return {sheet.file: b"{ this is not JSON"}


@file("cut off in the middle")
def _(sheet):
    return {sheet.file: _right(sheet)[:5000]}


@file("merge conflict")
def _(sheet):
    return {sheet.file: b"<<<<<<< HEAD\n" + _right(sheet) + b"\n=======\n{}\n>>>>>>> other\n"}


@file("JSON that is a list")
def _(sheet):
    return {sheet.file: b"[1, 2, 3]"}


@file("JSON without cells")
def _(sheet):
    return {sheet.file: b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}'}


@file("cells that are not cells")
def _(sheet):
    return {
        sheet.file: b'{"nbformat": 4, "nbformat_minor": 5, "metadata": null, "cells": [3, null, "x", {}, []]}'
    }


@file("JSON 100,000 deep")
def _(sheet):
    return {sheet.file: b"[" * 100_000 + b"]" * 100_000}


@file("a web page instead")
def _(sheet):
    return {sheet.file: b"<!DOCTYPE html><title>Sign in</title><p>Please sign in."}


@file("zeros instead")
def _(sheet):
    return {sheet.file: bytes(100_000)}


@file("no notebook")
def _(sheet):
    return {"report.pdf": b"%PDF-1.4 nothing"}


@file("nothing at all")
def _(sheet):
    return {}


@file("a script instead of a notebook")
def _(sheet):
    return {f"{sheet.name}.py": "\n\n".join(sheet.reference(n) for n in sheet.numbers).encode()}


@file("a folder with the name of the notebook")
def _(sheet):
    return {sheet.file: Folder()}


@file("a named pipe")
def _(sheet):
    return {sheet.file: Pipe()}


@file("a link to /dev/zero")
def _(sheet):
    return {sheet.file: Link("/dev/zero")}


@file("a link to a file of the system")
def _(sheet):
    return {sheet.file: Link("/etc/passwd")}


@file("a link to nowhere")
def _(sheet):
    return {sheet.file: Link("no-such-file")}


@file("a link in a circle")
def _(sheet):
    return {sheet.file: Link(sheet.file)}


@kind("a non-UTF-8 file")
def _(sheet: Sheet) -> Made:
    """Right answers with a comment in Latin-1: whoever reads it with care finds all points."""
    text = packed(sheet.book({sheet.middle: f"# ä\n{sheet.reference(sheet.middle)}"})).decode()
    wanted = sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=True, unscored=True, deserved=sheet.total
    )
    return {sheet.file: text.encode("latin-1", errors="replace")}, wanted


@kind("UTF-16")
def _(sheet: Sheet) -> Made:
    wanted = sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=None, unscored=True, deserved=sheet.total
    )
    return {sheet.file: _right(sheet).decode().encode("utf-16")}, wanted


@right_file("a byte-order mark")
def _(sheet):
    return {sheet.file: b"\xef\xbb\xbf" + _right(sheet)}


@kind("half a surrogate pair")
def _(sheet: Sheet) -> Made:
    """Legal JSON that no UTF-8 file can hold."""
    book = sheet.book({sheet.middle: sheet.reference(sheet.middle) + "\nLABEL = 'MARK'"})
    text = json.dumps(book).replace("MARK", "\\ud800")
    return {sheet.file: text.encode()}, _wants(sheet, "maybe own", None)


@kind("NUL in an answer")
def _(sheet: Sheet) -> Made:
    book = sheet.book({sheet.middle: sheet.reference(sheet.middle) + "\nLABEL = '\0'"})
    return {sheet.file: packed(book)}, _wants(sheet, "kernel or own", None)


@right_file("what a Mac leaves behind", False)
def _(sheet):
    return {sheet.file: _right(sheet), f"._{sheet.file}": b"\0\5\26\7", "desktop.ini": b""}


@right_file("a name with a line break, and one from right to left", True)
def _(sheet):
    return {"my\nhomework \u202egpj.ipynb": _right(sheet)}


@right_file("a name that is no UTF-8", True)
def _(sheet):
    return {"m\udcfcde.ipynb": _right(sheet)}


@right_file("renamed file", True)
def _(sheet):
    return {f"{sheet.name}-Copy1.ipynb": _right(sheet)}


@right_file("a name in capitals", True)
def _(sheet):
    return {sheet.file.upper(): _right(sheet)}


@right_file("a name that the browser numbered", False)
def _(sheet):
    return {f"{sheet.name} (3).ipynb": _right(sheet)}


@right_file("a name with the student in it", True)
def _(sheet):
    return {f"Müller's final – {sheet.file}": _right(sheet)}


@right_file("in a folder of its own")
def _(sheet):
    return {f"homework/week 2/{sheet.file}": _right(sheet)}


@right_file("with other files beside it")
def _(sheet):
    return {
        sheet.file: _right(sheet),
        "data.csv": b"a,b\n",
        ".ipynb_checkpoints/x-checkpoint.ipynb": b"{}",
        "__MACOSX/._x.ipynb": b"\0\5\26\7",
        ".DS_Store": b"\0",
    }


@right_file("with a false vae_lib beside it")
def _(sheet):
    bad = b"raise RuntimeError('the wrong one')\n"
    return {
        sheet.file: _right(sheet),
        "vae_lib/__init__.py": bad,
        "torch.py": bad,
        "sitecustomize.py": bad,
        "conftest.py": bad,
        "ipython_config.py": bad,
    }


@right_file("two files", True)
def _(sheet):
    return {sheet.file: _right(sheet), f"{sheet.name}-Copy1.ipynb": sheet.release.encode()}


@kind("two files, neither with the right name")
def _(sheet: Sheet) -> Made:
    wanted = sheet.wants(
        {n: {0, p} for n, p in sheet.points.items()}, flagged=True, unscored=True, deserved=sheet.total
    )
    return {"final.ipynb": _right(sheet), "final2.ipynb": sheet.release.encode()}, wanted


@right_file("wrong student name", student="Ærø O'Neil, Žofia (late) 学生")
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student with a comma and a quote", student='Doe, "Jo" & Co; =1+1')
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student whose name is a formula", student="=HYPERLINK(1)")
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student with a long name", student="n" * 180)
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student who is an emoji", student="🦊")
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student with a line break, from right to left", student="ann\n\u202eeve")
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student with dots", student="..anna..b")
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student with a dash in front", student="--force")
def _(sheet):
    return {sheet.file: _right(sheet)}


@right_file("a student called like a column", student="student")
def _(sheet):
    return {sheet.file: _right(sheet)}


# ---------------------------------------------------------------------------------------------------
# Zips


def zips(sheet: Sheet, folder: Path) -> dict[str, tuple[Path, bool]]:
    """Zips of a learning management system that went wrong: name -> (path, whether it can be read).

    In each that can be read there is one honest student, called "honest", who must not be lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    right = _right(sheet)
    made: dict[str, tuple[Path, bool]] = {}

    def pack(name: str, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
        path = folder / f"{slug(name)}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"honest_1_2_{sheet.file}", right)
            for entry, content in entries:
                archive.writestr(entry, content)
        made[name] = path, True
        return path

    pack("up and out", (f"../../eve_3_4_{sheet.file}", right), ("../../../../../tmp/evil.ipynb", right))
    pack("from the root", ("/tmp/evil.ipynb", right), ("C:\\evil_3_4_a.ipynb", right))
    pack("backslashes", (f"..\\..\\eve_3_4_{sheet.file}", right))
    link = zipfile.ZipInfo(f"eve_3_4_{sheet.file}")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    pack("a link", (link, b"/etc/passwd"))
    pack("a name twice", (f"eve_3_4_{sheet.file}", right), (f"eve_3_5_{sheet.file}", right))
    pack("an odd name", ("eve_3_4_\x01\n.ipynb", right), ("_3_4_.ipynb", right), ("..", right))
    pack("a name of 300 letters", (f"{'e' * 300}_3_4_{sheet.file}", right))
    inner = pack("within", (f"eve_3_4_{sheet.file}", right)).read_bytes()
    pack("a zip in a zip", ("eve_3_4_homework.zip", inner))
    pack("a Mac's", (f"__MACOSX/._honest_1_2_{sheet.file}", b"\0\5"), (f"._honest_1_2_{sheet.file}", b"\0\5"))
    pack(
        "late, and twice",
        (f"eve_LATE_3_4_{sheet.file}", right),
        (f"eve_LATE_3_5_{sheet.name}-1.ipynb", right),
    )
    pack("only case tells", (f"Eve_8_4_{sheet.file}", right), (f"EVE_9_5_{sheet.file}", right))
    pack("from right to left", (f"e\u202eve_3_4_{sheet.file}", right), (f"🦊_5_6_{sheet.file}", right))
    pack("a 7z that is called zip", ("eve_3_4_homework.zip", b"7z\xbc\xaf\x27\x1c" + bytes(100)))
    pack("a folder where a file is", (f"eve/{sheet.file}", right), (f"eve/{sheet.file}/x", b"x"))
    deep = "/".join(["d"] * 500)
    pack("500 deep", (f"eve/{deep}/{sheet.file}", right))
    bomb = folder / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"honest_1_2_{sheet.file}", right)
        large = zipfile.ZipInfo(f"eve_3_4_{sheet.file}")
        large.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(large, "w", force_zip64=True) as entry:
            for _ in range(1024):
                entry.write(bytes(2**20))
    made["1 GB of zeros"] = bomb, True
    whole = inner
    for name, content in {"not a zip": b"hello", "empty": b"", "cut off": whole[: len(whole) // 2]}.items():
        path = folder / f"{slug(name)}.zip"
        path.write_bytes(content)
        made[name] = path, False
    locked = bytearray(whole)
    for at in range(len(locked) - 4):  # the bit that says "encrypted", in the table of contents
        if locked[at : at + 4] == b"PK\x01\x02":
            locked[at + 8] |= 1
    path = folder / "locked.zip"
    path.write_bytes(bytes(locked))
    made["with a password"] = path, False
    return made
