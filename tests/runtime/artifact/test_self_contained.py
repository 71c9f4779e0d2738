"""ONNX files that take their values from elsewhere: refused wherever in the file, before any library sees them."""

import os
import pathlib
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepvit.export.engine.building.network import EngineBuilder
from deepvit.runtime.artifact import self_contained
from deepvit.runtime.artifact.self_contained import require_self_contained
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort import graph
from deepvit.runtime.ort.graph import OnnxGraph

SIZE = 64  # of fewer values ONNX Runtime folds some, which fails
VALUES = np.full(SIZE, 2, np.float32)


def _external(**entries):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[SIZE], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _graph(nodes=(), initializers=(), sparse=(), name="g"):
    made = helper.make_graph(
        [helper.make_node("Max", ["x", "w"], ["y"]), *nodes],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIZE])],
        list(initializers),
    )
    made.sparse_initializer.extend(sparse)
    return made


def _model(made, **fields):
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **fields)


PLACES = {
    "a plain file": {"location": "w.bin"},
    "with an offset and a length": {"location": "w.bin", "offset": "0", "length": "256"},
    "a name with a NUL": {"location": "w.bin\0.onnx"},
    "a file above": {"location": "../w.bin"},
    "an absolute path": {"location": "{folder}/w.bin"},
    "a symlink": {"location": "symlink.bin"},
    "a hard link": {"location": "hardlink.bin"},
    "a pipe": {"location": "pipe"},
    "a device": {"location": "/dev/zero"},
    "memory": {"location": "/proc/self/mem", "offset": "4096"},
    "ONNX Runtime's marker": {"location": "*/_ORT_MEM_ADDR_/*", "offset": "94000000000000", "length": "256"},
    "nowhere": {"location": ""},
    "no location": {"offset": "0"},
    "unknown keys": {"location": "w.bin", "url": "http://127.0.0.1/"},
    "no entries": {},
}


def _located(location, entries):
    tensor = numpy_helper.from_array(VALUES, "w")
    tensor.data_location = location
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return _model(_graph(initializers=[tensor]))


def _positions():
    """Return a model for each place in an ONNX file that a tensor can be in."""
    hidden, inner = _external(location="w.bin"), numpy_helper.from_array(VALUES, "w")
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    subgraph = _graph(initializers=[hidden], name="inside")
    within = helper.make_node("If", ["x"], ["z"], then_branch=_graph(name="then"), else_branch=subgraph)
    loop = helper.make_node("Loop", ["", ""], ["z"], body=_graph(nodes=[within], name="body"))
    several = helper.make_node("Custom", ["x"], ["z"], domain="other")
    tensors = helper.make_attribute("tensors", [inner])
    tensors.tensors.append(hidden)
    graphs = onnx.AttributeProto(name="graphs", type=onnx.AttributeProto.GRAPHS, graphs=[_graph(), subgraph])
    sparse = onnx.SparseTensorProto(values=hidden, indices=numpy_helper.from_array(np.arange(SIZE)), dims=[SIZE])
    indexed = onnx.SparseTensorProto(values=inner, indices=hidden, dims=[SIZE])
    sparse_list = onnx.AttributeProto(name="s", type=onnx.AttributeProto.SPARSE_TENSORS, sparse_tensors=[sparse])
    sparse_one = onnx.AttributeProto(name="s", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=indexed)

    def with_attribute(attribute):
        node = helper.make_node("Custom", ["x"], ["z"], domain="other")
        node.attribute.append(attribute)
        return _model(_graph(nodes=[node], initializers=[inner]))

    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("other", "F", ["a"], ["b"], [constant], opsets)
    default = helper.make_function("other", "F", ["a"], ["b"], [several], opsets)
    default.attribute_proto.add(name="v", type=onnx.AttributeProto.TENSOR).t.CopyFrom(hidden)
    trained, started = _model(_graph(initializers=[inner])), _model(_graph(initializers=[inner]))
    trained.training_info.add().algorithm.CopyFrom(subgraph)
    started.training_info.add().initialization.CopyFrom(subgraph)
    return {
        "a Constant": _model(_graph(nodes=[constant], initializers=[inner])),
        "a branch": _model(_graph(nodes=[within], initializers=[inner])),
        "a branch in a loop": _model(_graph(nodes=[loop], initializers=[inner])),
        "a list of tensors": with_attribute(tensors),
        "a list of graphs": with_attribute(graphs),
        "a sparse initialiser's values": _model(_graph(initializers=[inner], sparse=[sparse])),
        "a sparse initialiser's indices": _model(_graph(initializers=[inner], sparse=[indexed])),
        "a list of sparse tensors": with_attribute(sparse_list),
        "a sparse attribute": with_attribute(sparse_one),
        "a function": _model(_graph(initializers=[inner]), functions=[function]),
        "a function's attribute": _model(_graph(initializers=[inner]), functions=[default]),
        "training": trained,
        "the start of training": started,
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for place in (tmp_path, tmp_path / "cwd"):
        (place / "w.bin").write_bytes(VALUES.tobytes())
    pathlib.Path("symlink.bin").symlink_to("../w.bin")
    os.link("../w.bin", "hardlink.bin")
    os.mkfifo("pipe")
    return tmp_path / "cwd"


class _NeverCalled:
    def __getattr__(self, name):
        raise AssertionError("a library saw the bytes")


def _refused_everywhere(content, folder, monkeypatch, why):
    path = folder / "model.onnx"
    path.write_bytes(content)
    monkeypatch.setattr(graph, "ort", _NeverCalled())
    with pytest.raises(InputError, match=why) as caught:
        open_session(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=why):
        OnnxGraph(content, name="m")
    with pytest.raises(InputError, match=why):
        EngineBuilder(_NeverCalled(), content, None)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("is_declared", [True, False])
def test_wherever_the_values_lie(folder, monkeypatch, place, is_declared):
    entries = {key: value.format(folder=folder) for key, value in PLACES[place].items()}
    if not is_declared and not entries:
        return  # nothing external is left of it
    location = TensorProto.EXTERNAL if is_declared else TensorProto.DEFAULT
    content = _located(location, entries).SerializeToString()
    _refused_everywhere(content, folder, monkeypatch, "keeps the values of tensor 'w' in another file")


@pytest.mark.parametrize("position", _positions())
def test_wherever_the_tensor_is(folder, monkeypatch, position):
    content = _positions()[position].SerializeToString()
    _refused_everywhere(content, folder, monkeypatch, "keeps the values of tensor 'w' in another file")


def test_other_ways_out_of_the_file(folder, monkeypatch):
    engine = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="e.plan", embed_mode=0
    )
    _refused_everywhere(_model(_graph(nodes=[engine])).SerializeToString(), folder, monkeypatch, "holds an engine")
    _refused_everywhere(b"\x20\0\0\0ORTM" + bytes(40), folder, monkeypatch, "ONNX Runtime's own format")


