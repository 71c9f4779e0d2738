"""Images of every kind that the runtimes must decode alike: sizes, formats, pixel types, made of real photographs."""

import io
import pathlib
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import skimage
from PIL import Image

PHOTOGRAPHS = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg", "retina.jpg")
Encode = Callable[[Image.Image], bytes]
# Of each pass of an interlaced PNG (Adam7): first row, first column, and the steps between rows and columns.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels → PNG's colour type


def photographs() -> list[Image.Image]:
    """Return the photographs that scikit-image ships, as RGB."""
    folder = pathlib.Path(skimage.__file__).parent / "data"
    return [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS]


def jpeg(mode: str = "RGB", **options: object) -> Encode:
    """Return an encoder of JPEGs, by Pillow's options."""

    def encode(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        image.convert(mode).save(stream, "JPEG", **options)
        return stream.getvalue()

    return encode


def rotated_by_exif(image: Image.Image) -> bytes:
    """A JPEG whose EXIF says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees to show
    return jpeg(quality=88, exif=exif.tobytes())(image)


def png(mode: str, **options: object) -> Encode:
    """Return an encoder of PNGs, by Pillow's modes and options."""

    def encode(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        image.convert(mode).save(stream, "PNG", **options)
        return stream.getvalue()

    return encode


def with_alpha(mode: str) -> Encode:
    """Return an encoder of PNGs whose left is transparent."""

    def encode(image: Image.Image) -> bytes:
        ramp = Image.fromarray(np.tile(np.linspace(0, 255, image.width).astype(np.uint8), (image.height, 1)))
        opaque = image.convert(mode)
        opaque.putalpha(ramp)
        return png(opaque.mode)(opaque)

    return encode


def few_greys(bits: int) -> Encode:
    """Return an encoder of greyscale PNGs of 1, 2 or 4 bits, which Pillow reads and does not write."""

    def encode(image: Image.Image) -> bytes:
        levels = np.asarray(image.convert("L")) >> (8 - bits)
        spread = ((levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
        packed = np.packbits(spread.reshape(image.height, -1), axis=1)
        return _png_file(image.size, bits, 0, [packed])

    return encode


def deep(channels: int, *, interlaced: bool = False) -> Encode:
    """Return an encoder of PNGs of 16 bits per channel: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA."""

    def encode(image: Image.Image) -> bytes:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        upper = np.asarray(image.convert(mode)).reshape(image.height, image.width, channels)
        lower = np.random.default_rng(channels).integers(0, 256, upper.shape)
        return _raw_png(((upper.astype(np.uint16) << 8) | lower.astype(np.uint16)).astype(">u2"), interlaced)

    return encode


def interlaced_rgb(image: Image.Image) -> bytes:
    """An interlaced PNG of 8 bits, which Pillow reads and does not write."""
    return _raw_png(np.asarray(image), interlaced=True)


def _raw_png(pixels: npt.NDArray[np.generic], interlaced: bool) -> bytes:
    height, width, channels = pixels.shape
    passes = [pixels[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [pixels]
    rows = [part.reshape(part.shape[0], -1).view(np.uint8) for part in map(np.ascontiguousarray, passes) if part.size]
    return _png_file((width, height), 8 * pixels.itemsize, COLOR_TYPES[channels], rows, interlaced=interlaced)


def _png_file(
    size: tuple[int, int], bits: int, color_type: int, passes: list[npt.NDArray[np.uint8]], *, interlaced: bool = False
) -> bytes:
    """Write a PNG by its specification (ISO/IEC 15948), every row unfiltered."""
    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, int(interlaced))
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


KINDS: dict[str, Encode] = {
    "rgb-420.jpg": jpeg(quality=90, subsampling="4:2:0"),
    "rgb-422.jpg": jpeg(quality=75, subsampling="4:2:2"),
    "rgb-444.jpg": jpeg(quality=95, subsampling="4:4:4"),
    "progressive.jpg": jpeg(quality=80, progressive=True, optimize=True),
    "restarts.jpg": jpeg(quality=60, restart_marker_blocks=7),
    "keep-rgb.jpg": jpeg(quality=85, keep_rgb=True),
    "grey.jpg": jpeg("L", quality=85),
    "cmyk.jpg": jpeg("CMYK", quality=85),
    "exif.jpg": rotated_by_exif,
    "rgb.png": png("RGB"),
    "grey.png": png("L"),
    "palette.png": png("P"),
    "transparent-palette.png": png("P", transparency=3),
    "bilevel.png": png("1"),
    "rgba.png": with_alpha("RGB"),
    "grey-alpha.png": with_alpha("L"),
    "grey-2.png": few_greys(2),
    "grey-4.png": few_greys(4),
    "grey-16.png": deep(1),
    "grey-alpha-16.png": deep(2),
    "rgb-16.png": deep(3),
    "rgba-16.png": deep(4),
    "interlaced.png": interlaced_rgb,
    "interlaced-16.png": deep(3, interlaced=True),
}


def sizes(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return `image` as it is, cut, shrunk, stretched or enlarged."""
    choice = int(generator.integers(0, 5))
    width, height = (int(generator.integers(3, side + 1)) for side in image.size)
    if choice == 0:
        return image
    if choice == 1:
        left, top = (int(generator.integers(0, side)) for side in image.size)
        return image.crop((left, top, min(left + width, image.width), min(top + height, image.height)))
    if choice == 2:
        return image.resize((width, height))
    if choice == 3:
        return image.resize((int(generator.integers(200, 320)), int(generator.integers(200, 320))))
    return image.resize((int(generator.integers(1, 40)), int(generator.integers(1, 40))))


def images(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield `count` file names and files, of every kind in turn."""
    generator, sources = np.random.default_rng(seed), photographs()
    for index in range(count):
        kind = list(KINDS)[index % len(KINDS)]
        source = sources[int(generator.integers(0, len(sources)))]
        yield f"{index:03d}-{kind}", KINDS[kind](sizes(source, generator))


def write_images(folder: pathlib.Path, count: int, seed: int = 0) -> list[pathlib.Path]:
    """Write `count` images into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in images(count, seed):
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths
