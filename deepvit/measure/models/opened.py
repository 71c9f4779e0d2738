"""A model that was opened, and what evaluation takes of it."""

import dataclasses
import json
from typing import TYPE_CHECKING

from deepvit.model.variants import VARIANTS
from deepvit.runtime.artifact.manifest import Identity, Manifest, Precision
from deepvit.runtime.preprocess import Preprocessing
from deepvit.runtime.session import Session

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel


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
