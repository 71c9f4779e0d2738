"""How the glyph networks are trained, and what a step's pictures are."""

import dataclasses

import numpy as np

from .distort import FULL, distort

SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that the weights depend on, besides the network, the faces, and how a machine adds."""

    steps: int = 3_000
    batch: int = 128
    muon_rate: float = 0.02  # of the matrices of the blocks
    adam_rate: float = 2e-3  # of all else
    weight_decay: float = 0.02
    warm_up: int = 200  # steps until the rates are full
    decay: float = 0.6  # the last part of the steps, in which the rates fall to zero
    gentle: float = 0.08  # the first part of the steps, in which the distortion grows to its full strength

    def rate(self, step: int) -> float:
        """Return the factor of both rates, 0 to 1."""
        return min(1.0, (step + 1) / self.warm_up, (self.steps - step) / (self.decay * self.steps))

    def strength(self, step: int) -> int:
        """Return how strongly the pictures of a step are distorted, 0 to 256."""
        return int(FULL * min(1.0, step / (self.gentle * self.steps)))

    def pictures(self, masters: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the pictures of a step, (B, 48, 48, 3) uint8, and their labels (B,), any characters in any faces.

        They follow from the seed and the step alone; `masters` are (faces, characters, 64, 64) uint8.
        """
        rng = np.random.default_rng((SEED, step))
        faces = rng.integers(0, masters.shape[0], self.batch)
        labels = rng.integers(0, masters.shape[1], self.batch)
        return distort(masters[faces, labels], rng, self.strength(step)), labels
