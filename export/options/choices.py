"""What the options of an export choose from."""

import enum

from deepvit.runtime.artifact.manifest import BatchRange, Precision
from deepvit.runtime.errors import InputError


class Reattention(enum.Enum):
    """How re-attention is to be written; `ReattentionForm` is how it was."""

    AUTO = "auto"  # fused by the command `export` where `export/reattention.py` says so, else unfused
    UNFUSED = "unfused"
    FUSED = "fused"


class Target(enum.Enum):
    """What the graph is written for, and which engines are built."""

    AUTO = "auto"  # the graph for TensorRT; every engine that this machine can build
    ONNX = "onnx"  # the graph alone, without what only TensorRT gains from
    CPU = "cpu"  # the graph in the form that is fastest in ONNX Runtime on a CPU
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


QUANTIZED = frozenset({Precision.INT8, Precision.FP8})
MAX_BATCH = 4096
FOR_TENSORRT = frozenset({Target.AUTO, Target.TENSORRT, Target.TENSORRT_RTX})


def batch_from_text(text: str) -> BatchRange:
    """Parse MIN:OPT:MAX, or one number for all three.

    Raises:
        InputError: Not three numbers in order.
    """
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InputError(f"‹batch› {text}: expected MIN:OPT:MAX, as in 1:8:64")
    least, opt, most = [int(part) for part in parts] * (3 if len(parts) == 1 else 1)
    if not 1 <= least <= opt <= most <= MAX_BATCH:
        raise InputError(f"‹batch› {least}:{opt}:{most}: expected 1 ≤ MIN ≤ OPT ≤ MAX ≤ {MAX_BATCH}, as in 1:8:64")
    return BatchRange(min=least, opt=opt, max=most)
