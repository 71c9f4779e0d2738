"""Class names: a user's file, and ImageNet's."""

import logging

import pytest
from timm.data import ImageNetInfo

from deepvit.images.class_names import default_names, names_or_default, read_labels
from deepvit.runtime.artifact.manifest import name_fault
from deepvit.runtime.errors import InputError


def test_imagenets_names_are_timms():
    timms = ImageNetInfo()
    assert default_names(1000) == tuple(timms.index_to_description(index) for index in range(1000))
    assert not any(map(name_fault, default_names(1000)))


def test_a_models_own_names_go_before_others():
    assert names_or_default(["cat", "dog"], 2) == ("cat", "dog")
    assert names_or_default(None, 1000) == default_names(1000)
    assert names_or_default(None, 3) == ("0", "1", "2")
    assert default_names(3) is None


@pytest.mark.parametrize(
    "content", [b"cat\ndog\n", b"cat\ndog", b"cat\r\ndog\r\n", b"\xef\xbb\xbfcat\ndog\n", b" cat \ndog\n"]
)
def test_labels(tmp_path, content):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    assert read_labels(path, 2) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "has 0 lines, expected a class name in each of 2"),
        (b"cat\n", "has 1 lines, expected a class name in each of 2"),
        (b"cat\ndog\n\n", "has 3 lines, expected a class name in each of 2"),
        (b"cat\n\n", "line 2 is empty, or has a space at an end; expected a class name per line"),
        (b"cat\n  \n", "line 2 is empty"),
        (b"\xff\xfe", "cannot be read: 'utf-8' codec"),
        (b"cat\ndo\tg\n", "line 2 has characters that steer a terminal"),
        (b"cat\ndo\rg\n", "line 2 has characters that steer a terminal"),
        ("cat\ndo\u2028g\n".encode(), "line 2 has characters that steer a terminal"),
        (b"\x1b[2J\ndog\n", "line 1 has characters that steer a terminal"),
        (b"x" * 301 + b"\ndog\n", "line 1 has 301 bytes, expected at most 300"),
    ],
)
def test_labels_that_cannot_be_class_names(tmp_path, content, fault):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="^‹labels› ") as refused:
        read_labels(path, 2)
    assert fault in str(refused.value)
    assert str(refused.value).isprintable()


def test_labels_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_labels(tmp_path / "none.txt", 2)


def test_names_of_several_classes_are_told(tmp_path, caplog):
    """Not refused: ImageNet itself has two classes called crane."""
    path = tmp_path / "labels.txt"
    path.write_text("crane\ndog\ncrane\n")
    with caplog.at_level(logging.WARNING):
        assert read_labels(path, 3) == ["crane", "dog", "crane"]
    assert caplog.messages == [f"‹labels› {path}: names of several classes: crane (0, 2)"]
    path.write_text("".join(f"{name}\n" for name in default_names(1000)))
    assert tuple(read_labels(path, 1000)) == default_names(1000)
