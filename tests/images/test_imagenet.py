"""Datasets in every layout: labels, order, and what is refused."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from deepvit.images.decode import decode_images
from deepvit.images.imagenet import DEVKIT_TRUTH, open_dataset, open_images
from deepvit.images.sources import list_sha256, spread
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Preprocessing

TINY = Preprocessing(resize=8, crop=8, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW")
SYNSETS = ("n01440764", "n01443537", "n15075141")  # labels 0, 1 and 999


def _image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10, 12), (value, 0, 0)).save(path, "JPEG")


def _labels(source):
    return [source.read(i)[1] for i in range(len(source))]


def test_synset_folders_are_labelled_by_imagenet_even_when_some_are_missing(tmp_path):
    for number, synset in enumerate(reversed(SYNSETS)):
        _image(tmp_path / "val" / synset / f"ILSVRC2012_val_{number:08}.JPEG")
    source = open_dataset(str(tmp_path), 1000)
    assert _labels(source) == [0, 1, 999]
    assert _labels(open_dataset(str(tmp_path / "val"), 1000)) == [0, 1, 999]
    assert source.name(0).startswith(SYNSETS[0])


def test_numbered_folders_are_in_natural_order(tmp_path):
    for label in range(12):
        _image(tmp_path / "val" / str(label) / "a.jpg")
    labels = dict(zip([n for n, _ in open_dataset(str(tmp_path), 12).files], _labels(open_dataset(str(tmp_path), 12))))
    assert labels == {f"{i}/a.jpg": i for i in range(12)}


def test_wrong_number_of_classes_is_refused(tmp_path):
    for label in range(3):
        _image(tmp_path / "val" / str(label) / "a.jpg")
    with pytest.raises(InputError, match="has 3 class folders .* the model has 1000 classes"):
        open_dataset(str(tmp_path), 1000)


def test_flat_val_with_the_devkit(tmp_path):
    from scipy.io import savemat

    for number in (1, 2, 3):
        _image(tmp_path / "val" / f"ILSVRC2012_val_{number:08}.JPEG", number)
    data = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / DEVKIT_TRUTH).write_text("2\n3\n1\n")
    records = np.array(
        [(1, SYNSETS[2]), (2, SYNSETS[0]), (3, SYNSETS[1])], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")]
    )
    savemat(data / "meta.mat", {"synsets": records})
    assert _labels(open_dataset(str(tmp_path), 1000)) == [0, 1, 999]
    (data / DEVKIT_TRUTH).write_text("2\n")
    with pytest.raises(InputError, match="no valid label for 2 images"):
        open_dataset(str(tmp_path), 1000)


def test_flat_val_with_kaggles_list(tmp_path):
    for number in (1, 2):
        _image(tmp_path / "ILSVRC/Data/CLS-LOC/val" / f"ILSVRC2012_val_{number:08}.JPEG")
    rows = f"ImageId,PredictionString\nILSVRC2012_val_00000002,{SYNSETS[2]} 1 2 3 4\nILSVRC2012_val_00000001,{SYNSETS[1]} 1 2 3 4 \n"
    (tmp_path / "LOC_val_solution.csv").write_text(rows)
    assert _labels(open_dataset(str(tmp_path), 1000)) == [1, 999]


def test_a_folder_without_labels(tmp_path):
    _image(tmp_path / "a.jpg")
    assert len(open_images(str(tmp_path))) == 1
    with pytest.raises(InputError, match="images but no labels"):
        open_dataset(str(tmp_path), 1000)


@pytest.mark.parametrize("content", ["empty", "missing", "file"])
def test_nothing_there(tmp_path, content):
    path = tmp_path / "data"
    if content == "empty":
        path.mkdir()
    if content == "file":
        path.write_text("x")
    for read in (lambda: open_dataset(str(path), 10), lambda: open_images(str(path))):
        with pytest.raises(InputError, match=r"no images|does not exist|not a folder"):
            read()


def test_tar_by_timm(tmp_path):
    with tarfile.open(tmp_path / "val.tar", "w") as archive:
        for label in range(2):
            _image(tmp_path / f"{label}" / "a.jpg", label)
            archive.add(tmp_path / f"{label}" / "a.jpg", f"{label}/a.jpg")
    source = open_dataset(str(tmp_path / "val.tar"), 2)
    assert sorted(_labels(source)) == [0, 1]
    assert all(item.crop is not None for item in decode_images(source, [TINY], workers=1))


def test_order_does_not_depend_on_creation_and_limit_spreads(tmp_path):
    for root, order in (("one", range(20)), ("two", reversed(range(20)))):
        for i in order:
            _image(tmp_path / root / "val" / f"{i % 4}" / f"{i:02}.jpg")
    one, two = (open_dataset(str(tmp_path / root), 4) for root in ("one", "two"))
    assert list_sha256(one) == list_sha256(two)
    some = spread(one, 8)
    assert sorted(_labels(some)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_workers_give_the_same_in_the_same_order_and_report_damage(tmp_path):
    for i in range(50):
        _image(tmp_path / "val" / "0" / f"{i:02}.jpg", i)
    (tmp_path / "val" / "0" / "07.jpg").write_bytes(b"\xff\xd8damaged")
    source = open_dataset(str(tmp_path), 1)
    alone, spawned = (list(decode_images(source, [TINY], workers)) for workers in (0, 2))
    assert [item.index for item in spawned] == list(range(50))
    for one, other in zip(alone, spawned, strict=True):
        assert (one.error, one.label) == (other.error, other.label)
        assert one.crop is None or np.array_equal(one.crop, other.crop)
    assert [item.index for item in alone if item.crop is None] == [7]
