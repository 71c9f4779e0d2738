"""What a command shows while it works and when it is done; errors and progress on stderr, results on stdout."""

import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

from runtime.errors import InputError

out = rich.console.Console(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
err = rich.console.Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def steps() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show the step that runs: a spinner on a terminal, with what of it is done; a line each elsewhere."""
    if not err.is_terminal:

        def line(text: str) -> Callable[[int, int], None]:
            err.print(f"· {text}")
            return lambda _done, _total: None

        yield line
        return
    with err.status("starting") as status:

        def step(text: str) -> Callable[[int, int], None]:
            status.update(text)
            err.print(f"· {text}")
            return lambda done, total: status.update(f"{text}: {done} of {total}")

        yield step


@contextlib.contextmanager
def images_bar(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show how many images are done, on a terminal; nothing elsewhere."""
    columns = (
        rich.progress.TextColumn(what),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, all_of_them: progress.update(task, completed=done, total=all_of_them)


@contextlib.contextmanager
def turns_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many turns of a measurement are done, on a terminal; nothing elsewhere."""
    with images_bar(what, 0) as advance:
        yield advance


@contextlib.contextmanager
def build_bar(what: str) -> Iterator[Callable[[str, float], None]]:
    """Show the share of a build that is done and its phase, on a terminal; one line elsewhere."""
    if not err.is_terminal:
        err.print(f"· {what}")
        yield lambda _phase, _share: None
        return
    columns = (
        rich.progress.TextColumn(what),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.fields[phase]}"),
    )
    with rich.progress.Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=1.0, phase="")
        yield lambda phase, share: progress.update(task, completed=share, phase=phase)


def check_json(path: pathlib.Path | None) -> None:
    """Refuse early what could not be written in the end.

    Raises:
        InputError: Not a file in a folder that exists.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise InputError(f"--json {path} cannot be written: expected a file in an existing folder")


def write_json(path: pathlib.Path | None, text: Callable[[], str]) -> None:
    """Write `text()` where --json asked for it.

    Raises:
        InputError: It cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(text().rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--json {path} cannot be written: {error.strerror}") from error


def print_next(command: str) -> None:
    """End a command with the one that usually follows, ready to paste."""
    out.print(f"next: {command}")
