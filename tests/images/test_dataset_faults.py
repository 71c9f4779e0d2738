"""Data sets that are not what they seem are refused by name: other splits, folders without an order, damaged lists."""

import io
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile

import pytest
from PIL import Image

from deepvit.images import timm_dataset
from deepvit.images.blocks import readers
from deepvit.images.decode import decode_images
from deepvit.images.imagenet import DEVKIT_TRUTH, KAGGLE_TRUTH, has_split, open_dataset, open_images
from deepvit.images.real_labels import read_real_labels
from deepvit.images.sources import FolderSource, fingerprint_sha256, image_sha256, list_sha256, read_image_sha256
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.preprocess import Preprocessing
from tests.places import ROOT

TINY = Preprocessing(resize=8, crop=8, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW")
SYNSETS = ("n01440764", "n01443537", "n15075141")  # labels 0, 1 and 999
LONG = "a/" * 2500 + "a"


def _image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")
    return path


def _labels_of(root, classes):
    return dict(open_dataset(str(root), classes).files)


@pytest.mark.parametrize("folder", ["train", "test", "VAL", "Validation", "extra/train", "ILSVRC/Data/CLS-LOC/train"])
def test_another_split_is_not_taken_for_val(tmp_path, folder):
    for label in range(3):
        _image(tmp_path / folder / str(label) / "a.png")
    (tmp_path / "devkit").mkdir()
    name = folder.rpartition("/")[2]
    with pytest.raises(InputError, match=rf"has {name}/ but no val/; expected val/<synset>"):
        open_dataset(str(tmp_path), 3)
    assert _labels_of(tmp_path / folder, 3) == {"0/a.png": 0, "1/a.png": 1, "2/a.png": 2}


def test_flat_splits_are_not_classes(tmp_path):
    for name in ("train", "test"):
        _image(tmp_path / name / "a.png")
    with pytest.raises(InputError, match="has test/, train/ but no val/"):
        open_dataset(str(tmp_path), 2)


def test_classes_may_be_called_as_splits_are(tmp_path):
    for name in ("plane", "test", "train"):
        _image(tmp_path / name / "a.png")
    assert _labels_of(tmp_path, 3) == {"plane/a.png": 0, "test/a.png": 1, "train/a.png": 2}
    _image(tmp_path / "more" / "val" / "train" / "a.png")
    _image(tmp_path / "more" / "val" / "test" / "a.png")
    assert _labels_of(tmp_path / "more", 2) == {"test/a.png": 0, "train/a.png": 1}


def test_labels_do_not_depend_on_the_hash_seed(tmp_path):
    names = ["10", "2", "b", "a2", "a10", "²", "é"]
    for name in names:
        _image(tmp_path / "val" / name / "a.png")
    program = (
        "import sys; from deepvit.images.imagenet import open_dataset; print(ascii(open_dataset(sys.argv[1], 7).files))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program, tmp_path],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(found) == 1
    assert sorted(_labels_of(tmp_path, 7).values()) == list(range(7))


@pytest.mark.parametrize("names", [("1", "01", "001"), ("A", "a")])
def test_folders_without_an_order_are_refused(tmp_path, names):
    for name in (*names, "7"):
        _image(tmp_path / "val" / name / "a.png")
    with pytest.raises(InputError, match=rf"class folders {', '.join(sorted(names))} differ in zeros or letter case"):
        open_dataset(str(tmp_path), len(names) + 1)


def test_names_that_are_not_utf8_or_have_control_characters(tmp_path):
    for name in (b"\xff.png", b"\x1b]0;title\x07\r.png", b"a\nb.png"):
        _image(tmp_path / "val" / "0" / os.fsdecode(name))
    source = open_dataset(str(tmp_path), 1)
    names = [source.name(place) for place in range(3)]
    assert names == ["0/\\x1b]0;title\\x07\\r.png", "0/a\\nb.png", "0/\\udcff.png"]
    assert list_sha256(source) == list_sha256(open_images(str(tmp_path)))
    assert len(fingerprint_sha256(source)) == 64
    assert all(item.crops for item in decode_images(source, [TINY], workers=0))


def test_a_class_folder_of_such_a_name_is_named_in_escapes(tmp_path):
    _image(tmp_path / "val" / os.fsdecode(b"\x1b[2J\xff") / "a.png")
    with pytest.raises(InputError) as caught:
        open_dataset(str(tmp_path), 2)
    assert "(\\x1b[2J\\udcff)" in str(caught.value)


def test_links(tmp_path):
    _image(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "val").mkdir()
    for name in "01":
        (tmp_path / "val" / name).symlink_to(tmp_path / "elsewhere" / name)
        _image(tmp_path / "elsewhere" / name / "a.png")
    (tmp_path / "val" / "1" / "b.png").symlink_to("nowhere.png")
    (tmp_path / "val" / "1" / "c.png").symlink_to("c.png")
    source = open_dataset(str(tmp_path), 2)
    assert [source.name(place) for place in range(4)] == ["0/a.png", "1/a.png", "1/b.png", "1/c.png"]
    assert [bool(item.crops) for item in decode_images(source, [TINY], workers=0)] == [True, True, False, False]
    assert [len(read_image_sha256(source, place)) for place in range(4)] == [32, 32, 0, 0]
    (tmp_path / "val" / "1" / "loop").symlink_to(tmp_path / "val")
    with pytest.raises(InputError, match="is the same folder as .*val.*; remove the link"):
        open_dataset(str(tmp_path), 2)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_class_folder_that_cannot_be_read(tmp_path):
    _image(tmp_path / "val" / "0" / "a.png")
    _image(tmp_path / "val" / "1" / "a.png")
    (tmp_path / "val" / "1").chmod(0)
    try:
        with pytest.raises(InputError, match=r"folder .*val/1.* cannot be read: Permission denied"):
            open_dataset(str(tmp_path), 2)
    finally:
        (tmp_path / "val" / "1").chmod(0o700)


def test_a_path_that_is_too_long():
    for open_it in (lambda path: open_dataset(path, 2), open_images):
        for path in (LONG, LONG + ".tar", "b" * 300):
            with pytest.raises(InputError, match="too long"):
                open_it(path)
    assert not has_split(LONG, "val")


@pytest.fixture
def flat(tmp_path):
    _image(tmp_path / "val" / "ILSVRC2012_val_00000001.png")
    return tmp_path


HEADER = b"ImageId,PredictionString\n"
ROW = f"ILSVRC2012_val_00000001,{SYNSETS[2]} 1 2 3 4\n".encode()


def test_kaggles_list_may_begin_with_a_byte_order_mark(flat):
    (flat / KAGGLE_TRUTH).write_bytes(b"\xef\xbb\xbf" + HEADER + b"\n" + ROW)
    assert list(_labels_of(flat, 1000).values()) == [999]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,label\n" + ROW, "expected the columns ImageId, PredictionString, got id, label"),
        (b"", "got none"),
        (HEADER + b"ILSVRC2012_val_00000001\n", "no synset for 1 images"),
        (HEADER + b"ILSVRC2012_val_00000001,\xff\n", "not UTF-8 text at byte 49"),
        (HEADER + b'ILSVRC2012_val_00000001,"' + b"n" * 140_000 + b'"\n', "field larger than field limit"),
        (HEADER + b"ILSVRC2012_val_00000001,\x1b[2J\n", "no synset for 1 images"),
        (b"\x1b[2J,b\n" + ROW, r"got \\x1b\[2J, b"),
        (b"\0" * 100, "expected the columns|not Kaggle's list"),
    ],
)
def test_damaged_kaggle_lists(flat, content, says):
    (flat / KAGGLE_TRUTH).write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_dataset(str(flat), 1000)


