"""Ctrl-C and other signals: one line, the documented exit code, and nothing half-written."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.commands.command_line import (
    SECONDS,
    assert_ends_as_interrupted,
    command_of,
    hearing,
    run,
    signalled,
    without_progress,
)
from tests.places import ROOT

COPIES = 40  # of the digits' 596 images: a minute of batches of one, of which the first progress is seen after a second


def is_progress(line):
    content = json.loads(line) if line.startswith("{") else {}
    return content.get("event") == "progress" and 0 < content["done"] < content["total"] // 2


def is_tracing(line):
    return "exporting ONNX" in line


@pytest.fixture
def many_digits(digits, tmp_path):
    """The digits' images many times over, as links."""
    for path in sorted((digits / "val").glob("*/*")):
        folder = tmp_path / "many" / "val" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for copy in range(COPIES):
            os.link(path, folder / f"{path.stem}-{copy}{path.suffix}")
    return tmp_path / "many"


def test_an_interrupted_evaluation_says_how_to_go_on(exported, many_digits):
    asked = ("eval", exported, "--imagenet", many_digits, "--batch-size", 1, "--workers", 2, "--log-json")
    says = "interrupted; the same command with --resume goes on"
    assert_ends_as_interrupted(command_of(*asked), is_progress, says)


def test_an_interrupted_export_writes_nothing_and_says_so(tmp_path):
    command = command_of("export", "digits_patch", "--output", tmp_path / "a")
    assert_ends_as_interrupted(command, is_tracing, "interrupted; what was not finished was not written")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_ended_exports_leave_no_artifact_and_the_next_succeeds(tmp_path, sent, code):
    asked = ("export", "digits_patch", "--output", tmp_path / "a")
    assert signalled(command_of(*asked), is_tracing, sent)[0] == code
    assert not (tmp_path / "a").exists()
    assert (os.listdir(tmp_path) == []) == (sent != signal.SIGKILL)
    result = run(*asked)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path) == ["a"]


# A program that is sent a signal while it imports the module that comes at a certain place, or has a certain name.
LOADED = """
import _signal, sys
place, kind, number, *sys.argv = sys.argv[1:]

class Dying:
    def __del__(self):
        _signal.raise_signal(int(number))

class Finder:
    count = 0

    def find_spec(self, name, path=None, target=None):
        Finder.count += 1
        if place not in (str(Finder.count), name):
            return
        sys.meta_path.remove(self)
        if kind == "in a destructor":
            Dying()
        elif kind == "as a failed import":
            try:
                _signal.raise_signal(int(number))
            except BaseException as error:
                raise ImportError("initialization failed") from error
        else:
            _signal.raise_signal(int(number))

sys.meta_path.insert(0, Finder())
sys.path[0] = sys.argv[0].rpartition("/")[0]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""
LISTENS = 10  # modules until the program listens, its own among them; those before take a few milliseconds


def signalled_while_loading(place, kind, number, folder):
    arguments = [str(place), kind, str(int(number)), *command_of("export", "digits_cnn", "--output", folder / "a")[1:]]
    return subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=hearing,
    )


def assert_interrupted(result):
    assert result.returncode == 130, result.stderr
    assert without_progress(result.stderr) == ["error: interrupted; what was not finished was not written"]


@pytest.mark.parametrize("place", [LISTENS, 20, 50, 100, 200, 300, 450, 600, 900, 1200, 1600, 2000])
def test_an_interrupt_while_it_loads_is_one_line(tmp_path, place):
    assert_interrupted(signalled_while_loading(place, "", signal.SIGINT, tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", ["typer", "torch", "onnxruntime"])
@pytest.mark.parametrize("kind", ["as a failed import", "in a destructor"])
def test_an_interrupt_that_a_library_takes_for_another_thing_is_one(tmp_path, place, kind):
    assert_interrupted(signalled_while_loading(place, kind, signal.SIGINT, tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("place", "kind"), [(LISTENS, ""), (300, ""), ("onnxruntime", "as a failed import")])
def test_a_termination_while_it_loads_says_nothing(tmp_path, place, kind):
    result = signalled_while_loading(place, kind, signal.SIGTERM, tmp_path)
    assert (result.returncode, without_progress(result.stderr)) == (143, [])
    assert os.listdir(tmp_path) == []


SAYS = "print('error: interrupted', file=sys.stderr)"


HANDLED = {
    "a line": f"{SAYS}; sys.exit(130)",
    "JSON": """print('{"event": "error", "message": "interrupted"}', file=sys.stderr); sys.exit(130)""",
}
NOT_HANDLED = {
    "exit 1": f"{SAYS}; sys.exit(1)",
    "no line": "sys.exit(130)",
    "ignored": "sys.exit(0)",
    "killed": "signal.raise_signal(signal.SIGKILL)",
    "traceback": "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT}); signal.raise_signal(signal.SIGINT)",
    "another line": f"{SAYS}; print('Traceback', file=sys.stderr); sys.exit(130)",
}


@pytest.mark.parametrize("ending", [*HANDLED, *NOT_HANDLED])
def test_a_program_that_does_not_handle_the_interrupt_is_seen(ending):
    then = (HANDLED | NOT_HANDLED)[ending]
    program = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT});"
        f"print('due', file=sys.stderr, flush=True); signal.sigwait({{signal.SIGINT}}); {then}"
    )
    with contextlib.nullcontext() if ending in HANDLED else pytest.raises(AssertionError):
        assert_ends_as_interrupted([sys.executable, "-c", program], lambda line: line == "due\n", "interrupted")


def test_a_program_that_ends_before_the_signal_is_seen():
    with pytest.raises(AssertionError, match="ended before"):
        signalled([sys.executable, "-c", "0"], lambda line: False, signal.SIGINT)


LEAVES_A_LOCK = """
import contextlib, multiprocessing, os, signal, sys
sys.argv = ["cli.py", "--help"]
from deepvit.commands.start import main
with contextlib.suppress(SystemExit):
    main()
lock = multiprocessing.get_context("spawn").Lock()  # as tqdm makes one where PyTorch is loaded
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves_is_removed_without_a_word():
    """Python's tracker of resources removes it; that it had to is nothing a user can do anything about."""
    result = subprocess.run(
        [sys.executable, "-c", LEAVES_A_LOCK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (-signal.SIGKILL, "")
