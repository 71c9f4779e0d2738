"""The kernels of a compiled engine, as a part of a result and in words."""

from collections.abc import Iterable, Iterator

import rich.table

from deepvit.export.engine.listing.traffic import PLUGIN_LAYER, Compiled, Group, Kernel, grouped
from deepvit.metrics.result import Record

from ..display.table import table_of

SHOWN = 20  # patterns in words
NAME_WIDTH = 52  # of a pattern, so that the table fits 80 columns


class KernelGroup(Record):
    """Kernels that have a name or a type in common, and what they read and write."""

    name: str
    count: int
    bytes: int  # of a whole batch
    mb_per_image: float


class OneKernel(Record):
    """One kernel."""

    name: str
    type: str
    bytes: int  # that it reads and writes, of a whole batch
    onnx: list[str]  # the nodes of the graph that it computes


class Kernels(Record):
    """What TensorRT-RTX makes of a graph at one batch size. Bytes are a bound from above: caches hold some of them."""

    tensorrt_rtx: str  # its version
    compute_capability: str
    batch: int
    count: int
    mb_per_image: float
    aligning_copies: KernelGroup  # that only pad or cut rows
    types: list[KernelGroup]
    patterns: list[KernelGroup]  # type and name without what tells the blocks apart, those that move most first
    kernels: list[OneKernel]  # in the order in which they run


def kernels_from(compiled: Compiled) -> Kernels:
    """Return the totals and the list of an engine's kernels."""
    kernels, batch = compiled.kernels, compiled.batch
    copies = [kernel for kernel in kernels if kernel.is_aligning_copy]

    def records(groups: Iterable[Group]) -> list[KernelGroup]:
        return [_group(group, batch) for group in groups]

    return Kernels(
        tensorrt_rtx=compiled.version,
        compute_capability=compiled.compute_capability,
        batch=batch,
        count=len(kernels),
        mb_per_image=_bytes(kernels) / batch / 1e6,
        aligning_copies=_group(Group("copies that only align", len(copies), _bytes(copies)), batch),
        types=records(grouped(kernels, lambda kernel: kernel.kind)),
        patterns=records(grouped(kernels, lambda kernel: f"{kernel.kind} {kernel.pattern}")),
        kernels=[OneKernel(name=k.name, type=k.kind, bytes=k.bytes, onnx=list(k.onnx)) for k in kernels],
    )


def _bytes(kernels: Iterable[Kernel]) -> int:
    return sum(kernel.bytes for kernel in kernels)


def _group(group: Group, batch: int) -> KernelGroup:
    return KernelGroup(name=group.name, count=group.count, bytes=group.bytes, mb_per_image=group.bytes / batch / 1e6)


def describe_kernels(found: Kernels) -> Iterator[str | rich.table.Table]:
    """Yield the totals, then the kernels by type, then by name, those that move most first."""
    copies = found.aligning_copies
    yield ""
    yield (
        f"compiled by TensorRT-RTX {found.tensorrt_rtx} for compute capability {found.compute_capability}, batch "
        f"{found.batch}:"
    )
    yield f"{found.count} kernels, {found.mb_per_image:.1f} MB an image through memory (a bound: caches hold some)"
    yield f"of them copies that only align: {copies.count}, {copies.mb_per_image:.1f} MB an image"
    for group in found.types:
        if group.name == PLUGIN_LAYER:
            share = f"{group.count}, {group.mb_per_image:.1f} MB an image"
            yield f"of them fused re-attention, with a layer in the plugin's place that cannot run: {share}"
    yield ""
    yield _table("type", found.types)
    yield ""
    yield _table("type and name", found.patterns[:SHOWN])
    rest = found.patterns[SHOWN:]
    if rest:
        left = sum(group.mb_per_image for group in rest)
        yield f"and {sum(group.count for group in rest)} kernels of {len(rest)} other names: {left:.1f} MB an image"


def _table(head: str, groups: list[KernelGroup]) -> rich.table.Table:
    rows = [(_short(group.name), f"{group.count}", f"{group.mb_per_image:.2f}") for group in groups]
    return table_of((head, "kernels", "MB an image"), rows)


def _short(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
