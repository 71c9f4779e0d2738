"""What is said where a library is missing that every installation has; it needs none itself."""

import json
import sys

EXIT_MISSING = 3
BASE = ("numpy", "pillow", "pydantic", "onnx", "ml-dtypes", "typer", "rich")
MODULES = {"PIL": "pillow", "ml_dtypes": "ml-dtypes"}  # whose packages are called otherwise


def fail_if_incomplete(error: BaseException, *, as_json: bool) -> None:
    """Exit with 3 where a library is missing that every installation has."""
    name = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if MODULES.get(name, name) in BASE:
        line = f"{name} is not installed, which every command needs; pip install {' '.join(BASE)}"
        print(json.dumps({"event": "error", "message": line}) if as_json else f"error: {line}", file=sys.stderr)  # noqa: T201 - what prints may be missing
        sys.exit(EXIT_MISSING)
