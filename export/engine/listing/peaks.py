"""What data sheets promise of GPUs: the one table. A peak is never reached; no figure here was measured by us."""

import dataclasses
import re
from collections.abc import Iterable

from deepvit.runtime.errors import InputError

from ..choice import RTX_CAPABILITIES

HOPPER = "NVIDIA H100 and H200 Tensor Core GPU data sheets; halved where those print sparsity"
GEFORCE = "https://images.nvidia.com/aem-dam/Solutions/geforce"
DATA_CENTER = "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center"
MAKERS_WORDS = ("nvidia", "tesla", "geforce", "rtx")  # in front of a name, as nvidia-smi has it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU.

    Attributes:
        name: Its name on the command line.
        full_name: As its maker writes it; the form that the figures are of.
        aliases: Other names, in small letters and digits.
        compute_capability: Its own.
        memory_gb_per_s: Bandwidth of its memory, in 10⁹ bytes a second.
        tflops: Dense peaks in 10¹² operations a second by the type that is multiplied. FP16, BF16 and FP8 are those
            with sums in FP32, which GeForce has at half the rate of sums in FP16; FP32 is that of the CUDA cores, since
            TF32 is off here. A type that it does not multiply is left out.
        source: Where the figures are printed.
    """

    name: str
    full_name: str
    aliases: tuple[str, ...] = ()
    compute_capability: str
    memory_gb_per_s: float
    tflops: dict[str, float]
    source: str

    @property
    def compiles_as(self) -> str:
        """Whose kernels stand for its own: the highest that TensorRT-RTX builds for, up to its own."""
        return max((each for each in RTX_CAPABILITIES if _order(each) <= _order(self.compute_capability)), key=_order)


def _order(compute_capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in compute_capability.split("."))


GPUS = (
    Gpu(
        name="t4", full_name="T4", compute_capability="7.5", memory_gb_per_s=320,
        tflops={"fp32": 8.1, "fp16": 65, "int8": 130},
        source="NVIDIA T4 Tensor Core GPU data sheet",
    ),
    Gpu(
        name="a10", full_name="A10", compute_capability="8.6", memory_gb_per_s=600,
        tflops={"fp32": 31.2, "fp16": 125, "bf16": 125, "int8": 250},
        source=f"{DATA_CENTER}/a10/pdf/a10-datasheet.pdf",
    ),
    Gpu(
        name="a100", full_name="A100 SXM, 80 GB", aliases=("a100sxm", "a100sxm480gb"),
        compute_capability="8.0", memory_gb_per_s=2039,
        tflops={"fp32": 19.5, "fp16": 312, "bf16": 312, "int8": 624},
        source=f"{DATA_CENTER}/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
    ),
    Gpu(
        name="l4", full_name="L4", compute_capability="8.9", memory_gb_per_s=300,
        tflops={"fp32": 30.3, "fp16": 121, "bf16": 121, "int8": 242.5, "fp8": 242.5},
        source="NVIDIA L4 Tensor Core GPU data sheet; halved where it prints sparsity",
    ),
    Gpu(
        name="l40s", full_name="L40S", compute_capability="8.9", memory_gb_per_s=864,
        tflops={"fp32": 91.6, "fp16": 362.05, "bf16": 362.05, "int8": 733, "fp8": 733},
        source="NVIDIA L40S GPU data sheet",
    ),
    Gpu(
        name="4090", full_name="GeForce RTX 4090", compute_capability="8.9", memory_gb_per_s=1008,
        tflops={"fp32": 82.6, "fp16": 165.2, "bf16": 165.2, "int8": 660.6, "fp8": 330.3},
        source=f"{GEFORCE}/ada/nvidia-ada-gpu-architecture.pdf, version 2.02, appendix A, table 2",
    ),
    Gpu(
        name="5090", full_name="GeForce RTX 5090", compute_capability="12.0", memory_gb_per_s=1792,
        tflops={"fp32": 104.8, "fp16": 209.5, "bf16": 209.5, "int8": 838, "fp8": 419},
        source=f"{GEFORCE}/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf, table 3",
    ),
    Gpu(
        name="h100", full_name="H100 SXM, 80 GB", aliases=("h100sxm", "h10080gbhbm3"),
        compute_capability="9.0", memory_gb_per_s=3350,
        tflops={"fp32": 67, "fp16": 989.5, "bf16": 989.5, "int8": 1979, "fp8": 1979},
        source=HOPPER,
    ),
    Gpu(
        name="h200", full_name="H200 SXM", aliases=("h200sxm",),
        compute_capability="9.0", memory_gb_per_s=4800,
        tflops={"fp32": 67, "fp16": 989.5, "bf16": 989.5, "int8": 1979, "fp8": 1979},
        source=HOPPER,
    ),
    Gpu(
        name="b200", full_name="B200, 1000 W, in HGX", compute_capability="10.0",
        memory_gb_per_s=8000, tflops={"fp32": 80, "fp16": 2250, "bf16": 2250, "int8": 4500, "fp8": 4500},
        source="NVIDIA Blackwell Architecture Technical Brief; halved where it prints sparsity",
    ),
)  # fmt: skip
NAMES = ", ".join(gpu.name for gpu in GPUS)


def gpu_from_text(text: str) -> Gpu:
    """Return the GPU of a name, in any case and with its maker's words or without: H200, NVIDIA GeForce RTX 4090.

    Raises:
        InputError: None of that name; the message has those that are known.
    """
    word = re.sub("[^a-z0-9]", "", text.lower())
    for each in MAKERS_WORDS:
        word = word.removeprefix(each)
    found = next((gpu for gpu in GPUS if word in (gpu.name, *gpu.aliases)), None)
    if found is None:
        raise InputError(f"‹gpu› {text}: no data sheet of it is known here; expected one of {NAMES}")
    return found


def require_types(gpu: Gpu, types: Iterable[str]) -> None:
    """Hold the types that are to be multiplied against those that a GPU has a peak for.

    Raises:
        InputError: One is missing.
    """
    missing = sorted(set(types) - gpu.tflops.keys())
    if missing:
        raise InputError(
            f"‹gpu› {gpu.name} does not multiply {', '.join(missing)}: its data sheet has {', '.join(gpu.tflops)}"
        )
