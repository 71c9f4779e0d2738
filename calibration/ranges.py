"""ranges.json: what was measured on one graph, as a record that can be used again on any GPU and TensorRT version."""

import hashlib
import pathlib
from typing import Annotated, Literal

import pydantic

from deepvit.metrics.bounds import FP16_MAX
from deepvit.runtime.artifact.manifest import Grid, Sha256, Split
from deepvit.runtime.errors import InputError, first_of, validation_faults
from deepvit.runtime.files import read_bounded

from .grid import Scale, scale_of

RANGES = "ranges.json"
MAX_BYTES = 64 << 20
Shift = Annotated[float, pydantic.Field(ge=-FP16_MAX, le=FP16_MAX)]  # an FP16 number
Exponent = Annotated[int, pydantic.Field(ge=-30, le=30)]


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorRange(_Record):
    """One activation: what the grid covers, and a summary of what was seen."""

    low: float
    high: float
    minimum: float
    maximum: float
    quantiles: dict[str, float]  # of |x|: percentile → value
    shift: Shift = 0.0  # what is subtracted on the way to the grid

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "TensorRange":
        if not self.minimum <= self.low <= self.high <= self.maximum:
            raise ValueError(f"expected minimum ≤ low ≤ high ≤ maximum, got {self.low} to {self.high}")
        return self

    def scale(self, grid: Grid) -> Scale:
        return scale_of(self.low - self.shift, self.high - self.shift, grid)


class Rescaling(_Record):
    """An exact rescaling that was chosen for one site; see `deepvit.model.rewrites.equalize`."""

    strength: float | None  # SmoothQuant's exponent of the activations; None where heads were made alike, or all are 0
    exponents: tuple[Exponent, ...]  # of two, one a channel or head
    shifts: tuple[float, ...] = ()  # what is subtracted from each channel before that; empty where nothing is


class Ranges(_Record):
    """ranges.json, schema 1."""

    schema_version: Annotated[Literal[1], pydantic.Field(alias="schema")] = 1
    graph_sha256: Sha256  # of the float32 graph before any rescaling
    grid: Grid
    method: str
    images: Annotated[int, pydantic.Field(ge=1)]
    list_sha256: Sha256
    split: Split
    seed: int
    replaced: tuple[str, ...] = ()  # images that could not be decoded
    attention: bool  # whether the tensors of QK and AV were measured
    rescalings: dict[str, Rescaling]
    tensors: dict[str, TensorRange]  # after the rescalings
    means: dict[str, tuple[float, ...]]  # of each channel of the linears' inputs, after the rescalings

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def grid_of(ranges: Ranges | Grid) -> Grid:
    """Return the grid of ranges, or of weights alone, which have no ranges."""
    return ranges if isinstance(ranges, Grid) else ranges.grid


def ranges_sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def read_ranges(path: pathlib.Path) -> Ranges:
    """Read a ranges file.

    Raises:
        InputError: Missing, or not such a file.
    """
    text = read_bounded(path, MAX_BYTES, "a ranges file", name=f"‹ranges› {path}")
    try:
        return Ranges.model_validate_json(text)
    except pydantic.ValidationError as error:
        shown = first_of(validation_faults(error), 1)
        raise InputError(f"‹ranges› {path} is not a ranges file (schema 1): {shown}") from error


def require_fit(
    ranges: Ranges,
    *,
    graph_sha256: str,
    grid: Grid,
    method: str | None,
    attention: bool,
    tensors: dict[str, int | None],
    shiftable: frozenset[str],
) -> None:
    """Hold a ranges file against what it is to be used for: `tensors` are its activations, with their channels.

    Raises:
        InputError: The file was measured on another graph, for another grid, lacks tensors, or shifts others than those
            that are `shiftable`.
    """
    if ranges.graph_sha256 != graph_sha256:
        raise InputError(
            f"the ranges were measured on the graph with SHA-256 {ranges.graph_sha256[:16]}…, this one has "
            f"{graph_sha256[:16]}…: other weights, options or versions; calibrate again"
        )
    if ranges.grid is not grid:
        raise InputError(f"the ranges were measured for {ranges.grid.value}, expected {grid.value}; calibrate again")
    if method is not None and ranges.method != method:
        raise InputError(f"the ranges were chosen by {ranges.method}, expected {method}; calibrate again")
    if attention and not ranges.attention:
        raise InputError("the ranges lack the tensors of attention; calibrate again with ‹quantize_attention›")
    shifted = sorted(name for name, tensor in ranges.tensors.items() if tensor.shift and name not in shiftable)
    if shifted:
        raise InputError(f"the ranges shift {shifted[0]}, which nothing can make up for; calibrate again")
    missing = sorted(set(tensors) - set(ranges.tensors))
    if missing:
        raise InputError(f"the ranges lack {len(missing)} tensors, the first is {missing[0]}; calibrate again")
    for name, channels in tensors.items():
        if channels is not None and len(ranges.means.get(name, ())) != channels:
            got = len(ranges.means.get(name, ()))
            raise InputError(f"the ranges have {got} means of {name}, expected {channels}; calibrate again")
