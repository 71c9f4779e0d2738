"""The export: model → folds → graph → precision → parity ladder → artifact, each step proved against the last."""

import dataclasses
import importlib.metadata
import logging
import pathlib

import onnx

from deepvit.calibration.ranges import RANGES
from deepvit.images.samples import default_images, parity_crops
from deepvit.metrics.bounds import PRECISION_BOUNDS, Bound, prove
from deepvit.model.load import LoadedModel
from deepvit.model.rewrites.fold import FoldReport
from deepvit.progress import Progress, log_step
from deepvit.runtime import artifact as artifacts
from deepvit.runtime.artifact import Artifact, open_artifact
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.manifest import (
    Calibration,
    FoldRecord,
    GraphForm,
    InputForm,
    Manifest,
    ParityStage,
    Precision,
    Tensor,
)
from deepvit.runtime.preprocess import Crop

from .graph import trace as onnx_graph
from .graph.activation_range import largest_activations
from .graph.batch_check import check_batches
from .graph.cast import FP16_MAX, cast_graph
from .graph.float32 import Float32Graph, check_input_form, float32_graph, graph_preprocessing, graph_session
from .graph.maps import expose_maps
from .graph.spec import Outputs
from .options import QUANTIZED, ExportOptions, GraphOptions
from .quantized.graph import quantization_input, quantize
from .quantized.images import CalibrationInput

logger = logging.getLogger(__name__)
TOOLS = ("deepvit", "torch", "timm", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "pillow")
ACTIVATIONS_KEPT = 3  # the largest, in the manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Graph:
    """A graph on its way to an artifact, with what was measured so far."""

    model: onnx.ModelProto
    folds: tuple[FoldReport, ...]
    stages: list[ParityStage]
    activations: dict[str, float] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None
    ranges_text: bytes = b""


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
    check_input_form(loaded, options.graph.input_form)
    with artifacts.staged_artifact(options.output) as staging:
        is_quantized = options.graph.precision in QUANTIZED
        inputs = quantization_input(loaded, options, progress) if is_quantized else None
        count = options.parity_images or default_images(loaded.module.img_size)
        crops = parity_crops(options.imagenet, count, loaded.preprocessing())
        graph = _build_graph(loaded, options, crops, inputs, progress)
        if options.graph.outputs is Outputs.MAPS:
            graph = dataclasses.replace(graph, model=expose_maps(graph.model))
        progress("writing the artifact")
        if graph.calibration is not None:
            (staging / RANGES).write_bytes(graph.ranges_text)
        (staging / artifacts.MODEL).write_bytes(onnx_graph.to_bytes(graph.model))
        manifest = _manifest(loaded, options.graph, graph, staging)
        (staging / artifacts.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return open_artifact(options.output)


def _build_graph(
    loaded: LoadedModel, options: ExportOptions, crops: Crop, inputs: CalibrationInput | None, progress: Progress
) -> _Graph:
    """Fold, export, cast or quantise; prove each."""
    source = float32_graph(loaded, options.graph.spec, crops, progress)
    progress("checking batch sizes")
    check_batches(source.model, source.images, options.graph.batch)
    precision = options.graph.precision
    if precision is Precision.FP32:
        return _Graph(model=source.model, folds=source.folds, stages=list(source.stages))
    if inputs is not None:
        return _quantized(source, options, inputs, progress)
    progress(f"casting to {precision.value}")
    model = cast_graph(source.model, precision)
    activations = largest_activations(source.model, source.images)
    _check_activations(activations, precision)
    progress(f"comparing {precision.value} with float32")
    stages = [*source.stages, _compare(model, precision, source, PRECISION_BOUNDS[precision])]
    return _Graph(model=model, folds=source.folds, stages=stages, activations=activations)


def _quantized(source: Float32Graph, options: ExportOptions, inputs: CalibrationInput, progress: Progress) -> _Graph:
    """Quantise the graph and hold it against float32 on the parity images."""
    quantized = quantize(source, options, inputs, progress)
    activations: dict[str, float] = {}
    if options.graph.rest is Precision.FP16:
        activations = largest_activations(quantized.float32, source.images)
        for name, seen in quantized.extremes.items():
            activations[name] = max(seen, activations.get(name, 0.0))
        _check_activations(activations, options.graph.rest)
    precision = options.graph.precision
    progress(f"comparing {precision.value} with float32")
    # Where accuracy itself was measured, and found within its budget, a bound that stands for it has no say.
    bound = PRECISION_BOUNDS[precision] if quantized.record.check is None else Bound()
    return _Graph(
        model=quantized.model,
        folds=source.folds,
        stages=[*source.stages, *quantized.stages, _compare(quantized.model, precision, source, bound)],
        activations=activations,
        calibration=quantized.record,
        ranges_text=quantized.ranges_text,
    )


def _compare(model: onnx.ModelProto, precision: Precision, source: Float32Graph, bound: Bound) -> ParityStage:
    """Return the rung of a typed graph against float32.

    Raises:
        OutOfBoundsError: It does not hold its bound.
    """
    logits = graph_session(model, f"the ONNX graph in {precision.value}").run(source.images)
    name = f"onnx-{precision.value}"
    return prove(name, "onnx-fp32", logits, source.logits, bound, top1_enforced=not source.is_random)


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
    module, spec, batch = loaded.module, options.spec, options.batch
    counts = onnx_graph.count_gemms(graph.model)
    size = module.img_size
    is_uint8 = options.input_form is InputForm.UINT8
    dynamic: int | str = onnx_graph.BATCH if batch.min != batch.max else batch.max
    return Manifest(
        variant=loaded.variant.name,
        classes=module.num_classes,
        weights=loaded.weights,
        precision=options.precision,
        input=Tensor(
            name=onnx_graph.INPUT,
            shape=(dynamic, size, size, 3) if is_uint8 else (dynamic, module.in_chans, size, size),
            dtype="uint8" if is_uint8 else "float32",
        ),
        output=Tensor(name=onnx_graph.OUTPUT, shape=(dynamic, module.num_classes), dtype="float32"),
        batch=batch,
        preprocess=graph_preprocessing(loaded, spec.input_form),
        folds=tuple(FoldRecord(**dataclasses.asdict(report)) for report in graph.folds),
        graph=GraphForm(
            opset=spec.opset,
            mix=spec.mix,
            qkv=spec.qkv,
            attention_maps=len(module.blocks) if spec.outputs is Outputs.MAPS else None,
            gemms=counts.gemms,
            convolutions=counts.convolutions,
            quantized_gemms=counts.quantized_gemms or None,
        ),
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
