"""The command line as a user runs it: in a process of its own, in this one, and with a signal on the way."""

import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings

import jsonschema
import pytest

from tests.doubles.nursery import Nursery
from tests.places import ROOT

SECONDS = 120
HERE = f"{sys.executable} cli.py"  # what runs this program in the checkout's folder, and elsewhere
ELSEWHERE = f"{sys.executable} {ROOT / 'cli.py'}"
without_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="about machines without a GPU")


def command_of(*arguments):
    return [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]


def run(*arguments, cwd=ROOT):
    """Run in a process of its own, in which PyTorch is loaded already."""
    command = command_of(*arguments)
    with tempfile.TemporaryDirectory() as name:
        files = [pathlib.Path(name) / each for each in ("stdout", "stderr")]
        code = _nursery().run(command[1:], cwd, dict(os.environ), *files)
        return subprocess.CompletedProcess(command, code, *(path.read_text() for path in files))


def run_anew(*arguments, cwd=ROOT, **options):
    """Run in a new Python, as a shell does: seconds more, in which the libraries are loaded."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command_of(*arguments), cwd=cwd, text=True, timeout=SECONDS, check=False, **options)


@functools.cache
def _nursery():
    return Nursery()


def valid_result(path):
    """What a command wrote with --json, held against the published schema of its kind."""
    content = json.loads(pathlib.Path(path).read_text())
    assert content["schema"] == 1
    schema = json.loads((ROOT / "docs" / "schemas" / f"{content['kind']}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(content)
    return content


def run_here(arguments):
    """Run within this process, where torch is loaded already; return the exit code."""
    import deepvit.commands.app

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    hook = sys.unraisablehook
    try:
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            deepvit.commands.app.main(list(arguments))
    finally:
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return ended.value.code


def refused(code, *arguments, **options):
    """Run, expect `code` and exactly one line on stderr, and return it."""
    result = run_anew(*arguments, **options) if options.keys() - {"cwd"} else run(*arguments, **options)
    return _only_error(code, result.returncode, result.stderr)


def refused_here(code, arguments, capsys):
    """As `refused`, within this process."""
    return _only_error(code, run_here(arguments), capsys.readouterr().err)


def without_progress(stderr):
    """The lines on stderr that are no step and no share of one, which come after ten seconds on a slow machine."""
    return [line for line in stderr.splitlines() if not re.match(r"· |[^:]+: \d+ of \d+ \(\d+%\)", line)]


def _only_error(expected, code, stderr):
    assert code == expected, stderr
    lines = without_progress(stderr)
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def hearing():
    """Take signals as what a user starts does: they are ignored in the background, and after a command that ran here."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def signalled(command, is_due, sent):
    """Start `command` in a process group of its own and send the group a signal, as a terminal does for Ctrl-C.

    Args:
        command: What to run.
        is_due: Of a line on stderr, whether the signal follows it.
        sent: The signal.

    Returns:
        The exit code, and the lines on stderr after the one that was due.
    """
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=hearing,
    ) as process:
        overdue = threading.Timer(SECONDS, _kill_group, [process.pid])
        overdue.start()
        try:
            before = []
            for line in process.stderr:
                before.append(line)
                if is_due(line):
                    break
            else:
                raise AssertionError(f"it ended before the signal was due: {before}")
            os.killpg(process.pid, sent)
            after = process.stderr.read()  # to the end: no process of the group is left
            return process.wait(), after.splitlines()
        finally:
            overdue.cancel()
            if process.poll() is None:
                _kill_group(process.pid)


def _kill_group(leader):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def assert_ends_as_interrupted(command, is_due, says):
    """Ctrl-C when a line is due: exit 130, and the last line on stderr, plain or JSON, is that error."""
    code, lines = signalled(command, is_due, signal.SIGINT)
    assert (code, [_plain(line) for line in lines[-1:]]) == (130, [f"error: {says}"])


def _plain(line):
    if not line.startswith("{"):
        return line
    content = json.loads(line)
    return f"{content['event']}: {content['message']}"
