"""`build`: an engine for an artifact."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated

from deepvit.export.engine.options import BuildOptions, ComputeCapabilities, EngineOptions
from deepvit.export.options import Target
from deepvit.export.stages import building
from deepvit.runtime.artifact.manifest import ReattentionForm
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.options import Help
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .terminal.console import out, print_next, write_json
from .terminal.following import after_build
from .terminal.options import DryRun, Json
from .terminal.outputs import check_outputs
from .terminal.progress import build_bar, steps

if TYPE_CHECKING:
    from deepvit.runtime.artifact import Artifact


def build(
    *,
    path: Annotated[
        pathlib.Path, Help("An artifact that was exported here or elsewhere.", name="artifact", is_argument=True)
    ],
    target: Annotated[
        Target, Help("What builds it: tensorrt, tensorrt-rtx, or auto, each that can here.", heading="Engine")
    ] = Target.AUTO,
    compute_capabilities: ComputeCapabilities = (),
    options: BuildOptions,
    imagenet: Annotated[
        str | None, Help("Images that prove the engine; the bundled photographs if not given.", heading="Images")
    ] = None,
    decoding: DecodePolicy = FILES,
    dry_run: DryRun = False,
    json_path: Json = None,
) -> None:
    """Build an engine for an artifact on this machine, check its precision and its answers, and add it."""
    check_outputs(json=json_path, reads=(options.timing_cache,))
    if target in (Target.ONNX, Target.CPU):
        raise InputError(f"--target {target.value} builds no engine; give tensorrt, tensorrt-rtx or auto")
    with steps() as step:
        step(f"opening {path}")
        from deepvit.export.engine.choice import choose_engines
        from deepvit.measure.results.artifact import Build
        from deepvit.runtime.opening import artifact_of
        from deepvit.runtime.trt.machine import this_machine

        artifact = artifact_of(path)
        form = artifact.manifest.graph.reattention or ReattentionForm.UNFUSED
        engines = choose_engines(target, compute_capabilities, this_machine(), form)
    if not engines.build:
        raise MissingError(f"no engine can be built here: {'; '.join(engines.skipped)}")
    built = [choice.backend.plan for choice in engines.build]
    # All of them are checked before the first is built.
    wanted = [dataclasses.replace(choice, **vars(options)) for choice in engines.build]
    if dry_run:
        _plan(artifact, wanted, engines.skipped, imagenet, decoding, json_path)
        return
    for engine in wanted:
        artifact = build_one(artifact, engine, imagenet, decoding)
    result = Build(artifact=str(artifact.folder), manifest=artifact.manifest, built=built)
    write_json(json_path, result.to_json)
    print_next(after_build(artifact))


def _plan(
    artifact: "Artifact",
    wanted: "list[EngineOptions]",
    skipped: tuple[str, ...],
    imagenet: str | None,
    decoding: DecodePolicy,
    json_path: pathlib.Path | None,
) -> None:
    """Say what the build would do, and raise what it would raise early."""
    from deepvit.export.engine.plan import plan_engine
    from deepvit.images.imagenet import require_local
    from deepvit.measure.results.plan import Plan
    from deepvit.runtime.artifact import MANIFEST, MODEL
    from deepvit.runtime.trt.machine import this_machine

    from .terminal.plan import planned_files, show_plan

    if imagenet is not None:
        require_local(imagenet)
    artifact.read(MODEL)  # what is not what was exported is refused
    plans = [plan_engine(artifact, options, this_machine(), imagenet, decoding) for options in wanted]
    files = dict.fromkeys([*(plan.options.backend.plan for plan in plans), MANIFEST])
    show_plan(
        Plan(
            planned="build",
            stages=[stage for plan in plans for stage in plan.stages],
            files=planned_files(artifact.folder, [*files]),
            measures=[text for plan in plans for text in plan.measures],
            disk_bytes=sum(plan.graph_bytes for plan in plans),
            cost=None,
            notes=[f"not built: {why}" for why in skipped],
        ),
        json_path,
    )


def build_one(
    artifact: "Artifact", options: "EngineOptions", imagenet: str | None, decoding: DecodePolicy
) -> "Artifact":
    """Build one engine and say what came of it."""
    from deepvit.export.engine.add import add_engine
    from deepvit.export.words import describe_build

    with build_bar(building(options.backend)) as bar:
        artifact = add_engine(artifact.folder, options, bar, imagenet, decoding)
    for line in describe_build(artifact.manifest, options.backend.plan):
        out.print(line)
    return artifact
