"""Whether an execution provider of ONNX Runtime works here, which only trying it shows."""

import numpy as np
from onnx import TensorProto, helper

from ..errors import InputError
from .graph import OnnxGraph


def probe(provider: str) -> str:
    """Run a graph of one node with `provider` and return what ran it.

    Raises:
        MissingError: The provider, its libraries or its device are not here.
        InputError: It runs, and gives another answer.
    """
    shape: list[str | int | None] = ["batch", 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = OnnxGraph(bytes(model.SerializeToString()), name="the probe", provider=provider)
    values = np.array([[-1, 0, 1, 2]], np.float32)
    if not np.array_equal(session.run({"x": values})["y"], np.maximum(values, 0)):
        raise InputError(f"{provider} runs, but gives wrong answers")
    return session.description
