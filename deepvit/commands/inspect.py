"""`inspect`: what an artifact and its engines are made of."""

import pathlib
from typing import TYPE_CHECKING, Annotated

from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help

from .terminal.console import out, print_next, write_json
from .terminal.following import after_inspect, after_inspecting_file
from .terminal.options import Json
from .terminal.outputs import check_outputs
from .terminal.progress import build_bar, steps

if TYPE_CHECKING:
    from deepvit.measure.results.kernels import Kernels
    from deepvit.runtime.artifact import Artifact

KERNELS = "Kernels"  # the heading
USUAL = "8.9"


def inspect(
    path: Annotated[
        pathlib.Path, Help("An artifact folder, a file in it, or a lone model.onnx.", name="artifact", is_argument=True)
    ],
    kernels: Annotated[
        bool, Help("List the kernels that TensorRT-RTX compiles of it, which needs no GPU.", heading=KERNELS)
    ] = False,
    batch: Annotated[
        int | None,
        Help("Images that they are compiled for, where the graph takes any number.", min=1, heading=KERNELS),
    ] = None,
    compute_capability: Annotated[
        str | None, Help(f"GPU that they are compiled for; {USUAL} if not given.", heading=KERNELS)
    ] = None,
    json_path: Json = None,
) -> None:
    """Show what an artifact is, what its engines are made of, and whether they run on this machine; loads nothing."""
    check_outputs(json=json_path)
    if not kernels and (batch or compute_capability):
        raise InputError("‹batch› and ‹compute_capability› say what ‹kernels› compiles for; give ‹kernels› too")
    with steps() as step:
        step(f"opening {path}")
        from deepvit.export.engine.choice import choose_engines
        from deepvit.export.options import Target
        from deepvit.export.words import describe_artifact
        from deepvit.measure.results.artifact import Inspection
        from deepvit.runtime.session import artifact_of, is_in_artifact
        from deepvit.runtime.trt.fit import misfits
        from deepvit.runtime.trt.machine import this_machine

        if path.is_file() and not is_in_artifact(path):
            if kernels:
                raise InputError(f"‹kernels› takes an artifact; {path} has no manifest")
            _inspect_lone(path, json_path)
            return
        artifact, machine = artifact_of(path), this_machine()
    compiled = _kernels(artifact, batch, compute_capability or USUAL) if kernels else None
    for line in describe_artifact(artifact, machine):
        out.print(line)
    if compiled is not None:
        from deepvit.measure.results.kernels import describe_kernels

        for line in describe_kernels(compiled):
            out.print(line)
    runs_here = {engine.file: not misfits(engine, machine) for engine in artifact.manifest.engines}
    result = Inspection(
        artifact=str(artifact.folder), manifest=artifact.manifest, runs_here=runs_here, kernels=compiled
    )
    write_json(json_path, result.to_json)
    for name in artifact.manifest.files:
        artifact.read(name)  # a changed file is an error, once all has been shown
    print_next(after_inspect(artifact, can_build=bool(choose_engines(Target.AUTO, (), machine).build)))


def _kernels(artifact: "Artifact", batch: int | None, compute_capability: str) -> "Kernels":
    """Compile the artifact's graph and return what came of it."""
    from deepvit.export.engine.listing.compile import compile_kernels
    from deepvit.measure.results.kernels import kernels_from

    with build_bar("compiling with TensorRT-RTX") as bar:
        return kernels_from(compile_kernels(artifact, batch, compute_capability, bar))


def _inspect_lone(path: pathlib.Path, json_path: pathlib.Path | None) -> None:
    """Show what an ONNX file without a manifest says of itself, which nobody vouches for."""
    from deepvit.export.words import describe_identity
    from deepvit.measure.results.artifact import Inspection
    from deepvit.runtime.artifact import MANIFEST
    from deepvit.runtime.session import identity_of

    identity = identity_of(path)
    if identity is None:
        raise InputError(f"{path} has no {MANIFEST} beside it and does not say itself what it is; inspect an artifact")
    out.print(f"{path}: not verified: no manifest; this is what its own metadata say")
    for line in describe_identity(identity):
        out.print(line)
    write_json(json_path, Inspection(artifact=str(path), identity=identity).to_json)
    print_next(after_inspecting_file(path))
