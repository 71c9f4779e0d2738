"""The PyTorch model that an artifact was made from."""

import dataclasses
from typing import TYPE_CHECKING

from deepvit.model.architecture import Pooling
from deepvit.model.variants import find_variant
from deepvit.model.vit_pytorch import VIT_PYTORCH
from deepvit.runtime.artifact.manifest import Identity, Manifest
from deepvit.runtime.errors import InputError

from ..options import WeightOptions

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel


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
