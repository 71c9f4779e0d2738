"""Images that anybody may have made: none starts a program, takes the memory, or ends a run of others."""

import io
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from deepvit.images.decode import decode_one
from deepvit.images.imagenet import open_images
from deepvit.images.sources import MOST_IMAGE_BYTES, FolderSource, Subset, fingerprint_sha256, spread
from deepvit.images.timm_dataset import TimmSource
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import (
    FORMATS,
    SERVED,
    DecodePolicy,
    Preprocessing,
    crop,
    crop_image,
    decode,
    decode_rgb,
)
from tests.places import ROOT

SMALL = Preprocessing(resize=50, crop=44, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1), layout="NCHW")
# Also read by runtime/cpp/tests/test_mutants.cpp.
TABLE = json.loads((ROOT / "runtime" / "cpp" / "tests" / "data" / "image_limit_cases.json").read_text())
SCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n0 0 64 64 rectfill\nshowpage\n%%EOF\n"


def _encoded(form, image=None, **options):
    stream = io.BytesIO()
    (Image.new("RGB", (64, 48), (200, 30, 90)) if image is None else image).save(stream, form, **options)
    return stream.getvalue()


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, *, chunks=b""):
    """A PNG of one bit a pixel whose every row is black: small, however large it says that it is."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    packer, row = zlib.compressobj(9), bytes((width + 7) // 8 + 1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunks + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _folder(root, **images):
    for name, content in images.items():
        (root / f"{name}.jpg").write_bytes(content)
    return open_images(str(root))


@pytest.mark.parametrize("policy", [DecodePolicy(), SERVED])
def test_no_image_starts_a_program(tmp_path, monkeypatch, policy):
    ran = tmp_path / "ran"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {ran}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # not looked for yet
    with pytest.raises(InputError, match="not an image of JPEG, PNG"):
        crop_image(SCRIPT, SMALL, policy)
    assert not ran.exists()


def test_formats_are_a_closed_list():
    for form in FORMATS:
        assert decode_rgb(_encoded(form)).size == (64, 48)
    for form in ("PPM", "TGA", "PCX", "SGI", "DDS", "ICO", "ICNS", "EPS", "IM", "MSP", "JPEG2000", "AVIF"):
        image = Image.new("1", (64, 48)) if form == "MSP" else None
        with pytest.raises(InputError, match="not an image of JPEG, PNG, WEBP, BMP, TIFF, GIF"):
            decode_rgb(_encoded(form, image))
    for form in ("WEBP", "BMP", "TIFF", "GIF"):
        with pytest.raises(InputError, match="not an image of JPEG, PNG$"):
            decode_rgb(_encoded(form), SERVED)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_taken(form):
    frames = [Image.new("RGB", (32, 32), color) for color in ((250, 0, 0), (0, 0, 250))]
    encoded = _encoded(form, frames[0], save_all=True, append_images=frames[1:])
    red, _, blue = decode_rgb(encoded).getpixel((5, 5))
    assert red > 200
    assert blue < 50


LARGE = {  # width, height, what is said of it
    "90 megapixels": (9500, 9500, "at most 50 million are decoded"),
    "169 megapixels": (13_000, 13_000, "at most 50 million"),
    "a square": (60_000, 60_000, "178 million"),
    "one row": (170_000_000, 1, "at most 65535"),
    "one column": (250, 700_000, "at most 65535"),
    "elongated": (65_535, 1, "too elongated"),
    "upright": (2, 65_535, "too elongated"),
}


@pytest.mark.parametrize("kind", LARGE)
def test_size_is_judged_before_anything_is_decoded(monkeypatch, kind):
    width, height, fault = LARGE[kind]
    encoded = _png(width, min(height, 3)) if width > height else _png(3, 3)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    encoded = encoded[:8] + header + encoded[8 + len(header) :]
    monkeypatch.setattr(Image.Image, "convert", lambda *_given: pytest.fail("it was decoded"))
    with warnings.catch_warnings(), pytest.raises(InputError, match=fault):
        warnings.simplefilter("error")
        crop_image(encoded, SMALL)


WORDS = {
    "pixels": "million are decoded|million pixels",
    "side": "are decoded on a side|million pixels",  # from 179 million pixels on Pillow is first to refuse
    "elongated": "too elongated",
    "empty": "",
    "format": "not an image of JPEG, PNG$",
}


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_every_case_of_the_table(case):
    with pytest.raises(InputError, match=WORDS[case["refused"]]):
        crop_image(bytes.fromhex(case["hex"]), SMALL.model_copy(update={"resize": 248, "crop": 224}), SERVED)


def test_a_refused_image_takes_no_memory(tmp_path):
    (tmp_path / "large.png").write_bytes(_png(9500, 9500))
    program = (
        "import pathlib, resource, sys\n"
        "from deepvit.runtime.preprocess import crop_image, Preprocessing\n"
        "p = Preprocessing(resize=50, crop=44, interpolation='bicubic', mean=(0,0,0), std=(1,1,1), layout='NCHW')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    crop_image(pathlib.Path(sys.argv[1]), p)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "large.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "9500×9500 pixels, at most 50 million" in done.stdout
    assert int(done.stdout.splitlines()[-1]) < 100_000  # KiB
    assert not done.stderr


def test_the_limit_can_be_raised(tmp_path):
    encoded = _png(7200, 7000)
    assert decode_rgb(encoded, DecodePolicy(max_megapixels=51)).size == (7200, 7000)
    with pytest.raises(InputError, match="7200×7000 pixels, at most 50 million"):
        decode_rgb(encoded)
    (tmp_path / "large.jpg").write_bytes(encoded)
    allowing = open_images(str(tmp_path), policy=DecodePolicy(max_megapixels=51))
    refusing = open_images(str(tmp_path))
    for source, is_usable in ((allowing, True), (refusing, False), (pickle.loads(pickle.dumps(allowing)), True)):
        assert bool(decode_one(Subset(source, (0,)), 0, [SMALL]).crops) is is_usable
    assert fingerprint_sha256(allowing) != fingerprint_sha256(spread(refusing, None))


def test_a_tile_larger_than_the_image_is_refused():
    """Tiles are decoded whole: 64 pixels in a tile of 32,768×32,768 would take a gigabyte."""
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32_768, 323: 32_768, 324: 200, 325: 20}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    encoded = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    encoded = encoded.ljust(200, b"\0") + zlib.compress(bytes(64))
    with pytest.raises(InputError, match="tiles of 32768×32768"):
        decode_rgb(encoded)


def test_compressed_text_is_bounded():
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20 << 20), 9))
    with pytest.raises(InputError, match="too large"):
        decode_rgb(_png(8, 8, chunks=text))


FAULTS = (
    MemoryError(),
    RecursionError("maximum recursion depth"),
    SystemError("unknown opcode"),
    struct.error("unpack requires"),
    OverflowError("too large"),
    ZeroDivisionError("division by zero"),
    KeyError("tag"),
    TypeError("not iterable"),
    AttributeError("None has no such"),
    NotImplementedError(),
    Image.DecompressionBombError("exceeds"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_a_decoder_raises_is_that_images_fault(tmp_path, monkeypatch, fault):
    source = _folder(tmp_path, a=_encoded("JPEG"), b=_encoded("PNG"), c=_encoded("JPEG"))
    real = Image.Image.convert

    def convert(image, *given):
        if image.format == "PNG":
            raise fault
        return real(image, *given)

    monkeypatch.setattr(Image.Image, "convert", convert)
    found = [decode_one(source, index, [SMALL]) for index in range(3)]
    assert [bool(each.crops) for each in found] == [True, False, True]
    assert found[1].error
    assert "\n" not in found[1].error


def test_so_is_what_resizing_raises(tmp_path, monkeypatch):
    source = _folder(tmp_path, a=_encoded("JPEG"))
    monkeypatch.setattr(crop, "resize_and_crop", lambda *_given: bytearray(1 << 62))
    assert decode_one(source, 0, [SMALL]).error == "image cannot be decoded: not enough memory"


def test_an_interrupt_is_not_an_images_fault(monkeypatch):
    def interrupted(*_given):
        raise KeyboardInterrupt

    monkeypatch.setattr(decode, "_to_rgb", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crop_image(_encoded("JPEG"), SMALL)


def test_mutants_are_decoded_or_refused():
    random = np.random.default_rng(20_261_125)
    outcomes = set()
    for form in (*FORMATS, "DDS", "BLP", "SPIDER", "AVIF"):
        image = {"BLP": Image.new("P", (64, 48)), "SPIDER": Image.new("F", (64, 48))}.get(form)
        original = np.frombuffer(_encoded(form, image), np.uint8)
        for _ in range(60):
            mutant = original.copy()
            places = random.integers(0, min(len(mutant), 200), random.integers(1, 6))
            mutant[places] = random.integers(0, 256, len(places))
            try:
                outcomes.add(crop_image(mutant.tobytes(), SMALL).shape)
            except InputError:
                outcomes.add("refused")
    assert outcomes == {(44, 44, 3), "refused"}


def test_a_dataset_that_decodes_by_itself_is_held_to_the_same(monkeypatch):
    class Reader:
        images = (Image.new("1", (9000, 9000)), Image.new("RGB", (60, 60)), None)

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            if self.images[index] is None:
                raise SystemError("decoder")
            return self.images[index], index

    monkeypatch.setattr(Reader.images[0], "save", lambda *_given: pytest.fail("it was encoded"))
    monkeypatch.setattr(TimmSource, "_reader", lambda _self: Reader())
    source = TimmSource("hfds/stub", "val")
    found = [decode_one(source, index, [SMALL]) for index in range(3)]
    assert [bool(each.crops) for each in found] == [False, True, False]
    assert "at most 50 million" in found[0].error
    assert "decoder" in found[2].error


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match="Is a directory"):
        crop_image(pathlib.Path(tmp_path), SMALL)


def test_a_file_that_is_too_large_to_be_an_image_is_not_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MOST_IMAGE_BYTES + 1)  # takes no room on the disk
    source = FolderSource(tmp_path, (("a.jpg", 0),))
    assert "the file has 1073741825 bytes, an image has at most 1073741824" in decode_one(source, 0, ()).error
