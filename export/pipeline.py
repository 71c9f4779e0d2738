"""The export: model → folds → graph → precision → parity ladder → artifact, each step proved against the last."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import logging

import numpy as np

from deepvit import __version__
from deepvit.calibration.ranges import RANGES
from deepvit.images.samples import crops_of
from deepvit.metrics.bounds import FP16_MAX, PRECISION_BOUNDS, Bound, prove
from deepvit.model.load import LoadedModel
from deepvit.model.variants import Layout
from deepvit.progress import Progress, log_step
from deepvit.runtime import artifact as artifacts
from deepvit.runtime.artifact import Artifact, open_artifact
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.manifest import (
    GOLDEN_LOGITS,
    GOLDEN_SQNR_DB,
    ArchitectureRecord,
    FileRecord,
    FoldRecord,
    GoldenAnswer,
    GraphForm,
    Identity,
    InputForm,
    Manifest,
    ParityStage,
    Precision,
    Tensor,
    TriedForms,
)
from deepvit.runtime.ort.plain import probe_plain
from deepvit.runtime.ort.session import OnnxRuntimeSession

from . import stages
from .forms.choose import choose_form
from .graph import onnx_file
from .graph.activation_range import largest_activations, probed_answers
from .graph.batch_check import check_batches
from .graph.cast import cast_graph
from .graph.float32 import Float32Graph, float32_graph, graph_preprocessing, prove_fused
from .graph.maps import expose_maps
from .graph.proof import graph_session, plain_answers
from .graph.spec import Outputs
from .graph.typed import TypedGraph
from .options import ExportOptions, GraphOptions
from .plan import plan_export, shape_of
from .quantized.graph import quantize
from .quantized.images import CalibrationInput
from .reattention.fuse import written

logger = logging.getLogger(__name__)
TOOLS = ("deepvit", "torch", "timm", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "pillow")
REDUCED = frozenset({Precision.FP16, Precision.BF16})
ACTIVATIONS_KEPT = 3  # the largest, in the manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Proof:
    """The parity ladder up to the typed graph, and tensor → largest magnitude where it is not float32."""

    stages: tuple[ParityStage, ...]
    activations: dict[str, float]


def export_artifact(loaded: LoadedModel, options: ExportOptions, progress: Progress = log_step) -> Artifact:
    """Write the artifact of `loaded` to `options.artifact_folder`, or nothing at all.

    Args:
        loaded: The model and where its weights come from.
        options: What to write, and which images to prove it on.
        progress: Called with each step as it begins.

    Raises:
        InputError: An output, dataset or option that cannot be used.
        OutOfBoundsError: A stage of the parity ladder is outside its bound, or the precision does not hold the model.
        MissingError: ONNX Runtime is not installed, or the disk has no room.
    """
    plan = plan_export(shape_of(loaded), options)
    identity = _identity(loaded, options.graph, plan.class_names)
    with artifacts.staged_artifact(plan.folder) as staging:
        quantization = plan.quantization
        inputs = None if quantization is None else quantization.inputs(loaded.preprocessing(), progress)
        crops = crops_of(plan.parity, loaded.preprocessing())
        options, tried = choose_form(loaded, options, crops, progress)
        answers = probed_answers if options.graph.precision in REDUCED else plain_answers
        source = float32_graph(loaded, options.graph.spec, crops, progress, answers)
        progress(stages.BATCHES)
        check_batches(source.model, source.images, options.graph.batch)
        if options.graph.is_fused:
            progress(stages.FUSING)
            source = prove_fused(source)
        graph = _typed(source, options, inputs, progress)
        model = expose_maps(graph.model) if options.graph.outputs is Outputs.MAPS else graph.model
        onnx_file.identify(model, identity, __version__)
        content = onnx_file.to_bytes(model)
        with contextlib.closing(graph_session(content, f"the ONNX graph in {identity.precision.value}")) as session:
            proof = _prove(session, graph, source, options.graph, progress)
            golden = golden_answer(identity, session)
        progress(stages.WRITING)
        if RANGES in plan.files:
            (staging / RANGES).write_bytes(graph.ranges_text)
        (staging / artifacts.MODEL).write_bytes(content)
        progress(stages.TRYING)
        plain = probe_plain(content, identity.golden_input, np.asarray(golden.logits), golden.sqnr_db)
        files = artifacts.record_files(staging)
        manifest = _manifest(source, options.graph, identity, graph, proof, files, tried)
        manifest = manifest.model_copy(update={"golden": golden, "plain": plain})
        (staging / artifacts.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return open_artifact(plan.folder)


def _typed(
    source: Float32Graph, options: ExportOptions, inputs: CalibrationInput | None, progress: Progress
) -> TypedGraph:
    """Cast or quantise the float32 graph."""
    precision = options.graph.precision
    if inputs is not None:
        return quantize(source, options, inputs, progress)
    if precision is Precision.FP32:
        return TypedGraph(model=source.model, float32=source.model)
    progress(stages.casting(precision))
    model = written(source.model, options.graph.reattention_form)
    return TypedGraph(model=cast_graph(model, precision), float32=source.model)


def _prove(
    session: OnnxRuntimeSession, graph: TypedGraph, source: Float32Graph, options: GraphOptions, progress: Progress
) -> _Proof:
    """Measure the activations of the typed graph, and hold its answers, those of `session`, against float32.

    Raises:
        OutOfBoundsError: An activation does not fit FP16, or the answers are outside their bound.
    """
    activations: dict[str, float] = {}
    if options.rest is not Precision.FP32:
        activations = dict(source.activations) or largest_activations(graph.float32, source.images)
        for name, extreme in graph.extremes.items():
            activations[name] = max(extreme, activations.get(name, 0.0))
        _check_activations(activations, options.rest)
    rungs = (*source.stages, *graph.stages)
    if options.precision is Precision.FP32:
        return _Proof(activations=activations, stages=rungs)
    progress(stages.proving(options.precision))
    # Where accuracy itself was measured, and found within its budget, a bound that stands for it has no say.
    is_checked = graph.calibration is not None and graph.calibration.check is not None
    stage = prove(
        f"onnx-{options.precision.value}",
        "onnx-fp32",
        session.run(source.images),
        source.logits,
        Bound() if is_checked else PRECISION_BOUNDS[options.precision],
        top1_enforced=not source.is_random,
    )
    return _Proof(activations=activations, stages=(*rungs, stage))


def _check_activations(activations: dict[str, float], arithmetic: Precision) -> None:
    over = {name: value for name, value in activations.items() if value > FP16_MAX}
    if arithmetic is Precision.FP16 and over:
        examples = ", ".join(f"{name} reaches {value:.4g}" for name, value in _largest(over, 5).items())
        raise OutOfBoundsError(
            f"{len(over)} activations do not fit FP16, which ends at {FP16_MAX:.0f}: {examples}; export with ‹bf16›"
        )


def _largest(activations: dict[str, float], count: int) -> dict[str, float]:
    return dict(sorted(activations.items(), key=lambda item: (-item[1], item[0]))[:count])


def _identity(loaded: LoadedModel, graph: GraphOptions, class_names: tuple[str, ...] | None) -> Identity:
    module, batch, size = loaded.module, graph.batch, loaded.module.img_size
    is_uint8 = graph.input_form is InputForm.UINT8
    dynamic: int | str = onnx_file.BATCH if batch.min != batch.max else batch.max
    return Identity(
        schema=1,
        variant=loaded.variant.name,
        classes=module.num_classes,
        weights=loaded.weights,
        precision=graph.precision,
        input=Tensor(
            name=onnx_file.INPUT,
            shape=(dynamic, size, size, 3) if is_uint8 else (dynamic, module.in_chans, size, size),
            dtype="uint8" if is_uint8 else "float32",
        ),
        output=Tensor(name=onnx_file.OUTPUT, shape=(dynamic, module.num_classes), dtype="float32"),
        preprocess=graph_preprocessing(loaded, graph.spec.input_form),
        class_names=class_names,
    )


def golden_answer(identity: Identity, session: OnnxRuntimeSession) -> GoldenAnswer:
    """Return what the finished graph, opened as `session`, answers for the golden image.

    Raises:
        OutOfBoundsError: Logits that are not finite.
    """
    images = identity.golden_input
    logits = session.run(images)[0, :GOLDEN_LOGITS]
    return GoldenAnswer(
        input_sha256=hashlib.sha256(images.tobytes()).hexdigest(),
        logits=tuple(float(f"{logit:.9g}") for logit in logits),  # nine digits tell every float32
        sqnr_db=GOLDEN_SQNR_DB[identity.precision],
    )


def _manifest(
    source: Float32Graph,
    options: GraphOptions,
    identity: Identity,
    graph: TypedGraph,
    proof: _Proof,
    files: dict[str, FileRecord],
    tried: TriedForms | None,
) -> Manifest:
    spec, tokens, counts = source.spec, source.tokens, onnx_file.count_gemms(graph.model)
    return Manifest(
        **{("schema" if name == "schema_version" else name): value for name, value in identity},
        batch=options.batch,
        folds=tuple(FoldRecord(**dataclasses.asdict(report)) for report in source.folds),
        graph=GraphForm(
            opset=spec.opset,
            mix=spec.mix,
            qkv=spec.qkv,
            attention_maps=len(source.folded.blocks) if spec.outputs is Outputs.MAPS else None,
            padded_tokens=tokens.rows if tokens.padding else None,
            reattention=options.reattention_form if options.is_fused else None,
            gemms=counts.gemms,
            convolutions=counts.convolutions,
            quantized_gemms=counts.quantized_gemms or None,
            tried=tried,
        ),
        calibration=graph.calibration,
        parity=proof.stages,
        largest_activation=_largest(proof.activations, ACTIVATIONS_KEPT),
        files=files,
        tools=_tool_versions(),
        architecture=_architecture(source.loaded),
    )


def _architecture(loaded: LoadedModel) -> ArchitectureRecord | None:
    """Return what a checkpoint said of its network; None where the variant's name says it."""
    architecture = loaded.variant.architecture
    if loaded.variant.layout is Layout.ORIGINAL:
        return None
    return ArchitectureRecord(
        depth=architecture.depth,
        embed_dim=architecture.embed_dim,
        num_heads=architecture.num_heads,
        head_dim=architecture.head_dim,
        mlp_dim=architecture.mlp_dim,
        patch_size=architecture.patch_size,
        stem=architecture.stem.value,
        mix_norm=architecture.mix_norm.value,
        pooling=architecture.pooling.value,
    )


def _tool_versions() -> dict[str, str]:
    versions = {}
    for package in TOOLS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            logger.debug("%s is not installed as a package", package)
    return versions
