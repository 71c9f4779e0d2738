"""Options that several commands share, and how they become the library's."""

import enum
import pathlib
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deepvit.runtime.errors import InputError

if TYPE_CHECKING:
    from deepvit.calibration.budget.budget import Budget
    from deepvit.measure.opened import WeightOptions

E = TypeVar("E", bound=enum.Enum)
RANDOM_WEIGHTS = "random weights: these numbers say nothing about accuracy"

Json = Annotated[pathlib.Path | None, typer.Option("--json", help="Write the result as JSON to this file.")]
Checkpoint = Annotated[pathlib.Path | None, typer.Option(help="Weights: .pth.tar, .pth, .pt or .safetensors.")]
Pretrained = Annotated[bool, typer.Option("--pretrained", help="Fetch the published weights into the cache.")]
NoEma = Annotated[bool, typer.Option("--no-ema", help="Take the plain weights, not their moving average.")]
ImgSize = Annotated[int | None, typer.Option(help="Side of the images; resizes the position embedding.")]
ComputeCapability = Annotated[
    str | None, typer.Option(help="For tensorrt-rtx: the GPUs to build for, as in 8.9,12.0; else the one here.")
]
Provider = Annotated[str | None, typer.Option(help="ONNX Runtime's: cpu, cuda, tensorrt, tensorrt-rtx, ….")]
TrustUnverified = Annotated[bool, typer.Option("--trust-unverified", help="Load a plan that has no manifest.")]
AllowHostCode = Annotated[
    bool, typer.Option("--allow-host-code", help="Let a version-compatible plan run its own code.")
]
NumClasses = Annotated[int | None, typer.Option(help="Number of classes; a checkpoint says it itself.")]

CalibrationImages = Annotated[int | None, typer.Option(help="How many images calibrate INT8 or FP8; 512.")]
CalibrationMethod = Annotated[
    str | None, typer.Option(help="Ranges by max, percentile-99.9 to -99.999, entropy or mse; INT8: mse, FP8: max.")
]
CalibrationSeed = Annotated[int, typer.Option(help="Of the choice of calibration images.")]
Equalization = Annotated[str, typer.Option(help="on or off: rescale activations into weights, exactly, first.")]
QuantizeAttention = Annotated[
    bool, typer.Option("--quantize-attention", help="FP8: quantise q·kᵀ and A'·v too, for GPUs that run them faster.")
]
WeightOnly = Annotated[bool, typer.Option("--weight-only", help="Store weights in eight bits, compute in FP16.")]
Ranges = Annotated[pathlib.Path | None, typer.Option(help="A ranges.json of the same graph, instead of images.")]
SkipCorrupt = Annotated[bool, typer.Option("--skip-corrupt", help="Replace calibration images that cannot be decoded.")]
MaxDrop = Annotated[
    float | None, typer.Option(help="Points of top-1 that INT8 or FP8 may lose; keeps linears in FP16 for it.")
]
MinAgreement = Annotated[
    float | None, typer.Option(help="Percent of images with float32's top-1 class; likewise, without labels.")
]
CheckImages = Annotated[int, typer.Option(help="Held-out images that INT8 or FP8 is checked on; 0 checks nothing.")]


def budget_from(max_drop: float | None, min_agreement: float | None) -> "Budget | None":
    """Return the accuracy budget, if one was given."""
    from deepvit.calibration.budget.budget import Budget, BudgetKind

    if max_drop is not None and min_agreement is not None:
        raise InputError("--max-drop and --min-agreement exclude each other; give one of them")
    if max_drop is not None:
        return Budget(BudgetKind.MAX_DROP, max_drop)
    return None if min_agreement is None else Budget(BudgetKind.MIN_AGREEMENT, min_agreement)


def weights_from(
    checkpoint: pathlib.Path | None, pretrained: bool, no_ema: bool, img_size: int | None
) -> "WeightOptions":
    """Return where PyTorch weights come from."""
    from deepvit.measure.opened import WeightOptions
    from deepvit.model.weights.checkpoint import EmaChoice

    ema = EmaChoice.REFUSE if no_ema else EmaChoice.PREFER
    return WeightOptions(checkpoint=checkpoint, pretrained=pretrained, ema=ema, img_size=img_size)


def choice_from(option: str, text: str, kind: type[E]) -> E:
    """Return the member of an Enum whose value is `text`."""
    members = {member.value: member for member in kind}
    if text not in members:
        raise InputError(f"{option} {text}: expected one of {', '.join(members)}")
    return members[text]
