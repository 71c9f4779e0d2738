"""Files that are read, no more of them than there may be."""

import contextlib
import io
import os
import pathlib
import stat
from collections.abc import Iterator

from ..errors import InputError


@contextlib.contextmanager
def open_bounded(path: pathlib.Path, most: int, kind: str, *, name: str | None = None) -> Iterator[io.BufferedReader]:
    """Give the opened `path`, a regular file, of which `kind`, "a manifest" say, has at most `most` bytes.

    Raises:
        InputError: It cannot be read, is a folder, a pipe or a device, or has more; `name`, or the path, says which.
    """
    name = name or str(path)
    try:
        stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - its own errors are not those of the block
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is no regular file but a pipe, socket or device; give a file")
        if status.st_size > most:
            raise InputError(f"{name} has {status.st_size} bytes, {kind} has at most {most}")
        yield stream


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe; with a regular file it makes no difference."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_bounded(path: pathlib.Path, most: int, kind: str, *, name: str | None = None) -> bytes:
    """Return the bytes of `path`; see `open_bounded`. Of a file that grows meanwhile, those that it had.

    Raises:
        InputError: As `open_bounded`, or reading failed.
    """
    with open_bounded(path, most, kind, name=name) as stream:
        try:
            return stream.read(os.fstat(stream.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{name or path} cannot be read: {error.strerror}") from error
