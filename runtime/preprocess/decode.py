"""Encoded image → RGB, for images that anybody may have made.

What is decoded is a closed list of formats, told by the bytes and not by the name: Pillow knows dozens more, one of
which starts a program (PostScript). How large an image is, its header says before any memory is taken for its pixels.
And whatever a decoder does on damaged bytes is the fault of that image, never of its neighbours.
"""

import contextlib
import dataclasses
import io
import pathlib
import warnings
from collections.abc import Generator, Sequence
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from ..errors import InputError
from ..options import Help

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SERVED_FORMATS = ("JPEG", "PNG")  # what the C++ runtime decodes too
MAX_MEGAPIXELS = 50
MOST_MEGAPIXELS = 178  # from 178,956,970 pixels on Pillow refuses by itself
MAX_SIDE = 65_535  # JPEG's largest


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodePolicy:
    """Which images are decoded; runtime/cpp/src/image/image.h has the same numbers."""

    heading: ClassVar[str] = "Images"

    formats: tuple[str, ...] = FORMATS
    max_megapixels: Annotated[
        int, Help("Refuse larger images before they are decoded.", min=1, max=MOST_MEGAPIXELS)
    ] = MAX_MEGAPIXELS

    @property
    def max_pixels(self) -> int:
        return self.max_megapixels * 1_000_000

    def require(self, width: int, height: int, resizes: Sequence[int] = ()) -> None:
        """Pass where an image of this size may be decoded, and then resized to a shorter side of each of `resizes`.

        Raises:
            InputError: It is empty, too large, or so elongated that one of the resized images is too large.
        """
        image = f"image of {width}×{height} pixels"
        if min(width, height) < 1:
            raise InputError(f"{image} has none")
        if max(width, height) > MAX_SIDE:
            raise InputError(f"{image}, at most {MAX_SIDE} are decoded on a side")
        if width * height > self.max_pixels:
            raise InputError(
                f"{image}, at most {self.max_megapixels} million are decoded; ‹max_megapixels› allows more, "
                f"to {MOST_MEGAPIXELS}"
            )
        for shorter in resizes:
            if shorter * (shorter * max(width, height) // min(width, height)) > self.max_pixels:
                raise InputError(f"{image} is too elongated to resize to a shorter side of {shorter}")


FILES = DecodePolicy()
SERVED = DecodePolicy(formats=SERVED_FORMATS)


def decode_rgb(encoded: bytes | pathlib.Path, policy: DecodePolicy = FILES, resizes: Sequence[int] = ()) -> Image.Image:
    """Decode one image file to RGB; of several frames the first.

    Args:
        encoded: The file, or its bytes.
        policy: What is decoded.
        resizes: The shorter sides that it will be resized to.

    Raises:
        InputError: Not an image of these formats, truncated, too large, or of a pixel type without a conversion.
    """
    source = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    with image_faults(policy), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is an error
        with Image.open(source, formats=policy.formats) as image:
            policy.require(*image.size, resizes)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                _require_tiles(image, policy)
            return _to_rgb(image)


@contextlib.contextmanager
def image_faults(policy: DecodePolicy = FILES) -> Generator[None, None, None]:
    """Make whatever is raised in here the image's fault, an InputError."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"not an image of {', '.join(policy.formats)}") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"image of more than {MOST_MEGAPIXELS} million pixels, at most {policy.max_megapixels} million are decoded"
        ) from error
    except MemoryError as error:
        raise InputError("image cannot be decoded: not enough memory") from error
    # Pillow's decoders raise nearly everything on damaged bytes: struct.error, KeyError, SystemError, RecursionError,
    # NotImplementedError, ZeroDivisionError were seen. Every one of them is about this image; Ctrl-C is none of them.
    except Exception as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"image cannot be decoded: {text[0]}") from error


def _require_tiles(image: TiffImagePlugin.TiffImageFile, policy: DecodePolicy) -> None:
    """Tiles of a TIFF can be larger than the image, and are decoded whole."""
    width, height = (image.tag_v2.get(tag, 1) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    if width * height > policy.max_pixels:
        raise InputError(f"TIFF of tiles of {width}×{height} pixels, at most {policy.max_pixels} are decoded")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image.load()
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise InputError(f"image of 32-bit pixels (mode {image.mode}), expected 8 or 16 bits per channel")
    return image.convert("RGB")
