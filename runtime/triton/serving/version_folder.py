"""Where a Python model finds what was packaged with it."""

import pathlib


def version_folder(args: dict[str, str]) -> pathlib.Path:
    """Return the model's version folder, from what Triton's Python backend hands to `initialize`."""
    return pathlib.Path(args["model_repository"]) / args["model_version"]
