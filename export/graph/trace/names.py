"""Nodes and weights of a traced graph, named after the modules; nothing in it depends on the machine."""

import ast
import collections

import onnx_ir as ir

from ..onnx_file import PRODUCER

ROOT = "model"  # where a node's name has the path of its module: that of the whole, whose own path is empty
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter says which module a node comes from
TRANSPOSED = "_transposed"  # how the names of linears' weights end: ONNX multiplies from the other side


def name_by_module(model: ir.Model) -> None:
    """Name nodes `module.path/Op`, their outputs after them, and weights by the module that uses them.

    Nodes of the whole model, which has no path, are `model/Op`.
    `blocks.3.attn.qkv/MatMul` is what a precision report, a profile or an error can be read by.
    """
    graph = model.graph
    uses: collections.Counter[str] = collections.Counter()

    def unique(name: str) -> str:
        uses[name] += 1
        return name if uses[name] == 1 else f"{name}_{uses[name] - 1}"

    outputs = set(graph.outputs)
    renamed: set[ir.Value] = set()
    for node in graph:
        path = _module_path(node)
        node.name = unique(f"{path or ROOT}/{node.op_type}")
        for value in node.inputs:
            if value is not None and value.is_initializer() and value not in renamed:
                renamed.add(value)
                value.name = unique(_weight_name(value, path, node))
        for index, value in enumerate(node.outputs):
            if value not in outputs:
                value.name = f"{node.name}.out" + (str(index) if len(node.outputs) > 1 else "")


def _module_path(node: ir.Node) -> str:
    """Return the path of the innermost module that the node was traced in, else that of what feeds it."""
    if SCOPES not in node.metadata_props:  # made by the exporter's optimiser
        producer = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        path = producer.name.rpartition("/")[0] if producer is not None and producer.name else ""
        return "" if path == ROOT else path
    scopes = ast.literal_eval(node.metadata_props[SCOPES])
    return next((scope for scope in reversed(scopes[:-1]) if scope and not scope.startswith("_")), "")


def _weight_name(value: ir.Value, path: str, node: ir.Node) -> str:
    leaf = (value.name or "").rsplit(".", 1)
    if len(leaf) == 2:  # the exporter kept the parameter's own name; its module is the one that uses it
        return f"{path}.{leaf[1]}" if path else leaf[1]
    if value.const_value is not None and value.const_value.dtype.is_integer():
        return f"{node.name}.shape"
    if node.op_type == "MatMul":
        return f"{path}.weight{TRANSPOSED}" if value is node.inputs[1] else f"{path}.mix_weight"
    return f"{path}.{value.name}" if path and value.name in ("position", "class_token") else f"{node.name}.constant"


def strip_metadata(model: ir.Model) -> None:
    """Remove what depends on the machine: stack traces, paths, the exporter's own notes."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.doc_string = model.graph.doc_string = None
    model.graph.name = PRODUCER
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
