"""What an engine of each variant moves, as it was listed when the graphs last changed: listed.json."""

import functools
import pathlib
from typing import Annotated

import pydantic

from deepvit.runtime.artifact.manifest import Precision

LISTED = pathlib.Path(__file__).with_name("listed.json")  # written by benchmarks/forms/kernels.py


class Listed(pydantic.BaseModel):
    """MB that an engine's kernels read and write for an image: a bound from above, since caches hold some of it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    tensorrt_rtx: str  # the version of the compiler
    compute_capability: str
    batch: int
    mb_per_image: dict[str, dict[Precision, Annotated[float, pydantic.Field(gt=0)]]]  # variant → precision → MB


@functools.cache
def listed() -> Listed:
    """Return what was listed."""
    return Listed.model_validate_json(LISTED.read_bytes())


def no_gain(variant: str, precision: Precision) -> str | None:
    """Return in words that an engine in eight bits moves no less than one in FP16; None where it does."""
    table = listed()
    row = table.mb_per_image.get(variant, {})
    if precision not in (Precision.INT8, Precision.FP8) or not row or row[precision] < row[Precision.FP16]:
        return None
    return (
        f"no gain is expected of {precision.value} on a GPU: {variant}'s engine moves {row[precision]:.1f} MB an image "
        f"through memory, {row[Precision.FP16]:.1f} in fp16 (TensorRT-RTX {table.tensorrt_rtx} at batch {table.batch})"
    )
