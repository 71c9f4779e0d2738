"""Runs our command line many times with its libraries loaded once: `-m tests.contracts.pages.nursery` forks for every command."""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NoReturn

from tests.places import ROOT

LOADED = ("torch", "timm", "torchvision", "onnx", "onnxscript", "deepvit.commands.app", "deepvit.export.pipeline")


class Nursery:
    """The process that forks; what it runs finds `environment` besides its own variables."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, env=_readers_environment(environment),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, argv: list[str], folder: pathlib.Path) -> tuple[int, str]:
        """Run a command in a folder; return its exit code, and what it wrote to stdout and stderr."""
        output = folder / ".output"
        print(json.dumps([argv, str(folder), str(output)]), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return code, output.read_text()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def nursery(**environment: str) -> Iterator[Nursery]:
    opened = Nursery(**environment)
    try:
        yield opened
    finally:
        opened.close()


def _readers_environment(more: dict[str, str]) -> dict[str, str]:
    """As in a terminal of a reader who has activated the environment, on a server without a screen."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    theirs = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "COLUMNS")
    }
    return {**theirs, "PATH": path, **more}


def _become(argv: list[str], folder: str, output: str) -> NoReturn:
    """Be the process of one command."""
    os.chdir(folder)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # so that errors stand where they belong
    sys.argv = argv
    from deepvit.commands.start import main
    from deepvit.commands.terminal import spelling

    spelling.DOOR = pathlib.Path.cwd() / "cli.py"  # the folder stands for the checkout
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
