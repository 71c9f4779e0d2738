"""An engine for an artifact: built from its model.onnx, proved, and put beside it."""

import contextlib
import logging
import os
import pathlib
import shutil

import numpy as np

from deepvit.images.samples import crops_of
from deepvit.metrics.bounds import ENGINE_BOUNDS, FP32_BOUND, prove
from deepvit.progress import Share
from deepvit.runtime import artifact as artifacts
from deepvit.runtime.artifact import Artifact, open_artifact
from deepvit.runtime.artifact.manifest import (
    Backend,
    BatchRange,
    BuildLimits,
    Engine,
    Manifest,
    ParityStage,
    ReattentionForm,
)
from deepvit.runtime.errors import InputError, first_of
from deepvit.runtime.files.staging import sole_work
from deepvit.runtime.opening import proved_model
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.preprocess import FILES, DecodePolicy
from deepvit.runtime.session.tensors import Images
from deepvit.runtime.trt.machine import Machine, this_machine

from .building.process import Build, build_engine
from .building.worker import Job
from .census import Layer, census_of, dequantized_products, require_engine, require_network
from .layers import EngineLayer
from .options import EngineOptions
from .plan import plan_engine
from .timing_cache import timing_cache_path

logger = logging.getLogger(__name__)
WIDER_SHOWN = 3


def add_engine(
    folder: pathlib.Path, options: EngineOptions, bar: Share, imagenet: str | None = None, policy: DecodePolicy = FILES
) -> Artifact:
    """Build an engine for the artifact in `folder` and add it; one of the same library is replaced.

    The artifact changes in one step, or not at all; one that another process replaced meanwhile stays as that left it.

    Args:
        folder: The artifact.
        options: What to build.
        bar: Called as the build goes on.
        imagenet: The images that prove the engine; the bundled ones where None.
        policy: Which of them are decoded.

    Raises:
        InputError: Not an artifact, or its graph or an option is not for this library; or another process builds an
            engine for it, or replaced it meanwhile.
        MissingError: The library or the GPU is not here.
        DeviceError: The builder gave up.
        OutOfBoundsError: The engine is not what was promised, by its layers or by its answers.
    """
    busy = f"{folder}: another process is building an engine for it; wait for that, then build again"
    with sole_work(folder, "build", busy):
        return _add_engine(open_artifact(folder), options, bar, imagenet, policy)


def _add_engine(
    artifact: Artifact, options: EngineOptions, bar: Share, imagenet: str | None, policy: DecodePolicy
) -> Artifact:
    machine, manifest = this_machine(), artifact.manifest
    plan = plan_engine(artifact, options, machine, imagenet, policy)
    options = plan.options
    onnx = proved_model(artifact)
    images = None if plan.parity is None else manifest.input_from(crops_of(plan.parity, manifest.preprocess))
    cache = options.timing_cache or _default_timings(machine) if options.backend is Backend.TENSORRT else None
    is_fused = manifest.graph.reattention is ReattentionForm.FUSED
    job = Job(options=options, batch=plan.batch, timing_cache=cache, is_run=images is not None, is_fused=is_fused)
    build = build_engine(onnx, job, images, bar, lambda layers: require_network(layers, manifest))
    layers = build.layers()
    if layers is not None:
        _hold(layers, build.network, manifest)
    rungs = [] if images is None else [_prove(build, options, manifest, onnx, images)]
    engine = _record(build, layers, options, plan.batch, machine)
    return _write(artifact, engine, build.plan, rungs)


def _default_timings(machine: Machine) -> pathlib.Path | None:
    """Return where timings are kept, which nobody asked for: None, and a warning, where that cannot be used."""
    try:
        return timing_cache_path(machine.versions[Backend.TENSORRT], machine)
    except InputError as error:
        logger.warning("the build's timings are not kept: %s", error)
        return None


def _hold(layers: list[EngineLayer], network: list[Layer], manifest: Manifest) -> None:
    """Hold the engine's layers against what it was built from, and say what the compiler computes wider than asked."""
    require_engine(layers, network, manifest)
    wider = dequantized_products(layers, network, manifest)
    if wider:
        shown = first_of(wider, WIDER_SHOWN)
        logger.warning("%d quantised GEMMs are widened before they are multiplied: %s", len(wider), shown)


def _prove(build: Build, options: EngineOptions, manifest: Manifest, onnx: bytes, images: Images) -> ParityStage:
    """Hold the engine's answers against those of what it was built from."""
    assert build.logits is not None
    session = OnnxRuntimeSession(onnx, name=artifacts.MODEL, arithmetic=Arithmetic.AS_DECLARED, batch=manifest.batch)
    with contextlib.closing(session):
        expected = session.run(images)
    return prove(
        f"engine-{options.backend.value}",
        f"onnx-{manifest.precision.value}",
        build.logits.astype(np.float64),
        expected,
        ENGINE_BOUNDS.get(manifest.precision, FP32_BOUND),
        top1_enforced=not manifest.has_random_weights,
    )


def _record(
    build: Build, layers: list[EngineLayer] | None, options: EngineOptions, batch: BatchRange, machine: Machine
) -> Engine:
    is_tuned_here = options.backend is Backend.TENSORRT
    return Engine(
        file=options.backend.plan,
        backend=options.backend,
        version=build.version,
        compute_capability=",".join(options.compute_capabilities or (machine.compute_capability or "",)),
        gpu=machine.gpu if is_tuned_here else None,
        driver=machine.driver if is_tuned_here else None,
        profile=batch,
        census=census_of(build.network, layers),
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
        weight_stripped=options.weight_stripped,
        options=BuildLimits(workspace_bytes=options.workspace_bytes, optimization_level=options.optimization_level),
        plugin=build.plugin,
    )


def _write(artifact: Artifact, engine: Engine, plan: bytes, stages: list[ParityStage]) -> Artifact:
    """Put the plan and the new manifest in the place of the old, with the artifact's other files."""
    old = artifact.manifest
    with artifacts.staged_artifact(artifact.folder, lambda: _require_same(artifact), option=None) as staging:
        _require_same(artifact)
        for name, record in old.files.items():
            if name != engine.file:
                _link(artifact.folder / name, staging / name)
                if artifacts.record_file(staging / name) != record:
                    raise InputError(f"{artifact.folder / name} is not what its manifest says; export again")
        (staging / engine.file).write_bytes(plan)
        files = dict(old.files) | {engine.file: artifacts.record_file(staging / engine.file)}
        stale = f"engine-{engine.backend.value}"
        manifest = old.model_copy(
            update={
                "engines": (*(e for e in old.engines if e.file != engine.file), engine),
                "files": dict(sorted(files.items())),
                "parity": (*(stage for stage in old.parity if stage.stage != stale), *stages),
            }
        )
        (staging / artifacts.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return open_artifact(artifact.folder)


def _require_same(artifact: Artifact) -> None:
    """Refuse to write over an artifact that is not the one that was opened.

    Raises:
        InputError: It was replaced, or is gone.
    """
    if open_artifact(artifact.folder).manifest != artifact.manifest:
        raise InputError(f"{artifact.folder}: the artifact was replaced while its engine was built; build again")


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give `target` the same content, without a second copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
