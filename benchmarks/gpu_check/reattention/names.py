"""What is timed, by the names that predictions and measurements have in common."""

import dataclasses
import math

from deepvit.runtime.kernels.table import KERNELS, Kernel, Number

TRITON = "Triton language"
UNFUSED = "unfused, eager"
COMPILED = "unfused, torch.compile"
WITHOUT_MIX = "SDPA, which mixes nothing"
BATCHES = (64, 1, 8, 32, 256)  # the most wanted first
MODEL = "deepvit_32"
MODEL_BATCHES = (64, 1, 8, 256)
US, IMAGES = "µs an image", "images/s, no copies"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """What one call attends: `stored` tokens an image, of which the first `tokens` are keys."""

    number: Number
    heads: int
    width: int
    tokens: int

    @property
    def stored(self) -> int:
        """As a graph pads them."""
        return 8 * math.ceil(self.tokens / 8)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Those of the table, by their rows."""
        return tuple(kernel for kernel in KERNELS if shape_of(kernel) == self)

    def named(self, batch: int, what: str) -> str:
        sizes = f"{self.tokens} of {self.stored} tokens, {self.heads} heads of {self.width}"
        return f"{self.number.name}, {sizes}, batch {batch}: {what}"


def shape_of(kernel: Kernel) -> Shape:
    return Shape(number=kernel.number, heads=kernel.heads, width=kernel.width, tokens=kernel.tokens)


def by_rows(kernel: Kernel) -> str:
    return f"CUDA C++, {kernel.rows} rows"


def model_named(variant: str, batch: int, what: str) -> str:
    return f"{variant}, FP16, batch {batch}: {what}"


SHAPES = tuple(dict.fromkeys(shape_of(kernel) for kernel in KERNELS))
LARGE = tuple(shape for shape in SHAPES if shape.tokens > 100)  # of the variants of the paper
# What is timed, the most wanted first: BF16 only once, since it computes as fast as FP16.
TIMED = (
    *((shape, batch) for shape in LARGE if shape.number is Number.FP16 for batch in BATCHES),
    *((shape, BATCHES[0]) for shape in LARGE if shape.number is Number.BF16),
)
