"""The export: model → folds → graph → precision → parity ladder → artifact, each step proved against the last."""

import dataclasses
import importlib.metadata
import logging
import pathlib

import numpy as np
import onnx
import torch

from calibration.ranges import RANGES
from deepvit import fold as folding
from deepvit.fold import FoldReport
from deepvit.model import DeepViT
from export import onnx_graph, parity
from export.activation_range import largest_activations
from export.batch_check import check_batches
from export.calibrated_graph import Advance, Float32Graph, Progress
from export.cast import FP16_MAX, cast_graph
from export.graph_module import GraphModule
from export.model_source import LoadedModel
from export.options import QUANTIZED, Batch, ExportOptions, GraphOptions, InputForm, MixForm, Precision, QkvForm, Target
from export.parity_images import parity_crops
from export.quantized_graph import quantize
from export.torch_logits import torch_logits
from runtime import artifact as artifacts
from runtime.artifact import Artifact, open_artifact
from runtime.errors import InputError, OutOfBoundsError
from runtime.manifest import BatchRange, Calibration, FoldRecord, Manifest, ParityStage, Tensor
from runtime.preprocess import Crop, Preprocessing, model_input
from runtime.session_onnxruntime import OnnxRuntimeSession
from runtime.tensors import Images, Logits

logger = logging.getLogger(__name__)
TOOLS = ("deepvit", "torch", "timm", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "pillow")
ACTIVATIONS_KEPT = 3  # the largest, in the manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Graph:
    """A graph on its way to an artifact, with what was measured so far."""

    model: onnx.ModelProto
    folds: list[FoldReport]
    stages: list[ParityStage]
    activations: dict[str, float] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None
    ranges_text: bytes = b""


def log_step(text: str) -> Advance:
    """Log what begins, and nothing of its images."""
    logger.info(text)
    return lambda _done, _total: None


