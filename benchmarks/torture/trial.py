"""One trial: something run in a process of its own, with limits, and what became of it."""

import contextlib
import dataclasses
import os
import pathlib
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

SECONDS = 60.0  # after which a trial hangs
MORE_BYTES = 4 << 30  # address space that a trial may have beyond what it is forked with
EXIT_INTERNAL, EXIT_TERMINATED = 70, 143
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


def _child(function: Callable[[], object], log: pathlib.Path, more_bytes: int) -> None:
    code = EXIT_INTERNAL
    try:
        os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
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
