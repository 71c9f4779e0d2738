"""Files that are locked."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def held_lock(path: pathlib.Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path`, which is there only as long; the kernel lets go of it however the process ends.

    It holds between all who see the same file, whatever numbers their processes have.

    Raises:
        BlockingIOError: Another holds it, and `wait` is false.
        OSError: The file cannot be made.
    """
    descriptor = _locked(path, wait=wait)
    try:
        yield
    finally:
        if _is_at(path, descriptor):  # else another's lies there, since somebody removed this one
            path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone, and makes another
        os.close(descriptor)


def _locked(path: pathlib.Path, *, wait: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it before has removed it, so that others would lock another file


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
