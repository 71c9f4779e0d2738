"""`inspect`: what an artifact and its engines are made of."""

import pathlib
from typing import TYPE_CHECKING, Annotated

from deepvit.runtime.artifact.manifest import ReattentionForm
from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help

from .terminal.console import out, print_next, write_json
from .terminal.following import after_inspect, after_inspecting_file
from .terminal.options import Json
from .terminal.outputs import check_outputs
from .terminal.progress import build_bar, steps

if TYPE_CHECKING:
    from deepvit.export.engine.listing.compile import Graph
    from deepvit.measure.results.estimate import SpeedEstimate
    from deepvit.measure.results.kernels import Kernels
    from deepvit.runtime.artifact import Artifact

KERNELS = "Kernels"  # the heading
USUAL = "8.9"


def inspect(
    path: Annotated[
        pathlib.Path, Help("An artifact folder, a file in it, or a lone model.onnx.", name="artifact", is_argument=True)
    ],
    kernels: Annotated[
        bool, Help("List the kernels that TensorRT-RTX compiles of its graph, which needs no GPU.", heading=KERNELS)
    ] = False,
    gpu: Annotated[
        str | None,
        Help("Estimate, not measure, the most speed on a GPU: h200, a100, l4, 4090 …", name="gpu", heading=KERNELS),
    ] = None,
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
    _check(is_listed=kernels, gpu=gpu, batch=batch, compute_capability=compute_capability)
    with steps() as step:
        step(f"opening {path}")
        from deepvit.export.engine.choice import choose_engines
        from deepvit.export.options import Target
        from deepvit.export.words import describe_artifact
        from deepvit.measure.results.artifact import Inspection
        from deepvit.runtime.opening import PLAN_SUFFIXES, artifact_of, is_in_artifact
        from deepvit.runtime.trt.fit import misfits
        from deepvit.runtime.trt.machine import this_machine

        artifact = None if path.is_file() and not is_in_artifact(path) else artifact_of(path)
        if (kernels or gpu) and path.suffix in PLAN_SUFFIXES:
            raise InputError(_compiled_already(path, artifact, "‹gpu›" if gpu else "‹kernels›"))
        machine = this_machine()
    compiled = _kernels(artifact or path, batch, compute_capability or USUAL) if kernels else None
    estimate = _estimate(artifact or path, batch, gpu) if gpu else None
    if artifact is None:
        _inspect_lone(path, compiled, estimate, json_path)
        return
    for line in describe_artifact(artifact, machine):
        out.print(line)
    _print_found(compiled, estimate)
    runs_here = {engine.file: not misfits(engine, machine) for engine in artifact.manifest.engines}
    result = Inspection(
        artifact=str(artifact.folder),
        manifest=artifact.manifest,
        runs_here=runs_here,
        kernels=compiled,
        estimate=estimate,
    )
    write_json(json_path, result.to_json)
    for name in artifact.manifest.files:
        artifact.read(name)  # a changed file is an error, once all has been shown
    form = artifact.manifest.graph.reattention or ReattentionForm.UNFUSED
    print_next(after_inspect(artifact, can_build=bool(choose_engines(Target.AUTO, (), machine, form).build)))


def _check(*, is_listed: bool, gpu: str | None, batch: int | None, compute_capability: str | None) -> None:
    """Refuse options that say how to compile where nothing is compiled, and a GPU of which no data sheet is known."""
    if not is_listed and (compute_capability or (batch and not gpu)):
        raise InputError("‹batch› and ‹compute_capability› say what ‹kernels› compiles for; give ‹kernels› too")
    if is_listed and gpu:
        raise InputError("‹kernels› lists what is compiled and ‹gpu› estimates how fast it is; give one of them")
    if gpu:
        from deepvit.export.engine.listing.peaks import gpu_from_text

        gpu_from_text(gpu)


def _compiled_already(plan: pathlib.Path, artifact: "Artifact | None", option: str) -> str:
    """Return what is to be given instead of a plan, and for which batch sizes."""
    given, sizes = "the model.onnx", "that it takes"
    if artifact is not None:
        given, sizes = f"its artifact, {artifact.folder},", f"of its profile, {artifact.engine(plan.name).profile}"
    return f"{option} compiles a graph, and {plan} is compiled already; give {given} and a ‹batch› {sizes}"


def _graph(model: "Artifact | pathlib.Path") -> "Graph":
    """Return the graph of an artifact, or in a lone file."""
    from deepvit.export.engine.listing.compile import graph_of, lone_graph

    return lone_graph(model) if isinstance(model, pathlib.Path) else graph_of(model)


def _kernels(model: "Artifact | pathlib.Path", batch: int | None, compute_capability: str) -> "Kernels":
    """Compile a graph and return what came of it."""
    from deepvit.export.engine.listing.compile import compile_kernels
    from deepvit.measure.results.kernels import kernels_from

    with build_bar("compiling with TensorRT-RTX") as bar:
        return kernels_from(compile_kernels(_graph(model), batch, compute_capability, bar))


def _estimate(model: "Artifact | pathlib.Path", batch: int | None, gpu: str) -> "SpeedEstimate":
    """Compile a graph for a few batch sizes, or one, and return how fast it could be at most."""
    from deepvit.export.engine.listing.compile import compile_kernels
    from deepvit.export.engine.listing.estimate import BATCHES, estimate_of
    from deepvit.export.engine.listing.flops import products_of
    from deepvit.export.engine.listing.peaks import gpu_from_text, require_types
    from deepvit.measure.results.estimate import speed_estimate

    named, found = gpu_from_text(gpu), []
    if not isinstance(model, pathlib.Path):
        require_types(named, [model.manifest.precision.value])
    graph = _graph(model)
    for size in graph.batches(batch, BATCHES):
        with build_bar(f"compiling with TensorRT-RTX, batch {size}") as bar:
            compiled = compile_kernels(graph, size, named.compiles_as, bar)
        found.append(estimate_of(compiled, products_of(graph.content, size), named))
    return speed_estimate(named, found)


def _print_found(compiled: "Kernels | None", estimate: "SpeedEstimate | None") -> None:
    from deepvit.measure.results.estimate import describe_estimate
    from deepvit.measure.results.kernels import describe_kernels

    for line in () if compiled is None else describe_kernels(compiled):
        out.print(line)
    for line in () if estimate is None else describe_estimate(estimate):
        out.print(line)


def _inspect_lone(
    path: pathlib.Path, kernels: "Kernels | None", estimate: "SpeedEstimate | None", json_path: pathlib.Path | None
) -> None:
    """Show what an ONNX file without a manifest says of itself, which nobody vouches for, and its kernels if any."""
    from deepvit.export.words import describe_identity
    from deepvit.measure.results.artifact import Inspection
    from deepvit.runtime.artifact import MANIFEST
    from deepvit.runtime.opening import identity_of

    identity = identity_of(path)
    if identity is None and kernels is None and estimate is None:
        raise InputError(f"{path} has no {MANIFEST} beside it and does not say itself what it is; inspect an artifact")
    said = "it does not say what it is" if identity is None else "this is what its own metadata say"
    out.print(f"{path}: not verified: no manifest; {said}")
    for line in () if identity is None else describe_identity(identity):
        out.print(line)
    _print_found(kernels, estimate)
    result = Inspection(artifact=str(path), identity=identity, kernels=kernels, estimate=estimate)
    write_json(json_path, result.to_json)
    print_next(after_inspecting_file(path))
