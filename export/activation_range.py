"""The largest activations of a graph, tensor by tensor: what tells how far FP16 is from overflowing."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from runtime.session_onnxruntime import OnnxRuntimeSession

PROBE = "largest:"


def largest_activations(model: onnx.ModelProto, images: np.ndarray, batch_size: int = 4) -> dict[str, float]:
    """Return max |x| over `images` of every float32 tensor that a node computes, by the tensor's name.

    The maxima are taken inside the graph, so that memory does not grow with the number of tensors.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    names = [v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT]
    constants = {initializer.name for initializer in graph.initializer}
    for name in names:
        if name not in constants:
            graph.node.append(helper.make_node("Abs", [name], [f"abs:{name}"]))
            graph.node.append(helper.make_node("ReduceMax", [f"abs:{name}"], [PROBE + name], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(PROBE + name, TensorProto.FLOAT, []))
    session = OnnxRuntimeSession(probed.SerializeToString(), name="the graph with its ranges")
    found: dict[str, float] = {}
    for start in range(0, len(images), batch_size):
        for name, value in session.run_outputs(images[start : start + batch_size]).items():
            if name.startswith(PROBE):
                tensor = name.removeprefix(PROBE)
                found[tensor] = max(found.get(tensor, 0.0), float(value))
    return found
