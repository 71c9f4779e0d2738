"""What float32, TF32, FP16 with either accumulator and BF16 cost in PyTorch, against float64 on the same device.

The weights are random: what is told is arithmetic, not accuracy.
"""

import contextlib
import copy
import dataclasses
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from deepvit.export.graph.padding import TokenPadding
from deepvit.export.graph.spec import GraphSpec, Outputs
from deepvit.metrics.bounds import FLOAT32_BOUND, FOLD_BOUND, FP32_BOUND, PRECISION_BOUNDS, Bound, breaches
from deepvit.metrics.distance import Float, compare_logits
from deepvit.runtime.artifact.manifest import ANY_BATCH, InputForm, MixForm, Precision, QkvForm

from ..findings import Findings, require_modules
from ..places import Place

if TYPE_CHECKING:
    import torch

# How `export` writes a graph for TensorRT unless it is told otherwise; its options themselves need ONNX, which may not
# be here.
SPEC = GraphSpec(
    mix=MixForm.MATMUL_VALUE,
    qkv=QkvForm.FUSED,
    input_form=InputForm.FLOAT32,
    opset=20,
    folds_biases=False,
    pads_head_dim=True,
    token_padding=TokenPadding.WORTHWHILE,
    outputs=Outputs.LOGITS,
    batch=ANY_BATCH,
)
IMAGES, IMAGES_ON_CPU = 8, 1  # float64 is slow on a CPU


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """One way to compute; `bound`, by its name, is asked of it. Without one it is only measured."""

    name: str
    dtype: str
    tf32: bool = False
    fp16_accumulator: bool = False
    bound: Bound | None = None
    named: str = ""


ARITHMETICS = (
    Arithmetic(name="float32", dtype="float32", bound=FP32_BOUND, named="FP32_BOUND"),
    Arithmetic(name="TF32", dtype="float32", tf32=True),
    Arithmetic(name="FP16", dtype="float16", bound=PRECISION_BOUNDS[Precision.FP16], named="PRECISION_BOUNDS[FP16]"),
    Arithmetic(name="FP16 with FP16 accumulators", dtype="float16", fp16_accumulator=True),
    Arithmetic(name="BF16", dtype="bfloat16", bound=PRECISION_BOUNDS[Precision.BF16], named="PRECISION_BOUNDS[BF16]"),
)
WOULD_BE_ASKED = {"float32": FLOAT32_BOUND, "float16": PRECISION_BOUNDS[Precision.FP16]}


def run(findings: Findings, place: Place) -> None:
    require_modules("torch", "timm")
    for variant in place.variants:
        if findings.has_time(variant, 20):
            _measure(findings, place, variant)


def _measure(findings: Findings, place: Place, variant: str) -> None:
    import torch

    module, shape = graph_of(variant)
    module.float()  # its weights as they are exported; float64 computes with the same
    images = torch.randn(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    name = f"{variant}, random weights"
    exact = logits_of(module, images, place.device, Arithmetic(name="float64", dtype="float64"))
    on_cpu = logits_of(module, images[:IMAGES_ON_CPU], "cpu", Arithmetic(name="float64", dtype="float64"))
    findings.logits(f"{name}: float64 on the CPU", on_cpu, exact[:IMAGES_ON_CPU], FOLD_BOUND, "FOLD_BOUND")
    for each in ARITHMETICS:
        label = f"{name}: {each.name}"
        got = logits_of(module, images, place.device, each)
        if each.bound is not None:
            findings.logits(label, got, exact, each.bound, each.named)
        if not np.isfinite(got).all():
            findings.note(label, "not finite")
            continue
        stage = compare_logits(label, "float64", got, exact, top1_enforced=False)
        findings.figure(f"{label}, SQNR", stage.sqnr_db, "dB")
        findings.figure(f"{label}, top-1 agreement", stage.top1_agreement, "share of images")
        if each.bound is None and not place.is_fake:
            faults = breaches(stage, WOULD_BE_ASKED[each.dtype])
            findings.note(f"{label}: would it hold {each.dtype}'s bound", "; ".join(faults) or "yes")


def graph_of(
    variant: str, padding: TokenPadding = SPEC.token_padding
) -> tuple["torch.nn.Module", tuple[int, int, int]]:
    """Return the module that the graph for TensorRT is traced from, float64 with random weights, and an image's shape."""
    from deepvit.export.graph.module import GraphModule
    from deepvit.model.load import load_model
    from deepvit.model.rewrites import fold as folding
    from deepvit.model.rewrites.linears import pad_head_dim

    loaded = load_model(variant)
    folded, _ = folding.fold(loaded.module, [*folding.ALWAYS, pad_head_dim])
    spec = dataclasses.replace(SPEC, token_padding=padding)
    module = GraphModule(folded, spec, loaded.preprocessing()).eval()
    size = loaded.module.img_size
    return module, (loaded.module.in_chans, size, size)


def logits_of(module: "torch.nn.Module", images: "torch.Tensor", device: str, arithmetic: Arithmetic) -> Float:
    """Return logits (N, classes) float64, computed as `arithmetic` says; the process's settings are as they were."""
    import torch

    dtype = getattr(torch, arithmetic.dtype)
    there = copy.deepcopy(module).to(device, dtype)
    with switched(tf32=arithmetic.tf32, fp16_accumulator=arithmetic.fp16_accumulator), torch.inference_mode():
        logits = there(images.to(device, dtype)).double().cpu().numpy()
    del there
    gc.collect()
    return np.asarray(logits)


@contextlib.contextmanager
def switched(*, tf32: bool, fp16_accumulator: bool = False) -> Iterator[None]:
    """Let PyTorch compute with TF32 and FP16 accumulators, or not; what was set before is set again."""
    before = _exchanged((tf32, tf32, fp16_accumulator))
    try:
        yield
    finally:
        _exchanged(before)


def _exchanged(wanted: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    import torch

    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (products.allow_tf32, convolutions.allow_tf32, products.allow_fp16_accumulation)
    products.allow_tf32, convolutions.allow_tf32, products.allow_fp16_accumulation = wanted
    return before
