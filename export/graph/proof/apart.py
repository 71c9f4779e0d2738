"""Images one by one, on as many cores as there are, each image on one: nothing waits for another core.

Kernels that share an image among cores wait for the slowest of them at every node, and burn what they wait.
"""

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")
MOST = 8  # at a time: each holds an image's activations


def run_apart(tasks: Iterable[Callable[[], T]]) -> list[T]:
    """Return what each task returns, in order; PyTorch computes each on one core."""
    cores = min(os.cpu_count() or 1, MOST)
    with one_core(), concurrent.futures.ThreadPoolExecutor(cores) as pool:
        return list(pool.map(lambda task: task(), tasks))


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let PyTorch compute on one core, in this thread and in those that are started meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
