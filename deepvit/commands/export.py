"""`export`: a variant and its weights to an artifact, with the engines that can be built here."""

import pathlib
import shlex
from typing import Annotated

import typer

from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import InputForm, MixForm

from .build import build_one, runnable_file
from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import (
    RANDOM_WEIGHTS,
    CalibrationImages,
    CalibrationMethod,
    CalibrationSeed,
    CheckImages,
    Checkpoint,
    ComputeCapability,
    Equalization,
    ImgSize,
    Json,
    MaxDrop,
    MinAgreement,
    NoEma,
    NumClasses,
    Pretrained,
    QuantizeAttention,
    Ranges,
    SkipCorrupt,
    WeightOnly,
    budget_from,
    choice_from,
    weights_from,
)
from .terminal.progress import steps


def export(
    variant: Annotated[str, typer.Argument(help="A variant or an alias; see: python cli.py models")],
    fp32: Annotated[bool, typer.Option("--fp32", help="Arithmetic in FP32.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Arithmetic in FP16; the default.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Arithmetic in BF16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Linears in INT8, calibrated; the rest in FP16.")] = False,
    fp8: Annotated[bool, typer.Option("--fp8", help="Linears in FP8, calibrated; the rest in FP16.")] = False,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    batch: Annotated[str, typer.Option(help="MIN:OPT:MAX batch sizes.")] = "1:8:64",
    target: Annotated[str, typer.Option(help="auto, onnx, cpu, tensorrt or tensorrt-rtx.")] = "auto",
    imagenet: Annotated[
        str | None, typer.Option(help="Images that calibrate and prove the export; else the bundled ones.")
    ] = None,
    calibration_images: CalibrationImages = None,
    calibration_method: CalibrationMethod = None,
    calibration_seed: CalibrationSeed = 0,
    ranges: Ranges = None,
    skip_corrupt: SkipCorrupt = False,
    equalization: Equalization = "on",
    quantize_attention: QuantizeAttention = False,
    weight_only: WeightOnly = False,
    max_drop: MaxDrop = None,
    min_agreement: MinAgreement = None,
    check_images: CheckImages = 1000,
    parity_images: Annotated[int | None, typer.Option(help="How many of them.")] = None,
    output: Annotated[
        pathlib.Path | None, typer.Option(help="Folder; artifacts/VARIANT-PRECISION if not given.")
    ] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX opset; 20, for BF16 22.")] = None,
    input_form: Annotated[str, typer.Option("--input", help="float32 (preprocessed) or uint8 (crops).")] = "float32",
    mix: Annotated[str | None, typer.Option(help="How heads are mixed: conv, matmul or matmul-value.")] = None,
    pad_head_dim: Annotated[
        bool | None, typer.Option("--pad-head-dim/--no-pad-head-dim", help="To a multiple of 8; on for TensorRT.")
    ] = None,
    attention_maps: Annotated[
        bool, typer.Option("--attention-maps", help="Give every block's maps too, for the command attention.")
    ] = False,
    img_size: ImgSize = None,
    num_classes: NumClasses = None,
    compute_capability: ComputeCapability = None,
    json_path: Json = None,
) -> None:
    """Fold, export to ONNX at the precision asked for, prove every stage, write the artifact, build its engines."""
    from deepvit.calibration.observe.calibrate import Equalization as EqualizationChoice
    from deepvit.calibration.observe.histogram import Method
    from deepvit.calibration.options import QuantizationOptions
    from deepvit.export.graph.spec import Outputs
    from deepvit.export.options import ExportOptions, GraphOptions, Target, batch_from_text
    from deepvit.model.variants import find_variant
    from deepvit.runtime.manifest import Precision

    check_json(json_path)
    given = {"fp32": fp32, "fp16": fp16, "bf16": bf16, "int8": int8, "fp8": fp8}
    chosen = [Precision(name) for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join('--' + p.value for p in chosen)} exclude each other; give one of them")
    precision = chosen[0] if chosen else Precision.FP16
    quantization = QuantizationOptions(
        images=calibration_images,
        method=None if calibration_method is None else Method(calibration_method),
        seed=calibration_seed,
        ranges=ranges,
        skip_corrupt=skip_corrupt,
        equalization=choice_from("--equalization", equalization, EqualizationChoice),
        attention=quantize_attention,
        weight_only=weight_only,
        budget=budget_from(max_drop, min_agreement),
        check_images=check_images,
    )
    graph = GraphOptions(
        precision=precision,
        target=Target.ONNX if attention_maps and target == "auto" else choice_from("--target", target, Target),
        batch=batch_from_text(batch),
        input_form=choice_from("--input", input_form, InputForm),
        opset=opset,
        mix=None if mix is None else choice_from("--mix", mix, MixForm),
        pad_head_dim=pad_head_dim,
        outputs=Outputs.MAPS if attention_maps else Outputs.LOGITS,
    )
    name = f"{find_variant(variant).name}-{precision.value}"
    options = ExportOptions(
        graph=graph,
        output=output or pathlib.Path("artifacts") / name,
        imagenet=imagenet,
        parity_images=parity_images,
        quantization=quantization,
    )
    from deepvit.export.engine.choice import choose_engines
    from deepvit.export.engine.options import compute_capabilities_from_text
    from deepvit.export.pipeline import export_artifact
    from deepvit.export.words import describe_export
    from deepvit.model.load import load_model
    from deepvit.runtime.trt.machine import this_machine

    engines = choose_engines(graph.target, compute_capabilities_from_text(compute_capability), this_machine())
    weights = weights_from(checkpoint, pretrained, no_ema, img_size)
    loaded = load_model(weights.for_variant(variant, num_classes))
    with steps() as step:
        artifact = export_artifact(loaded, options, step)
    for line in describe_export(artifact.manifest):
        out.print(line)
    if artifact.manifest.has_random_weights:
        out.print(RANDOM_WEIGHTS)
    record = artifact.manifest.files["model.onnx"]
    out.print(f"wrote {artifact.folder}/model.onnx, {record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}")
    for choice in engines.build:
        artifact = build_one(artifact, choice, imagenet)
    if skipped := engines.describe(artifact.folder):
        out.print(skipped)
    write_json(json_path, artifact.manifest.to_json)
    written = artifact.folder / runnable_file(artifact)
    print_next(f"python cli.py eval {shlex.quote(str(written))} --imagenet {shlex.quote(imagenet or '/data')}")
