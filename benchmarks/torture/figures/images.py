"""Figure 5: damaged images of every format, images that end early, and images that are small to send and huge to hold."""

import functools
import io
import pathlib
import random
import struct
import zlib

import numpy as np
from PIL import Image, ImageFile

from deepvit.runtime.preprocess import Crop, Preprocessing, crop_image

from ..figure import Case, Figure
from ..mutants import damaged
from ..trial import Ended, Result, run_forked, run_in_turn
from .controls import fails_internally, takes_too_much

PREPROCESSING = Preprocessing(
    resize=44, crop=32, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), layout="NCHW"
)
TAKEN = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
FOREIGN = ("PPM", "TGA", "PCX", "ICO", "ICNS", "SGI", "DDS", "MSP", "XBM", "EPS", "PDF", "IM", "SPIDER", "JPEG2000")
REFUSED, DECODED_OR_REFUSED = frozenset({2}), frozenset({0, 2})
BOMB_MORE_BYTES = 100_000_000  # that refusing may take
MODES = {"MSP": "1", "XBM": "1", "SPIDER": "F"}  # formats that take no colour
SECONDS = 20.0


def encoded(form: str, seed: int) -> bytes:
    """Return a small photograph-like image in a format, its options by chance."""
    source = random.Random(seed)
    size = (source.randint(20, 90), source.randint(20, 90))
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    mode = MODES.get(form) or source.choice(
        {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "L", "P", "RGBA"), "GIF": ("P", "L")}.get(form, ("RGB",))
    )
    image = Image.fromarray(pixels).convert(mode)
    options = {"progressive": source.random() < 0.5, "quality": source.randint(10, 95)} if form == "JPEG" else {}
    if form == "TIFF":
        options = {"compression": source.choice((None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"))}
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _crop(path: pathlib.Path) -> Crop:
    return crop_image(path.read_bytes(), PREPROCESSING)


def _decoded(content: bytes, case: Case, allowed: frozenset[int], more_bytes: int = 2 << 30) -> tuple[Ended, str]:
    path = case.folder / "image"
    path.write_bytes(content)
    ended = run_in_turn(functools.partial(_crop, path), case.folder / "log", SECONDS, more_bytes)
    return ended, ended.fault(allowed)


def mutant(case: Case) -> Result:
    """A damaged image of a format that is taken."""
    form = TAKEN[case.index % len(TAKEN)]
    ended, fault = _decoded(damaged(encoded(form, case.index), case.random), case, DECODED_OR_REFUSED)
    return Result(f"{form} {ended.label}", fault and f"{form}: {fault}")


def foreign(case: Case) -> Result:
    """An image, sound or damaged, of a format that is not taken."""
    form = FOREIGN[case.index % len(FOREIGN)]
    content = encoded(form, case.index)
    ended, fault = _decoded(damaged(content, case.random) if case.index % 3 else content, case, REFUSED)
    return Result(ended.label, fault and f"{form}: {fault}")


def a_taken_format_is_seen(case: Case) -> Result:
    """A control: a format that is taken is no refusal."""
    ended, fault = _decoded(encoded("PNG", case.index), case, REFUSED)
    return Result(ended.label, fault)


def truncated(case: Case) -> Result:
    """The first 1 to 99 hundredths of an image: never scored, save where what is missing is no pixel's."""
    form = TAKEN[case.index // 99 % len(TAKEN)]
    content = encoded(form, case.index // 99)
    whole = crop_image(content, PREPROCESSING)
    cut = content[: len(content) * (1 + case.index % 99) // 100]
    ended, fault = _decoded(cut, case, DECODED_OR_REFUSED)
    if ended.code == 0 and not np.array_equal(crop_image(cut, PREPROCESSING), whole):
        return Result("scored", f"{form} cut to {len(cut)} of {len(content)} bytes gives other pixels")
    return Result(ended.label, fault)


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data or zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def _grey_png(width: int, height: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    return _png(width, height, b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


def _jpeg(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (16, 16)).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def _bmp(width: int, height: int) -> bytes:
    return (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 154, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100)
    )


def _gif(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\x02\x02\x44\x01\x00;"
    )


def _tiff(width: int, height: int) -> bytes:
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 200),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 50),
    ]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (b"II*\x00" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)).ljust(260, b"\x00")


def _text_bomb() -> bytes:
    """A PNG of 1 × 1 pixel whose comment is a gigabyte."""
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1 << 10)) + packer.flush()
    body = b"Comment\x00\x00" + text
    png = _grey_png(1, 1)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return png[:33] + chunk + png[33:]


def bombs(folder: pathlib.Path) -> None:
    """Write fourteen files of at most half a megabyte that ask for more memory than refusing may take."""
    made = {
        "png-90Mpx": _grey_png(9_500, 9_500),
        "png-169Mpx": _grey_png(13_000, 13_000),
        "png-1e9-header": _png(1 << 30, 1 << 30),
        "png-170Mx1": _png(170_000_000, 1),
        "png-1x170M": _png(1, 170_000_000),
        "png-250x700000": _grey_png(250, 700_000),
        "png-60000x1": _grey_png(60_000, 1),
        "png-text": _text_bomb(),
        "jpeg-65500": _jpeg(65_500, 65_500),
        "jpeg-65500x1": _jpeg(65_500, 1),
        "bmp-2e9": _bmp(2_000_000_000, 2_000_000_000),
        "bmp-60000": _bmp(60_000, 60_000),
        "gif-65535": _gif(65_535, 65_535),
        "tiff-100000": _tiff(100_000, 100_000),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)


def bomb(case: Case) -> Result:
    """Refused with at most 100 MB more; a comment may also be passed over."""
    names = sorted(path.name for path in case.material.iterdir())
    name = names[case.index % len(names)]
    content = (case.material / name).read_bytes()
    allowed = DECODED_OR_REFUSED if name in ("png-text", "png-60000x1", "jpeg-65500x1") else REFUSED
    ended, fault = _decoded(content, case, allowed, BOMB_MORE_BYTES)
    return Result(ended.label, fault and f"{name}: {fault}")


def large_image_is_missed(case: Case) -> Result:
    """A control: decoding 90 million pixels, as nothing forbids it, passes the limit of memory."""
    content = _grey_png(9_500, 9_500)
    function = functools.partial(_decode_without_limits, content)
    ended = run_forked(function, case.folder / "log", SECONDS, BOMB_MORE_BYTES)
    return Result(ended.label, ended.fault(REFUSED))


def _decode_without_limits(content: bytes) -> None:
    Image.MAX_IMAGE_PIXELS = None
    Image.open(io.BytesIO(content)).convert("RGB")


def half_an_image_is_seen(_: Case) -> Result:
    """A control: where a truncated file is read as far as it goes, other pixels are told."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    content = encoded("PNG", 1)
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    cut = np.asarray(Image.open(io.BytesIO(content[: len(content) // 2])).convert("RGB"))
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    return Result("scored", "" if np.array_equal(whole, cut) else "gives other pixels")


FIGURES = (
    Figure(
        number="5 mutants",
        name="damaged images",
        count=10_000,
        trial=mutant,
        controls=(fails_internally, takes_too_much),
    ),
    Figure(
        number="5 foreign",
        name="formats that are not taken",
        count=1_000,
        trial=foreign,
        controls=(a_taken_format_is_seen,),
    ),
    Figure(
        number="5 truncated",
        name="images that end early",
        count=99 * len(TAKEN),
        trial=truncated,
        controls=(half_an_image_is_seen,),
    ),
    Figure(
        number="5 bombs",
        name="images of huge size",
        count=14,
        trial=bomb,
        controls=(large_image_is_missed,),
        prepare=bombs,
    ),
)
