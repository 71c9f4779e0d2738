"""What a GPU does in a second, from its data sheet's peaks: the roofs under which kernels are predicted."""

import dataclasses

from deepvit.export.engine.listing.peaks import Gpu

# Multiprocessors. Source: the white papers and data sheets that peaks.py names.
MULTIPROCESSORS = {"a10": 72, "a100": 108, "l4": 58, "l40s": 142, "4090": 128, "5090": 170, "h100": 132, "h200": 132}
# FP32 units a multiprocessor, which with the FP32 peak give the clock. Source: CUDA C++ Programming Guide, "Arithmetic
# instructions", throughput of a multiprocessor.
LANES = {"8.0": 64, "8.6": 128, "8.9": 128, "9.0": 128, "12.0": 128}
EXPONENTIALS = 16  # a clock, a multiprocessor; same source
SHARED_BYTES = 128  # likewise, of shared memory: 32 banks of 4 bytes

# Assumptions, in no data sheet.
CACHE_BYTES = 21.0  # that a multiprocessor gets a clock of the second-level cache, when all ask: 5.5 TB/s of an H200
MMA_SYNC = {"9.0": 0.62}  # of the peak in products, which takes Hopper's own instructions; elsewhere all of it
MEMORY = 0.9  # of the data sheet's bandwidth
PRODUCTS = 0.7  # of the peak that a library's products reach
LAUNCH_US = 1.0  # a kernel in a CUDA graph, as in deepvit/export/engine/listing/estimate.py


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Rates a second, of all multiprocessors together; memory and cache in bytes, products in operations."""

    multiprocessors: int
    clock_hz: float
    memory: float
    cache: float
    shared: float
    exponentials: float
    products: float  # of kernels of ours
    library_products: float  # of linears and of attention without the mix


def chip_of(gpu: Gpu) -> Chip | None:
    """Return the roofs of a GPU; None where its multiprocessors are not known here."""
    count, lanes = MULTIPROCESSORS.get(gpu.name), LANES.get(gpu.compute_capability)
    if count is None or lanes is None:
        return None
    clocks = gpu.tflops["fp32"] * 1e12 / (2 * lanes)  # of all multiprocessors together
    peak = gpu.tflops["fp16"] * 1e12
    return Chip(
        multiprocessors=count,
        clock_hz=clocks / count,
        memory=gpu.memory_gb_per_s * 1e9 * MEMORY,
        cache=clocks * CACHE_BYTES,
        shared=clocks * SHARED_BYTES,
        exponentials=clocks * EXPONENTIALS,
        products=peak * MMA_SYNC.get(gpu.compute_capability, 1.0),
        library_products=peak * PRODUCTS,
    )
