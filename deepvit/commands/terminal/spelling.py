"""How a terminal says what the libraries name: the parameter ‹batch_sizes› is --batch-sizes, ‹deepvit› the program."""

import pathlib
import re
import sys

NAMED = re.compile(r"‹([a-z][a-z0-9_]*)›")


def program() -> str:
    """Return what a user types before a command: from a checkout its cli.py, else the program that was installed."""
    return "deepvit" if pathlib.Path(sys.argv[0]).stem == "deepvit" else "python cli.py"


def spelled(text: str) -> str:
    """Return `text` of the libraries as this command line says it."""
    return NAMED.sub(lambda match: program() if match[1] == "deepvit" else f"--{match[1].replace('_', '-')}", text)
