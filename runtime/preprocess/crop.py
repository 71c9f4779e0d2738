"""RGB image → resized, cropped → model input.

It gives the bytes of timm's evaluation transform (`timm.data.transforms_factory.transforms_imagenet_eval`, crop mode
"center"), which the tests hold it to, with one exception: 16-bit greyscale keeps its upper eight bits, where
Pillow's own conversion would clip everything above 255 to white. EXIF orientation is ignored, as timm does.
"""

import pathlib
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pydantic
from PIL import Image

from .decode import FILES, DecodePolicy, decode_rgb, image_faults

Crop = npt.NDArray[np.uint8]
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Images that are normalised at once: few enough to stay in a CPU's cache, enough to let other threads work meanwhile.
IMAGES_AT_ONCE = 4
# Outside these, 1 / std or a pixel's value leaves float32, or nearly.
LEAST_STD = 1e-6
LARGEST_STATISTIC = 1e6
LARGEST_GOLDEN = 1024  # the golden image of a larger crop is that of this one
Channels = Annotated[tuple[float, float, float], pydantic.Field(description="red, green, blue; of pixels in [0, 1]")]


def _bounded(mean: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(abs(value) <= LARGEST_STATISTIC for value in mean):  # false for NaN
        raise ValueError(f"mean must be within ±{LARGEST_STATISTIC:g}, got {mean}")
    return mean


def _positive(std: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(LEAST_STD <= value <= LARGEST_STATISTIC for value in std):
        raise ValueError(f"std must be positive, from {LEAST_STD:g} to {LARGEST_STATISTIC:g}, got {std}")
    return std


class Preprocessing(pydantic.BaseModel):
    """How an image becomes the graph's input; part of the manifest."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    resize: Annotated[int, pydantic.Field(ge=1, le=16384)]  # the shorter side, in pixels
    crop: Annotated[int, pydantic.Field(ge=1, le=16384)]  # side of the centred square, in pixels
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: Annotated[Channels, pydantic.AfterValidator(_bounded)]
    std: Annotated[Channels, pydantic.AfterValidator(_positive)]
    layout: Literal["NCHW", "NHWC"]  # NCHW: float32, normalised; NHWC: uint8 crops, normalised inside the graph
    color: Literal["RGB"] = "RGB"

    def crops_like(self, other: "Preprocessing") -> bool:
        """Return whether both make the same crops, whatever becomes of their pixels."""
        return self.crop_fields() == other.crop_fields()

    def crop_fields(self) -> tuple[int, int, str, str]:
        """Return what the crops depend on."""
        return self.resize, self.crop, self.interpolation, self.color


def resized_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Return (width, height) with the shorter side `shorter` and the other truncated, as torchvision's Resize."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> Crop:
    """Resize the shorter side and cut the centred square: RGB image → (crop, crop, 3) uint8."""
    size = resized_size(image.width, image.height, preprocessing.resize)
    resized = _resized(image, size, INTERPOLATIONS[preprocessing.interpolation])
    crop = preprocessing.crop
    # Where the image is smaller than the crop, torchvision pads with black before it cuts; Pillow's crop does both.
    pad_left, pad_top = max((crop - resized.width) // 2, 0), max((crop - resized.height) // 2, 0)
    pad_width, pad_height = max(crop, resized.width), max(crop, resized.height)
    left = round((pad_width - crop) / 2.0) - pad_left
    top = round((pad_height - crop) / 2.0) - pad_top
    return np.asarray(resized.crop((left, top, left + crop, top + crop)))


def is_vertical_first(width: int, height: int, size: tuple[int, int]) -> bool:
    """Return whether Pillow 13 resizes the height first; before, it always began with the width.

    Both passes round to eight bits, so that the order is seen in the result. Pillow 13 begins with the height where
    that is reduced by more than twice as many pixels as the width (its pull request 9549).
    """
    return size[1] < height and 2 * (width - size[0]) < height - size[1]


def _resized(image: Image.Image, size: tuple[int, int], interpolation: Image.Resampling) -> Image.Image:
    """Resize in two passes, in Pillow 13's order whatever Pillow is installed."""
    if interpolation is Image.Resampling.NEAREST:
        return image.resize(size, interpolation)
    first = (image.width, size[1]) if is_vertical_first(*image.size, size) else (size[0], image.height)
    return image.resize(first, interpolation).resize(size, interpolation)


def crop_image(encoded: bytes | pathlib.Path, preprocessing: Preprocessing, policy: DecodePolicy = FILES) -> Crop:
    """Decode, resize and crop one image: file or its bytes → (crop, crop, 3) uint8 RGB.

    Raises:
        InputError: The image cannot be used; see `decode_rgb`.
    """
    (crop,) = crops_of(encoded, [preprocessing], policy)
    return crop


def crops_of(
    encoded: bytes | pathlib.Path, preprocessings: Sequence[Preprocessing], policy: DecodePolicy = FILES
) -> tuple[Crop, ...]:
    """Decode one image once, and crop it for each of `preprocessings`; see `crop_image`."""
    image = decode_rgb(encoded, policy, [each.resize for each in preprocessings])
    with image_faults(policy):  # there may be memory for the image and none for the resized one
        return tuple(resize_and_crop(image, each) for each in preprocessings)


def model_input(crops: Crop, preprocessing: Preprocessing, channels: int) -> npt.NDArray[np.float32] | Crop:
    """Turn crops (B, H, W, 3) uint8 into what the graph takes.

    Returns:
        Layout NCHW: (B, 3, H, W) float32, (pixel / 255 − mean) / std, every operation rounded to float32 as in
        torchvision's ToTensor and Normalize; red, green and blue repeated or cut for a model of other `channels`.
        Layout NHWC: the crops as they are.
    """
    if preprocessing.layout == "NHWC":
        return crops
    mean, std = (np.asarray(values, np.float32).reshape(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    images = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    for start in range(0, len(crops), IMAGES_AT_ONCE):
        part = images[start : start + IMAGES_AT_ONCE]
        planes = np.ascontiguousarray(crops[start : start + IMAGES_AT_ONCE].transpose(0, 3, 1, 2))
        np.divide(planes, np.float32(255), out=part)
        np.subtract(part, mean, out=part)
        np.divide(part, std, out=part)
    return images if channels == 3 else np.ascontiguousarray(images[:, np.arange(channels) % 3])


def golden_image(crop: int) -> Image.Image:
    """Return the image that every artifact's session is proved on when it is opened, for crops of `crop` pixels.

    It is neither square nor of the crop's size, and has slow slopes, waves as short as three pixels and hard edges,
    each channel its own, so that another resize, crop, interpolation, mean or std moves input and logits. Integers
    alone: C++ makes the same (cpp/src/image/golden.h).
    """
    side = min(crop, LARGEST_GOLDEN)
    width, height = side + side // 2, side + side // 4
    y, x, c = np.ogrid[:height, :width, :3]
    slopes = 40 * (c + 1) * x // width + 20 * (3 - c) * y // height  # to 139
    waves = ((13 + c) * x * x + (15 - 2 * c) * y * y) // side % 112
    return Image.fromarray((slopes + waves).astype(np.uint8))
