"""A Ray that is connected to, or started on this machine. The only file that imports Ray."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from deepvit.runtime.errors import MissingError, needed_for

LOCAL = "local"  # no cluster: Ray is started on this machine, and ends with the run
CONNECTING_S = 10


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give the module `ray`, connected; a Ray that this process has started already is used, and left.

    Args:
        address: As `ray.init` takes it; LOCAL for this machine alone.

    Raises:
        MissingError: Ray is not installed, or no cluster is there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:  # said before Ray is loaded, it need not say it itself, nor keep a file of it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with needed_for("‹ray›"):
        import ray
    if ray.is_initialized():
        yield ray
        return
    here = {"include_dashboard": False} if address == LOCAL else {}
    _require_listening(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR, **here)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingError(f"no Ray at {address}: {(str(error).splitlines() or [''])[0]}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # which Ray takes for itself
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_listening(address: str) -> None:
    """Refuse at once an address where nothing listens, which Ray tries for a quarter of an hour.

    Raises:
        MissingError: Nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECTING_S).close()
    except (OSError, OverflowError) as error:
        raise MissingError(f"no Ray at {address}: {error}; see what `ray status` says there") from error


def fetched(reference: Any) -> Any:
    """Return what a reference stands for, in a process of the cluster."""
    import ray

    return ray.get(reference)
