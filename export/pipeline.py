"""The export: model → folds → graph → precision → parity ladder → artifact, each step proved against the last."""

import contextlib

import numpy as np

from deepvit import __version__
from deepvit.calibration.ranges import RANGES
from deepvit.images.samples import crops_of
from deepvit.metrics.bounds import PRECISION_BOUNDS, Bound, prove
from deepvit.model.load import LoadedModel
from deepvit.progress import Progress, log_step
from deepvit.runtime import artifact as artifacts
from deepvit.runtime.artifact import Artifact, open_artifact
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.ort.plain import probe_plain
from deepvit.runtime.ort.session import OnnxRuntimeSession

from . import stages
from .forms.choose import choose_form
from .graph import onnx_file
from .graph.cast import in_types
from .graph.float32 import Float32Graph, float32_graph, prove_fused
from .graph.maps import expose_maps
from .graph.proof.activation_range import largest_activations, probed_answers, require_in_fp16
from .graph.proof.batch_check import check_batches
from .graph.proof.logits import graph_session, plain_answers
from .graph.spec import Outputs
from .graph.typed import TypedGraph
from .options import ExportOptions, GraphOptions
from .plan import plan_export, shape_of
from .quantized.graph import quantize
from .quantized.plan import CalibrationInput
from .record import Proof, export_identity, export_manifest, golden_answer

REDUCED = frozenset({Precision.FP16, Precision.BF16})


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
    with artifacts.staged_artifact(plan.folder) as staging:
        quantization, preprocessing = plan.quantization, loaded.preprocessing()
        inputs = None if quantization is None else quantization.inputs(preprocessing, progress)
        crops = crops_of(plan.parity, preprocessing)
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
        identity = export_identity(source, options.graph, plan.class_names)
        onnx_file.identify(model, identity, __version__)
        content = onnx_file.to_bytes(model)
        with contextlib.closing(graph_session(content, f"the ONNX graph in {identity.precision.value}")) as session:
            proof = _prove(session, graph, options.graph, progress)
            golden = golden_answer(identity, session)
        progress(stages.WRITING)
        if RANGES in plan.files:
            (staging / RANGES).write_bytes(graph.ranges_text)
        (staging / artifacts.MODEL).write_bytes(content)
        progress(stages.TRYING)
        plain = probe_plain(content, identity.golden_input, np.asarray(golden.logits), golden.sqnr_db)
        files = artifacts.record_files(staging)
        manifest = export_manifest(
            identity, graph, options.graph, tried=tried, proof=proof, golden=golden, plain=plain, files=files
        )
        (staging / artifacts.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return open_artifact(plan.folder)


def _typed(
    source: Float32Graph, options: ExportOptions, inputs: CalibrationInput | None, progress: Progress
) -> TypedGraph:
    """Cast or quantise the float32 graph."""
    if inputs is not None:
        return quantize(source, options, inputs, progress)
    if options.graph.precision is not Precision.FP32:
        progress(stages.casting(options.graph.precision))
    return TypedGraph(
        model=in_types(source.model, options.graph.rest, options.graph.reattention_form),
        source=source,
        float32=source.model,
    )


def _prove(session: OnnxRuntimeSession, graph: TypedGraph, options: GraphOptions, progress: Progress) -> Proof:
    """Measure the activations of the typed graph, and hold its answers, those of `session`, against float32.

    Raises:
        OutOfBoundsError: An activation does not fit FP16, or the answers are outside their bound.
    """
    source = graph.source
    activations: dict[str, float] = {}
    if options.rest is not Precision.FP32:
        activations = dict(source.activations) or largest_activations(graph.float32, source.images)
        for name, extreme in graph.extremes.items():
            activations[name] = max(extreme, activations.get(name, 0.0))
        if options.rest is Precision.FP16:
            require_in_fp16(activations)
    rungs = (*source.stages, *graph.stages)
    if options.precision is Precision.FP32:
        return Proof(activations=activations, stages=rungs)
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
    return Proof(activations=activations, stages=(*rungs, stage))
