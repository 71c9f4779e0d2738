"""Attention and whole models in FP16 in PyTorch: tokens of odd and even numbers, forms of the mix, timed as graphs."""

import functools
from typing import TYPE_CHECKING

from deepvit.export.graph.padding import TokenPadding
from deepvit.metrics.bounds import FOLD_BOUND, PRECISION_BOUNDS
from deepvit.runtime.artifact.manifest import Precision

from ..findings import Findings, is_installed, require_modules
from ..places import Place
from ..timing import Run, milliseconds
from .numerics import Arithmetic, graph_of, logits_of

if TYPE_CHECKING:
    import torch

TOKENS = (197, 200, 208)  # what deepvit_32 has, and the next multiples of 8 and 16
BATCHES = (1, 8, 32, 64)
HEADS, WIDTH = 12, 32  # deepvit_32's
BYTES, SIDE = 1 << 29, 8192  # of a copy within the GPU, and of a product
FP16 = PRECISION_BOUNDS[Precision.FP16]


def run(findings: Findings, place: Place) -> None:
    require_modules("torch")
    import torch

    findings.note(
        "what is timed", "eager FP16 kernels in a CUDA graph; one block's attention without masks, whole models with"
    )
    with torch.inference_mode():
        _roofs(findings, place)
        for batch in (1,) if place.is_fake else BATCHES:
            for tokens in TOKENS:
                if findings.has_time(f"batch {batch}, {tokens} tokens", 3):
                    _time_forms(findings, place, batch, tokens)
        if not is_installed("timm"):
            findings.skip("whole models", "timm is not installed here")
        elif findings.has_time("whole models", 20):
            _whole_models(findings, place)


def _roofs(findings: Findings, place: Place) -> None:
    """What the GPU can at most: bytes and products a second."""
    import torch

    size, side = (1 << 10, 16) if place.is_fake else (BYTES, SIDE)
    source = torch.ones(size // 2, dtype=torch.float16, device=place.device)
    target = torch.empty_like(source)
    copy_ms = milliseconds(place, lambda: target.copy_(source))
    findings.figure("copy within the GPU, read and written", copy_ms and 2 * size / copy_ms / 1e6, "GB/s")
    a, b = (torch.randn(side, side, dtype=torch.float16, device=place.device) for _ in range(2))
    product_ms = milliseconds(place, lambda: a @ b)
    findings.figure(f"FP16 product of {side}×{side}", product_ms and 2 * side**3 / product_ms / 1e9, "TFLOP/s")


def forms_of(q: "torch.Tensor", k: "torch.Tensor", v: "torch.Tensor", theta: "torch.Tensor") -> dict[str, Run]:
    """Return ways to attend: q, k, v (B, H, N, d) and theta (H, H) → (B, H, N, d)."""
    import torch
    from torch.nn import functional

    def maps() -> torch.Tensor:
        return torch.softmax(q @ k.transpose(-2, -1), dim=-1)

    kernel = theta[:, :, None, None].contiguous()
    return {
        "no mix, one fused kernel": lambda: functional.scaled_dot_product_attention(q, k, v, scale=1.0),
        "no mix": lambda: maps() @ v,
        "mix as a product": lambda: (theta @ maps().flatten(2)).view(*q.shape[:3], q.shape[2]) @ v,
        "mix as a convolution": lambda: functional.conv2d(maps(), kernel) @ v,
    }


def _time_forms(findings: Findings, place: Place, batch: int, tokens: int) -> None:
    import torch

    source = torch.Generator().manual_seed(0)
    shape = (batch, HEADS, tokens, WIDTH)
    q, k, v = (0.4 * torch.randn(shape, generator=source) for _ in range(3))
    theta = torch.randn(HEADS, HEADS, generator=source) / HEADS
    halves = [each.half().to(place.device) for each in (q, k, v, theta)]
    exact = forms_of(*(each.double() for each in halves))
    for name, form in forms_of(*halves).items():
        label = f"batch {batch}, {tokens} tokens, {name}"
        if batch == 1:
            got, expected = (each.double().flatten(2)[0].cpu().numpy() for each in (form(), exact[name]()))
            findings.logits(f"{label}, against float64", got, expected, FP16, "PRECISION_BOUNDS[FP16]")
        findings.figure(label, milliseconds(place, form), "ms")


def _whole_models(findings: Findings, place: Place) -> None:
    """The graph's module with its tokens as they are and padded: the same answers, and images a second in FP16."""
    import torch

    name = f"{place.variants[0]}, random weights"
    answers = []
    for padding in (TokenPadding.NEVER, TokenPadding.ALIGNED):
        module, shape = graph_of(place.variants[0], padding)
        images = torch.randn(1 if place.is_fake else max(BATCHES), *shape, generator=torch.Generator().manual_seed(0))
        answers.append(logits_of(module, images[:2], place.device, Arithmetic(name="float64", dtype="float64")))
        halves, there = module.half().to(place.device), images.half().to(place.device)
        for batch in (1,) if place.is_fake else BATCHES:
            own = there[:batch].clone()
            took_ms = milliseconds(place, functools.partial(halves, own))
            speed = took_ms and 1000 * batch / took_ms
            findings.figure(
                f"{name}, FP16, tokens padded: {padding.value}, batch {batch}", speed, "images/s, no copies"
            )
    label = f"{name}: tokens padded, against tokens as they are, in float64"
    findings.logits(label, answers[1], answers[0], FOLD_BOUND, "FOLD_BOUND")
