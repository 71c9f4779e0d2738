"""What a user may name as a model — an artifact, an ONNX file, a variant — opened with what evaluation needs."""

import logging
import pathlib
import re
from typing import TYPE_CHECKING

from deepvit.model.variants import find_variant
from deepvit.runtime.artifact import MANIFEST, record_file
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import artifact_of, is_in_artifact
from deepvit.runtime.preprocess import Preprocessing
from deepvit.runtime.session import Session, closed_on_failure

from ..options import SessionOptions, WeightOptions
from .opened import OpenedModel
from .weights import load_weights_of

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

logger = logging.getLogger(__name__)
VARIANT_NAME = re.compile(r"[A-Za-z0-9_]+")


def is_variant(model: str) -> bool:
    """Whether a user who says `model` means a variant by its name; whatever lies at a path of that name goes before."""
    return VARIANT_NAME.fullmatch(model) is not None and not pathlib.Path(model).exists()


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
    from ..torch_session import TorchSession

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
