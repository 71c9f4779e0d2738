"""One trial: something run in a process of its own, with limits, and what became of it."""

import contextlib
import ctypes
import dataclasses
import functools
import os
import pathlib
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

SECONDS = 60.0  # after which a trial hangs
MORE_BYTES = 4 << 30  # address space that a trial may have beyond what it is forked with
EXIT_INTERNAL, EXIT_TERMINATED = 70, 143
RUNS_A_WORKER = 200  # trials in turn in one process
GRACE_SECONDS = 0.5
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
ANSWER = "<iq"  # exit code, peak memory in bytes
DOCUMENTED = frozenset({0, 1, 2, 3})  # exit codes that hostile input may end with


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended; `code` is −N after signal N, None where it was killed for taking too long."""

    code: int | None
    stderr: str
    seconds: float
    peak_bytes: int

    @property
    def label(self) -> str:
        if self.code is None:
            return "hang"
        return f"exit {self.code}" if self.code >= 0 else f"signal {signal.Signals(-self.code).name}"

    def fault(self, allowed: frozenset[int] = DOCUMENTED) -> str:
        """Return what is wrong with an end that is none of `allowed`, or with a refusal that is not one line."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        if self.code is None or self.code not in allowed:
            return f"{self.label}: {self.stderr[-300:].strip()}"
        if "Traceback (most recent call last)" in self.stderr:
            return f"{self.label} with a traceback"
        if self.code > 0 and self.code != EXIT_TERMINATED and len(lines) != 1:
            return f"{self.label} with {len(lines)} error lines: {self.stderr[-300:].strip()}"
        return ""


@dataclasses.dataclass(frozen=True)
class Result:
    """What one trial showed: a label to count by, and what did not hold; nothing where all did."""

    label: str
    fault: str = ""


def run_forked(
    function: Callable[[], object], log: pathlib.Path, seconds: float = SECONDS, more_bytes: int = MORE_BYTES
) -> Ended:
    """Run `function` in a forked process, its errors as the command line has them, its stderr in `log`."""
    return start_forked(function, log, more_bytes).wait(seconds)


def start_forked(function: Callable[[], object], log: pathlib.Path, more_bytes: int = MORE_BYTES) -> "Forked":
    """Start what `run_forked` runs, in a process group of its own."""
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(function, log, more_bytes)
    with contextlib.suppress(PermissionError, ProcessLookupError):  # the child does it too; whoever is first
        os.setpgid(pid, pid)
    return Forked(pid, log, started)


class Forked:
    """A forked process that goes on."""

    def __init__(self, pid: int, log: pathlib.Path, started: float) -> None:
        self.pid, self.log, self.started = pid, log, started

    def send(self, number: signal.Signals) -> None:
        """Send the whole group a signal, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def ends_within(self, seconds: float) -> bool:
        """Wait so long; return whether it ended."""
        descriptor = os.pidfd_open(self.pid)
        try:
            return bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)

    def wait(self, seconds: float = SECONDS) -> Ended:
        in_time = self.ends_within(seconds)
        self.send(signal.SIGKILL)  # what it started goes with it
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status) if in_time else None
        stderr = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return Ended(code, stderr, time.monotonic() - self.started, usage.ru_maxrss * 1024)


def run_in_turn(
    function: Callable[[], object], log: pathlib.Path, seconds: float = SECONDS, more_bytes: int = MORE_BYTES
) -> Ended:
    """As `run_forked`, in a process that runs such trials one after another, until one of them is its end.

    Forking takes longer than most trials do. What one leaves behind meets the next ones, as in a server.
    """
    worker = _workers.get(more_bytes)
    if worker is None or worker.is_spent:
        if worker is not None:
            worker.end()
        worker = _workers[more_bytes] = Worker(more_bytes)
    return worker.run(function, log, seconds)


class Worker:
    """A forked process that is handed functions, picklable ones, and answers with their exit codes."""

    def __init__(self, more_bytes: int) -> None:
        own, self._pipe = socket.socketpair()
        self._runs, self._is_over = 0, False
        self._process = start_forked(functools.partial(_serve, own), pathlib.Path(os.devnull), more_bytes)
        own.close()

    @property
    def is_spent(self) -> bool:
        return self._is_over or self._runs >= RUNS_A_WORKER

    def run(self, function: Callable[[], object], log: pathlib.Path, seconds: float) -> Ended:
        started = time.monotonic()
        self._runs += 1
        self._pipe.settimeout(seconds)
        try:
            self._pipe.sendall(_framed(pickle.dumps((function, str(log)))))
            code, peak = struct.unpack(ANSWER, self._pipe.recv(struct.calcsize(ANSWER), socket.MSG_WAITALL))
        except (struct.error, OSError):  # it ended, or takes too long
            self._is_over = True
            ended = self._process.wait(GRACE_SECONDS)
            code, peak = ended.code, ended.peak_bytes
        if code == EXIT_INTERNAL:
            self._runs = RUNS_A_WORKER  # who knows what it has left behind
        stderr = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return Ended(code, stderr, time.monotonic() - started, peak)

    def end(self) -> None:
        self._pipe.close()
        if not self._is_over:
            self._process.wait(GRACE_SECONDS)


_workers: dict[int, Worker] = {}  # by how much memory they may have


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


def _serve(pipe: socket.socket) -> None:
    while header := pipe.recv(8, socket.MSG_WAITALL):
        function, log = pickle.loads(pipe.recv(int.from_bytes(header, "little"), socket.MSG_WAITALL))
        _print_to(pathlib.Path(log))
        code = _code_of(function)
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.sendall(struct.pack(ANSWER, code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def _print_to(log: pathlib.Path) -> None:
    """Let this process write its errors to `log`, and its output nowhere."""
    for descriptor, path in ((2, str(log)), (1, os.devnull)):
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, descriptor)
        os.close(output)


def _child(function: Callable[[], object], log: pathlib.Path, more_bytes: int) -> None:
    code = EXIT_INTERNAL
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        _print_to(log)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        limit = _address_space() + more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        code = _code_of(function)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must hear of it
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)  # what the parent would do at its end is not the child's


def _code_of(function: Callable[[], object]) -> int:
    """Run it and return the exit code: that of the command line, or of the error as the command line has it."""
    try:
        function()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except Exception as error:  # noqa: BLE001 - as the command line does
        code = getattr(error, "exit_code", None)
        if code is None:
            traceback.print_exc()
            return EXIT_INTERNAL
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return int(code)
    return 0


def _address_space() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGESIZE")


def timeless(value: Any) -> Any:
    """Return a result of a command, or a part of one, without what tells how long something took."""
    if isinstance(value, list):
        return [timeless(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: timeless(each) for name, each in value.items() if "second" not in name and name != "duration_s"}
