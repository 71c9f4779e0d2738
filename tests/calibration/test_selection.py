"""Which images calibrate: balanced, seeded, sorted, complete."""

import collections
import shutil

import pytest
from PIL import Image

from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.selection import ImageChoice, choose_images, seeded_order
from deepvit.export.quantized.images import calibration_source, held_out_images, left_over
from deepvit.images.imagenet import open_images
from deepvit.images.sources import FolderSource
from deepvit.runtime.artifact.manifest import Split
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import FILES, Preprocessing

SMALL = Preprocessing(resize=8, crop=8, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW")


@pytest.fixture
def folder(tmp_path):
    """Four classes of six images."""
    for label in "abcd":
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "train" / label / f"{number}.png")
    return tmp_path


def _choose(folder, count, **options):
    choice = ImageChoice(count=count, split=Split.TRAIN, **options)
    return choose_images(open_images(str(folder), "train"), choice, SMALL, lambda _done, _total: None)


def chosen_from(dataset, options, *, is_random):
    """What an export of a model of random or trained weights calibrates on."""
    source = calibration_source(options, dataset, 4, FILES, is_random=is_random)
    return choose_images(source.source, source.choice, SMALL, lambda _done, _total: None)


def test_progress_is_told_from_the_first_image(folder):
    told = []
    choice = ImageChoice(count=3, split=Split.TRAIN)
    choose_images(open_images(str(folder), "train"), choice, SMALL, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def _names(chosen):
    return [chosen.source.name(index) for index in range(len(chosen.source))]


def test_the_same_number_of_each_class_sorted_and_seeded(folder):
    chosen = _choose(folder, 8)
    names = _names(chosen)
    assert names == sorted(names)
    assert set(collections.Counter(name[0] for name in names).values()) == {2}
    assert _names(_choose(folder, 8)) == names
    assert _names(_choose(folder, 8, seed=1)) != names
    assert len(set(_names(_choose(folder, 24)))) == 24


def test_the_order_of_files_on_disk_changes_nothing(folder, tmp_path):
    names = _names(_choose(folder, 10))
    other = tmp_path / "other"
    for path in sorted((folder / "train").rglob("*.png"), reverse=True):
        target = other / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert _names(_choose(other, 10)) == names
    source = open_images(str(folder), "train")
    backwards = FolderSource(source.root, source.files[::-1])
    assert [backwards.name(i) for i in seeded_order(backwards, 0)] == [source.name(i) for i in seeded_order(source, 0)]


def test_corrupt_images_are_named_or_replaced(folder, caplog):
    everything = _names(_choose(folder, 12))
    for name in everything[:2]:
        (folder / "train" / name).write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        _choose(folder, 12)
    assert f"2 of 12 calibration images cannot be decoded: {everything[0]}, {everything[1]}" in str(caught.value)
    chosen = _choose(folder, 12, skip_corrupt=True)
    assert len(chosen.source) == 12
    assert chosen.replaced == tuple(everything[:2])
    assert set(everything[2:]) <= set(_names(chosen))
    assert "2 images of 12 could not be decoded and were replaced" in caplog.text
    with pytest.raises(InputError, match="only 22 of 24 images can be used"):
        _choose(folder, 24, skip_corrupt=True)


def test_too_few_images_are_an_error(folder):
    with pytest.raises(InputError, match="24 images to calibrate on, expected 25; give ‹calibration_images› 24"):
        _choose(folder, 25)


def test_held_out_images_are_others(folder, caplog):
    options = QuantizationOptions(images=20)
    chosen = chosen_from(str(folder), options, is_random=False)
    assert chosen.split is Split.TRAIN
    held_out = left_over(held_out_images(str(folder), 4), chosen, 100)
    assert held_out is not None
    assert held_out.is_labelled
    names = {held_out.source.name(index) for index in range(len(held_out.source))}
    assert len(names) == 4
    assert names.isdisjoint(_names(chosen))
    everything = chosen_from(str(folder), QuantizationOptions(images=24), is_random=False)
    assert left_over(held_out_images(str(folder), 4), everything, 9) is None
    assert caplog.text == ""


def test_calibrating_on_what_accuracy_is_measured_on_is_said(folder, caplog):
    (folder / "train").rename(folder / "val")
    chosen = chosen_from(str(folder), QuantizationOptions(images=8), is_random=False)
    assert chosen.split is Split.VAL
    assert "has no train/: calibrated on its val/, so that accuracy measured there is flattered" in caplog.text
    held_out = left_over(held_out_images(str(folder), 4), chosen, 100)
    assert held_out is not None
    assert len(held_out.source) == 16
    flat = folder / "flat"
    flat.mkdir()
    shutil.copy(next((folder / "val" / "a").iterdir()), flat / "one.png")
    assert chosen_from(str(flat), QuantizationOptions(images=1), is_random=False).split is Split.FOLDER


def test_trained_weights_need_images():
    with pytest.raises(InputError, match="give ‹imagenet› DIR, or ‹ranges› FILE"):
        chosen_from(None, QuantizationOptions(), is_random=False)
    assert chosen_from(None, QuantizationOptions(), is_random=True).split is Split.BUNDLED
