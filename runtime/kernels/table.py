"""Which kernel serves which shape, and what its launch needs; the numbers are those of `cuda/shape.cuh`."""

import dataclasses
import enum
import math

MOST_HEADS = 16  # the summed index of one product
MOST_KEYS = 208  # of a pass: their scores fit into registers, their maps into shared memory
MOST_KEYS_OF_SEVERAL = 112  # of each of several passes: the outputs are in registers meanwhile
KEYS_OF_A_PART = 104
BANKS = 128  # bytes of shared memory that are read at once
MOST_TOKENS = 584  # what was tried; nothing in the kernel depends on it


class Number(enum.Enum):
    """The type of qkv, of the maps and of the output, by its name in C++; sums are in float32."""

    FP16 = "Fp16"
    BF16 = "Bf16"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernel:
    """Re-attention of `heads` heads, `width` numbers each, over `tokens` keys, `rows` query rows a block.

    Args:
        number: Type of qkv and of the output.
        heads: H, at most 16; a warp each.
        width: d, a multiple of 8; a graph pads its heads to that.
        tokens: Keys that count. More may be stored, and fewer be queries: a launch says how many.
        rows: 16 or 32.
        keys: Keys of a pass, a multiple of 16; with more than one, a pass over all scores comes first.
    """

    number: Number
    heads: int
    width: int
    tokens: int
    rows: int
    keys: int = 0

    def __post_init__(self) -> None:
        if not self.keys:
            passes = 1 if self.tokens <= MOST_KEYS else math.ceil(self.tokens / MOST_KEYS_OF_SEVERAL)
            object.__setattr__(self, "keys", 16 * math.ceil(self.tokens / passes / 16))
        expected = {
            f"{self.heads} heads, expected 1 to {MOST_HEADS}": 0 < self.heads <= MOST_HEADS,
            f"head width {self.width}, expected 8, 16 … 56": self.width in range(8, 64, 8),
            f"{self.tokens} tokens, expected 1 to {MOST_TOKENS}": 0 < self.tokens <= MOST_TOKENS,
            f"{self.rows} rows, expected 16 or 32": self.rows in (16, 32),
            f"{self.keys} keys, expected 16 … {MOST_KEYS}": self.keys in range(16, MOST_KEYS + 1, 16),
        }
        if faults := [text for text, is_met in expected.items() if not is_met]:
            raise ValueError("; ".join(faults))

    @property
    def name(self) -> str:
        """Its symbol in a cubin."""
        number = self.number.value.lower()
        return f"reattention_{number}_h{self.heads}_d{self.width}_t{self.tokens}_k{self.keys}_r{self.rows}"

    @property
    def definition(self) -> str:
        """The line of C++ that makes it, where `reattention.cuh` is included."""
        return f"REATTENTION({self.name}, {self.arguments})"

    @property
    def arguments(self) -> str:
        """Template arguments of `Shape`."""
        sizes = (self.heads, self.width, self.tokens, self.keys, self.rows)
        return f"{self.number.value}, {', '.join(map(str, sizes))}"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.heads

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a block: maps, weights of rows and parts, zeros."""
        parts = 2 if self.keys > KEYS_OF_A_PART else 1
        row = self.keys if self.keys % 32 == 16 else self.keys + 8
        maps = 2 * self.heads * (self.rows * row + 8)
        weights = 4 * self.rows * parts * 16
        zeros = 2 * (self.keys // parts + BANKS // 2)
        return math.ceil((maps + weights) / BANKS) * BANKS + zeros

    def grid(self, queries: int, batch: int) -> tuple[int, int, int]:
        """Blocks of a launch of so many queries an image."""
        return math.ceil(queries / self.rows), batch, 1


# (H, d, tokens) of every variant that mixes its maps, head widths of 25, 33 and 35 padded.
SHAPES = ((12, 32, 197), (12, 40, 197), (12, 40, 577), (4, 32, 37), (4, 24, 26), (4, 32, 26))
KERNELS = tuple(
    Kernel(number=number, heads=heads, width=width, tokens=tokens, rows=rows)
    for heads, width, tokens in SHAPES
    for number in Number
    for rows in (16, 32)
)
