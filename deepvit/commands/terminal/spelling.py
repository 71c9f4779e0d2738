"""How a terminal says what the libraries name: the parameter ‹batch_sizes› is --batch-sizes, ‹deepvit› the program."""

import pathlib
import re
import shlex
import sys

from deepvit.runtime.errors import printable

NAMED = re.compile(r"‹([a-z][a-z0-9_]*)›")
NAME = "deepvit"
DOOR = pathlib.Path(__file__).parents[3] / "cli.py"  # of a checkout; nothing is there in an installation


def program() -> str:
    """Return what runs this program again where the user is: deepvit, or a Python and the checkout's cli.py.

    Names are short where the shell finds the same program by them, and paths elsewhere.
    """
    if pathlib.Path(sys.argv[0]).stem == NAME or not DOOR.is_file():
        return _short(NAME, sys.argv[0] if pathlib.Path(sys.argv[0]).stem == NAME else NAME)
    door = DOOR.name if pathlib.Path.cwd() == DOOR.parent else str(DOOR)
    return f"{_short('python', sys.executable)} {shlex.quote(door)}"


def _short(name: str, path: str) -> str:
    import shutil  # only here: what hears Ctrl-C first loads this module

    return name if shutil.which(name) == str(pathlib.Path(path).absolute()) else shlex.quote(path)


def spelled(text: str) -> str:
    """Return `text` of the libraries as this command line says it."""
    return NAMED.sub(lambda match: program() if match[1] == NAME else f"--{match[1].replace('_', '-')}", text)


def shown(text: str) -> str:
    """Return `text` as it may be shown: spelled, and what would steer a terminal, in a file's name say, in escapes."""
    return printable(spelled(text), keep="\t\n")
