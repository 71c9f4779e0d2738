"""What `bench` times: the models that the user names, and their peers with the same architecture."""

import dataclasses
import pathlib
from collections.abc import Sequence

from deepvit.model.variants import find_variant
from deepvit.runtime.artifact import MODEL
from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import artifact_of, engine_here, identity_of, is_in_artifact

from ..models import as_exported, is_variant
from ..options import SessionOptions, WeightOptions
from .peers import NAMES, Peer, PeerOpener
from .timings import Subject
from .worker import FileOpener


def subjects_of(
    models: Sequence[str],
    peers: Sequence[Peer],
    sessions: SessionOptions,
    weights: WeightOptions,
    largest_batch: int,
) -> list[Subject]:
    """Return the peers, the first of which is the baseline, and then the models.

    Peers have the weights of the first model where those are at hand; else random ones, which are as fast.

    Raises:
        InputError: A model that is not there, or of a variant that nobody says.
    """
    subjects = [_subject(name, sessions, weights, largest_batch) for name in models]
    if not peers:
        return subjects
    variant, batch = _variant_of(models[0]), BatchRange(min=1, opt=1, max=largest_batch)
    if variant is None:
        raise InputError(f"{models[0]} has no manifest that names its variant; give ‹peers› none, or it not first")
    peer_weights = _peer_weights(models[0], weights)
    sha256 = peer_weights.load(variant).weights.sha256
    peer_subjects = [
        Subject(
            name=NAMES[peer],
            opener=PeerOpener(
                peer=peer,
                variant=variant,
                weights=peer_weights,
                provider=sessions.provider or "cpu",
                threads=sessions.threads,
                batch=batch,
            ),
            random_weights=peer_weights.are_random,
            weights_sha256=sha256,
        )
        for peer in peers
    ]
    return [*peer_subjects, *subjects]


def _subject(name: str, sessions: SessionOptions, weights: WeightOptions, largest_batch: int) -> Subject:
    if is_variant(name):
        batch = BatchRange(min=1, opt=1, max=largest_batch)
        opener = PeerOpener(
            peer=Peer.PYTORCH,
            variant=find_variant(name).name,
            weights=weights,
            threads=sessions.threads,
            batch=batch,
        )
        sha256 = weights.load(name).weights.sha256
        return Subject(name=name, opener=opener, random_weights=weights.are_random, weights_sha256=sha256)
    path = pathlib.Path(name)
    if not path.exists():
        raise InputError(f"{path} does not exist; export it: ‹deepvit› export deepvit_32 ‹fp16›")
    if not is_in_artifact(path):
        identity = identity_of(path)
        return Subject(
            name=name,
            opener=_file_opener(path, sessions),
            bytes=path.stat().st_size,
            random_weights=identity is not None and identity.has_random_weights,
            weights_sha256=None if identity is None else identity.weights.sha256,
        )
    artifact = artifact_of(path)
    plan = (
        engine_here(artifact, allow_host_code=sessions.allow_host_code)
        if path.is_dir() and not sessions.provider
        else None
    )
    file = artifact.folder / (plan or MODEL) if path.is_dir() else path
    return Subject(
        name=name,
        opener=_file_opener(file, sessions),
        bytes=file.stat().st_size if file.is_file() else None,
        random_weights=artifact.manifest.has_random_weights,
        weights_sha256=artifact.manifest.weights.sha256,
    )


def _file_opener(path: pathlib.Path, sessions: SessionOptions) -> FileOpener:
    return FileOpener(
        path=path,
        provider=sessions.provider,
        trust_unverified=sessions.trust_unverified,
        allow_host_code=sessions.allow_host_code,
        threads=sessions.threads,
    )


def _variant_of(name: str) -> str | None:
    path = pathlib.Path(name)
    if not path.exists():
        return name
    identity = identity_of(path)
    return None if identity is None else identity.variant


def _peer_weights(name: str, weights: WeightOptions) -> WeightOptions:
    """Return where the peers' weights come from: they are those of the model `name` where they are at hand."""
    path = pathlib.Path(name)
    identity = identity_of(path) if path.exists() else None
    if identity is None:
        return weights
    return dataclasses.replace(
        as_exported(identity, weights),
        img_size=identity.preprocess.crop,
        num_classes=identity.classes if weights.are_random else None,
    )
