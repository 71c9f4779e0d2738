"""That a session is what its manifest says: its graph, what it takes and gives, and its answer to the golden image."""

import hashlib

import numpy as np

from ..artifact import MANIFEST, Artifact
from ..artifact.manifest import IDENTITY, Identity
from ..errors import InputError, first_of
from .protocol import Session
from .tensors import sqnr_db

DIFFERENCES_SHOWN = 3


def require_same_graph(artifact: Artifact, place: str, metadata: dict[str, str]) -> None:
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


def require_same_signature(session: Session, identity: Identity, place: str) -> None:
    """Hold what a model takes and gives against what is said of it, batch sizes aside.

    Raises:
        InputError: They differ.
    """
    got = (session.input.dtype, session.input.shape[1:], session.classes)
    expected = (identity.input.dtype, identity.input.shape[1:], identity.classes)
    if got != expected:
        shown = [f"{dtype} images {shape} to {classes} classes" for dtype, shape, classes in (expected, got)]
        raise InputError(f"{place} is a model of {shown[0]}, and is one of {shown[1]}; export again")


def prove(session: Session, artifact: Artifact, place: str) -> None:
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
