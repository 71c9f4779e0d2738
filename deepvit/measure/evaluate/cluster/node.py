"""What runs on the nodes of a cluster: a decoder of blocks, and the actor that holds the model."""

import contextlib
import functools
import os
import pathlib
from typing import Any

from deepvit.images.blocks import Block
from deepvit.runtime.errors import InputError, MissingError

from .connection import fetched
from .errors import named_after_node
from .job import BlockRunner, ClusterJob, Found, own_code


class Actor:
    """Holds a model on a node, opened when it is first asked for, and again after the actor was killed."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._runner: BlockRunner | None = None

    def open(self, job: list[Any], share: int) -> None:
        with named_after_node():
            self._runner = self._held.enter_context(_job_of(job[0]).opener(share))

    def record(self, job: list[Any], share: int, block: Block) -> Found:
        if self._runner is None:
            self.open(job, share)
        assert self._runner is not None
        with named_after_node():
            return block.number, block.sha256, self._runner.record(block)


def decoded(job: list[Any], task: Any) -> Block:
    with named_after_node():
        return _job_of(job[0]).decode(task)


@functools.lru_cache(maxsize=1)
def _job_of(reference: Any) -> ClusterJob[Any]:
    """Return a job, fetched once for this process, which must have what it takes.

    Raises:
        InputError: Other code, or another Pillow.
        MissingError: The images are not here.
    """
    job: ClusterJob[Any] = fetched(reference)
    if job.code != own_code():
        raise InputError("it has another version of deepvit or Pillow than where the run was started; install the same")
    with contextlib.suppress(OSError):
        os.chdir(job.folder)
    if job.place is not None and not pathlib.Path(job.place).exists():
        raise MissingError(f"{job.place} is not there; images and models must lie where every node finds them")
    return job
