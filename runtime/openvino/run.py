"""Runs that OpenVINO makes in the background."""

import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..session.tensors import Images, Logits, RunTimes, check_logits

if TYPE_CHECKING:
    import openvino

    from .session import OpenVinoSession


class Batch:
    """Images that are being computed, and what came out of it: logits, or an error.

    Args:
        request: What computes them, in the background.
        images: As the graph takes them; they are copied.
    """

    def __init__(self, request: "openvino.InferRequest", images: Images) -> None:
        self.request, self.count = request, len(images)
        self.logits: Logits | InputError | None = None
        self._lock = threading.Lock()
        self._why_not_begun: RuntimeError | None = None
        try:
            request.start_async([np.ascontiguousarray(images)], share_inputs=False)
        except RuntimeError as error:
            self._why_not_begun = error

    def wait(self, name: str, classes: int) -> None:
        """Set `logits`, once; the request is free then."""
        with self._lock:
            if self.logits is None:
                self.logits = self._computed(name, classes)

    def _computed(self, name: str, classes: int) -> Logits | InputError:
        try:
            if self._why_not_begun is not None:
                raise self._why_not_begun
            self.request.wait()
            logits = np.array(self.request.get_output_tensor(0).data, np.float32)
        except RuntimeError as error:
            return InputError(f"{name} failed on {self.count} images: {reason_of(error)}")
        declared = (self.count, classes)
        fault = f"{name} gave logits of shape {logits.shape}, declared {declared}; export it again"
        return logits if logits.shape == declared else InputError(fault)


class OpenVinoRun:
    """A run that was begun; see `runtime.session.Pending`.

    Args:
        session: What runs it.
        batches: Its batches, which are under way.
        count: How many images it has.
        begun: When it was begun, by time.perf_counter.
    """

    def __init__(self, session: "OpenVinoSession", batches: list[Batch], count: int, begun: float) -> None:
        self._session, self._batches, self._count, self._begun = session, batches, count, begun
        self.seconds = 0.0
        self.times: RunTimes | None = None  # of a GPU

    def result(self) -> Logits:
        """See `runtime.session.Pending.result`."""
        parts = []
        for batch in self._batches:
            self._session.finish(batch)
            if isinstance(batch.logits, InputError):
                raise batch.logits
            assert batch.logits is not None
            parts.append(batch.logits)
        if self.seconds == 0.0:
            end = time.perf_counter()
            self.seconds = end - max(self._begun, self._session.last_end)
            self._session.last_end = end
        return check_logits(np.concatenate(parts)[: self._count], self._session.name)


def reason_of(error: RuntimeError) -> str:
    """Return what OpenVINO says, in one line, without where in its sources it says so."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join(said)[:200] or "it does not say why"
