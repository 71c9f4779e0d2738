"""An evaluation in several processes of this machine, each on its own blocks and its own GPU."""

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.queues
import multiprocessing.synchronize
import os
import time
from collections.abc import Callable, Sequence

from deepvit.processes import end_with_parent, without_interrupts
from deepvit.progress import Advance
from deepvit.runtime.errors import MissingError
from deepvit.runtime.trt.visible import VISIBLE, gpus_within_visible

from .evaluator import Evaluator
from .options import Shards

POLL_S = 0.5
Opener = Callable[[], contextlib.AbstractContextManager[Evaluator]]  # picklable; opens models and files in a process


def run_shards(evaluator: Evaluator, opener: Opener, shards: Shards, progress: Advance | None = None) -> None:
    """Run the blocks that `evaluator` lacks in processes of their own; what they find is in its journal afterwards.

    Every block is run as it would be in one process, so that the result is the same.

    Args:
        evaluator: Has a journal on disk; its own sessions are not used.
        opener: Opens an evaluator with the same journal.
        shards: How many.
        progress: Called twice a second.

    Raises:
        InputError: A GPU that this process was not given.
        MissingError: A process was killed.
    """
    assert evaluator.options.journal is not None
    numbers, before, start = evaluator.missing(), evaluator.images_done(), time.perf_counter()
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    gpus = context.SimpleQueue()  # one for each process, whichever blocks it comes to run
    for gpu in gpus_within_visible(shards.gpus) or [None] * shards.count:
        gpus.put(gpu)
    with concurrent.futures.ProcessPoolExecutor(
        shards.count, mp_context=context, initializer=_start_process, initargs=(stop, gpus)
    ) as pool:
        with without_interrupts():
            running = {pool.submit(_run_shard, opener, numbers[shard :: shards.count]) for shard in range(shards.count)}
        try:
            while running:
                done, running = concurrent.futures.wait(running, POLL_S, return_when=concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if progress is not None:
                    progress(evaluator.images_done(), len(evaluator.source))
        except concurrent.futures.process.BrokenProcessPool as error:
            raise MissingError(
                "an evaluating process was killed, usually for want of memory; give fewer ‹processes›, and ‹resume›"
            ) from error
        finally:
            stop.set()  # where one has failed, the others end after their block
    evaluator.note_time(time.perf_counter() - start, evaluator.images_done() - before)


class _StoppedError(Exception):
    """Another shard has failed."""


_stop: multiprocessing.synchronize.Event | None = None


def _start_process(
    stop: multiprocessing.synchronize.Event, gpus: "multiprocessing.queues.SimpleQueue[str | None]"
) -> None:
    global _stop  # noqa: PLW0603 - events reach a process only when it starts
    end_with_parent()
    _stop = stop
    gpu = gpus.get()
    if gpu is not None:
        os.environ[VISIBLE] = gpu  # before anything here has opened CUDA


def _go_on(_done: int, _total: int) -> None:
    if _stop is not None and _stop.is_set():
        raise _StoppedError


def _run_shard(opener: Opener, numbers: Sequence[int]) -> None:
    with opener() as evaluator:
        evaluator.run(numbers, _go_on)
