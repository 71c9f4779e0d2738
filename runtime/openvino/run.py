"""Runs that OpenVINO makes in the background."""

import time

import numpy as np

from ..errors import InputError
from ..session.tensors import Logits, RunTimes, check_logits
from .requests import Batch, Requests


class OpenVinoRun:
    """A run that was begun; see `runtime.session.Pending`.

    Args:
        requests: What computes it.
        batches: Its batches, which are under way.
        count: How many images it has.
        begun: When it was begun, by time.perf_counter.
    """

    def __init__(self, requests: Requests, batches: list[Batch], count: int, begun: float) -> None:
        self._requests, self._batches, self._count, self._begun = requests, batches, count, begun
        self.seconds = 0.0
        self.times: RunTimes | None = None  # of a GPU

    def result(self) -> Logits:
        """See `runtime.session.Pending.result`."""
        parts = []
        for batch in self._batches:
            self._requests.finish(batch)
            if isinstance(batch.logits, InputError):
                raise batch.logits
            assert batch.logits is not None
            parts.append(batch.logits)
        if self.seconds == 0.0:
            end = time.perf_counter()
            self.seconds = end - max(self._begun, self._requests.last_end)
            self._requests.last_end = end
        return check_logits(np.concatenate(parts)[: self._count], self._requests.name)
