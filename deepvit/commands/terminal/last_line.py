"""The last line of a command that did not come to its end; made with Python alone, since any library may be missing."""

import json
import sys
import time
from typing import NoReturn

from .signals import deafen, heard

EXIT_MISSING = 3
BASE = ("numpy", "pillow", "pydantic", "onnx", "ml-dtypes", "typer", "rich")  # what every installation has
MODULES = {"PIL": "pillow", "ml_dtypes": "ml-dtypes"}  # whose packages are called otherwise


def end_with(line: str, code: int, *, as_json: bool) -> NoReturn:
    """Say a line of text that a terminal can show as it is, and exit."""
    deafen()
    content = {"event": "error", "time": round(time.time(), 3), "message": line, "exit_code": code}
    sys.stderr.write((json.dumps(content) if as_json else f"error: {line}") + "\n")
    sys.exit(code)


def fail_if_incomplete(error: BaseException, *, as_json: bool) -> None:
    """Exit with 3 where a library is missing that every installation has; not where a signal kept it from loading."""
    name = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if MODULES.get(name, name) in BASE and heard() is None:
        install = f"pip install {' '.join(BASE)}"
        end_with(f"{name} is not installed, which every command needs; {install}", EXIT_MISSING, as_json=as_json)
