"""Fused re-attention as PyTorch's operator, which is a kernel in the Triton language, and what torch.compile makes of it."""

from ..findings import Findings, require_modules
from ..places import Place


def run(findings: Findings, place: Place) -> None:
    require_modules("torch", "timm", *(() if place.is_fake else ("triton",)))
    import torch

    from ..reattention import correctness, models, speed
    from ..reattention.prediction import predictions_of

    predictions = predictions_of(place.machine().gpu or "")
    variant = place.variants[0]
    with torch.inference_mode():
        correctness.check_operator(findings, place)
        speed.time_calls(findings, place, speed.operator_and_unfused, predictions)
        networks = models.with_operator(variant) | models.unfused(variant)
        models.time_models(findings, place, networks, predictions)
        if place.is_fake:
            findings.skip("torch.compile", "on a CPU it would be another thing")
            return
        speed.time_calls(findings, place, speed.compiled, predictions, seconds=20)
        models.time_models(findings, place, models.compiled(networks), predictions, seconds=100)
