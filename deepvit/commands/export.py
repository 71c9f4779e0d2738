"""`export`: a variant and its weights to an artifact, with the engines that can be built here."""

import dataclasses

from deepvit.export.engine.options import ComputeCapabilities
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import ExportOptions, Target
from deepvit.measure.options import WeightOptions
from deepvit.runtime.errors import needed_for

from .build import build_one
from .terminal.console import out, print_next, write_json
from .terminal.following import after_export
from .terminal.options import RANDOM_WEIGHTS, Json, Variant
from .terminal.outputs import check_artifact_place, check_outputs
from .terminal.progress import steps


def export(
    variant: Variant,
    weights: WeightOptions,
    options: ExportOptions,
    compute_capabilities: ComputeCapabilities = (),
    json_path: Json = None,
) -> None:
    """Fold, export to ONNX at the precision asked for, prove every stage, write the artifact, build its engines."""
    from deepvit.model.variants import find_variant

    check_outputs(json=json_path, reads=(weights.checkpoint, options.quantization.ranges))
    name = find_variant(variant).name  # an unknown one is refused before this machine is looked at
    check_artifact_place(name, options, weights)
    if options.graph.outputs is Outputs.MAPS and options.graph.target is Target.AUTO:  # no engine gives maps
        options = dataclasses.replace(options, graph=dataclasses.replace(options.graph, target=Target.ONNX))
    with steps() as step:
        step(f"loading {variant}")
        from deepvit.export.engine.choice import choose_engines
        from deepvit.export.words import describe_export
        from deepvit.measure.results.artifact import Export
        from deepvit.runtime.trt.machine import this_machine

        engines = choose_engines(options.graph.target, compute_capabilities, this_machine())
        loaded = weights.load(variant)
        with needed_for("export"):
            from deepvit.export.pipeline import export_artifact
        artifact = export_artifact(loaded, options, step)
    for line in describe_export(artifact.manifest):
        out.print(line)
    if artifact.manifest.has_random_weights:
        out.print(RANDOM_WEIGHTS)
    record = artifact.manifest.files["model.onnx"]
    out.print(f"wrote {artifact.folder}/model.onnx, {record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}")
    for choice in engines.build:
        artifact = build_one(artifact, choice, options.imagenet, options.decoding)
    if skipped := engines.describe(artifact.folder):
        out.print(skipped)
    write_json(json_path, Export(artifact=str(artifact.folder), manifest=artifact.manifest).to_json)
    print_next(after_export(artifact, options, weights))
