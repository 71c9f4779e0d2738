"""The weights of a module in the graph that its structure was traced to."""

import math
from collections.abc import Mapping

import numpy as np
import onnx
import torch

from .names import TRANSPOSED


def with_weights(model: onnx.ModelProto, module: torch.nn.Module) -> onnx.ModelProto:
    """Return `model` with the weights of `module`, which has the structure that the graph was traced from."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    set_weights(changed.graph, module)
    return changed


def set_weights(graph: onnx.GraphProto, module: torch.nn.Module, parameters: Mapping[str, str] | None = None) -> None:
    """Replace the weights of a graph by those of `module`, in place.

    Args:
        graph: Its weights have the names that `name_by_module` gave them, linears' being transposed.
        module: Of the structure that the graph was traced from.
        parameters: Constant → its parameter, for those that are not named after it.
    """
    state = module.state_dict()
    for initializer in graph.initializer:
        name = initializer.name
        plain = name.removesuffix(TRANSPOSED)
        parameter = plain if plain in state else (parameters or {}).get(name)
        if parameter is not None and initializer.data_type == onnx.TensorProto.FLOAT:
            weight = state[parameter] if plain == name else state[parameter].T
            array, shape = weight.float().numpy(), tuple(initializer.dims)
            # At a fixed batch size the class token stands there once for each image.
            array = array.reshape(shape) if array.size == math.prod(shape) else np.broadcast_to(array, shape)
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
