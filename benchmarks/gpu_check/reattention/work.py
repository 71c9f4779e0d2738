"""What kernels of re-attention do, counted from their definition: bytes by where they come from, products, exponentials.

Counts are of one call on a batch, of one block of the network. 16-bit numbers have 2 bytes.
"""

import dataclasses
import math

from deepvit.runtime.kernels.table import KEYS_OF_A_PART, Kernel

from .names import Shape

BYTES = 2
TRITON_ROWS, TRITON_HEADS = 16, 16  # of a program, deepvit/model/fused/triton_kernel.py
# How often the maps are read or written without fusion: written by q·kᵀ, read and written by softmax, by the mix and by
# the addition of b', and read by A'·v.
PASSES_OVER_MAPS = 8
UNFUSED_LAUNCHES = 6  # scale, q·kᵀ, softmax, mix, b', A'·v


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Counts of one call; `blocks` of a grid run one a multiprocessor, 0 where it is filled anyway."""

    memory_bytes: float
    cache_bytes: float = 0.0
    shared_bytes: float = 0.0
    products: float = 0.0  # additions and multiplications, as many as the machine does
    exponentials: float = 0.0
    launches: int = 1
    blocks: int = 0


def of_kernel(kernel: Kernel, stored: int, batch: int) -> Work:
    """Return the work of a kernel of the table: every block reads k and v of all heads, through the cache."""
    heads, width, rows, tokens = kernel.heads, kernel.width, kernel.rows, kernel.tokens
    part = kernel.keys // (2 if kernel.keys > KEYS_OF_A_PART else 1)
    placed = math.ceil(tokens / part) * part  # keys that have a place in the maps
    scans = 1 if tokens <= kernel.keys else 2  # how often scores are computed
    scored, summed = 8 * math.ceil(tokens / 8), 16 * math.ceil(tokens / 16)
    blocks = math.prod(kernel.grid(stored, batch))
    token = BYTES * heads * width
    of_block = Work(
        memory_bytes=0,
        cache_bytes=token * (rows + scans * tokens + tokens + rows),
        shared_bytes=BYTES * rows * placed * (heads + 16 + heads + heads),  # softmax, mix (reads, writes), A'·v
        products=2 * rows * (scans * heads * scored * width + 16 * 16 * placed + heads * summed * width),
        exponentials=scans * heads * rows * placed,
    )
    return _times(of_block, blocks, memory_bytes=_read_and_written(kernel.heads, width, stored, batch))


def of_triton(shape: Shape, batch: int) -> Work:
    """Return the work of the kernel in the Triton language: two scans of k, heads and widths filled up."""
    width = max(16, 1 << (shape.width - 1).bit_length())
    step = 32 if width <= 32 else 16
    keys = step * math.ceil(shape.stored / step)
    blocks = math.ceil(shape.stored / TRITON_ROWS) * batch
    token = BYTES * shape.heads * shape.width
    of_block = Work(
        memory_bytes=0,
        cache_bytes=token * (2 * TRITON_ROWS + 3 * shape.stored),
        shared_bytes=BYTES * TRITON_ROWS * keys * 4 * TRITON_HEADS,
        products=2 * TRITON_ROWS * keys * TRITON_HEADS * (3 * width + TRITON_HEADS),
        exponentials=2 * TRITON_HEADS * TRITON_ROWS * keys,
    )
    moved = _read_and_written(shape.heads, shape.width, shape.stored, batch)
    return _times(of_block, blocks, memory_bytes=moved)


def of_unfused(shape: Shape, batch: int) -> Work:
    """Return the work of separate operators, whose maps go through memory between any two."""
    maps = batch * shape.heads * shape.stored**2
    return Work(
        memory_bytes=BYTES * maps * PASSES_OVER_MAPS + _read_and_written(shape.heads, shape.width, shape.stored, batch),
        products=2 * maps * (2 * shape.width + shape.heads),
        exponentials=maps,
        launches=UNFUSED_LAUNCHES,
    )


def of_sdpa(shape: Shape, batch: int) -> Work:
    """Return the work of attention that mixes nothing, as one kernel."""
    maps = batch * shape.heads * shape.stored**2
    return Work(
        memory_bytes=_read_and_written(shape.heads, shape.width, shape.stored, batch),
        products=2 * maps * 2 * shape.width,
        exponentials=maps,
    )


def _read_and_written(heads: int, width: int, stored: int, batch: int) -> int:
    """Return the bytes of qkv and of the output, each once."""
    return BYTES * 4 * heads * width * stored * batch


def _times(of_block: Work, blocks: int, memory_bytes: float) -> Work:
    counts = {name: value * blocks for name, value in dataclasses.asdict(of_block).items()}
    return Work(**counts | {"memory_bytes": memory_bytes, "launches": 1, "blocks": blocks})
