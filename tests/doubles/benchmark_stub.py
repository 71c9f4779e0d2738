"""Sessions of known speed, opened in other processes."""

import dataclasses
import os
import signal
import time

import numpy as np

from deepvit.runtime.errors import MissingError
from deepvit.runtime.manifest import BatchRange, Tensor


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class StubOpener:
    seconds: float = 0.001
    factor: float = 1.0
    dtype: str = "float32"
    missing: str = ""
    is_emulated: bool = False
    killed_at: int = 0
    refused_at: int = 0

    def __call__(self):
        if self.missing:
            raise MissingError(self.missing)
        return TimedSession(self)
