"""Where the model comes from: a checkpoint file, the published one, or seeded random weights."""

import dataclasses
import pathlib
from typing import Literal

from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import Weights
from deepvit.runtime.preprocess import Preprocessing

from .network import DeepViT, create_deepvit
from .variants import Variant, find_variant
from .weights.checkpoint import Checkpoint, EmaChoice, model_from_checkpoint, read_checkpoint
from .weights.published import fetch_checkpoint
from .weights.random import SEED, randomize, state_sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, with which weights. Without a checkpoint and without `pretrained` the weights are random."""

    variant: str
    checkpoint: pathlib.Path | None = None
    pretrained: bool = False
    ema: EmaChoice = EmaChoice.PREFER
    img_size: int | None = None
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if self.pretrained and self.checkpoint is not None:
            raise InputError("--pretrained and --checkpoint both say where the weights come from; give one of them")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in evaluation mode, float32, and where its weights come from."""

    variant: Variant
    module: DeepViT
    weights: Weights

    def preprocessing(self, layout: Literal["NCHW", "NHWC"] = "NCHW") -> Preprocessing:
        """Return how images become this model's input."""
        return preprocessing_of(self.variant, self.module.img_size, layout)


def preprocessing_of(variant: Variant, img_size: int, layout: Literal["NCHW", "NHWC"] = "NCHW") -> Preprocessing:
    """Return the preprocessing of `variant` for images of side `img_size`."""
    return Preprocessing(
        resize=variant.resize_for(img_size),
        crop=img_size,
        interpolation=variant.interpolation,
        mean=variant.mean,
        std=variant.std,
        layout=layout,
    )


def load_model(options: ModelOptions) -> LoadedModel:
    """Build the model that `options` names.

    Raises:
        ModelError: Unknown variant, impossible size, or a checkpoint that cannot be used.
        MissingPackageError: The published checkpoint cannot be fetched here.
    """
    variant = find_variant(options.variant)
    checkpoint: Checkpoint | None = None
    if options.checkpoint is not None:
        checkpoint = read_checkpoint(options.checkpoint, options.ema)
    elif options.pretrained:
        checkpoint = fetch_checkpoint(variant, options.ema)
    if checkpoint is not None:
        module = model_from_checkpoint(variant, checkpoint, img_size=options.img_size, num_classes=options.num_classes)
        weights = Weights(source="checkpoint", sha256=checkpoint.sha256, entry=checkpoint.entry or None)
    else:
        module = randomize(create_deepvit(variant, img_size=options.img_size, num_classes=options.num_classes))
        weights = Weights(source="random", sha256=state_sha256(module), seed=SEED)
    return LoadedModel(variant=variant, module=module, weights=weights)
