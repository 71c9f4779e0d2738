"""A model's input made by timm's own evaluation transform, which nothing of `runtime.preprocess` takes part in."""

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepvit.runtime.session.tensors import Images

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel


def timm_inputs(loaded: "LoadedModel", encoded: list[bytes]) -> Images:
    """Return (N, channels, H, W) float32 for image files that Pillow can decode.

    16-bit greyscale keeps its upper eight bits, as everywhere here; timm would clip it to white.
    """
    import timm.data

    variant, side = loaded.variant, loaded.module.img_size
    transform = timm.data.create_transform(
        (3, side, side),
        is_training=False,
        interpolation=variant.interpolation,
        mean=variant.mean,
        std=variant.std,
        crop_pct=variant.crop_pct,
        crop_mode="center",
    )
    images = np.stack([transform(_decoded(each)).numpy() for each in encoded])
    channels = loaded.module.in_chans
    return images if channels == 3 else np.ascontiguousarray(images[:, np.arange(channels) % 3])


def _decoded(encoded: bytes) -> Image.Image:
    with Image.open(io.BytesIO(encoded)) as image:
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        return image.convert("RGB")
