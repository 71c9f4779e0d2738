"""The glyphs: which characters, how they are drawn and distorted, and a training that is killed and goes on."""

import dataclasses
import hashlib
import pathlib

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deepvit.images.imagenet import open_dataset
from deepvit.model.weights.checkpoint import model_from_checkpoint, read_checkpoint
from examples.glyphs.characters import COUNT, characters, common_characters, synset
from examples.glyphs.dataset import held_out_pictures, pictures_of, write_split
from examples.glyphs.distort import MASTER_SIDE, SIDE, distort
from examples.glyphs.draw import draw_masters
from examples.glyphs.faces import BELOW, HELD_OUT, TRAINED, Face
from examples.glyphs.recipe import Recipe
from examples.glyphs.train import train
from examples.glyphs.training import Training
from examples.glyphs.variants import NAMES, glyph_variant
from tests.places import ROOT

FONTS = ROOT / "build" / "fonts"
CLASSES, FACES = 5, 3


@pytest.fixture(scope="module")
def masters():
    """Of no font: (3, 5, 64, 64) uint8, bars and squares that differ by class, and a little by face."""
    drawn = np.zeros((FACES, CLASSES, MASTER_SIDE, MASTER_SIDE), np.uint8)
    for face in range(FACES):
        for label in range(CLASSES):
            drawn[face, label, 12 : 50 - 6 * label, 14 + 5 * label : 22 + 5 * label + face] = 255
            drawn[face, label, 40 : 44 + face, 10:54] = 200
    return drawn


def test_the_characters():
    assert len(common_characters()) == 1583
    assert "".join(common_characters()[:12]) == "一乙丁七乃九了二人入八刀"
    found = characters()
    assert (len(found), len(set(found)), sorted(found)) == (COUNT, COUNT, list(found))
    assert (synset(found[0]), synset("龍")) == ("n00019968", "n00040845")


def test_two_dozen_faces_and_no_file_on_both_sides():
    assert (len(TRAINED), len(HELD_OUT)) == (21, 3)
    assert len({face.sha256 for face in TRAINED + HELD_OUT}) == 24
    assert not {face.package for face in TRAINED} & {face.package for face in HELD_OUT}


def test_distorted_pictures_are_the_same_everywhere(masters):
    pictures = distort(masters.reshape(-1, MASTER_SIDE, MASTER_SIDE), np.random.default_rng(7))
    assert (pictures.shape, pictures.dtype) == ((FACES * CLASSES, SIDE, SIDE, 3), np.uint8)
    assert _sha256(pictures) == "3da7ba40106d683d0b4496029ce5ab7dc63e94de8d0853a380d898b4876a1fb7"
    assert _sha256(distort(masters[0], np.random.default_rng(7))) != _sha256(
        distort(masters[0], np.random.default_rng(8))
    )


def _sha256(pictures):
    return hashlib.sha256(np.ascontiguousarray(pictures)).hexdigest()


def test_without_distortion_the_middle_of_a_master_is_printed(masters):
    (picture,) = distort(masters[0, :1], np.random.default_rng(7), strength=0)
    ink = picture[..., 0] < 130
    assert 0.1 < ink.mean() < 0.4
    assert len(np.unique(picture[0])) == 1  # plain paper


def test_the_first_pictures_do_not_depend_on_how_many_there_are(masters):
    assert np.array_equal(pictures_of("val", masters, 2, 4)[:2], pictures_of("val", masters, 2, 2))
    assert not np.array_equal(pictures_of("val", masters, 2, 2), pictures_of("train", masters, 2, 2))
    pictures, labels = held_out_pictures(masters, 2)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert np.array_equal(pictures[4:6], pictures_of("val", masters, 2, 2))


def test_it_is_an_imagenet_folder(masters, tmp_path):
    for split in ("train", "val"):
        write_split(tmp_path, split, masters, 2, characters()[:CLASSES])
        source = open_dataset(str(tmp_path), CLASSES, split)
        assert [label for _, label in source.files] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    everything = b"".join(path.read_bytes() for path in sorted((tmp_path / "val").rglob("*.JPEG")))
    again = write_split(tmp_path, "val", masters, 2, characters()[:CLASSES])
    assert again == hashlib.sha256(everything).hexdigest()
    first = sorted((tmp_path / "val").rglob("*.JPEG"))[0]
    assert first.relative_to(tmp_path).as_posix() == "val/n00019968/n00019968_0.JPEG"
    with Image.open(first) as picture:
        assert picture.size == (SIDE, SIDE)


