"""What takes seconds to make and no test changes: made by the first worker that asks, for all of them."""

import fcntl
import os
import pathlib
from collections.abc import Callable

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """Return the file or folder `name` of this run; `make` is given the path to write, and the others wait for it."""
    base = factory.getbasetemp()  # a worker's own, beside those of the others
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            begun = folder / f"{os.getpid()}-{name}"
            make(begun)
            begun.rename(folder / name)
    return folder / name
