"""Blocks in several processes of this machine: each opens the model, on its own GPU, and asks this one for each block.

What a process finds it hands back, and keeps nothing: whoever is killed, no block is lost or there twice. One that
asked waits for its block and sends nothing meanwhile, so that never both ends of a pipe wait for the other to read.
"""

import contextlib
import enum
import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection

from deepvit.measure.evaluate.options import Shards
from deepvit.processes import end_with_parent, without_interrupts
from deepvit.runtime.errors import MissingError
from deepvit.runtime.trt.visible import VISIBLE, gpus_within_visible

from .classifier import Classifier, ImageBlock
from .rows import Record

Opener = Callable[[], contextlib.AbstractContextManager[Classifier]]  # picklable; opens the model in a process


class _Word(enum.Enum):
    """What a process says besides records and errors."""

    NEXT = enum.auto()  # it waits for a block, or for None where there are no more
    DONE = enum.auto()  # all its records are sent


def records_of_processes(
    opener: Opener, shards: Shards, blocks: Iterable[ImageBlock], workers: int
) -> Iterator[tuple[int, Record]]:
    """Yield number and record of each block as they come, in any order.

    Args:
        opener: What each process calls.
        shards: How many, and which GPU each sees.
        blocks: Taken one by one, as a process asks.
        workers: Decoding processes of each.

    Raises:
        InputError: A GPU that this process was not given, or what a process refused.
        MissingError: A process was killed.
    """
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
        yield from _received(ends, iter(blocks))
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()  # nothing, where it has ended; it keeps nothing, and one that ignores SIGTERM would stay
            process.join()
        for end in ends:
            end.close()


def _received(ends: Iterable[Connection], blocks: Iterator[ImageBlock]) -> Iterator[tuple[int, Record]]:
    """Give each process a block when it asks, and yield what they find until all are done."""
    remaining = set(ends)
    while remaining:
        for end in multiprocessing.connection.wait(list(remaining)):
            assert isinstance(end, Connection)
            with _telling_the_killed():
                message = end.recv()
            if isinstance(message, BaseException):
                raise message
            if message is _Word.NEXT:
                block = next(blocks, None)
                with _telling_the_killed():
                    end.send(block)
            elif message is _Word.DONE:
                remaining.discard(end)
            else:
                yield message


@contextlib.contextmanager
def _telling_the_killed() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise MissingError(
            "a classifying process was killed, usually for want of memory; give fewer ‹processes›, and ‹resume›"
        ) from error


def _asked(end: Connection) -> Iterator[ImageBlock]:
    end.send(_Word.NEXT)
    while (block := end.recv()) is not None:
        yield block
        end.send(_Word.NEXT)


def _work(end: Connection, opener: Opener, gpu: str | None, workers: int) -> None:
    end_with_parent()
    if gpu is not None:
        os.environ[VISIBLE] = gpu  # before anything here has opened CUDA
    try:
        with opener() as classifier:
            for block, record in classifier.records(_asked(end), workers):
                end.send((block.number, record))
        end.send(_Word.DONE)
    except Exception as error:  # noqa: BLE001 - whatever it is, the process that was started says it
        end.send(error)
