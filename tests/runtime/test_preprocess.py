"""Our preprocessing against timm's evaluation transform, byte for byte."""

import io

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import deepvit.model
import deepvit.model.registry
from deepvit.model.load import load_model
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Preprocessing, crop_image, decode_rgb, model_input, resize_and_crop

ODD_SIZES = [
    (1, 1),
    (3, 500),
    (500, 3),
    (224, 224),
    (248, 248),
    (247, 333),
    (333, 247),
    (40, 40),
    (225, 1001),
    (640, 427),
    (260, 1000),  # the height is resized first, as Pillow 13 does
    (400, 1001),
    (500, 1001),
]


def _preprocessing(size, crop_pct, interpolation="bicubic"):
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    resize = int(size // crop_pct)
    return Preprocessing(resize=resize, crop=size, interpolation=interpolation, mean=mean, std=std, layout="NCHW")


def _timm_transform(preprocessing, crop_pct):
    return timm.data.create_transform(
        (3, preprocessing.crop, preprocessing.crop),
        is_training=False,
        crop_pct=crop_pct,
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )


@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.9), (384, 1.0), (40, 0.9), (97, 0.875)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_bytes_equal_timms(photographs, size, crop_pct, interpolation):
    preprocessing = _preprocessing(size, crop_pct, interpolation)
    transform = _timm_transform(preprocessing, crop_pct)
    noise = np.random.default_rng(0).integers(0, 256, (1001, 640, 3), np.uint8)
    images = [Image.open(path).convert("RGB") for path in photographs]
    images += [Image.fromarray(noise[:height, :width]) for width, height in ODD_SIZES]
    for image in images:
        ours = model_input(resize_and_crop(image, preprocessing)[None], preprocessing, 3)[0]
        assert torch.equal(torch.from_numpy(ours), transform(image)), image.size


def test_variants_resize_as_timm_does(photographs):
    for name in ("deepvit_32", "deepvit_l_384", "digits_cnn"):
        loaded = load_model(name)
        config = timm.data.resolve_model_data_config(timm.create_model(name))
        transform = timm.data.create_transform(**config, is_training=False)
        preprocessing = loaded.preprocessing()
        ours = model_input(crop_image(photographs[2], preprocessing)[None], preprocessing, 3)[0]
        assert torch.equal(torch.from_numpy(ours), transform(Image.open(photographs[2]).convert("RGB"))), name


def test_planted_errors_are_seen(photographs):
    """The negative control: other resizing, cropping and filters give other bytes."""
    image = decode_rgb(photographs[0])
    right = _preprocessing(224, 0.9)
    crop = resize_and_crop(image, right)
    for wrong in (_preprocessing(224, 0.875), _preprocessing(224, 1.0), _preprocessing(224, 0.9, "bilinear")):
        assert not np.array_equal(resize_and_crop(image, wrong), crop)


def _encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def test_unusual_pixels_are_converted(photographs):
    color = Image.open(photographs[0]).convert("RGB")
    for mode in ("CMYK", "L"):
        encoded = _encoded(color.convert(mode), "JPEG", quality=95)
        expected = Image.open(io.BytesIO(encoded)).convert("RGB")
        assert np.array_equal(np.asarray(decode_rgb(encoded)), np.asarray(expected))
    for mode in ("RGBA", "P", "LA", "1"):
        encoded = _encoded(color.convert(mode), "PNG")
        assert decode_rgb(encoded).mode == "RGB"


def test_16_bit_keeps_its_upper_bits(tmp_path):
    values = (np.arange(64 * 64, dtype=np.uint32) * 16).reshape(64, 64).astype(np.uint16)
    rgb = np.asarray(decode_rgb(_encoded(Image.fromarray(values), "PNG")))
    assert np.array_equal(rgb[..., 0], values >> 8)
    path = tmp_path / "float.tiff"
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    with pytest.raises(InputError, match="32-bit pixels"):
        decode_rgb(path)


def test_a_png_named_jpeg_is_accepted_and_damage_is_not(tmp_path, photographs):
    path = tmp_path / "photo.JPEG"
    path.write_bytes(photographs[0].read_bytes())
    assert decode_rgb(path).size == (512, 512)
    rocket = photographs[5].read_bytes()
    for content in (rocket[: len(rocket) // 2], b"", b"no image", rocket[:20]):
        with pytest.raises(InputError) as caught:
            decode_rgb(content)
        assert "\n" not in str(caught.value)


def test_layouts():
    row = deepvit.model.VARIANTS["deepvit_32"]
    crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    base = {"resize": 248, "crop": 224, "interpolation": "bicubic", "mean": row.mean, "std": row.std}
    assert model_input(crops, Preprocessing(**base, layout="NHWC"), 3) is crops
    normalised = model_input(crops, Preprocessing(**base, layout="NCHW"), 3)
    assert (normalised.shape, normalised.dtype) == ((2, 3, 224, 224), np.float32)
