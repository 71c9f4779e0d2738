"""An ONNX file without its manifest: what it says of itself is used, and believed no further than it is sound."""

import json

import numpy as np
import onnx
import pytest

from deepvit.runtime.artifact import MODEL, metadata, open_artifact
from deepvit.runtime.artifact.manifest import IDENTITY, VERSION
from deepvit.runtime.artifact.metadata import metadata_of
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import identity_of, open_session


@pytest.fixture
def lone(tiny_artifact, tmp_path):
    """A function: changes of its metadata → a copy of the artifact's model.onnx alone."""

    def write(change=None, key=IDENTITY, value=None):
        model = onnx.load(tiny_artifact / MODEL)
        said = json.loads(next(each.value for each in model.metadata_props if each.key == IDENTITY))
        if change is not None:
            change(said)
        texts = {each.key: each.value for each in model.metadata_props} | {IDENTITY: json.dumps(said)}
        if value is not None:
            texts[key] = value
        del model.metadata_props[:]
        for name, text in texts.items():
            model.metadata_props.add(key=name, value=text)
        path = tmp_path / "lone.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_it_says_what_it_is(lone, tiny_artifact):
    manifest = open_artifact(tiny_artifact).manifest
    session = open_session(lone())
    assert session.identity.identity == manifest.identity
    assert session.class_names == tuple("01234")
    assert identity_of(lone()) == session.identity
    images = manifest.golden_input
    assert np.array_equal(session.run(session.identity.golden_input), open_session(tiny_artifact).run(images))


def test_the_classes_of_a_session_have_names(lone):
    names = ["crane", "crane", "中国", "wood rabbit, cottontail", "é"]
    session = open_session(lone(lambda said: said.update(class_names=names)))
    assert session.class_names == tuple(names)


def test_a_file_that_says_nothing_opens_too(tiny_artifact, tmp_path):
    model = onnx.load(tiny_artifact / MODEL)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "lone.onnx")
    session = open_session(tmp_path / "lone.onnx")
    assert (session.identity, session.class_names) == (None, tuple("01234"))
    assert identity_of(tmp_path / "lone.onnx") is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda said: said.update(surprise=1), "surprise: Extra inputs"),
        (lambda said: said.pop("preprocess"), "preprocess: Field required"),
        (lambda said: said.update(schema=2), "schema: "),
        (lambda said: said.update(classes="5"), "classes: "),
        (lambda said: said.update(class_names=list("0123")), "class_names has 4 names, classes is 5"),
        (lambda said: said.update(class_names=[*"0123", "\x1b[2J"]), "the name has characters that steer"),
        (lambda said: said.update(variant="a\nb"), r"the name has characters that steer a terminal: 'a\\nb'"),
        (lambda said: said["preprocess"].update(crop=33), "which is not what preprocess makes"),
        (lambda said: said.update({"\x1b[2J" * 50: 1}), r"\x1b[2J"),
    ],
)
def test_what_it_says_is_parsed_as_a_manifest_is(lone, change, fault):
    path = lone(change)
    for opened in (open_session, identity_of):
        with pytest.raises(InputError, match="lone.onnx says in its metadata what it is, ") as caught:
            opened(path)
        assert fault in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "in no JSON"),
        ("{", "in no JSON"),
        ("[]", "Input should be an object"),
        ('{"schema":1,"schema":1}', "schema stands there twice"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested more than 8 deep"),
        ("[" * 60_000, "nested more than 8 deep"),
        (" " * (1 << 20) + "{}", "in 1048578 bytes, expected at most 1048576"),
    ],
)
def test_text_that_no_export_writes(lone, value, fault):
    with pytest.raises(InputError, match=fault):
        open_session(lone(value=value))


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(classes=6, output=said["output"] | {"shape": ["batch", 6]}),
        lambda said: (
            said["preprocess"].update(crop=40, resize=44),
            said["input"].update(shape=["batch", 3, 40, 40]),
        ),
        lambda said: (
            said["preprocess"].update(layout="NHWC"),
            said["input"].update(shape=["batch", 32, 32, 3], dtype="uint8"),
        ),
    ],
)
def test_the_graph_must_be_what_it_says(lone, change):
    with pytest.raises(InputError, match=r"lone.onnx by its metadata is a model of .* and is one of float32 images"):
        open_session(lone(change))


def test_metadata_that_are_damaged_or_there_twice(lone, tmp_path):
    content = lone().read_bytes()

    def entry(*fields):
        body = b"".join(bytes([number << 3 | 2, len(value)]) + value for number, value in fields)
        return bytes([metadata.PROPERTIES << 3 | 2, len(body)]) + body

    cases = {
        entry((1, IDENTITY.encode()), (2, b"{}")): "has 'deepvit' in its metadata twice",
        entry((1, VERSION.encode()), (2, b"1")): "has 'deepvit_version' in its metadata twice",
        bytes([metadata.PROPERTIES << 3 | 2, 2, 1 << 3 | 2, 100]): "is damaged or not an ONNX file",
        bytes([metadata.PROPERTIES << 3 | 2, 2, 1 << 3 | 2, 255]): "is damaged or not an ONNX file",
        bytes([metadata.PROPERTIES << 3 | 2, 1, 1 << 3 | 3]): "is damaged or not an ONNX file",
        bytes([metadata.PROPERTIES << 3 | 2, 100]): "is damaged or not an ONNX file",
    }
    for tail, fault in cases.items():
        with pytest.raises(InputError, match=f"^m .*{fault}"):
            metadata_of(content + tail, "m")
    other = entry((1, b"\xff"), (2, b"\xff"))
    assert metadata_of(content + other, "m") == metadata_of(content, "m")
    with pytest.raises(InputError, match="m has metadata that are not UTF-8"):
        metadata_of(entry((1, IDENTITY.encode()), (2, b"\xff")), "m")


def test_the_field_numbers_are_onnxs():
    model = onnx.ModelProto.DESCRIPTOR.fields_by_name["metadata_props"]
    entry = onnx.StringStringEntryProto.DESCRIPTOR.fields_by_name
    assert (model.number, entry["key"].number, entry["value"].number) == (
        metadata.PROPERTIES,
        metadata.KEY,
        metadata.VALUE,
    )
