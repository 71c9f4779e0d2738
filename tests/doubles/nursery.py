"""Runs our command line many times with its libraries loaded once: `-m tests.doubles.nursery` forks for every command.

A command is a process of its own, as a shell starts it, but for the seconds in which PyTorch and others are loaded.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import NoReturn

from tests.places import ROOT

LOADED = ("torch", "timm", "torchvision", "onnx", "onnxscript", "deepvit.commands.app", "deepvit.export.pipeline")
SECONDS = 240


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        atexit.register(self.close)

    def run(
        self,
        argv: list[str],
        folder: pathlib.Path,
        environment: dict[str, str],
        stdout: pathlib.Path,
        stderr: pathlib.Path,
    ) -> int:
        """Run a command in a folder, with `environment` for all of its variables; return its exit code.

        `stdout` and `stderr`, which may be one, are the files that it writes to.
        """
        overdue = threading.Timer(SECONDS, os.killpg, [self._process.pid, signal.SIGKILL])
        overdue.start()
        try:
            request = [argv, str(folder), environment, str(stdout), str(stderr)]
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        finally:
            overdue.cancel()
        assert answer, f"not ended after {SECONDS} s: {argv}"
        return int(answer)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def _become(argv: list[str], folder: str, environment: dict[str, str], stdout: str, stderr: str) -> NoReturn:
    """Be the process of one command."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    errors = written if stderr == stdout else os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for source, target in ((nothing, 0), (written, 1), (errors, 2)):
        os.dup2(source, target)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # so that errors stand where they belong
    sys.argv = argv
    from deepvit.commands.start import main
    from deepvit.commands.terminal import spelling

    if (door := pathlib.Path.cwd() / "cli.py").exists():  # the folder stands for the checkout
        spelling.DOOR = door
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # the interpreter's own end would take seconds: it touches, and so copies, all that was loaded


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # what is loaded is no garbage; looking for it would copy it
    for request in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
