"""Class names: a user's file, and ImageNet's."""

import pytest
from timm.data import ImageNetInfo

from deepvit.images.class_names import default_labels, read_labels
from deepvit.runtime.errors import InputError


def test_labels(tmp_path):
    names, timms = default_labels(1000), ImageNetInfo()
    assert names[207].startswith("golden retriever")
    assert names == [timms.index_to_description(index) for index in range(1000)]
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\n")
    assert read_labels(path, 2) == ["cat", "dog"]
    for content in (b"cat\n", b"cat\n\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="‹labels›"):
            read_labels(path, 2)


def test_other_classes_have_numbers():
    assert default_labels(3) == ["0", "1", "2"]


def test_a_refusal_says_how_many_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_labels(tmp_path / "none.txt", 2)
    (tmp_path / "labels.txt").write_text("cat\n\ndog\n")
    with pytest.raises(InputError, match="names 2 classes, one per line; expected 3"):
        read_labels(tmp_path / "labels.txt", 3)
