"""In which numbers ONNX Runtime computes a graph of FP16 or BF16 on a CPU: a choice of whoever opens it."""

import enum

ROUNDED = ", every tensor rounded to its declared type"  # what a session's description ends with where it is so


class Arithmetic(enum.Enum):
    """What becomes of a graph's declared types on the CPU; other providers obey them, whatever is asked."""

    # The graph goes to ONNX Runtime as it is: for serving. The CPU provider computes FP16 in float32 and drops
    # most casts between nodes, so that roundings and overflows may not show; BF16 it refuses.
    NATIVE = "native"
    # float32 arithmetic with every tensor rounded to its declared type, as a GPU that stores each tensor computes: for
    # measuring, and the only one that runs BF16. Slower: casts are inserted behind every node; see `rounding`.
    AS_DECLARED = "as-declared"