def test_a_font_of_another_version_or_without_a_character_is_refused(tmp_path):
    fonts = tmp_path / BELOW
    fonts.mkdir(parents=True)
    content = pathlib.Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf").read_bytes()
    (fonts / "latin.ttf").write_bytes(content)
    face = Face("fonts-dejavu", "latin.ttf", hashlib.sha256(content).hexdigest())
    drawn = draw_masters(tmp_path, (face,), ("A", "i"))
    assert drawn.shape == (1, 2, MASTER_SIDE, MASTER_SIDE)
    assert _middle(drawn[0, 0]) == pytest.approx((31.5, 31.5), abs=1)
    with pytest.raises(ValueError, match="lacks 龍"):
        draw_masters(tmp_path, (face,), ("A", "龍"))
    with pytest.raises(ValueError, match="expected 0000 as in Debian 12's fonts-dejavu"):
        draw_masters(tmp_path, (Face("fonts-dejavu", "latin.ttf", "0000"),), ("A",))


def _middle(master):
    rows, columns = np.nonzero(master > 100)
    return (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2


def short_training(masters):
    row = glyph_variant("glyphs_deepvit", depth=4)
    small = dataclasses.replace(row.architecture, embed_dim=16)
    variant = dataclasses.replace(row, architecture=small, num_classes=CLASSES, class_names=None)
    return Training(variant, Recipe(steps=6, batch=8, warm_up=2), masters)


class Killed(BaseException):
    """As SIGKILL: nothing of ours runs after it."""


def test_a_training_that_is_killed_and_goes_on_ends_the_same(masters, tmp_path, monkeypatch):
    whole = short_training(masters)
    train(whole, tmp_path / "whole.pt", masters, every=0)
    advance = Training.advance
    with monkeypatch.context() as patch:
        patch.setattr(Training, "advance", lambda self: advance(self) if self.step < 4 else _kill())
        with pytest.raises(Killed):
            train(short_training(masters), tmp_path / "killed.pt", masters, every=0)
    resumed = short_training(masters)
    train(resumed, tmp_path / "killed.pt", masters, every=0)
    assert resumed.step == whole.step == 6
    assert _hash_of(resumed) == _hash_of(whole)
    other = short_training(masters[::-1])
    train(other, tmp_path / "other.pt", masters, every=0)
    assert _hash_of(other) != _hash_of(whole)  # the hash tells


def test_the_weights_in_fp16_are_a_checkpoint(masters, tmp_path):
    training = short_training(masters)
    training.advance()
    save_file(training.weights(), tmp_path / "weights.safetensors")
    module = model_from_checkpoint(training.variant, read_checkpoint(tmp_path / "weights.safetensors"))
    images = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, got = training.model.eval()(images), module.eval()(images)
    assert torch.allclose(got, expected, atol=0.01)
    assert not torch.equal(got, expected)  # they were rounded


def _kill():
    raise Killed


def _hash_of(training):
    state = training.model.state_dict()
    return hashlib.sha256(b"".join(each.numpy().tobytes() for each in state.values())).hexdigest()


def test_a_checkpoint_of_another_training_is_refused(masters, tmp_path):
    training = short_training(masters)
    training.save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="remove it to begin again"):
        short_training(masters[:2]).resume(tmp_path / "checkpoint.pt")


@pytest.mark.skipif(not (FONTS / "done").is_file(), reason="no fonts here: make glyphs")
def test_real_characters_are_drawn_and_packed_the_same_everywhere(tmp_path):
    """A hundredth of the classes in every face, to the bytes of the files."""
    text = characters()[::100]
    masters = draw_masters(FONTS, TRAINED + HELD_OUT, text)
    assert _sha256(masters) == "8ebe27b7d202b978b306bfa840fbc9c502d4c908c8dc3fc701109b8dfb7132e0"
    assert (
        write_split(tmp_path, "val", masters, 3, text)
        == "b281cab7b6b67d021fb1b2617bfcde7d2dfab9d5654fed4690b2781bda39de37"
    )


def test_the_two_networks_are_alike_but_for_reattention():
    for depth, mixed in ((12, 9), (6, 4), (24, 18)):
        deep, plain = (glyph_variant(name, depth).architecture for name in NAMES)
        assert (deep.depth, deep.reattention_blocks) == (depth, mixed)
        assert dataclasses.replace(deep, reattention_blocks=0) == plain
    assert glyph_variant("glyphs_vit", 6).name == "glyphs_vit_6"


def test_the_names_of_the_classes_are_the_characters():
    assert glyph_variant("glyphs_vit").class_names == characters()
