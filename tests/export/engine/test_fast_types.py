"""What is said about precisions that do not pay on a GPU."""

import pytest

from deepvit.export.engine.fast_types import fast_types, why_slow
from deepvit.runtime.artifact.manifest import Backend, Precision

TRT, RTX = Backend.TENSORRT, Backend.TENSORRT_RTX


@pytest.mark.parametrize(
    ("precision", "capabilities", "backend", "says"),
    [
        (Precision.INT8, ("8.9",), TRT, None),
        (Precision.INT8, ("10.3",), TRT, "10.3 computes INT8 slower than FP16"),
        (Precision.INT8, ("8.9", "12.0"), RTX, "more kernels of INT8 than of FP16"),
        (Precision.FP8, ("8.6", "8.9"), TRT, "compute capability 8.6 has no FP8"),
        (Precision.FP8, ("8.9", "12.0"), RTX, None),
        (Precision.FP16, ("10.3",), TRT, None),
        (Precision.INT8, ("99.0",), TRT, None),
        (Precision.INT8, (), TRT, None),
    ],
)
def test_why_a_precision_does_not_pay(precision, capabilities, backend, says):
    why = why_slow(precision, capabilities, backend)
    assert why is None if says is None else says in why


def test_every_gpu_of_the_table_has_fp16():
    from deepvit.export.engine.fast_types import FAST

    for capability in FAST:
        assert Precision.FP16 in fast_types(capability)
        assert Precision.FP16 in fast_types(capability, RTX)
    assert fast_types("1.0") == frozenset()
