"""`export`: a variant and its weights to an artifact, with the engines that can be built here."""

import dataclasses
import pathlib

from deepvit.export.engine.options import ComputeCapabilities
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import FOR_TENSORRT, ExportOptions, Target
from deepvit.export.stages import building, loading
from deepvit.measure.options import WeightOptions
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.errors import needed_for, require_installed

from .build import build_one
from .terminal.console import out, print_next, write_json
from .terminal.following import after_export
from .terminal.options import RANDOM_WEIGHTS, DryRun, Json, Variant
from .terminal.outputs import check_artifact_place, check_outputs
from .terminal.progress import steps


def export(
    variant: Variant,
    weights: WeightOptions,
    options: ExportOptions,
    compute_capabilities: ComputeCapabilities = (),
    dry_run: DryRun = False,
    json_path: Json = None,
) -> None:
    """Fold, export to ONNX at the precision asked for, prove every stage, write the artifact, build its engines."""
    from deepvit.model.variants import find_variant

    check_outputs(json=json_path, reads=(weights.checkpoint, options.quantization.ranges))
    name = find_variant(variant).name  # an unknown one is refused before this machine is looked at
    check_artifact_place(name, options, weights)
    if options.graph.outputs is Outputs.MAPS and options.graph.target is Target.AUTO:  # no engine gives maps
        options = dataclasses.replace(options, graph=dataclasses.replace(options.graph, target=Target.ONNX))
    if dry_run:
        _plan(variant, weights, options, compute_capabilities, json_path)
        return
    with steps() as step:
        step(loading(variant))
        from deepvit.export.engine.choice import choose_engines
        from deepvit.export.reattention import choose_reattention
        from deepvit.export.words import describe_export
        from deepvit.measure.results.artifact import Export
        from deepvit.runtime.trt.machine import this_machine

        machine = this_machine()
        engines = choose_engines(options.graph.target, compute_capabilities, machine, options.graph.reattention_form)
        with needed_for("export"):
            from deepvit.export.graph.proof.apart import one_core
            from deepvit.export.pipeline import export_artifact
            from deepvit.export.plan import shape_of
        with one_core():
            loaded = weights.load(variant)
            options, choice = choose_reattention(options, engines, machine, shape_of(loaded))
            artifact = export_artifact(loaded, options, step)
    if choice:
        out.print(choice)
    for line in describe_export(artifact.manifest):
        out.print(line)
    if artifact.manifest.has_random_weights:
        out.print(RANDOM_WEIGHTS)
    record = artifact.manifest.files["model.onnx"]
    out.print(f"wrote {artifact.folder}/model.onnx, {record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}")
    for engine in engines.build:
        artifact = build_one(artifact, engine, options.imagenet, options.decoding)
    if skipped := engines.describe(artifact.folder):
        out.print(skipped)
    if doubt := _doubt(artifact, options):
        out.print(doubt)
    write_json(json_path, Export(artifact=str(artifact.folder), manifest=artifact.manifest).to_json)
    print_next(after_export(artifact, options, weights))


def _doubt(artifact: Artifact, options: ExportOptions) -> str | None:
    """Return in words that eight bits gain nothing in an engine, where that is known of the variant as it stands."""
    from deepvit.export.engine.listing.listed import no_gain
    from deepvit.model.variants import find_variant

    manifest = artifact.manifest
    is_own_size = manifest.preprocess.crop == find_variant(manifest.variant).img_size
    is_listed = is_own_size and not options.graph.is_fused  # what is listed is unfused
    is_for_engine = options.graph.target in FOR_TENSORRT and not options.quantization.weight_only
    return no_gain(manifest.variant, manifest.precision) if is_listed and is_for_engine else None


def _plan(
    variant: str,
    weights: WeightOptions,
    options: ExportOptions,
    compute_capabilities: tuple[str, ...],
    json_path: pathlib.Path | None,
) -> None:
    """Say what the export would do, and raise what it would raise early."""
    from deepvit.export.engine.choice import choose_engines
    from deepvit.export.estimate import BASIS, estimate_export
    from deepvit.export.plan import plan_export
    from deepvit.export.reattention import choose_reattention
    from deepvit.images.imagenet import require_local
    from deepvit.measure.results.plan import Cost, Plan
    from deepvit.runtime.trt.machine import this_machine

    from .terminal.plan import planned_files, show_plan

    machine = this_machine()
    engines = choose_engines(options.graph.target, compute_capabilities, machine, options.graph.reattention_form)
    shape = weights.shape(variant)
    options, choice = choose_reattention(options, engines, machine, shape)
    require_installed("export", "onnxscript", "onnx_ir", "onnxruntime")
    if options.imagenet is not None:
        require_local(options.imagenet)
    plan = plan_export(shape, options)
    estimate = estimate_export(plan)
    backends = [engine.backend for engine in engines.build]
    skipped = [f"no engine would be built: {why}" for why in engines.skipped]
    show_plan(
        Plan(
            planned="export",
            stages=[loading(variant), *plan.stages, *map(building, backends)],
            files=planned_files(plan.folder, [*plan.files, *(backend.plan for backend in backends)]),
            measures=list(plan.measures),
            disk_bytes=plan.expected_bytes * (1 + len(backends)),
            cost=Cost(seconds=estimate.seconds, memory_bytes=estimate.memory_bytes, basis=BASIS),
            notes=[*([RANDOM_WEIGHTS] if shape.is_random else []), *([choice] if choice else []), *skipped],
        ),
        json_path,
    )
