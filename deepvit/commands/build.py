"""`build`: an engine for an artifact."""

import dataclasses
import pathlib
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from deepvit.runtime.errors import InputError

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import ComputeCapability, Json, choice_from
from .terminal.progress import build_bar

if TYPE_CHECKING:
    from deepvit.export.engine.options import EngineOptions
    from deepvit.runtime.artifact import Artifact


def build(
    artifact: Annotated[pathlib.Path, typer.Argument(help="An artifact that was exported here or elsewhere.")],
    target: Annotated[str, typer.Option(help="tensorrt, tensorrt-rtx, or auto: each that can be built here.")] = "auto",
    compute_capability: ComputeCapability = None,
    batch: Annotated[str | None, typer.Option(help="MIN:OPT:MAX of the profile; the artifact's if not given.")] = None,
    workspace: Annotated[int | None, typer.Option(help="MiB of scratch memory that a layer may take.")] = None,
    optimization_level: Annotated[int | None, typer.Option(help="0 builds fastest, 5 searches longest.")] = None,
    hardware_compatible: Annotated[
        str, typer.Option(help="none, same-compute-capability or ampere-plus: where the engine runs.")
    ] = "none",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Later TensorRT of the same major can load it, by host code.")
    ] = False,
    weight_stripped: Annotated[
        bool,
        typer.Option("--weight-stripped", help="Leave the weights in model.onnx, and fit them in when it is loaded."),
    ] = False,
    timing_cache: Annotated[
        pathlib.Path | None, typer.Option(help="File of measured kernels; one in the cache folder if not given.")
    ] = None,
    imagenet: Annotated[str | None, typer.Option(help="Images that prove the engine; else the bundled ones.")] = None,
    json_path: Json = None,
) -> None:
    """Build an engine for an artifact on this machine, check its precision and its answers, and add it."""
    from deepvit.export.engine.choice import choose_engines
    from deepvit.export.engine.options import compute_capabilities_from_text
    from deepvit.export.options import Target, batch_from_text
    from deepvit.runtime.errors import MissingError
    from deepvit.runtime.manifest import HardwareCompatibility
    from deepvit.runtime.session import artifact_of
    from deepvit.runtime.trt.machine import this_machine

    check_json(json_path)
    opened = artifact_of(artifact)
    kind = choice_from("--target", target, Target)
    if kind in (Target.ONNX, Target.CPU):
        raise InputError(f"--target {target} builds no engine; give tensorrt, tensorrt-rtx or auto")
    capabilities = compute_capabilities_from_text(compute_capability)
    engines = choose_engines(kind, capabilities, this_machine())
    if not engines.build:
        raise MissingError(f"no engine can be built here: {'; '.join(engines.skipped)}")
    wanted = [  # all of them checked before the first is built
        dataclasses.replace(
            choice,
            batch=None if batch is None else batch_from_text(batch),
            workspace_bytes=None if workspace is None else workspace << 20,
            optimization_level=optimization_level,
            hardware_compatible=choice_from("--hardware-compatible", hardware_compatible, HardwareCompatibility),
            version_compatible=version_compatible,
            weight_stripped=weight_stripped,
            timing_cache=timing_cache,
        )
        for choice in engines.build
    ]
    for options in wanted:
        opened = build_one(opened, options, imagenet)
    write_json(json_path, opened.manifest.to_json)
    print_next(f"python cli.py inspect {shlex.quote(str(opened.folder))}")


def build_one(artifact: "Artifact", options: "EngineOptions", imagenet: str | None) -> "Artifact":
    """Build one engine and say what came of it."""
    from deepvit.export.engine.add import add_engine
    from deepvit.export.words import describe_built

    with build_bar(f"building the {options.backend.value} engine") as bar:
        built = add_engine(artifact.folder, options, bar, imagenet)
    for line in describe_built(built.manifest, options.backend.plan):
        out.print(line)
    return built


def runnable_file(artifact: "Artifact") -> str:
    """Return the file of `artifact` to evaluate on this machine: an engine that runs here, else the ONNX file."""
    from deepvit.runtime.session import engine_here

    return engine_here(artifact, allow_host_code=False) or "model.onnx"
