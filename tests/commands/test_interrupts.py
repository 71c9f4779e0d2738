"""Ctrl-C and other signals: one line, the documented exit code, and nothing half-written."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.commands.command_line import SECONDS, assert_ends_as_interrupted, command_of, signalled

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
    assert_ends_as_interrupted(command, is_tracing, "interrupted; nothing was written")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_ended_exports_leave_no_artifact_and_the_next_succeeds(tmp_path, sent, code):
    command = command_of("export", "digits_patch", "--output", tmp_path / "a")
    assert signalled(command, is_tracing, sent)[0] == code
    assert not (tmp_path / "a").exists()
    assert (os.listdir(tmp_path) == []) == (sent != signal.SIGKILL)
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path) == ["a"]


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
