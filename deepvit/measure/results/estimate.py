"""How fast an engine could be at most on a GPU that is not here: an estimate, as a part of a result and in words."""

import textwrap
from collections.abc import Iterator, Sequence

import rich.table

from deepvit.export.engine.listing.estimate import LAUNCH_US, Estimate, Pace
from deepvit.export.engine.listing.peaks import Gpu
from deepvit.metrics.result import Record

from ..display.table import WIDTH, table_of

CAUTION = (
    "an estimate, not a measurement: no GPU was asked. Peaks are from data sheets and are never reached; bytes are a "
    "bound from above, since caches hold some of them; so the truth may lie on either side. Copies to and from the GPU "
    "are not counted"
)
LAUNCH = "an assumption: the pause between two kernels of one CUDA graph, the same for every GPU"


class BatchEstimate(Record):
    """The three bounds at one batch size, and what follows from the longest. Estimated, not measured."""

    batch: int
    kernels: int
    mb_per_image: float  # through memory; a bound from above, since caches hold some
    gflop_per_image: dict[str, float]  # by the type that the compiled engine multiplies, 2 for a multiplication and sum
    products: int  # MatMul, Gemm and Conv of the graph
    products_counted: int  # those that a kernel names
    bytes_ms: float  # of a whole batch, as all three
    flops_ms: float
    launches_ms: float
    pace: Pace  # the longest of the three
    estimated_latency_ms: float  # the least: that longest one
    estimated_images_per_s: float  # the most


class SpeedEstimate(Record):
    """An estimate of the most speed on a GPU, by its data sheet and the kernels that TensorRT-RTX compiles.

    It is no measurement. Peaks are never reached, and bytes are a bound from above since caches hold some of them, so
    that the truth may lie on either side.
    """

    caution: str = CAUTION
    gpu: str
    compute_capability: str
    compiled_for: str  # the compute capability whose kernels stand for its own
    tensorrt_rtx: str  # its version
    memory_gb_per_s: float
    peak_tflops: dict[str, float]  # dense, by type
    source: str  # of those two
    launch_us: float = LAUNCH_US  # a kernel
    launch_source: str = LAUNCH
    batches: list[BatchEstimate]


def speed_estimate(gpu: Gpu, estimates: Sequence[Estimate]) -> SpeedEstimate:
    """Return what was estimated of one engine at one or more batch sizes."""
    compiled = estimates[0].compiled
    return SpeedEstimate(
        gpu=gpu.full_name,
        compute_capability=gpu.compute_capability,
        compiled_for=compiled.compute_capability,
        tensorrt_rtx=compiled.version,
        memory_gb_per_s=gpu.memory_gb_per_s,
        peak_tflops=gpu.tflops,
        source=gpu.source,
        batches=[_batch_estimate(each) for each in estimates],
    )


def _batch_estimate(found: Estimate) -> BatchEstimate:
    batch = found.compiled.batch
    return BatchEstimate(
        batch=batch,
        kernels=len(found.compiled.kernels),
        mb_per_image=sum(kernel.bytes for kernel in found.compiled.kernels) / batch / 1e6,
        gflop_per_image={kind: flops / batch / 1e9 for kind, flops in found.flops.items()},
        products=found.products,
        products_counted=found.products_counted,
        bytes_ms=found.times_ms[Pace.BYTES],
        flops_ms=found.times_ms[Pace.FLOPS],
        launches_ms=found.times_ms[Pace.LAUNCHES],
        pace=found.pace,
        estimated_latency_ms=found.latency_ms,
        estimated_images_per_s=found.images_per_s,
    )


def describe_estimate(found: SpeedEstimate) -> Iterator[str | rich.table.Table]:
    """Yield what it is an estimate of and how, then a row for every batch size."""
    peaks = ", ".join(f"{kind} {peak:g}" for kind, peak in found.peak_tflops.items())
    yield ""
    yield f"estimate for {found.gpu}, compute capability {found.compute_capability}:"
    yield from _lines(found.caution)
    yield from _lines(f"data sheet: {found.memory_gb_per_s:g} GB/s; TFLOP/s {peaks}")
    yield from _lines(f"source: {found.source}")
    yield from _lines(f"launches: {found.launch_us:g} µs a kernel, {found.launch_source}")
    if found.compiled_for != found.compute_capability:
        yield from _lines(
            f"kernels: TensorRT-RTX {found.tensorrt_rtx} does not compile for {found.compute_capability}; they are "
            f"those of {found.compiled_for}, the nearest below it"
        )
    else:
        yield f"kernels: as TensorRT-RTX {found.tensorrt_rtx} compiles them for {found.compiled_for}"
    left = max(each.products - each.products_counted for each in found.batches)
    if left:
        yield from _lines(f"left out: {left} of {found.batches[0].products} products, which no kernel names")
    yield ""
    yield _work(found)
    yield ""
    yield _bounds(found)


def _work(found: SpeedEstimate) -> rich.table.Table:
    kinds = list(dict.fromkeys(kind for each in found.batches for kind in each.gflop_per_image))
    rows = [
        (
            f"{each.batch}",
            f"{each.kernels}",
            f"{each.mb_per_image:.1f}",
            *(f"{each.gflop_per_image.get(kind, 0):.2f}" for kind in kinds),
        )
        for each in found.batches
    ]
    return table_of(("batch", "kernels", "MB an image", *(f"GFLOP {kind}" for kind in kinds)), rows, texts=0)


def _bounds(found: SpeedEstimate) -> rich.table.Table:
    heads = ("batch", "bytes ms", "FLOPs ms", "launches ms", "pace", "least ms", "most images/s")
    rows = [
        (
            f"{each.batch}",
            f"{each.bytes_ms:.3f}",
            f"{each.flops_ms:.3f}",
            f"{each.launches_ms:.3f}",
            each.pace.value,
            f"{each.estimated_latency_ms:.3f}",
            f"{each.estimated_images_per_s:.0f}",
        )
        for each in found.batches
    ]
    return table_of(heads, rows, texts=0)


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
