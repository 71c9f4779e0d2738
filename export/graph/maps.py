"""A graph that gives its attention maps beside its logits."""

import re

import onnx
from onnx import TensorProto, helper

from deepvit.calibration.graph_links import makers, readers

from .onnx_file import BATCH, finish
from .spec import AFTER, BEFORE, FEATURES


def expose_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph of any precision that gives its maps and features too, as float32.

    Added are `attention.i` (B, H, N, N), what leaves the softmax of block i; `reattention.i` (B, H, N, N), what
    multiplies the values there, where that is another tensor; and `features.i` (B, N, C). The graph must hold the whole
    maps of its last block and mixed maps with their bias, as GraphModule writes them for `Outputs.MAPS`.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    graph = exposed.graph
    shapes = {value.name: value for value in graph.value_info}
    for block in range(_count_blocks(graph)):
        before = _softmax_output(graph, block)
        after = _values_product(graph, block).input[0]
        _add_output(graph, shapes, before, f"{BEFORE}.{block}")
        if _undone(graph, after) != before:
            _add_output(graph, shapes, after, f"{AFTER}.{block}")
        _add_output(graph, shapes, _nodes(graph, rf"blocks\.{block}/Add(_\d+)?")[-1].output[0], f"{FEATURES}.{block}")
    return finish(exposed)


def _nodes(graph: onnx.GraphProto, pattern: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if re.fullmatch(pattern, node.name)]


def _count_blocks(graph: onnx.GraphProto) -> int:
    return len(_nodes(graph, r"blocks\.\d+\.attn/Softmax"))


def _softmax_output(graph: onnx.GraphProto, block: int) -> str:
    """Return the softmaxed maps as the rest of the graph reads them: after the cast, where there is one."""
    (softmax,) = _nodes(graph, rf"blocks\.{block}\.attn/Softmax")
    casts = [node for node in readers(graph).get(softmax.output[0], []) if node.op_type == "Cast"]
    return str((casts[0] if casts else softmax).output[0])


def _values_product(graph: onnx.GraphProto, block: int) -> onnx.NodeProto:
    """Return the product of the maps with the values: the last of attention that has no constant among its inputs."""
    constants = {initializer.name for initializer in graph.initializer}
    products = _nodes(graph, rf"blocks\.{block}\.attn/MatMul(_\d+)?")
    return [node for node in products if constants.isdisjoint(node.input)][-1]


def _undone(graph: onnx.GraphProto, name: str) -> str:
    """Return what was quantised and restored to `name`, or itself."""
    made_by = makers(graph)
    while name in made_by and made_by[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = made_by[name].input[0]
    return name


def _add_output(graph: onnx.GraphProto, shapes: dict[str, onnx.ValueInfoProto], source: str, name: str) -> None:
    shape = [dim.dim_value or BATCH for dim in shapes[source].type.tensor_type.shape.dim]
    graph.node.append(helper.make_node("Cast", [source], [name], f"{name}/Cast", to=TensorProto.FLOAT))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
