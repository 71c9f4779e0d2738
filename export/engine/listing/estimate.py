"""How fast an engine could be at most on a GPU that is not here: an estimate, no measurement.

Three bounds, each as if the two others cost nothing: what the kernels move through memory at the data sheet's
bandwidth, what they multiply at its peaks, and what it costs to start them. The longest sets the pace.

The truth may lie on either side. Peaks are never reached, which makes an engine slower. Bytes are counted as if every
kernel read and wrote all of it in memory, and caches hold some of them, which makes it faster.
"""

import dataclasses
import enum
from collections.abc import Sequence

from .flops import Product, flops_by_type
from .peaks import Gpu, require_types
from .traffic import Compiled

# An assumption, the same for every GPU: the pause between two kernels of one CUDA graph. It is not in data sheets.
LAUNCH_US = 1.0
BATCHES = (1, 8, 32)  # where none is asked for


class Pace(enum.StrEnum):
    """What takes longest."""

    BYTES = "bytes"
    FLOPS = "flops"
    LAUNCHES = "launches"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """The bounds of one engine at one batch size; times are of a whole batch."""

    compiled: Compiled
    flops: dict[str, int]  # by the type that is multiplied, of a whole batch
    products: int  # of the graph
    products_counted: int  # those that a kernel of the engine names
    times_ms: dict[Pace, float]

    @property
    def pace(self) -> Pace:
        return max(self.times_ms, key=lambda each: self.times_ms[each])

    @property
    def latency_ms(self) -> float:
        return self.times_ms[self.pace]

    @property
    def images_per_s(self) -> float:
        return 1e3 * self.compiled.batch / self.latency_ms


def estimate_of(compiled: Compiled, products: Sequence[Product], gpu: Gpu) -> Estimate:
    """Return the bounds of an engine on a GPU.

    Args:
        compiled: Its kernels, of one batch size.
        products: The graph's, at the same batch size.
        gpu: By its data sheet.

    Raises:
        InputError: The engine multiplies in a type that the GPU does not.
    """
    flops, counted = flops_by_type(products, compiled.kernels)
    require_types(gpu, flops)
    moved = sum(kernel.bytes for kernel in compiled.kernels)
    return Estimate(
        compiled=compiled,
        flops=flops,
        products=len(products),
        products_counted=counted,
        times_ms={
            Pace.BYTES: moved / (gpu.memory_gb_per_s * 1e9) * 1e3,
            Pace.FLOPS: sum(count / (gpu.tflops[kind] * 1e12) for kind, count in flops.items()) * 1e3,
            Pace.LAUNCHES: len(compiled.kernels) * LAUNCH_US * 1e-3,
        },
    )
