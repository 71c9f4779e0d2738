"""Tokens padded to a multiple of 8, exactly: engines copy rows that are not aligned, as 197 are not, for each product.

With N tokens and P ≥ N rows: the rows behind the N-th start as the class token. No query sees them, since their keys
are masked before the softmax; with the same keys and values they go on as exact copies of the class token, so that no
tensor takes a value that it would not take without them. Where maps are mixed their values are zero, and so are the
mixed maps' biases there: A'_P·V_P = A'_N·V_N, and Σⱼ Vⱼ is over real tokens.
"""

import dataclasses
import enum

import numpy as np
import numpy.typing as npt

ALIGNMENT = 8  # elements of two bytes, 16 bytes: what tensor cores' products want of a row
MOST = 1 / 16  # of the tokens may be padding: more costs more than the copies that it saves
MASKED = -(2.0**15)  # added to a score: exp gives 0 in float32; exact, and far from overflow, in every float type


class TokenPadding(enum.Enum):
    """Whether a graph pads its tokens."""

    NEVER = "never"
    ALIGNED = "aligned"  # wherever their number is not aligned
    WORTHWHILE = "worthwhile"  # where it saves an engine bytes: maps are mixed, and few rows are added


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The number of tokens of a graph, the class token included, and the rows that it keeps for them."""

    real: int
    rows: int

    @property
    def padding(self) -> int:
        return self.rows - self.real

    def key_mask(self) -> npt.NDArray[np.float32]:
        """Return (1, 1, 1, P), to be added to scores: 0 for real keys, `MASKED` for padding."""
        mask = np.zeros((1, 1, 1, self.rows), np.float32)
        mask[..., self.real :] = MASKED
        return mask

    def value_mask(self) -> npt.NDArray[np.float32]:
        """Return (1, 1, P, 1), to be multiplied with values: 1 for real tokens, 0 for padding."""
        mask = np.ones((1, 1, self.rows, 1), np.float32)
        mask[:, :, self.real :] = 0.0
        return mask


def tokens_of(real: int, padding: TokenPadding, *, is_mixed: bool) -> Tokens:
    """Return how many rows a graph keeps for `real` tokens.

    Plain attention is one kernel of the compiler's, which aligns for itself: there nothing is worthwhile.
    """
    extra = -real % ALIGNMENT
    is_worthwhile = is_mixed and extra <= real * MOST
    is_padded = padding is TokenPadding.ALIGNED or (padding is TokenPadding.WORTHWHILE and is_worthwhile)
    return Tokens(real, real + extra if is_padded else real)
