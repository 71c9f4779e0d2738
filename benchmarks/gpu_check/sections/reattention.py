"""Fused re-attention by the compiled kernels: right, then how fast, beside separate operators and what was predicted.

The most wanted first, as time may be over.
"""

from ..findings import Findings, SkippedError, require_modules
from ..places import Place


def run(findings: Findings, place: Place) -> None:
    require_modules("torch", "timm", *(() if place.is_fake else ("cuda.bindings.nvrtc",)))
    import torch

    from ..reattention import correctness, models, sanitizer, speed
    from ..reattention.prediction import predictions_of

    attention = place.reattention()
    if not attention.kernels:
        raise SkippedError("no kernel fits on this GPU")
    findings.note("kernels", attention.source)
    predictions = predictions_of(place.machine().gpu or "")
    variant = place.variants[0]
    with torch.inference_mode():
        correctness.check_kernels(findings, place, attention)
        speed.time_calls(findings, place, speed.kernels_and_unfused(attention), predictions)
        networks = models.with_kernels(variant, attention) | models.unfused(variant)
        models.time_models(findings, place, networks, predictions)
        correctness.check_many_images(findings, place, attention)
        sanitizer.check_with_sanitizer(findings, place, attention.content)
