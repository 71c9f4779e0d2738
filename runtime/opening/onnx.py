"""Sessions of ONNX files: an artifact's, proved, and lone ones."""

import logging
import pathlib
from typing import TYPE_CHECKING

from ..artifact import MANIFEST, MAX_MODEL_BYTES, MODEL, Artifact
from ..artifact.manifest import ANY_BATCH, BatchRange, Identity, Manifest, Precision
from ..artifact.metadata import identity_in, metadata_of
from ..artifact.self_contained import require_self_contained
from ..errors import InputError
from ..files import read_bounded
from ..openvino.library import OPENVINO, is_faster
from ..ort.arithmetic import Arithmetic
from ..ort.providers import CPU
from ..session.proof import prove, require_same_graph, require_same_signature
from ..session.protocol import Session, closed_on_failure
from ..session.saturation import saturates
from .options import Opening

if TYPE_CHECKING:
    from ..ort.graph import OnnxGraph
    from ..ort.session import OnnxRuntimeSession

logger = logging.getLogger(__name__)


def lone_session(path: pathlib.Path, opening: Opening) -> Session:
    """Open an ONNX file without a manifest, which may say itself what it is.

    Raises:
        InputError: Not such a graph, or not what it says.
        MissingError: This machine lacks ONNX Runtime or the provider.
    """
    content = read_bounded(path, MAX_MODEL_BYTES, "an ONNX model")
    session = _session(content, str(path), opening, ANY_BATCH)
    with closed_on_failure(session):
        session.identity = identity_in(content, str(path))
        if session.identity is not None:
            require_same_signature(session, session.identity, f"{path} by its metadata")
    return session


def proved_session(artifact: Artifact, name: str, content: bytes, opening: Opening) -> Session:
    """Open an artifact's graph, `content` of its file `name`, held against its manifest and its golden answer.

    Raises:
        InputError: The graph is not what the manifest says.
        MissingError: This machine lacks ONNX Runtime or the provider.
    """
    is_on_cpu = (opening.provider or CPU).lower() in (CPU, OPENVINO)
    if is_on_cpu and _has_int8_products(artifact.manifest) and saturates():
        logger.warning(
            "%s: this processor has no VNNI, and sums of products in INT8 saturate: answers are further off than the "
            "manifest says, or refused; export with ‹fp32› ‹target› cpu for it",
            artifact.folder / name,
        )
    session = _session(content, str(artifact.folder / name), opening, artifact.manifest.batch, artifact.manifest)
    _prove(session, artifact, name, content)
    return session


def _has_int8_products(manifest: Manifest) -> bool:
    is_quantized = manifest.calibration is not None and not manifest.calibration.weight_only
    return manifest.precision is Precision.INT8 and is_quantized


def _prove(session: Session, artifact: Artifact, name: str, content: bytes) -> None:
    place = str(artifact.folder / name)
    with closed_on_failure(session):
        require_same_graph(artifact, place, metadata_of(content, place))
        require_same_signature(session, artifact.manifest, f"{place} by its {MANIFEST}")
        prove(session, artifact, place)


def _session(
    content: bytes, name: str, opening: Opening, batch: BatchRange, identity: Identity | None = None
) -> Session:
    if _is_for_openvino(content, name, opening, identity):
        from ..openvino.session import OpenVinoSession  # so that `import runtime` stays light

        return OpenVinoSession(
            content, name=name, threads=opening.threads, streams=opening.streams, batch=batch, identity=identity
        )
    if opening.streams != 1:
        raise InputError(f"{opening.streams} streams are for OpenVINO; {name} is opened in ONNX Runtime")
    return _onnxruntime_session(content, name, opening, batch, identity)


def _is_for_openvino(content: bytes, name: str, opening: Opening, identity: Identity | None) -> bool:
    """Return whether OpenVINO is asked for; or nothing is, and it is what runs a graph of ours fastest as it is."""
    if opening.provider is not None:
        return opening.provider.lower() == OPENVINO
    if identity is None:
        require_self_contained(content, name)  # it says why what is no ONNX file cannot be run
        identity = identity_in(content, name)
    is_native = opening.arithmetic is Arithmetic.NATIVE
    return is_native and identity is not None and is_faster(identity.precision)


def _onnxruntime_session(
    content: bytes, name: str, opening: Opening, batch: BatchRange, identity: Identity | None
) -> "OnnxRuntimeSession":
    from ..ort.session import OnnxRuntimeSession  # likewise

    return OnnxRuntimeSession(
        content,
        name=name,
        provider=opening.provider or CPU,
        arithmetic=opening.arithmetic,
        threads=opening.threads,
        batch=batch,
        identity=identity,
        device=opening.device,
    )


def proved_model(artifact: Artifact) -> bytes:
    """Return an artifact's model.onnx, held against its manifest, for who runs the graph in another way than a session.

    Raises:
        InputError: The graph is not what the manifest says.
        MissingError: This machine lacks ONNX Runtime.
    """
    content = artifact.read(MODEL)
    proved_session(artifact, MODEL, content, Opening(arithmetic=Arithmetic.AS_DECLARED)).close()
    return content


def proved_graph(artifact: Artifact, provider: str) -> "OnnxGraph":
    """Return an artifact's graph as it is declared, held against its manifest, for who wants its other outputs.

    Raises:
        InputError: The graph is not what the manifest says.
        MissingError: This machine lacks ONNX Runtime or the provider.
    """
    opening, content = Opening(provider=provider, arithmetic=Arithmetic.AS_DECLARED), artifact.read(MODEL)
    if provider.lower() == OPENVINO:
        raise InputError(f"‹provider› {provider} gives logits alone; name one of ONNX Runtime's, such as cpu")
    place = str(artifact.folder / MODEL)
    session = _onnxruntime_session(content, place, opening, artifact.manifest.batch, artifact.manifest)
    _prove(session, artifact, MODEL, content)
    return session.graph