def export_artifact(loaded: LoadedModel, options: ExportOptions, progress: Progress = log_step) -> Artifact:
    """Write the artifact of `loaded` to `options.output`, or nothing at all.

    Args:
        loaded: The model and where its weights come from.
        options: What to write, and which images to prove it on.
        progress: Called with each step as it begins.

    Raises:
        InputError: An output, dataset or option that cannot be used.
        OutOfBoundsError: A stage of the parity ladder is outside its bound, or the precision does not hold the model.
        MissingError: ONNX Runtime is not installed, or the disk is full.
    """
    _check_input_form(loaded, options.graph)
    with artifacts.staged_artifact(options.output) as staging:
        count = options.parity_images or parity.default_images(loaded.module.img_size)
        crops = parity_crops(options.imagenet, count, loaded.preprocessing())
        graph = _build_graph(loaded, options, crops, progress)
        progress("writing the artifact")
        if graph.calibration is not None:
            (staging / RANGES).write_bytes(graph.ranges_text)
        (staging / artifacts.MODEL).write_bytes(onnx_graph.to_bytes(graph.model))
        manifest = _manifest(loaded, options.graph, graph, staging)
        (staging / artifacts.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return open_artifact(options.output)


def _check_input_form(loaded: LoadedModel, options: GraphOptions) -> None:
    if options.input_form is InputForm.UINT8 and loaded.module.in_chans != 3:
        raise InputError(f"--input uint8 takes RGB pixels, the model has {loaded.module.in_chans} channels")


def _build_graph(loaded: LoadedModel, all_options: ExportOptions, crops: Crop, progress: Progress) -> _Graph:
    """Fold, export, cast or quantise; prove each."""
    options = all_options.graph
    preprocessing = graph_preprocessing(loaded, options)
    float_images = model_input(crops, loaded.preprocessing(), loaded.module.in_chans)
    graph_images = crops if options.input_form is InputForm.UINT8 else float_images

    progress("folding in float64")
    folded, reports, stage = fold_and_prove(loaded.module, options, float_images)
    stages = [stage]

    progress(f"exporting ONNX (opset {options.opset_version})")
    fp32 = _float32_graph(folded, options, preprocessing, graph_images[:1])
    progress(f"comparing ONNX with PyTorch on {len(crops)} images")
    expected = torch_logits(loaded.module, float_images)
    session = _session(fp32, "the ONNX graph in float32")
    fp32_logits = session.run(graph_images)
    stages.append(
        parity.require(parity.compare_logits("onnx-fp32", "original", fp32_logits, expected), parity.FP32_BOUND)
    )
    progress("checking batch sizes")
    session.close()
    check_batches(fp32, graph_images, options.batch)
    if options.precision is Precision.FP32:
        return _Graph(model=fp32, folds=reports, stages=stages)
    if options.precision in QUANTIZED:
        source = Float32Graph(
            loaded=loaded,
            folded=folded,
            model=fp32,
            module_of=lambda changed: _graph_module(changed, options, preprocessing),
            preprocessing=preprocessing,
            proof_images=float_images,
        )
        return _quantized(source, reports, stages, all_options, (graph_images, fp32_logits), progress)
    progress(f"casting to {options.precision.value}")
    model = cast_graph(fp32, options.precision)
    activations = largest_activations(fp32, graph_images)
    _check_activations(activations, options.rest)
    progress(f"comparing {options.precision.value} with float32")
    stages.append(_compare(model, options.precision, graph_images, fp32_logits, loaded))
    return _Graph(model=model, folds=reports, stages=stages, activations=activations)


def _quantized(
    source: Float32Graph,
    reports: list[FoldReport],
    stages: list[ParityStage],
    options: ExportOptions,
    proof: tuple[Images, Logits],
    progress: Progress,
) -> _Graph:
    """Quantise the graph and hold it against float32 on the parity images and their logits."""
    images, expected = proof
    quantized = quantize(source, options, progress)
    activations: dict[str, float] = {}
    if options.graph.rest is Precision.FP16:
        activations = largest_activations(quantized.float32, images)
        for name, seen in quantized.extremes.items():
            activations[name] = max(seen, activations.get(name, 0.0))
        _check_activations(activations, options.graph.rest)
    precision = options.graph.precision
    progress(f"comparing {precision.value} with float32")
    stages = [*stages, *quantized.stages, _compare(quantized.model, precision, images, expected, source.loaded)]
    return _Graph(
        model=quantized.model,
        folds=reports,
        stages=stages,
        activations=activations,
        calibration=quantized.record,
        ranges_text=quantized.ranges_text,
    )


def _compare(
    model: onnx.ModelProto, precision: Precision, images: Images, expected: Logits, loaded: LoadedModel
) -> ParityStage:
    """Return the rung of a typed graph against float32.

    Raises:
        OutOfBoundsError: It does not hold its bound.
    """
    logits = _session(model, f"the ONNX graph in {precision.value}").run(images)
    is_trained = loaded.weights.source == "checkpoint"
    name = f"onnx-{precision.value}"
    stage = parity.compare_logits(name, "onnx-fp32", logits, expected, top1_enforced=is_trained)
    return parity.require(stage, parity.PRECISION_BOUNDS[precision])


def _graph_module(folded: DeepViT, options: GraphOptions, preprocessing: Preprocessing) -> GraphModule:
    return GraphModule(folded, options.mix_form, options.qkv_form, options.input_form, preprocessing).float()


def _float32_graph(
    folded: DeepViT, options: GraphOptions, preprocessing: Preprocessing, example: Images
) -> onnx.ModelProto:
    module = _graph_module(folded, options, preprocessing)
    return onnx_graph.onnx_from_module(module, torch.from_numpy(example), options.batch, options.opset_version)


def float32_graph_of(loaded: LoadedModel, manifest: Manifest, crops: Crop) -> bytes:
    """Export the float32 graph that an artifact's typed one was made from.

    Args:
        loaded: The artifact's weights.
        manifest: The artifact's.
        crops: Images (N, H, W, 3) uint8, on which the folds are proved again.

    Raises:
        OutOfBoundsError: The folds changed the answer.
    """
    options = GraphOptions(
        precision=Precision.FP32,
        target=Target.CPU if manifest.graph["qkv"] == QkvForm.SPLIT.value else Target.ONNX,
        batch=Batch(**manifest.batch.model_dump()),
        input_form=InputForm.UINT8 if manifest.input.dtype == "uint8" else InputForm.FLOAT32,
        opset=int(manifest.graph["opset"]),
        mix=MixForm(manifest.graph["mix"]),
        pad_head_dim=any(record.name == "pad_head_dim" and record.applied for record in manifest.folds),
    )
    floats = model_input(crops, loaded.preprocessing(), loaded.module.in_chans)
    folded, _, _ = fold_and_prove(loaded.module, options, floats)
    images = crops if options.input_form is InputForm.UINT8 else floats
    return onnx_graph.to_bytes(_float32_graph(folded, options, graph_preprocessing(loaded, options), images[:1]))


def fold_and_prove(
    original: DeepViT, options: GraphOptions, images: Images
) -> tuple[DeepViT, list[FoldReport], ParityStage]:
    """Fold `original` as the target wants it and compare both in float64 on a few of `images`."""
    folds = list(folding.ALWAYS)
    if options.qkv_form is QkvForm.SPLIT:  # k and v have GEMMs of their own, which then need no bias
        folds += [folding.fold_key_bias, folding.fold_value_bias]
    if options.pads_head_dim:
        folds.append(folding.pad_head_dim)
    folded, reports = folding.fold(original, folds)
    wide = images[: parity.float64_images(original.img_size)].astype(np.float64)
    expected = torch_logits(_float64_copy(original), wide)
    stage = parity.compare_logits("folded-float64", "original-float64", torch_logits(folded, wide), expected)
    return folded, reports, parity.require(stage, parity.FOLD_BOUND)


def _float64_copy(module: DeepViT) -> DeepViT:
    copied, _ = folding.fold(module, ())
    return copied


def graph_preprocessing(loaded: LoadedModel, options: GraphOptions) -> Preprocessing:
    """Return the manifest's preprocessing: that of the graph's input."""
    return loaded.preprocessing("NHWC" if options.input_form is InputForm.UINT8 else "NCHW")


def _session(model: onnx.ModelProto, name: str) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(onnx_graph.to_bytes(model), name=name, batch=BatchRange(min=1, opt=4, max=4))


def _check_activations(activations: dict[str, float], precision: Precision) -> None:
    over = {name: value for name, value in activations.items() if value > FP16_MAX}
    if precision is Precision.FP16 and over:
        shown = ", ".join(f"{name} reaches {value:.4g}" for name, value in _largest(over, 5).items())
        raise OutOfBoundsError(
            f"{len(over)} activations do not fit FP16, which ends at {FP16_MAX:.0f}: {shown}; export with --bf16"
        )


def _largest(activations: dict[str, float], count: int) -> dict[str, float]:
    return dict(sorted(activations.items(), key=lambda item: (-item[1], item[0]))[:count])


def _manifest(loaded: LoadedModel, options: GraphOptions, graph: _Graph, staging: pathlib.Path) -> Manifest:
    module, batch = loaded.module, options.batch
    size = module.img_size
    is_uint8 = options.input_form is InputForm.UINT8
    dynamic: int | str = onnx_graph.BATCH if batch.min != batch.max else batch.max
    return Manifest(
        variant=loaded.variant.name,
        classes=module.num_classes,
        weights=loaded.weights,
        precision=options.precision.value,
        input=Tensor(
            name=onnx_graph.INPUT,
            shape=(dynamic, size, size, 3) if is_uint8 else (dynamic, module.in_chans, size, size),
            dtype="uint8" if is_uint8 else "float32",
        ),
        output=Tensor(name=onnx_graph.OUTPUT, shape=(dynamic, module.num_classes), dtype="float32"),
        batch=BatchRange(min=batch.min, opt=batch.opt, max=batch.max),
        preprocess=graph_preprocessing(loaded, options),
        folds=tuple(FoldRecord(**dataclasses.asdict(report)) for report in graph.folds),
        graph={
            "opset": options.opset_version,
            "mix": options.mix_form.value,
            "qkv": options.qkv_form.value,
            **onnx_graph.count_gemms(graph.model),
        },
        calibration=graph.calibration,
        parity=tuple(graph.stages),
        largest_activation=_largest(graph.activations, ACTIVATIONS_KEPT),
        files=artifacts.record_files(staging),
        tools=_tool_versions(),
    )


def _tool_versions() -> dict[str, str]:
    found = {}
    for package in TOOLS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            logger.debug("%s is not installed as a package", package)
    return found
