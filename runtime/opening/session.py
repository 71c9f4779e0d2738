"""Which session a path is opened as: an artifact's engine or graph, a plan, or a lone ONNX file."""

import logging
import pathlib

from ..artifact import MANIFEST, MAX_MODEL_BYTES, MODEL, Artifact, open_artifact
from ..artifact.manifest import Identity
from ..artifact.metadata import identity_in
from ..errors import InputError
from ..files import read_bounded
from ..ort.arithmetic import Arithmetic
from ..session.proof import prove, require_same_signature
from ..session.protocol import Session, closed_on_failure
from ..trt.fit import misfits
from ..trt.machine import this_machine
from .onnx import lone_session, proved_session
from .options import Opening

logger = logging.getLogger(__name__)
PLAN_SUFFIXES = (".plan", ".engine")


def open_session(
    path: pathlib.Path | str,
    provider: str | None = None,
    *,
    arithmetic: Arithmetic = Arithmetic.NATIVE,
    trust_unverified: bool = False,
    allow_host_code: bool = False,
    threads: int | None = None,
    streams: int = 1,
    device: int = 0,
) -> Session:
    """Open an artifact folder, or one file of it, verified against its manifest and proved on the golden image.

    Args:
        path: The folder, its model.onnx, or a plan in it. Of a folder, the engine that fits this machine is taken, else
            model.onnx on the CPU. An ONNX file without a manifest opens too, unverified, and says itself what it is
            if an export wrote it.
        provider: ONNX Runtime's execution provider for model.onnx: cpu, cuda, tensorrt, tensorrt-rtx, …; or openvino.
            Where None, natively, OpenVINO where it is installed and is what runs such a graph fastest
            (`runtime.openvino.library.is_faster`), else ONNX Runtime's on the CPU.
        arithmetic: Of FP16 and BF16 graphs in ONNX Runtime on the CPU. Served graphs run as they are, whose FP16 is
            float32 there; who measures asks for AS_DECLARED. ONNX Runtime runs a BF16 graph on a CPU with
            that alone.
        trust_unverified: Load a plan that has no manifest beside it.
        allow_host_code: Let a version-compatible plan run the host code that it brings.
        threads: Threads of one run on the CPU; as many as there are cores where None.
        streams: Runs of OpenVINO's that are computed at the same time, each by its share of the threads: more images a
            second of several callers who run few images each, fewer of one who waits for each run.
        device: The GPU of an engine, or of ONNX Runtime's providers of NVIDIA's, as CUDA counts: by PCI bus, unless
            CUDA_DEVICE_ORDER says otherwise, within CUDA_VISIBLE_DEVICES.

    Raises:
        InputError: Not an artifact, not a model, or not what its manifest says.
        MissingError: This machine lacks ONNX Runtime, the provider, or what a plan needs; or natively BF16.
        DeviceError: TensorRT or CUDA refused.
    """
    opening = Opening(
        provider=provider,
        arithmetic=arithmetic,
        trust_unverified=trust_unverified,
        allow_host_code=allow_host_code,
        threads=threads,
        streams=streams,
        device=device,
    )
    path = pathlib.Path(path)
    in_artifact = is_in_artifact(path)
    if path.suffix in PLAN_SUFFIXES:
        if provider is not None:
            raise InputError(f"‹provider› {provider} is for ONNX models; {path.name} runs in TensorRT itself")
        return _open_plan(path, artifact_of(path) if in_artifact else None, opening)
    if not in_artifact:
        return lone_session(path, opening)
    artifact = artifact_of(path)
    wants_engine = path.is_dir() and provider is None
    plan = engine_here(artifact, allow_host_code=allow_host_code, device=device) if wants_engine else None
    if plan is not None:
        return _open_plan(artifact.folder / plan, artifact, opening)
    name = MODEL if path.is_dir() else path.name
    return proved_session(artifact, name, artifact.read(name), opening)


def _open_plan(path: pathlib.Path, artifact: Artifact | None, opening: Opening) -> Session:
    from ..trt.session import open_plan  # so that `import runtime` stays light

    if artifact is None and not path.is_file():
        raise InputError(f"{path} does not exist; build it: ‹deepvit› build ARTIFACT")
    session = open_plan(
        path,
        artifact,
        trust_unverified=opening.trust_unverified,
        allow_host_code=opening.allow_host_code,
        device=opening.device,
    )
    if artifact is not None:
        with closed_on_failure(session):
            require_same_signature(session, artifact.manifest, f"{path} by its {MANIFEST}")
            prove(session, artifact, str(path))
    return session


def engine_here(artifact: Artifact, *, allow_host_code: bool, device: int = 0) -> str | None:
    """Return the first engine of `artifact` that can run on this machine; a warning tells why another cannot."""
    machine = this_machine(device) if artifact.manifest.engines else None
    for engine in artifact.manifest.engines:
        assert machine is not None
        faults = misfits(engine, machine)
        if engine.version_compatible and not allow_host_code:
            faults.append("it needs ‹allow_host_code›")
        if not faults:
            return engine.file
        logger.warning("not using %s/%s: %s", artifact.folder, engine.file, "; ".join(faults))
    return None


def identity_of(path: pathlib.Path) -> Identity | None:
    """Return what a file or folder is, without running it: its manifest, or what a lone ONNX file says of itself.

    Raises:
        InputError: Missing, damaged, or without a valid manifest where it should have one.
    """
    if is_in_artifact(path):
        return artifact_of(path).manifest
    if path.suffix in PLAN_SUFFIXES:
        return None
    return identity_in(read_bounded(path, MAX_MODEL_BYTES, "an ONNX model"), str(path))


def is_in_artifact(path: pathlib.Path) -> bool:
    """Return whether `path` is a folder, to be opened as an artifact, or lies beside a manifest."""
    return path.is_dir() or (path.parent / MANIFEST).is_file()


def artifact_of(path: pathlib.Path) -> Artifact:
    """Open the artifact that `path` is, or is a file of.

    Raises:
        InputError: Missing, or without a valid manifest.
    """
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} does not exist; export it: ‹deepvit› export deepvit_32 ‹fp16›")
    return open_artifact(path if path.is_dir() else path.parent)
