"""One way to run a model, whatever runs it; one file per backend beside this one."""

import contextlib
import hashlib
import logging
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .artifact import MANIFEST, MAX_MODEL_BYTES, MODEL, Artifact, open_artifact
from .errors import InputError, first_of
from .files import read_bounded
from .manifest import ANY_BATCH, IDENTITY, BatchRange, Identity, Tensor
from .ort.arithmetic import Arithmetic
from .ort.metadata import identity_in, metadata_of
from .tensors import Images, Logits, sqnr_db
from .trt.fit import misfits
from .trt.machine import this_machine

if TYPE_CHECKING:
    from .ort.graph import OnnxGraph
    from .ort.session import OnnxRuntimeSession

logger = logging.getLogger(__name__)
PLAN_SUFFIXES = (".plan", ".engine")
DIFFERENCES_SHOWN = 3


class Session(Protocol):
    """A loaded model. Not shared between threads unless the backend's file says so."""

    input: Tensor
    batch: BatchRange
    classes: int
    is_emulated: bool  # rounds every tensor as declared, for accuracy: how fast that is says nothing of what serves
    identity: Identity | None  # its manifest, or what a lone ONNX file says of itself, unverified; None: nobody says

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits: names, or their numbers where nobody gave any."""

    @property
    def description(self) -> str:
        """What runs the model and how, for reports."""

    def run(self, images: Images) -> Logits:
        """Return logits (B, classes) float32 for `images` as `input` says; any B ≥ 1, split at the largest batch.

        Raises:
            InputError: Wrong shape or dtype.
            OutOfBoundsError: The logits are not finite.
        """

    def close(self) -> None:
        """Free what the session holds; it cannot run afterwards."""


def open_session(
    path: pathlib.Path | str,
    provider: str | None = None,
    *,
    arithmetic: Arithmetic = Arithmetic.NATIVE,
    trust_unverified: bool = False,
    allow_host_code: bool = False,
    threads: int | None = None,
    device: int = 0,
) -> Session:
    """Open an artifact folder, or one file of it, verified against its manifest and proved on the golden image.

    Args:
        path: The folder, its model.onnx, or a plan in it. Of a folder, the engine that fits this machine is taken, else
            model.onnx on the CPU. An ONNX file without a manifest opens too, unverified, and says itself what it is
            if an export wrote it.
        provider: ONNX Runtime's execution provider for model.onnx: cpu, cuda, tensorrt, tensorrt-rtx, ….
        arithmetic: Of FP16 and BF16 graphs in ONNX Runtime on the CPU. Served graphs run as they are, whose FP16 is
            float32 there; who measures asks for AS_DECLARED. A BF16 graph runs on a CPU with that alone.
        trust_unverified: Load a plan that has no manifest beside it.
        allow_host_code: Let a version-compatible plan run the host code that it brings.
        threads: Threads of one run on the CPU; as many as there are cores where None.
        device: The GPU of an engine, or of ONNX Runtime's providers of NVIDIA's, as CUDA counts: by PCI bus, unless
            CUDA_DEVICE_ORDER says otherwise, within CUDA_VISIBLE_DEVICES.

    Raises:
        InputError: Not an artifact, not a model, or not what its manifest says.
        MissingError: This machine lacks ONNX Runtime, the provider, or what a plan needs; or natively BF16.
        DeviceError: TensorRT or CUDA refused.
    """
    path = pathlib.Path(path)
    in_artifact = is_in_artifact(path)
    if path.suffix in PLAN_SUFFIXES:
        if provider is not None:
            raise InputError(f"‹provider› {provider} is for ONNX models; {path.name} runs in TensorRT itself")
        return _open_plan(path, artifact_of(path) if in_artifact else None, trust_unverified, allow_host_code, device)
    if in_artifact:
        artifact = artifact_of(path)
        wants_engine = path.is_dir() and provider is None
        plan = engine_here(artifact, allow_host_code=allow_host_code, device=device) if wants_engine else None
        if plan is not None:
            return _open_plan(artifact.folder / plan, artifact, trust_unverified, allow_host_code, device)
        name = MODEL if path.is_dir() else path.name
        return _proved_session(artifact, name, artifact.read(name), provider or "cpu", arithmetic, threads, device)
    return _lone_session(path, provider or "cpu", arithmetic, threads, device)


def _lone_session(
    path: pathlib.Path, provider: str, arithmetic: Arithmetic, threads: int | None, device: int
) -> "OnnxRuntimeSession":
    from .ort.session import OnnxRuntimeSession  # so that `import runtime` stays light

    content = read_bounded(path, MAX_MODEL_BYTES, "an ONNX model")
    session = OnnxRuntimeSession(
        content,
        name=str(path),
        provider=provider,
        arithmetic=arithmetic,
        threads=threads,
        batch=ANY_BATCH,
        device=device,
    )
    with closed_on_failure(session):
        session.identity = identity_in(content, str(path))
        if session.identity is not None:
            _require_same_signature(session, session.identity, f"{path} by its metadata")
    return session


def proved_model(artifact: Artifact) -> bytes:
    """Return an artifact's model.onnx, held against its manifest, for who runs the graph in another way than a session.

    Raises:
        InputError: The graph is not what the manifest says.
        MissingError: This machine lacks ONNX Runtime.
    """
    content = artifact.read(MODEL)
    _proved_session(artifact, MODEL, content, "cpu", Arithmetic.AS_DECLARED, None).close()
    return content


def proved_graph(artifact: Artifact, provider: str) -> "OnnxGraph":
    """Return an artifact's graph as it is declared, held against its manifest, for who wants its other outputs.

    Raises:
        InputError: The graph is not what the manifest says.
        MissingError: This machine lacks ONNX Runtime or the provider.
    """
    return _proved_session(artifact, MODEL, artifact.read(MODEL), provider, Arithmetic.AS_DECLARED, None).graph


def _proved_session(
    artifact: Artifact,
    name: str,
    content: bytes,
    provider: str,
    arithmetic: Arithmetic,
    threads: int | None,
    device: int = 0,
) -> "OnnxRuntimeSession":
    from .ort.session import OnnxRuntimeSession  # likewise

    place = str(artifact.folder / name)
    session = OnnxRuntimeSession(
        content,
        name=place,
        provider=provider,
        arithmetic=arithmetic,
        threads=threads,
        batch=artifact.manifest.batch,
        identity=artifact.manifest,
        device=device,
    )
    with closed_on_failure(session):
        _require_same_graph(artifact, place, metadata_of(content, place))
        _require_same_signature(session, artifact.manifest, f"{place} by its {MANIFEST}")
        _prove(session, artifact, place)
    return session


@contextlib.contextmanager
def closed_on_failure(session: Session) -> Iterator[None]:
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(session.close)
        yield
        on_failure.pop_all()


def _require_same_graph(artifact: Artifact, place: str, metadata: dict[str, str]) -> None:
    """Hold what the manifest says of the graph against what the graph does; neither may say nothing where one speaks.

    Raises:
        InputError: They differ.
    """
    manifest, said = artifact.manifest, metadata.get(IDENTITY)
    if said is None and manifest.golden is None:  # of an earlier version
        return
    if said is None or manifest.golden is None:
        silent = f"{place} does not say what it is" if said is None else f"{artifact.folder / MANIFEST} has no golden"
        raise InputError(f"{silent}, the other of both does: they are not of one export; export again")
    differences = manifest.differences(said)
    if differences:
        shown = first_of(differences, DIFFERENCES_SHOWN, "; ")
        raise InputError(f"{place} is not what {MANIFEST} says: {shown}; export again")


def _require_same_signature(session: Session, identity: Identity, place: str) -> None:
    """Hold what a model takes and gives against what is said of it, batch sizes aside.

    Raises:
        InputError: They differ.
    """
    got = (session.input.dtype, session.input.shape[1:], session.classes)
    expected = (identity.input.dtype, identity.input.shape[1:], identity.classes)
    if got != expected:
        shown = [f"{dtype} images {shape} to {classes} classes" for dtype, shape, classes in (expected, got)]
        raise InputError(f"{place} is a model of {shown[0]}, and is one of {shown[1]}; export again")


def _prove(session: Session, artifact: Artifact, place: str) -> None:
    """Hold preprocessing and session against the golden image and logits; those that the manifest has, if any.

    Raises:
        InputError: Other preprocessing, or another model.
        OutOfBoundsError: The logits are not finite.
    """
    golden = artifact.manifest.golden
    if golden is None:
        return
    images = artifact.manifest.golden_input
    if hashlib.sha256(images.tobytes()).hexdigest() != golden.input_sha256:
        raise InputError(
            f"{artifact.folder / MANIFEST}: preprocess makes another input of the golden image than at export: it was "
            "changed, or Pillow resizes otherwise here; export again"
        )
    expected = np.asarray(golden.logits)
    got = session.run(images)[0, : len(expected)]
    ratio_db = sqnr_db(got, expected) if got.shape == expected.shape else float("-inf")
    if not ratio_db >= golden.sqnr_db:
        raise InputError(
            f"{place} gives logits for the golden image that are {ratio_db:.1f} dB from those of the export, expected "
            f"at least {golden.sqnr_db:.1f} dB: it is another model, or computes otherwise here; export or build again"
        )


def _open_plan(
    path: pathlib.Path, artifact: Artifact | None, trust_unverified: bool, allow_host_code: bool, device: int
) -> Session:
    from .trt.session import open_plan  # likewise

    if artifact is None and not path.is_file():
        raise InputError(f"{path} does not exist; build it: ‹deepvit› build ARTIFACT")
    session = open_plan(
        path, artifact, trust_unverified=trust_unverified, allow_host_code=allow_host_code, device=device
    )
    if artifact is not None:
        with closed_on_failure(session):
            _require_same_signature(session, artifact.manifest, f"{path} by its {MANIFEST}")
            _prove(session, artifact, str(path))
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
