"""Options that several commands share, and how they become the library's."""

import enum
import pathlib
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from runtime.errors import InputError

if TYPE_CHECKING:
    from export.open_model import WeightOptions

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


def weights_from(
    checkpoint: pathlib.Path | None, pretrained: bool, no_ema: bool, img_size: int | None
) -> "WeightOptions":
    """Return where PyTorch weights come from."""
    from deepvit.checkpoint import EmaChoice
    from export.open_model import WeightOptions

    ema = EmaChoice.REFUSE if no_ema else EmaChoice.PREFER
    return WeightOptions(checkpoint=checkpoint, pretrained=pretrained, ema=ema, img_size=img_size)


def choice_from(option: str, text: str, kind: type[E]) -> E:
    """Return the member of an Enum whose value is `text`."""
    members = {member.value: member for member in kind}
    if text not in members:
        raise InputError(f"{option} {text}: expected one of {', '.join(members)}")
    return members[text]
