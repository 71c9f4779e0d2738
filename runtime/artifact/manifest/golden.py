"""What a graph answers for the golden image."""

from typing import Annotated

import pydantic

from .fields import Record, Sha256
from .forms import Precision

GOLDEN_LOGITS = 64  # how many of the golden image's logits a manifest keeps at most
# How close a session must come to golden logits, which ONNX Runtime computed on a CPU with every tensor rounded to its
# type. Another model is near 0 dB. Of the published models and the digits', the same graph run natively on a CPU came
# within 55 dB in FP16, 38 in INT8 and 48 in FP8, and the same bits in FP32; the rest is for other orders of summation
# and for TF32, in which a provider may compute FP32.
GOLDEN_SQNR_DB = {
    Precision.FP32: 45.0,
    Precision.FP16: 35.0,
    Precision.BF16: 20.0,
    Precision.INT8: 20.0,
    Precision.FP8: 15.0,
}


class GoldenAnswer(Record):
    """What the graph answered at export for `Manifest.golden_input`: any session of it must come close."""

    input_sha256: Sha256  # of the input's bytes: preprocessing is exact, on every machine and in C++
    logits: Annotated[tuple[float, ...], pydantic.Field(min_length=1, max_length=GOLDEN_LOGITS)]  # of the first classes
    sqnr_db: float  # how close
