"""Sessions of known speed, opened in other processes."""

import dataclasses
import os
import signal
import time
from types import SimpleNamespace

import numpy as np

from deepvit.runtime.artifact.manifest import BatchRange, Tensor
from deepvit.runtime.errors import MissingError
from deepvit.runtime.session.tensors import RunTimes


class TimedSession:
    """Takes so many seconds for an image; is killed, or refuses, at a batch size."""

    batch = BatchRange(min=1, opt=8, max=64)
    description = "a stub"
    classes = 3

    def __init__(self, opener):
        self.opener, self.is_emulated = opener, opener.is_emulated
        self.input = Tensor(name="images", shape=("batch", 3, 4, 4), dtype=opener.dtype)

    def run(self, images):
        if len(images) == self.opener.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(images) == self.opener.refused_at:
            raise RuntimeError("out of memory")
        end = time.perf_counter() + self.opener.seconds * len(images)
        while time.perf_counter() < end:
            pass
        return images.reshape(len(images), -1)[:, :3].astype(np.float32) * np.float32(self.opener.factor)

    def close(self):
        pass


class OnGpu(TimedSession):
    """Runs two at once, and tells what the parts of each took on a GPU."""

    at_once = 2

    def submit(self, images):
        logits = self.run(images)
        return SimpleNamespace(times=self.opener.times, seconds=1.0, result=lambda: logits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StubOpener:
    seconds: float = 0.001
    factor: float = 1.0
    dtype: str = "float32"
    missing: str = ""
    is_emulated: bool = False
    killed_at: int = 0
    refused_at: int = 0
    times: RunTimes | None = None

    def __call__(self):
        if self.missing:
            raise MissingError(self.missing)
        return TimedSession(self) if self.times is None else OnGpu(self)
