"""A graph around its fused re-attention: what a compiler without the plugin is given, and what is counted for the rest.

The graph is cut at every `ReAttention`: what the node reads becomes an output of the graph, what it gives an input, so
that the compiler can neither leave out the one nor fuse the other away. What the node itself moves and multiplies
follows from its definition; it is counted, where all else is seen.
"""

import dataclasses

import onnx

from deepvit.runtime.errors import InputError

from ...reattention.operator import flops, nodes_of, traffic_bytes
from .traffic import Kernel

COUNTED = "ReAttention (counted)"  # the kind of its kernels
WORDS = {onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.BFLOAT16: "BF16", onnx.TensorProto.FLOAT: "FLOAT"}


@dataclasses.dataclass(frozen=True)
class FusedNode:
    """A node of fused re-attention at one batch size."""

    name: str
    shape: tuple[int, ...]  # of qkv, (B, N, 3, H, d)
    tokens: int
    type: str  # in the compiler's words

    @property
    def flops(self) -> int:
        return flops(self.shape, self.tokens)

    @property
    def kernel(self) -> Kernel:
        """What a kernel that does as it is defined reads and writes."""
        return Kernel(
            name=self.name,
            kind=COUNTED,
            bytes=traffic_bytes(self.shape),
            onnx=(self.name,),
            operand_types=(self.type, self.type),
        )


def cut_out(model: onnx.ModelProto, batch: int) -> list[FusedNode]:
    """Cut every node of fused re-attention out of `model`, in place, and return them; none where there is none.

    Args:
        model: The graph, its tensors' shapes declared.
        batch: The number of images that they are described for.

    Raises:
        InputError: The file does not say which shapes a node reads or gives.
    """
    graph = model.graph
    declared = {value.name: value for value in graph.value_info}
    found = []
    for node in nodes_of(graph):
        qkv, given = declared.get(node.input[0]), declared.get(node.output[0])
        if qkv is None or given is None:
            raise InputError(f"{node.name or node.op_type}: the file does not declare its shapes; export it again")
        attributes = {attribute.name: attribute for attribute in node.attribute}
        sides = tuple(dim.dim_value for dim in qkv.type.tensor_type.shape.dim)
        kind = WORDS[qkv.type.tensor_type.elem_type]
        found.append(FusedNode(node.name, (batch, *sides[1:]), int(attributes["tokens"].i), kind))
        graph.output.append(qkv)
        graph.input.append(given)
        graph.node.remove(node)
    if found:
        del model.functions[:]
    return found
