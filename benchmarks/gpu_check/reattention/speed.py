"""How long one call takes, by what computes it and at what batch: recorded, in turns, beside what was predicted."""

import dataclasses
import functools
import gc
import itertools
from collections.abc import Callable

import torch

from deepvit.model.fused.operator import reattention

from ..findings import Findings
from ..places import Place
from ..timing import Run, times
from .cases import Case, ReAttention, attended, random_case, without_mix
from .names import COMPILED, SHAPES, TIMED, TRITON, UNFUSED, US, WITHOUT_MIX, Shape, by_rows
from .prediction import Prediction
from .work import BYTES

SETS = 3  # of inputs, taken in turns
MAPS = 8  # of a batch that fit into memory besides, at least
SECONDS = 5.0  # about, of a shape and batch
Way = Callable[[Case], torch.Tensor]


def kernels_and_unfused(attention: ReAttention) -> Callable[[Shape], dict[str, Way]]:
    """Return what gives the ways to attend a shape, by their names."""

    def ways(shape: Shape) -> dict[str, Way]:
        kernels = [kernel for kernel in shape.kernels if kernel in attention.kernels]
        ours: dict[str, Way] = {by_rows(kernel): functools.partial(attention.attend, kernel) for kernel in kernels}
        return ours | {UNFUSED: _unfused, WITHOUT_MIX: without_mix}

    return ways


def operator_and_unfused(shape: Shape) -> dict[str, Way]:  # noqa: ARG001 - it is there for all
    return {TRITON: lambda case: reattention(case.qkv, case.theta, case.bias, case.scale), UNFUSED: _unfused}


def compiled(shape: Shape) -> dict[str, Way]:  # noqa: ARG001
    torch._dynamo.reset()
    return {COMPILED: torch.compile(_unfused, dynamic=False)}


def _unfused(case: Case) -> torch.Tensor:
    """Padding counts too: rows of odd length, or a mask, would cost what cannot leave it out."""
    return attended(dataclasses.replace(case, tokens=case.qkv.shape[1]))


def time_calls(
    findings: Findings,
    place: Place,
    ways: Callable[[Shape], dict[str, Way]],
    predictions: dict[str, Prediction],
    seconds: float = SECONDS,
) -> None:
    """Time the ways to attend every shape that is timed, where so many seconds are left for it."""
    for shape, batch in ((SHAPES[-1], 1),) if place.is_fake else TIMED:
        if findings.has_time(shape.named(batch, "timed"), seconds):
            _time(findings, place, shape, batch, ways(shape), predictions)


def _time(
    findings: Findings,
    place: Place,
    shape: Shape,
    batch: int,
    ways: dict[str, Way],
    predictions: dict[str, Prediction],
) -> None:
    needed = MAPS * BYTES * shape.heads * shape.stored**2 * batch
    if not place.is_fake and torch.cuda.mem_get_info()[0] < needed:
        findings.skip(shape.named(batch, ", ".join(ways)), f"the GPU has not {needed / 1e9:.1f} GB free")
        return
    cases = [random_case(shape, place.device, batch=batch, seed=seed) for seed in range(SETS)]
    found = times(place, {name: _in_turn(way, cases) for name, way in ways.items()})
    for what, time in found.items():
        name = shape.named(batch, what)
        predicted = predictions[name].expected if name in predictions else None
        took, spread = (None, None) if time is None else (1e3 * time.median_ms / batch, 1e3 * time.spread_ms / batch)
        findings.figure(name, took, US, spread=spread, predicted=predicted)
    gc.collect()
    if not place.is_fake:
        torch.cuda.empty_cache()  # what recorded calls kept for themselves


def _in_turn(way: Way, cases: list[Case]) -> Run:
    turns = itertools.cycle(cases)
    return lambda: way(next(turns))
