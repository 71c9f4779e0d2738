"""`sensitivity`: what each linear costs when it is quantised."""

import pathlib
import shlex
from typing import Annotated

import typer

from deepvit.runtime.errors import InputError

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import (
    RANDOM_WEIGHTS,
    CalibrationImages,
    CalibrationMethod,
    CalibrationSeed,
    Checkpoint,
    Equalization,
    ImgSize,
    Json,
    NoEma,
    Pretrained,
    QuantizeAttention,
    Ranges,
    SkipCorrupt,
    WeightOnly,
    choice_from,
    weights_from,
)
from .terminal.progress import note, steps


def sensitivity(
    variant: Annotated[str, typer.Argument(help="A variant or an alias; see: python cli.py models")],
    imagenet: Annotated[str | None, typer.Option(help="Images that calibrate and score.")] = None,
    fp8: Annotated[bool, typer.Option("--fp8", help="For FP8; else INT8.")] = False,
    target: Annotated[str, typer.Option(help="auto, or cpu: unsigned activations.")] = "auto",
    images: Annotated[int, typer.Option(min=1, max=4096, help="How many of the calibration images score.")] = 32,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    img_size: ImgSize = None,
    calibration_images: CalibrationImages = None,
    calibration_method: CalibrationMethod = None,
    calibration_seed: CalibrationSeed = 0,
    equalization: Equalization = "on",
    quantize_attention: QuantizeAttention = False,
    weight_only: WeightOnly = False,
    ranges: Ranges = None,
    skip_corrupt: SkipCorrupt = False,
    plot: Annotated[pathlib.Path | None, typer.Option(help="Draw it into this file: .png, .svg or .pdf.")] = None,
    json_path: Json = None,
) -> None:
    """Quantise each linear alone, and leave each out alone, and rank them by what that does to the logits."""
    from deepvit.calibration.observe.calibrate import Equalization as EqualizationChoice
    from deepvit.calibration.observe.histogram import Method
    from deepvit.calibration.options import QuantizationOptions
    from deepvit.export.options import GraphOptions, Target
    from deepvit.measure.sensitivity import describe_sensitivity, plot_sensitivity, report_sensitivity
    from deepvit.model.load import load_model
    from deepvit.runtime.manifest import Precision

    check_json(json_path)
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {plot}: expected a file that ends in .png, .svg or .pdf")
    graph = GraphOptions(
        precision=Precision.FP8 if fp8 else Precision.INT8, target=choice_from("--target", target, Target)
    )
    if quantize_attention and not fp8:
        raise InputError("--quantize-attention is for --fp8: in INT8 the maps of attention lose too much")
    wanted = QuantizationOptions(
        images=calibration_images,
        method=None if calibration_method is None else Method(calibration_method),
        seed=calibration_seed,
        equalization=choice_from("--equalization", equalization, EqualizationChoice),
        attention=quantize_attention,
        weight_only=weight_only,
        ranges=ranges,
        skip_corrupt=skip_corrupt,
    )
    loaded = load_model(weights_from(checkpoint, pretrained, no_ema, img_size).for_variant(variant))
    with steps() as step:
        result = report_sensitivity(loaded, graph, wanted, imagenet, images, step)
    if result.random_weights:
        note(RANDOM_WEIGHTS)
    for line in describe_sensitivity(result):
        out.print(line)
    write_json(json_path, lambda: result.model_dump_json(indent=2))
    if plot is not None:
        plot_sensitivity(result, plot)
        out.print(f"wrote {plot}")
    source = f" --checkpoint {shlex.quote(str(checkpoint))}" if checkpoint else " --pretrained" if pretrained else ""
    data = f" --imagenet {shlex.quote(imagenet or '/data')}"
    print_next(f"python cli.py export {variant} {'--fp8' if fp8 else '--int8'}{source}{data} --min-agreement 99.5")
