"""An input and the logits that a model must give for it, before it is served."""

import dataclasses
import pathlib

import numpy as np

from ...session.tensors import Images, Logits, sqnr_db


@dataclasses.dataclass(frozen=True)
class Golden:
    """`images` as the model takes them, `logits` (B, classes) float32, `sqnr_db` how close it must come."""

    images: Images
    logits: Logits
    sqnr_db: float

    @classmethod
    def load(cls, path: pathlib.Path) -> "Golden":
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["images"], arrays["logits"], float(arrays["sqnr_db"]))

    def save(self, path: pathlib.Path) -> None:
        np.savez(path, images=self.images, logits=self.logits, sqnr_db=np.float64(self.sqnr_db))

    def fault_of(self, logits: Logits) -> str:
        """Return what is wrong with a model that gave `logits`; nothing where it gave the golden ones."""
        if logits.shape != self.logits.shape:
            return f"the model gives logits {logits.shape} for the golden image, expected {self.logits.shape}"
        ratio_db = sqnr_db(logits, self.logits)
        if ratio_db >= self.sqnr_db:  # false for NaN
            return ""
        return (
            f"the model's logits for the golden image are {ratio_db:.1f} dB from those that it was packaged with, "
            f"expected at least {self.sqnr_db:.1f} dB: it is another model, or computes otherwise here"
        )
