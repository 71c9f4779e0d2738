"""Blocks in several processes of this machine: each opens the model, on its own GPU, and is handed blocks by this one.

What a process finds it hands back, and keeps nothing: whoever is killed, no block is lost or there twice.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection

from deepvit.measure.evaluate.options import Shards
from deepvit.processes import end_with_parent, without_interrupts
from deepvit.runtime.errors import MissingError
from deepvit.runtime.trt.visible import VISIBLE, gpus_within_visible

from .classifier import Classifier, ImageBlock
from .rows import Record

Opener = Callable[[], contextlib.AbstractContextManager[Classifier]]  # picklable; opens the model in a process


def records_of_processes(
    opener: Opener, shards: Shards, blocks: Iterable[ImageBlock], workers: int
) -> Iterator[tuple[int, Record]]:
    """Yield number and record of each block as they come, in any order.

    Args:
        opener: What each process calls.
        shards: How many, and which GPU each sees.
        blocks: Taken one by one by whoever has room for one.
        workers: Decoding processes of each.

    Raises:
        InputError: A GPU that this process was not given, or what a process refused.
        MissingError: A process was killed.
    """
    shared = _Shared(blocks)
    context = multiprocessing.get_context("spawn")  # forking a process that runs ONNX Runtime's threads can hang
    processes, ends = [], []
    try:
        for gpu in gpus_within_visible(shards.gpus) or [None] * shards.count:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, opener, gpu, workers))
            with without_interrupts():
                process.start()
            theirs.close()
            processes.append(process)
            ends.append(ours)
            threading.Thread(target=_feed, args=(ours, shared), daemon=True).start()
        yield from _received(ends)
        shared.raise_fault()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()  # no more than a word to one that has ended; its decoders end with each
            process.join()
        for end in ends:
            end.close()


class _Shared:
    """Blocks that several threads take; what goes wrong in taking them is raised by the one that asks."""

    def __init__(self, blocks: Iterable[ImageBlock]) -> None:
        self._blocks, self._lock = iter(blocks), threading.Lock()
        self._fault: Exception | None = None

    def take(self) -> ImageBlock | None:
        with self._lock:
            try:
                return next(self._blocks, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, `raise_fault` raises it
                self._fault = error
                return None

    def raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault


def _feed(end: Connection, shared: _Shared) -> None:
    """Hand blocks over as fast as they are taken: the pipe holds a few, and then this waits."""
    with contextlib.suppress(OSError):  # the process is gone, which `_received` tells
        while (block := shared.take()) is not None:
            end.send(block)
        end.send(None)


def _received(ends: Iterable[Connection]) -> Iterator[tuple[int, Record]]:
    remaining = set(ends)
    while remaining:
        for end in multiprocessing.connection.wait(list(remaining)):
            assert isinstance(end, Connection)
            try:
                message = end.recv()
            except (EOFError, OSError) as error:
                raise MissingError(
                    "a classifying process was killed, usually for want of memory; give fewer ‹processes›, and ‹resume›"
                ) from error
            if isinstance(message, BaseException):
                raise message
            if message is None:
                remaining.discard(end)
            else:
                yield message


def _work(end: Connection, opener: Opener, gpu: str | None, workers: int) -> None:
    end_with_parent()
    if gpu is not None:
        os.environ[VISIBLE] = gpu  # before anything here has opened CUDA
    try:
        with opener() as classifier:
            for block, record in classifier.records(iter(end.recv, None), workers):
                end.send((block.number, record))
        end.send(None)
    except Exception as error:  # noqa: BLE001 - whatever it is, the process that was started says it
        end.send(error)
