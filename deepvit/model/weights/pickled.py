"""Pickles of weights (`.pth`, `.pth.tar`, `.pt`), read by a process of their own within limits of time and memory."""

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from typing import BinaryIO

import torch

from deepvit.processes import without_interrupts
from deepvit.runtime.errors import InputError, MissingError

from . import pickled_child
from .tensor_file import parse_tensors

WALL_SECONDS, BYTES_PER_SECOND = 120, 5_000_000  # at least so fast, however slow the disk
ADVICE = "weights do not need that; save it again as a plain state dict"


class PickleReader:
    """The process that reads one checkpoint; it starts at once, while the file is hashed, say.

    Args:
        source: The opened file.
        name: What errors call it.
        prefers_ema: Whether exponential moving averages are taken where the file has them.

    Raises:
        MissingError: No process can be started.
    """

    def __init__(self, source: BinaryIO, name: str, *, prefers_ema: bool) -> None:
        self._name, self._size = name, os.fstat(source.fileno()).st_size
        self._result = _memory_file()
        child = (sys.executable, "-P", pickled_child.__file__)  # -P: beside it lies a random.py
        command = [*child, "prefer" if prefers_ema else "refuse", str(self._result.fileno())]
        try:
            with without_interrupts():
                self._process = subprocess.Popen(  # noqa: S603 - our own program, and no name of the user's
                    command,
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=[self._result.fileno()],
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
        except OSError as error:
            self._result.close()
            raise MissingError(f"no process can be started to read {name}: {error.strerror}") from error

    def __enter__(self) -> "PickleReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._result.close()

    def result(self) -> tuple[str, dict[str, torch.Tensor]]:
        """Return which entry was taken, "state_dict_ema" say, or "" of a plain state dict; and its tensors by name.

        Raises:
            InputError: They cannot be read, not safely, or not within the limits; or are no weights.
            MissingError: The process cannot run here.
        """
        limit = WALL_SECONDS + self._size // BYTES_PER_SECOND
        try:
            output, errors = self._process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{self._name} ({self._size} bytes) is not read within {limit} s; {ADVICE}") from error
        code = self._process.returncode
        if code > 0:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2][:200]
            raise MissingError(f"the process that reads {self._name} does not run here: {last}")
        if code < 0:
            raise InputError(f"{self._name} ({self._size} bytes) {self._why_killed(-code)}; {ADVICE}")
        answer = json.loads(output)
        if "refused" in answer:
            raise InputError(f"{self._name} ({self._size} bytes) {answer['refused']}")
        content = mmap.mmap(self._result.fileno(), 0, access=mmap.ACCESS_COPY)  # no second copy in memory
        return answer["entry"], parse_tensors(content, self._name)

    def _why_killed(self, code: int) -> str:
        if code == signal.SIGXCPU:
            return f"is not read within {pickled_child.cpu_seconds(self._size)} s of computing"
        with contextlib.suppress(ValueError):
            return f"ended the process that read it ({signal.Signals(code).name})"
        return f"ended the process that read it (signal {code})"


def _memory_file() -> BinaryIO:
    """Return a file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("deepvit-weights"), "w+b")
    return tempfile.TemporaryFile()
