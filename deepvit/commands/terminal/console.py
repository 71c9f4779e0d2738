"""What a command gives when it is done: results on stdout, JSON in a file."""

import pathlib
import shlex
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import rich.console

from deepvit.runtime.files import replaced, write_error

from .spelling import program, shown, spelled

NEXT = "next: "
COMMANDS = (NEXT, "‹deepvit›")  # what says that a text has one, which is pasted as one line


class _Out(rich.console.Console):
    """Stdout, on which what the libraries name is spelled as the command line has it."""

    def print(self, *objects: Any, **style: Any) -> None:
        """Print lines and tables; on a terminal lines of text end at its width, words and commands whole."""
        super().print(*(self._fitted(each) if isinstance(each, str) else each for each in objects), **style)

    def _fitted(self, text: str) -> str:
        if not self.is_terminal or any(command in text for command in COMMANDS):
            return shown(text)
        return "\n".join(hanging(line, "  ") for line in shown(text).split("\n"))


out = _Out(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def hanging(text: str, indent: str) -> str:
    """Return `text` in lines of the terminal's width, all but the first indented, words whole; elsewhere as it is."""
    if not out.is_terminal:
        return text
    return textwrap.fill(text, out.width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def write_json(path: pathlib.Path | None, text: Callable[[str], str]) -> None:
    """Write `text`, of the command that was typed, where --json asked for it, whole or not at all.

    Raises:
        InputError: It cannot be written.
        MissingError: The disk is full.
    """
    if path is None:
        return
    try:
        with replaced(path) as staged:
            staged.write_text(spelled(text(typed())).rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise write_error(path, "--json", error) from error


def typed() -> str:
    """Return the command that is being run, as it can be typed again."""
    return f"{program()} {shlex.join(sys.argv[1:])}"


def print_next(command: str | None) -> None:
    """End a command with the one that usually follows, of `following`, ready to paste; with nothing where none does."""
    if command is not None:
        out.print(f"{NEXT}{program()} {command}")
