"""What a user may name as a model — an artifact, an ONNX file, a variant — opened with what evaluation needs."""

import dataclasses
import json
import logging
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deepvit.images.class_names import names_or_default
from deepvit.model.variants import VARIANTS, VIT_PYTORCH, Pooling, find_variant
from deepvit.runtime.artifact import MANIFEST, record_file
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.manifest import Identity, Manifest, Precision
from deepvit.runtime.preprocess import Preprocessing
from deepvit.runtime.session import Session, artifact_of, closed_on_failure, is_in_artifact

from .options import SessionOptions, WeightOptions

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

logger = logging.getLogger(__name__)
VARIANT_NAME = re.compile(r"[A-Za-z0-9_]+")


def is_variant(model: str) -> bool:
    """Whether a user who says `model` means a variant by its name; whatever lies at a path of that name goes before."""
    return VARIANT_NAME.fullmatch(model) is not None and not pathlib.Path(model).exists()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contestant:
    """A model to be scored.

    Attributes:
        name: What the result calls it.
        session: What runs it.
        preprocessing: How images become its input.
        identity: What changes when its answers may: hash of weights or file, and what runs it.
        random_weights: Whether its weights are random.
        published_top1: Percent, to be printed beside the measured one.
        class_names: Those that it brings; None where it brings none.
    """

    name: str
    session: Session
    preprocessing: Preprocessing
    identity: str
    random_weights: bool = False
    published_top1: float | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def key(self) -> list[str]:
        return [self.identity, self.session.description, self.preprocessing.model_dump_json()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A model ready to be evaluated.

    Attributes:
        name: What the user calls it.
        session: What runs it.
        preprocessing: How images become its input.
        identity: What it is: its manifest, or what a file without one says in its own metadata; None where nobody says.
        loaded: Of a PyTorch model.
        file_sha256: Of a file without a manifest.
    """

    name: str
    session: Session
    preprocessing: Preprocessing
    identity: Identity | None = None
    loaded: "LoadedModel | None" = None
    file_sha256: str = ""

    @property
    def manifest(self) -> Manifest | None:
        """An artifact's."""
        return self.identity if isinstance(self.identity, Manifest) else None

    @property
    def variant(self) -> str | None:
        if self.identity is not None:
            return self.identity.variant
        return None if self.loaded is None else self.loaded.variant.name

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Those that it brings; None where it brings none."""
        if self.identity is not None:
            return self.identity.class_names
        return None if self.loaded is None else self.loaded.variant.names_of(self.session.classes)

    @property
    def has_random_weights(self) -> bool:
        if self.identity is not None:
            return self.identity.has_random_weights
        return self.loaded is not None and self.loaded.weights.source == "random"

    @property
    def published_top1(self) -> float | None:
        return VARIANTS[self.variant].top1 if self.variant in VARIANTS else None

    @property
    def weights_sha256(self) -> str | None:
        """Hash of the PyTorch weights behind it; None where nobody says."""
        if self.identity is not None:
            return self.identity.weights.sha256
        return None if self.loaded is None else self.loaded.weights.sha256

    @property
    def precision(self) -> Precision | None:
        """None where nobody says."""
        if self.identity is not None:
            return self.identity.precision
        return None if self.loaded is None else Precision.FP32

    @property
    def fingerprint(self) -> str:
        """What changes when the model does: the hashes of its files or weights."""
        if self.manifest is not None:
            return json.dumps({name: record.sha256 for name, record in self.manifest.files.items()}, sort_keys=True)
        if self.loaded is not None:
            weights = self.loaded.weights
            return f"{self.loaded.variant.name} {self.loaded.module.img_size} {weights.entry} {weights.sha256}"
        return self.file_sha256

    @property
    def contestant(self) -> Contestant:
        """The model as an evaluation takes it."""
        return Contestant(
            name=self.name,
            session=self.session,
            preprocessing=self.preprocessing,
            identity=self.fingerprint,
            random_weights=self.has_random_weights,
            published_top1=self.published_top1,
            class_names=self.class_names,
        )


def require_same(model: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse a model that another process opened otherwise than this one: answers would depend on who gave them.

    Args:
        model: What the user calls it.
        found: `Contestant.key` there.
        expected: The one here.

    Raises:
        InputError: It is another model.
        MissingError: Something else runs it.
    """
    if found[1] != expected[1]:
        raise MissingError(
            f"{model} would be run by {found[1]}, expected {expected[1]} as where the run was started; "
            "install the same there, or start the run on such a machine"
        )
    if found != expected:
        raise InputError(f"{model} was replaced while it was opened, or is another one there; run it again")


def shared_class_names(models: Sequence[OpenedModel | Contestant]) -> tuple[str, ...]:
    """Return the names of the classes of models that have the same ones: the first's that brings any."""
    brought = next((model.class_names for model in models if model.class_names), None)
    return names_or_default(brought, models[0].session.classes)


def open_model(
    model: str, sessions: SessionOptions, weights: WeightOptions, preprocess_as: str | None = None
) -> OpenedModel:
    """Open an artifact folder, a file of one, an ONNX file or plan of somebody else's, or a variant in PyTorch.

    Args:
        model: What the user named.
        sessions: How its session is opened.
        weights: For a variant.
        preprocess_as: The variant whose preprocessing a file takes that does not say what it is.

    Raises:
        InputError: It cannot be opened, or nobody says how its images are preprocessed.
    """
    if is_variant(model):
        return open_torch(weights.load(model))
    path = pathlib.Path(model)
    if is_in_artifact(path):
        manifest = artifact_of(path).manifest
        session = sessions.open(path)
        return OpenedModel(name=model, session=session, preprocessing=manifest.preprocess, identity=manifest)
    session = sessions.open(path)
    with closed_on_failure(session):
        identity = session.identity
        if identity is None:
            preprocessing, source = _preprocessing_as(preprocess_as, session, path), f"‹variant› {preprocess_as}"
        else:
            preprocessing, source = identity.preprocess, f"its own metadata, {identity.variant}"
        logger.warning("%s: not verified: no manifest; preprocessing and class names by %s", path, source)
        sha256 = record_file(path).sha256
    return OpenedModel(name=model, session=session, preprocessing=preprocessing, identity=identity, file_sha256=sha256)


def _preprocessing_as(variant: str | None, session: Session, path: pathlib.Path) -> Preprocessing:
    if variant is None:
        raise InputError(
            f"{path} has no {MANIFEST} beside it and does not say itself what it is; say how its images are "
            "preprocessed: ‹variant› deepvit_32"
        )
    row = find_variant(variant)
    is_pixels = session.input.dtype == "uint8"
    side = session.input.shape[1 if is_pixels else 2]
    return row.preprocessing(side if isinstance(side, int) else row.img_size, "NHWC" if is_pixels else "NCHW")


def open_torch(loaded: "LoadedModel") -> OpenedModel:
    """Wrap a PyTorch model as a session."""
    from .torch_session import TorchSession

    module = loaded.module
    session = TorchSession(module, (module.in_chans, module.img_size, module.img_size))
    return OpenedModel(
        name=f"{loaded.variant.name} in PyTorch", session=session, preprocessing=loaded.preprocessing(), loaded=loaded
    )


def open_reference(
    reference: str, model: OpenedModel, sessions: SessionOptions, weights: WeightOptions
) -> OpenedModel | None:
    """Open what `model` is compared with; None for "none".

    For "pytorch" these are exactly the weights that the artifact was made from, by their SHA-256.

    Raises:
        InputError: It cannot be told or found which weights those are.
    """
    if reference == "none":
        return None
    if reference != "pytorch":
        return open_model(reference, sessions, weights)
    if model.identity is None:
        raise InputError("‹reference› pytorch needs an artifact, whose manifest names the weights; give its folder")
    return open_torch(load_weights_of(model.identity, weights))


def load_weights_of(identity: Identity, weights: WeightOptions) -> "LoadedModel":
    """Load the PyTorch model that an artifact was made from, its weights by their SHA-256.

    Raises:
        InputError: It cannot be told or found which weights those are.
    """
    if weights.are_random and not identity.has_random_weights:
        raise InputError(
            f"the PyTorch model needs the checkpoint with SHA-256 {identity.weights.sha256[:16]}…; add ‹checkpoint› "
            "FILE or ‹pretrained›"
        )
    size = identity.preprocess.crop
    # Handed on only where it is not the variant's own, since it permits resizing the position embedding.
    resized = None if size == find_variant(identity.variant).img_size else size
    is_plain = identity.weights.entry in ("state_dict", "model")
    exact = dataclasses.replace(
        as_exported(identity, weights),
        img_size=resized,
        no_ema=is_plain or weights.no_ema,
        num_classes=identity.classes if weights.are_random else None,
    )
    loaded = exact.load(identity.variant)
    if loaded.weights.sha256 != identity.weights.sha256:
        raise InputError(
            f"the weights have SHA-256 {loaded.weights.sha256[:16]}…, the artifact was made from "
            f"{identity.weights.sha256[:16]}…; give those"
        )
    return loaded


def as_exported(identity: Identity, weights: WeightOptions) -> WeightOptions:
    """Return `weights` with what vit-pytorch's do not say, as the artifact has it."""
    if identity.variant != VIT_PYTORCH.name:
        return weights
    how = identity.preprocess
    record = identity.architecture if isinstance(identity, Manifest) else None
    return dataclasses.replace(
        weights,
        pooling=weights.pooling if record is None else Pooling(record.pooling),
        mean=how.mean,
        std=how.std,
        crop_pct=how.crop / (how.resize + 0.5),  # of which floor(crop / crop_pct) is `resize` whatever is rounded
        interpolation=how.interpolation,
    )


FIELDS = ("resize", "crop", "interpolation", "mean", "std", "color")


def preprocessing_breaches(model: OpenedModel, reference: OpenedModel) -> Iterator[str]:
    """Yield where the preprocessing of a model differs from that of its own weights, which `reference` has too."""
    if model.weights_sha256 is None or model.weights_sha256 != reference.weights_sha256:
        return
    for field in FIELDS:
        got, expected = getattr(model.preprocessing, field), getattr(reference.preprocessing, field)
        if got != expected:
            yield f"preprocessing {field} is {_shown(got)}, {reference.name} has {_shown(expected)}"


def _shown(value: object) -> str:
    return "/".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)
