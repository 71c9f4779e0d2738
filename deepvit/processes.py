"""What every worker process needs: to end with the process that started it, and to leave Ctrl-C to that one."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, which a terminal sends to all; from their first moment on.

    They inherit the mask of the thread that starts them; this one gets its interrupt when the block ends.
    """
    resource_tracker.ensure_running()  # which the first process would start, letting interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """End this worker process when the one that started it is gone, killed included; it would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
