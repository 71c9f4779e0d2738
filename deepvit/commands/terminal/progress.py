"""What a command shows while it works, on stderr: bars on a terminal, plain lines elsewhere, JSON lines on demand."""

import contextlib
import enum
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator

import rich.console

from deepvit.progress import Advance, Progress

from .spelling import shown, spelled

LINE_EVERY_S = 10.0  # plain lines about progress come no more often
JSON_EVERY_S = 1.0
err = rich.console.Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


class Form(enum.Enum):
    """How stderr is written."""

    TERMINAL = "terminal"
    LINES = "lines"
    JSON = "json"


class _Log:
    """The form that was chosen for this process."""

    form = Form.TERMINAL if err.is_terminal else Form.LINES


def log_as_json() -> None:
    """Write stderr as JSON lines from here on: events step, done, progress, note, warning and error."""
    _Log.form = Form.JSON


def is_json() -> bool:
    return _Log.form is Form.JSON


def event(kind: str, **content: object) -> None:
    """Write one JSON line."""
    sys.stderr.write(json.dumps({"event": kind, "time": round(time.time(), 3), **content}) + "\n")
    sys.stderr.flush()


def note(text: str) -> None:
    """Say something that is no result: random weights, a corrupt image."""
    if is_json():
        event("note", message=spelled(text))
    else:
        err.print(shown(text))


class LineFormatter(logging.Formatter):
    """Warnings of the packages as lines."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(record.getMessage())


class JsonHandler(logging.Handler):
    """Warnings of the packages as JSON lines."""

    def emit(self, record: logging.LogRecord) -> None:
        event(record.levelname.lower(), message=spelled(record.getMessage()))


class _Pace:
    """Rate and time left since the first report, which may come late in a run that was resumed."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._start = self._last = time.monotonic()
        self._first: int | None = None

    def due(self, done: int, total: int) -> tuple[float | None, float | None] | None:
        """Return the rate per second and the seconds left, as far as they are known, where it is time to report."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._start = done, now
        if now - self._last < self._every_s and done < total:
            return None
        self._last = now
        if done == self._first:
            return None, None
        rate = (done - self._first) / max(now - self._start, 1e-9)
        return rate, (total - done) / rate


@contextlib.contextmanager
def progress_bar(what: str, total: int) -> Iterator[Advance]:
    """Show how many are done, how fast, and how long the rest will take."""
    if _Log.form is not Form.TERMINAL:
        yield _reporter(what)
        return
    from .bars import counting_bar

    with counting_bar(what, err) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, all_of_them: progress.update(task, completed=done, total=all_of_them)


def _reporter(what: str) -> Advance:
    """Return what reports progress as lines, now and then."""
    pace = _Pace(JSON_EVERY_S if is_json() else LINE_EVERY_S)
    start = time.monotonic()

    def advance(done: int, total: int) -> None:
        due = pace.due(done, total)
        if due is None:
            return
        rate, seconds_left = due
        if is_json():
            event("progress", what=what, done=done, total=total, per_second=rate, seconds_left=seconds_left)
        elif time.monotonic() - start >= LINE_EVERY_S:  # what is quickly done needs no line
            share = done / total if total else 1.0
            pace_so_far = "" if rate is None or seconds_left is None else f", {rate:.1f}/s, {_clock(seconds_left)} left"
            err.print(f"{what}: {done} of {total} ({share:.0%}){pace_so_far}")

    return advance


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Stages:
    """Steps of which each ends when the next begins, as JSON lines."""

    def __init__(self) -> None:
        self._running: tuple[str, float, float] | None = None

    def begin(self, text: str) -> Advance:
        self.end()
        event("step", what=text)
        self._running = (text, time.monotonic(), time.process_time())
        return _reporter(text)

    def end(self) -> None:
        if self._running is None:
            return
        text, start, cpu_start = self._running
        seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
        event("done", what=text, seconds=round(seconds, 3), cpu_seconds=round(cpu_seconds, 3))
        self._running = None


@contextlib.contextmanager
def steps() -> Iterator[Progress]:
    """Show the step that runs: a spinner on a terminal, with what of it is done; a line each elsewhere.

    As JSON, a step that is over says how long it took: an event `done`, with seconds of all cores together beside it.
    """
    if is_json():
        stages = _Stages()
        yield stages.begin
        stages.end()
        return
    if _Log.form is Form.LINES:

        def line(text: str) -> Advance:
            err.print(f"· {text}")
            return _reporter(text)

        yield line
        return
    with err.status("starting") as status:

        def step(text: str) -> Advance:
            status.update(text)
            err.print(f"· {text}")
            return lambda done, total: status.update(f"{text}: {done} of {total}")

        yield step


@contextlib.contextmanager
def build_bar(what: str) -> Iterator[Callable[[str, float], None]]:
    """Show the share of a build that is done and its phase."""
    if _Log.form is not Form.TERMINAL:
        if is_json():
            event("step", what=what)
            report = _reporter(what)
            yield lambda _phase, share: report(round(100 * share), 100)
        else:
            err.print(f"· {what}")
            yield lambda _phase, _share: None
        return
    from .bars import phase_bar

    with phase_bar(what, err) as progress:
        task = progress.add_task(what, total=1.0, phase="")
        yield lambda phase, share: progress.update(task, completed=share, phase=phase)
