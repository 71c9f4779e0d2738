"""Q/DQ graph → ONNX Runtime's own INT8 products, with their bias: the form that is fastest on a CPU.

ONNX Runtime fuses DequantizeLinear, DequantizeLinear, MatMul into `com.microsoft.MatMulIntegerToFloat` by itself, but
leaves the bias a pass over memory of its own. The operator takes it as an input; it is documented in ONNX Runtime's
ContribOperators.md.
"""

import onnx
from onnx import helper

from .graph_links import makers, readers
from .quantize import MICROSOFT, PRODUCT


def fuse_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model`, which `finish` has checked, with each INT8 product and its bias as one node.

    A bias in front of a GELU stays, since ONNX Runtime computes those two in one pass.
    """
    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    graph = fused.graph
    made_by, users = makers(graph), readers(graph)
    removed = set()
    for node in graph.node:
        sources = [made_by.get(name) for name in node.input]
        activation, weight = sources if node.op_type == "MatMul" else (None, None)
        if activation is None or weight is None or {activation.op_type, weight.op_type} != {"DequantizeLinear"}:
            continue
        removed |= {activation.name, weight.name}
        inputs = [name for pair in zip(activation.input, weight.input, strict=True) for name in pair]
        if (add := _bias_of(node, users)) is not None:
            inputs.append(next(name for name in add.input if name not in made_by))
            removed.add(add.name)
            node.output[0] = add.output[0]
        node.op_type, node.domain = PRODUCT, MICROSOFT
        node.input[:] = inputs
    nodes = [node for node in graph.node if node.name not in removed]
    alive = {name for node in nodes for name in node.output}
    shapes = [value for value in graph.value_info if value.name in alive]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.value_info.extend(shapes)
    fused.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    onnx.checker.check_model(fused)
    return fused


def _bias_of(product: onnx.NodeProto, users: dict[str, list[onnx.NodeProto]]) -> onnx.NodeProto | None:
    """Return the Add of a bias that alone reads `product`, unless a GELU follows."""
    following = users.get(product.output[0], [])
    if len(following) != 1 or following[0].op_type != "Add" or following[0].name.partition("/")[0] != _module(product):
        return None
    after = users.get(following[0].output[0], [])
    return None if any(node.op_type == "Gelu" for node in after) else following[0]


def _module(node: onnx.NodeProto) -> str:
    return node.name.partition("/")[0]