def test_onnx_runtime_would_have_read_the_file(folder, monkeypatch):
    """The negative control: without the walk, the current folder decides what the model answers."""
    monkeypatch.setattr(graph, "require_self_contained", lambda content, name: None)
    content = _located(TensorProto.EXTERNAL, {"location": "w.bin"}).SerializeToString()
    answer = OnnxGraph(content, name="m").run({"x": np.zeros(SIZE, np.float32)})["y"]
    assert np.array_equal(answer, VALUES)


def test_whole_files_are_taken(folder):
    content = _model(_graph(initializers=[numpy_helper.from_array(VALUES, "w")])).SerializeToString()
    answer = OnnxGraph(content, name="m").run({"x": np.zeros(SIZE, np.float32)})["y"]
    assert np.array_equal(answer, VALUES)


@pytest.mark.parametrize(
    "content",
    [b"\x3a", b"\x3a\x05ab", b"\x00\x01", b"\x3b\x3c", b"\xff" * 20, b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"],
)
def test_damaged_files(content):
    with pytest.raises(InputError, match="damaged or not an ONNX file"):
        require_self_contained(content, "m")


def test_nested_without_end():
    inner = b""
    for _ in range(120):  # Graph → Node → Attribute → Graph …
        for field in (6, 5, 1):
            length, prefix = len(inner), b""
            while True:
                prefix += bytes([length & 127 | (128 if length > 127 else 0)])
                length >>= 7
                if not length:
                    break
            inner = bytes([field << 3 | 2]) + prefix + inner
    with pytest.raises(InputError, match="nests more than 100 deep"):
        require_self_contained(b"\x3a" + bytes([128 | len(inner) & 127, len(inner) >> 7]) + inner, "m")


def test_every_way_to_a_tensor_is_walked():
    """The table of fields holds all that the onnx package knows of."""
    names = {"Training": "TrainingInfoProto"}
    protos = {kind: getattr(onnx, names.get(kind, f"{kind}Proto")).DESCRIPTOR for kind in self_contained.CHILDREN}
    known = {descriptor.full_name: kind for kind, descriptor in protos.items()}
    for kind, descriptor in protos.items():
        fields = {f.number: known[f.message_type.full_name] for f in descriptor.fields if _leads_to(f, known)}
        assert fields == self_contained.CHILDREN[kind]
    tensor = protos["Tensor"].fields_by_name
    assert tensor["external_data"].number == self_contained.EXTERNAL_DATA
    assert tensor["data_location"].number == self_contained.DATA_LOCATION
    assert tensor["name"].number == self_contained.TENSOR_NAME
    assert protos["Node"].fields_by_name["op_type"].number == self_contained.NODE_TYPE


def _leads_to(field, known, seen=()):
    if field.message_type is None or field.message_type.full_name in seen:
        return False
    if field.message_type.full_name in known:
        return True
    return any(_leads_to(inner, known, (*seen, field.message_type.full_name)) for inner in field.message_type.fields)


def test_it_needs_no_library():
    assert "onnx" not in vars(self_contained)
    assert sys.modules["deepvit.runtime.artifact.self_contained"] is self_contained


def test_more_fields_than_any_model_has(monkeypatch):
    monkeypatch.setattr(self_contained, "MOST_FIELDS", 1000)
    require_self_contained(b"\x38\x01" * 1000, "m")
    nested = b"".join(b"\x3a\x02\x10\x01" for _ in range(501))  # a graph of one field each
    for content in (b"\x38\x01" * 1001, nested):
        with pytest.raises(InputError, match="it is damaged or not an ONNX file"):
            require_self_contained(content, "m")
