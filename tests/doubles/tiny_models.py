"""Models of two blocks, and pixels to give them."""

import dataclasses

import numpy as np

from deepvit.model.architecture import Architecture, Stem
from deepvit.model.row import Variant

TINY = {
    stem: Variant(
        name=f"tiny_{stem.value}",
        architecture=Architecture(
            depth=2,
            embed_dim=18,  # head dim 9: padding has something to do
            reattention_blocks=1,
            num_heads=2,
            patch_size=8,
            stem=stem,
            transform_scale=stem is Stem.CNN,
            scale_adjustment=0.5 if stem is Stem.CNN else 1.0,
        ),
        parameters=0,
        top1=None,
        img_size=32,
        num_classes=5,
    )
    for stem in (Stem.PATCH, Stem.CNN)
}


def pixels(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def replace(variant: Variant, **changes) -> Variant:
    """Return `variant` with another architecture."""
    return dataclasses.replace(variant, architecture=dataclasses.replace(variant.architecture, **changes))
