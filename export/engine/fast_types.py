"""Which data types a GPU computes fast in, by compute capability and library: INT8 is not faster everywhere.

Sources: NVIDIA's support matrices of TensorRT and of TensorRT-RTX ("Hardware and Precision"); for 10.3 the Blackwell
Ultra data sheet, 0.15 dense POPS of INT8 against 4.5 PFLOPS of FP8. The latter matrix lists INT8 for weights alone, but
the compiler of TensorRT-RTX 1.7 multiplies in INT8, with more kernels than in FP16: 486 of deepvit_32
instead of 453 (benchmarks/results/kernels.json). Speeds have not been measured by this project.
"""

from deepvit.runtime.artifact.manifest import Backend, Precision

TURING = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
AMPERE = TURING | {Precision.BF16}
ADA = AMPERE | {Precision.FP8}
FAST: dict[str, frozenset[Precision]] = {
    "7.5": TURING,
    "8.0": AMPERE,
    "8.6": AMPERE,
    "8.7": AMPERE,
    "8.9": ADA,
    "9.0": ADA,
    "10.0": ADA,
    "10.3": ADA - {Precision.INT8},
    "11.0": ADA,
    "12.0": ADA,
    "12.1": ADA,
}


def fast_types(compute_capability: str, backend: Backend = Backend.TENSORRT) -> frozenset[Precision]:
    """Return the precisions that run fast; nothing for a compute capability that is not in the table."""
    types = FAST.get(compute_capability, frozenset())
    return types - {Precision.INT8} if backend is Backend.TENSORRT_RTX else types


def why_slow(precision: Precision, compute_capabilities: tuple[str, ...], backend: Backend) -> str | None:
    """Return in words why an engine of `precision` may not be faster than FP16 there; None where nothing is known."""
    slow = [c for c in compute_capabilities if c in FAST and precision not in fast_types(c, backend)]
    if precision not in (Precision.INT8, Precision.FP8) or not slow:
        return None
    where = f"compute capability {', '.join(slow)}"
    if precision is Precision.FP8:
        return f"{where} has no FP8 arithmetic; export with ‹int8› or ‹fp16›"
    if backend is Backend.TENSORRT_RTX:
        return (
            "TensorRT-RTX makes more kernels of INT8 than of FP16 (of deepvit_32 486 and 453), so that it may be no "
            "faster; ‹fp8› needs 8.9 or newer"
        )
    return f"{where} computes INT8 slower than FP16; export with ‹fp8› or ‹fp16›"
