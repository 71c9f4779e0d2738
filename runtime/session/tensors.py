"""What goes into a session and comes out of it: types, checks, batches, times."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..artifact.manifest import Tensor
from ..errors import InputError, NonFiniteError

Logits = npt.NDArray[np.float32]  # (B, classes)
Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]  # (B, 3, H, W) normalised, or (B, H, W, 3) pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunTimes:
    """How long the parts of a run on a GPU took, in milliseconds: staging by the host's clock, the others by events."""

    staging_ms: float  # copying the images into pinned memory
    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float

    @property
    def device_ms(self) -> float:
        return self.copy_in_ms + self.compute_ms + self.copy_out_ms


def total_times(parts: Sequence[RunTimes]) -> RunTimes:
    """Return the times of a run that was made in parts."""
    names = [field.name for field in dataclasses.fields(RunTimes)]
    return RunTimes(**{name: sum(getattr(part, name) for part in parts) for name in names})


def check_images(images: Images, expected: Tensor) -> None:
    """Hold `images` against the graph's input; the number of images is free.

    Raises:
        InputError: Wrong dtype, rank or dimension, or no image at all.
    """
    fits = images.ndim == len(expected.shape) and all(
        isinstance(want, str) or want == got for want, got in zip(expected.shape[1:], images.shape[1:], strict=True)
    )
    if not fits or images.dtype.name != expected.dtype or images.shape[0] < 1:
        raise InputError(f"images are {images.dtype} {images.shape}, expected {expected.dtype} {expected.shape}")


def check_logits(logits: Logits, who: str) -> Logits:
    """Return `logits` when all are finite.

    Raises:
        NonFiniteError: Some are not; they would otherwise come out as some class.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise NonFiniteError(
            f"{who}: the logits of {int((~finite).sum())} of {len(logits)} images are not finite; the precision "
            "overflows: export with ‹bf16› or ‹fp32›",
            logits,
        )
    return logits


def sqnr_db(got: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> float:
    """Return the power of `expected` by that of the difference, in dB; infinite where there is none.

    The sums of deepvit/metrics/distance.py, which the runtime, copied into Triton's models, cannot import.
    """
    noise = float(np.sum((got.astype(np.float64) - expected) ** 2))
    signal = float(np.sum(expected.astype(np.float64) ** 2))
    return float("inf") if noise == 0 else float(10 * np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


def split_batches(images: Images, largest: int) -> list[Images]:
    """Cut `images` into runs of at most `largest`."""
    return [images[start : start + largest] for start in range(0, len(images), largest)]


def padded_batch(images: Images, size: int) -> Images:
    """Return `images` with its first image repeated behind them until there are `size`; itself where there are."""
    missing = size - len(images)
    return images if missing <= 0 else np.concatenate([images, images[:1].repeat(missing, axis=0)])
