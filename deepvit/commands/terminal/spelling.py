"""How a terminal says what the libraries name: the parameter ‹batch_sizes› is --batch-sizes, ‹deepvit› the program."""

import pathlib
import re
import sys

NAMED = re.compile(r"‹([a-z][a-z0-9_]*)›")
# Control characters but for tabs and ends of lines, what turns the direction of writing, and bytes that are not UTF-8.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def program() -> str:
    """Return what a user types before a command: from a checkout its cli.py, else the program that was installed."""
    return "deepvit" if pathlib.Path(sys.argv[0]).stem == "deepvit" else "python cli.py"


def spelled(text: str) -> str:
    """Return `text` of the libraries as this command line says it."""
    return NAMED.sub(lambda match: program() if match[1] == "deepvit" else f"--{match[1].replace('_', '-')}", text)


def shown(text: str) -> str:
    """Return `text` as it may be shown: spelled, and what would steer a terminal, in a file's name say, in escapes."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), spelled(text))
