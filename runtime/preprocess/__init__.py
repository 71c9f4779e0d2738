"""The only preprocessing in Python: encoded image → RGB → resize, crop → model input. Pillow and numpy alone."""

from .crop import (
    INTERPOLATIONS,
    LARGEST_STATISTIC,
    LEAST_STD,
    Crop,
    Preprocessing,
    crop_image,
    crops_of,
    golden_image,
    model_input,
    resize_and_crop,
    resized_size,
)
from .decode import FILES, FORMATS, MOST_MEGAPIXELS, SERVED, DecodePolicy, decode_rgb, image_faults

__all__ = [
    "FILES",
    "FORMATS",
    "INTERPOLATIONS",
    "LARGEST_STATISTIC",
    "LEAST_STD",
    "MOST_MEGAPIXELS",
    "SERVED",
    "Crop",
    "DecodePolicy",
    "Preprocessing",
    "crop_image",
    "crops_of",
    "decode_rgb",
    "golden_image",
    "image_faults",
    "model_input",
    "resize_and_crop",
    "resized_size",
]
