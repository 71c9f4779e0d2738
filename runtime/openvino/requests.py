"""Requests, by which OpenVINO computes batches in the background."""

import collections
import threading
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DeviceError, InputError
from ..session.tensors import Images, Logits

if TYPE_CHECKING:
    import openvino


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


class Requests:
    """A fixed number of requests, and the batches that they compute. Safe to call from several threads at once.

    Args:
        compiled: The model.
        count: How many requests there are.
        name: What errors call the model.
        classes: How many logits it gives an image.
    """

    def __init__(self, compiled: "openvino.CompiledModel", count: int, *, name: str, classes: int) -> None:
        self.name, self._classes = name, classes
        self._lock = threading.Lock()  # of the two that follow
        self._idle = [compiled.create_infer_request() for _ in range(count)]
        self._under_way: collections.deque[Batch] = collections.deque()
        self.last_end = 0.0  # when the run ended that ended last, by time.perf_counter

    def begin(self, images: Images) -> Batch:
        """Begin a batch as soon as a request is idle."""
        while True:
            with self._lock:
                if self._idle:
                    batch = Batch(self._idle.pop(), images)
                    self._under_way.append(batch)
                    return batch
                if not self._under_way:
                    raise DeviceError(f"{self.name} is closed")
                oldest = self._under_way[0]
            self.finish(oldest)

    def finish(self, batch: Batch) -> None:
        """Wait until a batch is computed, and take its request back; nothing where that was done."""
        batch.wait(self.name, self._classes)
        with self._lock:
            if batch in self._under_way:
                self._under_way.remove(batch)
                self._idle.append(batch.request)

    def close(self) -> None:
        """Let go of them, when what was begun has ended."""
        while self._under_way:
            self.finish(self._under_way[0])
        with self._lock:
            self._idle.clear()


def reason_of(error: RuntimeError) -> str:
    """Return what OpenVINO says, in one line, without where in its sources it says so."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join(said)[:200] or "it does not say why"
