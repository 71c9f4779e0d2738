"""Engines of TensorRT and TensorRT-RTX where they are installed: built, past the gate, proved, timed, their layers kept."""

import contextlib
import dataclasses
import pathlib
import statistics
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from deepvit.measure.bench.inputs import pictures
from deepvit.metrics.bounds import ENGINE_BOUNDS, FLOAT32_BOUND
from deepvit.runtime.artifact.manifest import Backend, BatchRange, Precision
from deepvit.runtime.errors import DeviceError, InputError, MissingError, OutOfBoundsError
from deepvit.runtime.session import begin
from deepvit.runtime.trt.driver import has_cuda_python

from ..findings import Findings, SkippedError, require_modules
from ..places import Place
from .sessions import images_per_second

if TYPE_CHECKING:
    from deepvit.runtime.artifact import Artifact
    from deepvit.runtime.session import Session
    from deepvit.runtime.session.tensors import Images, Logits

BATCHES = (1, 8, 32, 64)
IMAGES = 8
TUNED_FOR = (8, 64)
BUILD_SECONDS = 60  # about; none begins that could not end
REFUSALS = (DeviceError, InputError, MissingError, OutOfBoundsError)


def run(findings: Findings, place: Place) -> None:
    backends = _backends(findings, place)
    require_modules("torch", "timm", "onnxruntime", "onnx_ir", "onnxscript")
    with tempfile.TemporaryDirectory() as folder:
        for variant in place.engine_variants:
            for precision in place.engine_precisions:
                name = f"{variant}, random weights, {precision.value}"
                if findings.has_time(name, 0 if place.is_fake else BUILD_SECONDS):
                    _precision(findings, place, name, variant, precision, backends, pathlib.Path(folder))
        if Backend.TENSORRT in backends:
            _tuned(findings, place, pathlib.Path(folder))


def _backends(findings: Findings, place: Place) -> list[Backend]:
    """Return what can build and run here.

    Raises:
        SkippedError: Nothing can.
    """
    from deepvit.export.engine.choice import RTX_CAPABILITIES

    machine, found = place.machine(), []
    if not has_cuda_python():
        raise SkippedError("cuda-python is not installed here")
    for backend in Backend:
        if backend not in machine.versions:
            findings.skip(backend.value, "it is not installed here")
        elif backend is Backend.TENSORRT_RTX and machine.compute_capability not in RTX_CAPABILITIES:
            findings.skip(backend.value, f"it builds nothing for compute capability {machine.compute_capability}")
        else:
            findings.note(f"version of {backend.value}", machine.versions[backend])
            found.append(backend)
    if not found:
        raise SkippedError("no TensorRT is installed that builds for this GPU")
    return found


def _precision(
    findings: Findings,
    place: Place,
    name: str,
    variant: str,
    precision: Precision,
    backends: list[Backend],
    root: pathlib.Path,
) -> None:
    """Export an artifact once, and build every library's engine for it."""
    from deepvit.export.options import ExportOptions, GraphOptions
    from deepvit.export.pipeline import export_artifact
    from deepvit.images.samples import crops_of, parity_images
    from deepvit.model.load import load_model
    from deepvit.runtime.opening import open_session
    from deepvit.runtime.ort.arithmetic import Arithmetic

    output = root / f"{variant}-{precision.value}"
    options = ExportOptions(graph=GraphOptions(precision=precision), output=output)
    try:
        artifact = export_artifact(load_model(variant), options)
    except REFUSALS as error:
        findings.check(f"{name}: exported", False, str(error), "an artifact")
        return
    images = artifact.manifest.input_from(crops_of(parity_images(None, IMAGES), artifact.manifest.preprocess))
    with contextlib.closing(open_session(artifact.folder, "cpu", arithmetic=Arithmetic.AS_DECLARED)) as session:
        expected = session.run(images)
    for backend in backends:
        label = f"{name}, {backend.value}"
        try:
            place.build(artifact.folder, backend)
        except REFUSALS as error:
            findings.check(f"{label}: built, past the gate, proved", False, str(error), "an engine")
            continue
        findings.check(f"{label}: built, past the gate, proved", True, "an engine", "an engine")
        _engine(findings, place, label, artifact, backend, images, expected)


def _engine(
    findings: Findings,
    place: Place,
    label: str,
    artifact: "Artifact",
    backend: Backend,
    images: "Images",
    expected: "Logits",
) -> None:
    """Run a built engine: plain, recorded, replayed; then time it and keep its layers."""
    precision = artifact.manifest.precision
    bound, named = ENGINE_BOUNDS.get(precision, FLOAT32_BOUND), f"ENGINE_BOUNDS[{precision.name}]"
    if precision not in ENGINE_BOUNDS:
        named = "FLOAT32_BOUND"
    with contextlib.closing(place.open_engine(artifact.folder, backend)) as session:
        findings.note(f"{label}: session", session.description)
        for turn in ("plain", "recorded", "replayed"):
            findings.logits(f"{label}: {turn}, against the CPU", session.run(images), expected, bound, named)
        for batch in BATCHES:
            speed = images_per_second(place, session, images, batch)
            findings.figure(f"{label}, batch {batch}", speed, "images/s, copies included")
            _parts(findings, f"{label}, batch {batch}", session, np.resize(images, (batch, *images.shape[1:])))
        findings.layers(label, session.inspect())


def _tuned(findings: Findings, place: Place, root: pathlib.Path) -> None:
    """Time engines tuned for a small batch and for a large one at both: what an engine of two profiles would gain.

    TensorRT-RTX compiles for each batch size when it runs.
    """
    variant, precision = place.engine_variants[-1], place.engine_precisions[0]
    folder, most = root / f"{variant}-{precision.value}", max(TUNED_FOR)
    for opt in TUNED_FOR:
        label = f"{variant}, {precision.value}, {Backend.TENSORRT.value} tuned for {opt}"
        if not folder.is_dir() or not findings.has_time(label, 0 if place.is_fake else BUILD_SECONDS):
            continue
        try:
            place.build(folder, Backend.TENSORRT, BatchRange(min=1, opt=opt, max=most))
        except REFUSALS as error:
            findings.check(f"{label}: built", False, str(error), "an engine")
            continue
        with contextlib.closing(place.open_engine(folder, Backend.TENSORRT)) as session:
            for batch in TUNED_FOR:
                images = pictures(session, batch)
                findings.figure(f"{label}, batch {batch}: compute", _compute_ms(session, images, place.runs), "ms")


def _compute_ms(session: "Session", images: "Images", count: int) -> float | None:
    """Return the median by the GPU's events; None where there is none."""
    times = []
    for _ in range(count):
        run = begin(session, images)
        run.result()
        times.append(run.times)
    return statistics.median(each.compute_ms for each in times if each is not None) if all(times) else None


def _parts(findings: Findings, label: str, session: "Session", images: "Images") -> None:
    """Say what the GPU's events say of a run; nothing on fakes."""
    run = begin(session, images)
    run.result()
    if run.times is not None:
        for part, took_ms in dataclasses.asdict(run.times).items():
            findings.figure(f"{label}: {part.removesuffix('_ms')}", took_ms, "ms")
