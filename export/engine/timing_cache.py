"""TensorRT's measured kernel times on disk: one file per TensorRT version, GPU and driver, whole or not at all."""

import contextlib
import hashlib
import logging
import pathlib
import re
from collections.abc import Iterator

from deepvit.runtime.files import cache_folder, held_lock, read_bounded, replaced, write_error
from deepvit.runtime.trt.machine import Machine

logger = logging.getLogger(__name__)
MAX_BYTES = 1 << 30
MAGIC = b"deepvit timing cache 1\n"


def timing_cache_path(version: str, machine: Machine) -> pathlib.Path:
    """Return where the timings of this TensorRT on this GPU and driver are kept.

    Raises:
        InputError: The cache folder cannot be made.
    """
    parts = (version, machine.gpu or "no-gpu", machine.compute_capability or "", machine.driver or "")
    name = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-") for part in parts if part)
    return cache_folder("timing") / f"{name}.cache"


def read_timings(path: pathlib.Path) -> bytes:
    """Return the timings in `path`; none where the file is not what was written, which is set aside."""
    if not path.exists():
        return b""
    content = read_bounded(path, MAX_BYTES, "a timing cache", name=f"timing cache {path}")
    start = len(MAGIC) + hashlib.sha256().digest_size
    timings = content[start:]
    if content[:start] != MAGIC + hashlib.sha256(timings).digest():
        set_aside(path, "it is damaged")
        return b""
    return timings


def set_aside(path: pathlib.Path, why: str) -> None:
    """Move a cache that cannot be used out of the way, with a warning."""
    aside = path.with_name(path.name + ".discarded")
    path.replace(aside)
    logger.warning("timing cache %s is discarded (%s; it is now %s); the build measures again", path, why, aside.name)


def write_timings(path: pathlib.Path, timings: bytes) -> None:
    """Replace `path` in one step.

    Raises:
        InputError: It cannot be written.
        MissingError: The disk is full.
    """
    content = MAGIC + hashlib.sha256(timings).digest() + timings
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as staged:
            staged.chmod(0o600)
            staged.write_bytes(content)
    except OSError as error:
        raise write_error(path, "‹timing_cache›", error) from error


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Hold the lock of `path`, which another build may wait for; a killed process lets go of it.

    Raises:
        InputError: The lock file cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held_lock(path.with_name(path.name + ".lock"), wait=True))
        except OSError as error:
            raise write_error(path, "‹timing_cache›", error) from error
        yield
