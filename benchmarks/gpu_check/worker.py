"""One section in a process of its own, so that what it breaks, CUDA's context included, is broken for it alone."""

import contextlib
import faulthandler
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from .findings import Finding, Findings, Layers, SkippedError, is_installed
from .places import Gpu, Place
from .record import ROOT, Check, Figure, Note, Section, Skipped

TRACEBACK = 4000  # characters of it that are kept
GRACE_S = 10.0  # after its time a section ends itself, telling where it was; after so much more it is killed
OURS = ("deepvit", "benchmarks", "tests")
LISTS = {Check: "checks", Figure: "figures", Note: "notes", Skipped: "skipped"}


def run_section(
    name: str,
    *,
    is_fake: bool,
    seconds: float,
    layers: dict[str, str],
    told: Callable[[Section], None] = lambda section: None,  # noqa: ARG005
) -> Section:
    """Run a section for at most so many seconds, and return what it found, up to where it failed if it did.

    Args:
        name: One of SECTIONS, or the name of a module that has a function `run`.
        is_fake: Whether to run it on fakes.
        seconds: When it is ended.
        layers: Is given the layers of the engines that it built.
        told: Called with what was found so far, after every finding.
    """
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    receiver, sender = context.Pipe(duplex=False)
    found = Section(name=name, outcome="unfinished")
    with tempfile.TemporaryDirectory() as folder:
        errors = pathlib.Path(folder) / "stderr"
        process = context.Process(target=_serve, args=(sender, name, is_fake, seconds, str(errors)))
        process.start()
        pid = process.pid
        assert pid is not None
        sender.close()
        try:
            _receive(receiver, found, layers, start + seconds + GRACE_S, told)
            multiprocessing.connection.wait([process.sentinel], GRACE_S)
        finally:  # where it has not ended, or this process is interrupted; what it started goes with it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            process.kill()
            process.join()
        _end(found, process.exitcode or 0, errors, time.monotonic() - start >= seconds)
    found.seconds = round(time.monotonic() - start, 1)
    return found


def _receive(
    receiver: Connection, found: Section, layers: dict[str, str], until: float, told: Callable[[Section], None]
) -> None:
    """Take findings until the other end is closed."""
    while receiver.poll(max(0.0, until - time.monotonic())):
        try:
            item: Finding | SkippedError = receiver.recv()
        except (EOFError, OSError):  # OSError: it ended in the middle of one
            return
        if isinstance(item, SkippedError):
            found.outcome, found.why = "skipped", str(item)
        elif isinstance(item, Layers):
            layers[item.name] = item.text
        else:
            getattr(found, LISTS[type(item)]).append(item)
            told(found)


def _end(found: Section, code: int, errors: pathlib.Path, is_late: bool) -> None:
    """Tell how the process ended."""
    if code == 0:
        if found.outcome == "unfinished":
            found.outcome = "done"
        return
    said = errors.read_text(errors="replace") if errors.is_file() else ""
    found.outcome = "failed"
    found.why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    if is_late:
        found.why = f"not ended in its time; {found.why}"
    found.traceback = said.replace(f"{ROOT}/", "").replace(sys.prefix, "…")[-TRACEBACK:]


def _serve(sender: Connection, name: str, is_fake: bool, seconds: float, errors: str) -> None:
    """Be the process of a section; what it writes to stderr, as Python does with an error, is in the file `errors`."""
    os.setpgid(0, 0)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT, 0o600), 2)
    faulthandler.enable()
    faulthandler.dump_traceback_later(seconds, exit=True)
    place: Place = Gpu()
    if is_fake:
        from .fakes import FakeGpu

        place = FakeGpu()
    findings = Findings(sender.send, is_fake=is_fake, deadline=time.monotonic() + seconds)
    module = name if "." in name else f"{__package__}.sections.{name}"
    try:
        importlib.import_module(module).run(findings, place)
    except SkippedError as skipped:
        sender.send(skipped)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in OURS or is_installed(package):
            raise
        sender.send(SkippedError(f"{package} is not installed here"))
    faulthandler.cancel_dump_traceback_later()
