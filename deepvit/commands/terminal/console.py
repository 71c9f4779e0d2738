"""What a command gives when it is done: results on stdout, JSON in a file."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import rich.console

from deepvit.runtime.files import replaced, write_error

from .spelling import program, shown, spelled


class _Out(rich.console.Console):
    """Stdout, on which what the libraries name is spelled as the command line has it."""

    def print(self, *objects: Any, **style: Any) -> None:
        """Print lines and tables."""
        super().print(*(shown(each) if isinstance(each, str) else each for each in objects), **style)


out = _Out(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def write_json(path: pathlib.Path | None, text: Callable[[], str]) -> None:
    """Write `text()` where --json asked for it, whole or not at all.

    Raises:
        InputError: It cannot be written.
        MissingError: The disk is full.
    """
    if path is None:
        return
    try:
        with replaced(path) as staged:
            staged.write_text(spelled(text()).rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise write_error(path, "--json", error) from error


def print_next(command: str | None) -> None:
    """End a command with the one that usually follows, of `following`, ready to paste; with nothing where none does."""
    if command is not None:
        out.print(f"next: {program()} {command}")
