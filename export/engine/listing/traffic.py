"""What the kernels of an engine move through memory: a bound from above, since caches hold some of it."""

import collections
import dataclasses
import math
import re
from collections.abc import Callable, Iterable

from ..layers import EngineLayer, Tensor

BYTES = {"FLOAT": 4, "INT32": 4, "INT64": 8, "HALF": 2, "BF16": 2, "INT4": 0.5, "FP4": 0.5}  # of all others: 1
NO_KERNELS = frozenset({"shape_call", "reshape", "cast", "signal", "wait"})  # layers that launch nothing
# What the compiler calls the parts of a kernel that it wrote: one of these alone computes nothing.
MOVES = frozenset({"Move", "Slic", "Conc", "Repl", "Resh"})
PLUGIN_LAYER = "custom_layer"  # the kind of a plugin's
GENERATED = "__myl_"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of an engine that was compiled for one batch size."""

    name: str
    kind: str
    bytes: int  # that it reads and writes: inputs, constants and outputs
    onnx: tuple[str, ...]
    operand_types: tuple[str, ...] = ()  # of every operand, in the compiler's words: HALF, HALF

    @property
    def pattern(self) -> str:
        """Its name without what tells it from the same kernel in other blocks."""
        name = re.sub(r"_myl\d+_\d+$", "", self.name)
        return re.sub(r"mye\d+", "mye", re.sub(r"blocks\.\d+\.", "blocks.*.", name))

    @property
    def is_aligning_copy(self) -> bool:
        """Whether it only pads or cuts rows, which the compiler does for products of odd widths."""
        if not self.pattern.startswith(GENERATED):
            return False
        parts = set(re.findall("[A-Z][a-z]*", self.pattern))
        return bool(parts & {"Slic", "Conc"}) and parts <= MOVES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """The kernels of an engine that TensorRT-RTX compiled to be looked at."""

    version: str  # of TensorRT-RTX
    compute_capability: str
    batch: int
    kernels: list[Kernel]


@dataclasses.dataclass(frozen=True)
class Group:
    """Kernels that have something in common."""

    name: str
    count: int
    bytes: int


def kernels_of(layers: Iterable[EngineLayer], batch: int) -> list[Kernel]:
    """Return the kernels of an engine of one batch size; `batch` is the one side that its layers may leave open."""
    return [
        Kernel(
            name=layer.name,
            kind=layer.kind,
            bytes=sum(_bytes(t, batch) for t in (*layer.inputs, *layer.constants, *layer.outputs)),
            onnx=layer.onnx,
            operand_types=tuple(tensor.type for tensor in layer.operands),
        )
        for layer in layers
        if layer.kind not in NO_KERNELS
    ]


def _bytes(tensor: Tensor, batch: int) -> int:
    elements = math.prod(batch if side == -1 else side for side in tensor.dimensions)
    return math.ceil(elements * BYTES.get(tensor.type, 1))


def grouped(kernels: Iterable[Kernel], key: Callable[[Kernel], str]) -> list[Group]:
    """Return the groups of kernels with the same key, those that move most first."""
    counts: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    for kernel in kernels:
        counts[key(kernel)] += 1
        sizes[key(kernel)] += kernel.bytes
    return [
        Group(name, counts[name], size) for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ]