@pytest.mark.parametrize("truth", [b"\xb2\n", b"9" * 5000 + b"\n", b"\xff\xfe\n", b"-1\n", b"1.0\n", b""])
def test_damaged_devkit_lists(flat, truth):
    import numpy as np
    from scipy.io import savemat

    records = np.array([(1, SYNSETS[0])], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
    savemat(flat / "meta.mat", {"synsets": np.array([*records, *records])})
    (flat / DEVKIT_TRUTH).write_bytes(b"1\n")
    assert list(_labels_of(flat, 1000).values()) == [0]
    (flat / DEVKIT_TRUTH).write_bytes(truth)
    with pytest.raises(InputError, match="no valid label for 1 images"):
        open_dataset(str(flat), 1000)


@pytest.mark.parametrize("cut", [0, 1, 3, 127, 128, 132, 140, 200, 300])
def test_damaged_devkit_meta(flat, cut):
    import numpy as np
    from scipy.io import savemat

    records = np.array([(1, SYNSETS[0]), (2, SYNSETS[1])], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
    savemat(flat / "meta.mat", {"synsets": records})
    (flat / DEVKIT_TRUTH).write_bytes(b"1\n")
    content = bytearray((flat / "meta.mat").read_bytes())
    for damaged in (content[:cut], content[:cut] + b"\xff\xff\xff\xff" + content[cut + 4 :]):
        (flat / "meta.mat").write_bytes(damaged)
        try:
            open_dataset(str(flat), 1000)  # what was overwritten may be of no account
        except InputError as error:
            assert "\n" not in str(error)


def test_hostile_devkit_meta(flat):
    (flat / DEVKIT_TRUTH).write_bytes(b"1\n")
    for content in (
        b"MATLAB 7.3 MAT-file" + bytes(200),
        b"\x89HDF\r\n\x1a\n" + bytes(1000),
        bytes(1000),
        os.urandom(1000),
    ):
        (flat / "meta.mat").write_bytes(content)
        with pytest.raises(InputError, match="is not the devkit's"):
            open_dataset(str(flat), 1000)


def test_real_labels_that_are_no_numbers(tmp_path):
    (tmp_path / "real.json").write_text("[" + "[true]," * 49_999 + "[1]]")
    with pytest.raises(InputError, match="expected a list of 50000 lists of labels"):
        read_real_labels(tmp_path / "real.json", FolderSource(tmp_path, ()))
    with pytest.raises(InputError, match="‹real_labels› .*too long"):
        read_real_labels(pathlib.Path(LONG), FolderSource(tmp_path, ()))


def test_an_image_is_its_content_and_its_label(tmp_path):
    assert image_sha256(b"a", 1) == image_sha256(b"a", 1)
    assert len({image_sha256(b"a", 1), image_sha256(b"b", 1), image_sha256(b"a", 2), image_sha256(b"a", None)}) == 4


def _tar(path, contents):
    with tarfile.open(path, "w") as archive:
        for place, content in enumerate(contents):
            member = tarfile.TarInfo(f"{place % 2}/{place:03}.jpg")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_a_dataset_that_a_worker_cannot_open_is_no_unreadable_image(tmp_path):
    _tar(tmp_path / "val.tar", [b"a", b"b"])
    source = open_dataset(str(tmp_path / "val.tar"), 2)
    (tmp_path / "val.tar").unlink()
    copy = pickle.loads(pickle.dumps(source))  # as a worker has it
    with pytest.raises(MissingError, match=r"cannot open dataset .*val\.tar.*run it again"):
        list(decode_images(copy, [TINY], workers=0))


def test_torchvision_decodes_no_image(tmp_path):
    for name in ("a.png", "b.png"):
        _image(tmp_path / "val" / "0" / name)
    Image.new("RGB", (8, 8)).save(tmp_path / "val" / "0" / "b.png", "PPM")  # a format that is not decoded
    source = open_dataset(f"torch/image_folder:{tmp_path}", 1)
    assert source.read(0) == ((tmp_path / "val" / "0" / "a.png").read_bytes(), 0)
    found = list(decode_images(pickle.loads(pickle.dumps(source)), [TINY], workers=0))
    assert [bool(item.crops) for item in found] == [True, False]
    assert "not an image of" in found[1].error


def test_a_member_that_is_too_large_to_be_an_image_is_not_read(tmp_path, monkeypatch):
    _tar(tmp_path / "val.tar", [b"abc", b"abcd"])
    monkeypatch.setattr(timm_dataset, "MOST_IMAGE_BYTES", 3)
    source = open_dataset(str(tmp_path / "val.tar"), 2)
    assert source.read(0) == (b"abc", 0)
    with pytest.raises(InputError, match="more than the 3 bytes"):
        source.read(1)


def test_a_tar_file_is_read_in_threads_as_it_is_by_one(tmp_path):
    _tar(tmp_path / "val.tar", [bytes([place]) * 3000 for place in range(200)])
    source = open_dataset(str(tmp_path / "val.tar"), 2)
    alone = [source.read(place) for place in range(200)]
    assert {label for _, label in alone} == {0, 1}
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with readers(8) as pool:
            assert list(pool.map(source.read, range(200))) == alone
    finally:
        sys.setswitchinterval(switching)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(7) == alone[7]


def test_one_thread_at_a_time_reads_a_tar_file(tmp_path, monkeypatch):
    _tar(tmp_path / "val.tar", [b"image"])
    source = open_dataset(str(tmp_path / "val.tar"), 2)
    held = []
    monkeypatch.setattr(source, "_read", lambda *_: held.append(source._one_at_a_time.locked()))
    source.read(0)
    assert held == [True]
