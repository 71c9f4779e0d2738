"""Sessions of ONNX files: an artifact's, proved, and lone ones."""

import pathlib
from typing import TYPE_CHECKING

from ..artifact import MANIFEST, MAX_MODEL_BYTES, MODEL, Artifact
from ..files import read_bounded
from ..manifest import ANY_BATCH, BatchRange, Identity
from ..ort.arithmetic import Arithmetic
from ..ort.metadata import identity_in, metadata_of
from .options import Opening
from .proof import prove, require_same_graph, require_same_signature
from .protocol import closed_on_failure

if TYPE_CHECKING:
    from ..ort.graph import OnnxGraph
    from ..ort.session import OnnxRuntimeSession


def lone_session(path: pathlib.Path, opening: Opening) -> "OnnxRuntimeSession":
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


def proved_session(artifact: Artifact, name: str, content: bytes, opening: Opening) -> "OnnxRuntimeSession":
    """Open an artifact's graph, `content` of its file `name`, held against its manifest and its golden answer.

    Raises:
        InputError: The graph is not what the manifest says.
        MissingError: This machine lacks ONNX Runtime or the provider.
    """
    place = str(artifact.folder / name)
    session = _session(content, place, opening, artifact.manifest.batch, artifact.manifest)
    with closed_on_failure(session):
        require_same_graph(artifact, place, metadata_of(content, place))
        require_same_signature(session, artifact.manifest, f"{place} by its {MANIFEST}")
        prove(session, artifact, place)
    return session


def _session(
    content: bytes, name: str, opening: Opening, batch: BatchRange, identity: Identity | None = None
) -> "OnnxRuntimeSession":
    from ..ort.session import OnnxRuntimeSession  # so that `import runtime` stays light

    return OnnxRuntimeSession(
        content,
        name=name,
        provider=opening.provider or "cpu",
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
    opening = Opening(provider=provider, arithmetic=Arithmetic.AS_DECLARED)
    return proved_session(artifact, MODEL, artifact.read(MODEL), opening).graph
