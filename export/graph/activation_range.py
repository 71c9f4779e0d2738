"""The largest activations of a graph, tensor by tensor: what tells how far FP16 is from overflowing."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from deepvit.calibration.padded_tokens import KEY_MASK
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.ort.rounding import MOVES_DATA
from deepvit.runtime.session.tensors import padded_batch

from .trace import INPUT

REDUCTIONS = ("ReduceMax", "ReduceMin")


def largest_activations(model: onnx.ModelProto, images: np.ndarray, batch_size: int = 2) -> dict[str, float]:
    """Return max |x| over `images` of every float32 tensor that a node computes, by the tensor's name.

    What a node only moves is named after the node that computed it. Scores are measured before padding is masked, which
    no value of theirs survives.

    The maxima are taken inside the graph, so that memory does not grow with the number of tensors.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    constants = {initializer.name for initializer in graph.initializer}
    floats = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT} - constants
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:  # each maximum right behind its tensor, which can then be freed
        nodes.append(node)
        is_skipped = node.op_type in MOVES_DATA or any(name.endswith(KEY_MASK) for name in node.input)
        for name in () if is_skipped else floats.intersection(node.output):
            for reduce in REDUCTIONS:
                nodes.append(helper.make_node(reduce, [name], [f"{reduce}:{name}"], keepdims=0))
                graph.output.append(helper.make_tensor_value_info(f"{reduce}:{name}", TensorProto.FLOAT, []))
    del graph.node[:]
    graph.node.extend(nodes)
    session = OnnxGraph(probed.SerializeToString(), name="the graph with its ranges")
    fixed = session.inputs[INPUT][1][0]
    size = fixed if isinstance(fixed, int) else batch_size
    found: dict[str, float] = {}
    for start in range(0, len(images), size):
        part = images[start : start + size]
        padded = padded_batch(part, fixed) if isinstance(fixed, int) else part
        for name, value in session.run({INPUT: padded}).items():
            reduce, _, tensor = name.partition(":")
            if reduce in REDUCTIONS:
                found[tensor] = max(found.get(tensor, 0.0), abs(float(value)))
    return found
