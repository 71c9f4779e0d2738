"""`build`: an engine for an artifact."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated

from deepvit.export.engine.options import BuildOptions, ComputeCapabilities, EngineOptions
from deepvit.export.options import Target
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.options import Help
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .terminal.console import out, print_next, write_json
from .terminal.following import after_build
from .terminal.options import Json
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
        from deepvit.runtime.session import artifact_of
        from deepvit.runtime.trt.machine import this_machine

        artifact = artifact_of(path)
        engines = choose_engines(target, compute_capabilities, this_machine())
    if not engines.build:
        raise MissingError(f"no engine can be built here: {'; '.join(engines.skipped)}")
    built = [choice.backend.plan for choice in engines.build]
    # All of them are checked before the first is built.
    for engine in [dataclasses.replace(choice, **vars(options)) for choice in engines.build]:
        artifact = build_one(artifact, engine, imagenet, decoding)
    result = Build(artifact=str(artifact.folder), manifest=artifact.manifest, built=built)
    write_json(json_path, result.to_json)
    print_next(after_build(artifact))


def build_one(
    artifact: "Artifact", options: "EngineOptions", imagenet: str | None, decoding: DecodePolicy
) -> "Artifact":
    """Build one engine and say what came of it."""
    from deepvit.export.engine.add import add_engine
    from deepvit.export.words import describe_build

    with build_bar(f"building the {options.backend.value} engine") as bar:
        artifact = add_engine(artifact.folder, options, bar, imagenet, decoding)
    for line in describe_build(artifact.manifest, options.backend.plan):
        out.print(line)
    return artifact
