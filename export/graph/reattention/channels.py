"""What fused re-attention takes over of a qkv linear in eight bits: the steps of its weights, and its bias.

A compiler that cannot fuse them into the product in front of a plugin's layer reads and writes qkv once more for them.
With f = (f_q, f_k, f_v) a channel's step as a part of the largest, and b the bias, both (3, H, d), the product with one
step for all gives q, k and v without f and b, and

    scores  (f_q∘q + b_q)·(f_k∘k + b_k)ᵀ = (f_q∘f_k∘q + f_k∘b_q)·kᵀ + a number for each row, which softmax does not see
    output  A'·(f_v∘v + b_v) = f_v∘(A'·v) + r_g·b_v,  r_g = Σ_h Θ'_gh + tokens·b'_g the sum of each row of head g's maps

so that the operator's channels are (f_q∘f_k, f_k∘b_q, f_v), and r_g·b_v goes through the projection into its bias. All
of it is exact. In other types the linear stays as it is, and the channels are (1, 0, 1).
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from deepvit.calibration.graph_links import makers
from deepvit.calibration.policy import Product

RESTORES = "DequantizeLinear"
Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Mix:
    """How a block mixes its maps: Θ' (H, H), b' (H,), and over how many keys."""

    theta: Array
    bias: Array
    tokens: int

    @property
    def row_sums(self) -> Array:
        """What the rows of each head's maps sum to, (H,)."""
        return self.theta.sum(1) + self.tokens * self.bias


class Constants:
    """A graph's initializers by name, stored numbers as a DequantizeLinear restores them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph, self._made_by = graph, makers(graph)
        self.tensors = {initializer.name: initializer for initializer in graph.initializer}

    def restorer(self, name: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear that gives a tensor, if one does."""
        node = self._made_by.get(name)
        return node if node is not None and node.op_type == RESTORES else None

    def array(self, name: str) -> Array:
        """Return a constant in float64."""
        node = self.restorer(name)
        if node is None:
            return numpy_helper.to_array(self.tensors[name]).astype(np.float64)
        return self.array(node.input[0]) * self.array(node.input[1])  # symmetric; columns are the channels

    def put(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """Write one, instead of what has its name, and return that."""
        tensor = self.tensors.get(name)
        if tensor is None:
            tensor = self.tensors[name] = self._graph.initializer.add()
        tensor.CopyFrom(numpy_helper.from_array(np.array(array, order="C"), name))
        return name


def is_in_eight_bits(constants: Constants, qkv: Product) -> bool:
    """Return whether both factors of a product are restored from stored numbers."""
    return all(name is not None and constants.restorer(name) for name in (qkv.weight, *qkv.activations))


def take_over(constants: Constants, qkv: Product, projection: Product, mix: Mix) -> Array:
    """Return the channels (3, H, d), leave `qkv` one step for all weights, give `projection` what is left of the bias.

    Raises:
        ValueError: v has a bias, and the projection none.
    """
    assert qkv.bias is not None
    assert qkv.weight is not None
    heads = len(mix.bias)
    b_q, _, b_v = constants.array(qkv.bias).reshape(3, heads, -1)
    f_q, f_k, f_v = _level_steps(constants, qkv.weight, b_q.size).reshape(3, heads, -1)
    if b_v.any():
        if projection.bias is None or projection.weight is None:
            raise ValueError(f"{projection.node} has no bias, which could take that of {qkv.node}'s values")
        moved = (mix.row_sums[:, None] * b_v).ravel() @ constants.array(projection.weight)
        constants.put(projection.bias, (constants.array(projection.bias) + moved).astype(np.float32))
    return np.stack([f_q * f_k, f_k * b_q, f_v])


def _level_steps(constants: Constants, weight: str, width: int) -> Array:
    """Give weights (inputs, 3·width) their largest step for all, and return each channel's as a part of that."""
    restorer = constants.restorer(weight)
    assert restorer is not None
    _, step, zero_point = restorer.input
    steps, zeros = constants.array(step), numpy_helper.to_array(constants.tensors[zero_point])
    constants.put(step, np.array(steps.max(), np.float32))
    constants.put(zero_point, zeros.ravel()[:1].reshape(()))
    del restorer.attribute[:]  # its axis
    return np.broadcast_to(steps / steps.max(), 3 * width)
