"""What goes wrong on a node, said here: with the node's name, of the kind that it would have in this process."""

import contextlib
import platform
from collections.abc import Iterator
from typing import Any

from deepvit.runtime.errors import DeviceError, InputError, MissingError

RETRIES = 3  # of a block whose decoder or actor was killed
OURS = (InputError, MissingError, DeviceError)


@contextlib.contextmanager
def named_after_node() -> Iterator[None]:
    """Put this node's name before what is refused on it."""
    try:
        yield
    except OURS as error:
        raise type(error)(f"node {platform.node()}: {error}") from error


@contextlib.contextmanager
def raised_here(ray: Any) -> Iterator[None]:
    """Raise what a node said as it would be raised here, and what became of a node in a line."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        lines = str(error).strip().splitlines() or [""]
        if isinstance(error.cause, ImportError) or "failed to import" in str(error):  # as Ray says it of a whole module
            raise MissingError(f"a node of the Ray cluster lacks what runs here: {lines[-1]}; install it") from error
        raise error.cause or error from error
    except ray.exceptions.RayError as error:
        raise MissingError(
            f"Ray gave up after {RETRIES} more tries ({type(error).__name__}): what runs a block was killed, usually "
            "for want of memory; give fewer ‹actors›, and ‹resume›"
        ) from error
