"""A float32 graph whose linears can be quantised one by one at run time, block by block.

Each block runs by itself, so that what lies before a change is computed once. A unit's activations go through Q/DQ
where its switch is on. All weights are inputs, fed as they are or as quantisation stores them, so that blocks of the
same structure share one session.
"""

import dataclasses
import re
from collections.abc import Set

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.session.tensors import Images, Logits

from ..grid import DTYPES
from ..policy import Product, find_products, units_of
from ..quantize import mean_and_shift, store_weight
from ..ranges import Ranges, TensorRange, grid_of

Array = npt.NDArray[np.float32]
Constant = npt.NDArray[np.generic]
FED_TYPES = (TensorProto.FLOAT, TensorProto.UINT8)  # others, shapes and zeros of FP8, stay in the graph
BLOCK = re.compile(r"blocks\.(\d+)[./]")


@dataclasses.dataclass(frozen=True)
class _ConstantPair:
    """A constant of a block, as it is and as quantisation has it; the same where it belongs to no unit."""

    unit: str
    exact: Constant
    quantized: Constant


@dataclasses.dataclass(frozen=True)
class _Part:
    """One block: a session, which other blocks may share, and what this one feeds it."""

    session: OnnxGraph
    source: str  # the input that takes what the block before gave
    switches: dict[str, str]  # input → unit
    fed: dict[str, _ConstantPair]  # input → weights

    def run(self, values: Array | Images, quantized: Set[str]) -> Array:
        feeds: dict[str, Constant] = {self.source: values}
        feeds |= {name: np.array(unit in quantized) for name, unit in self.switches.items()}
        feeds |= {name: fed.quantized if fed.unit in quantized else fed.exact for name, fed in self.fed.items()}
        (result,) = self.session.run(feeds).values()
        return np.asarray(result, np.float32)


class SwitchableModel:
    """The float32 graph `model` of `ranges`, with each unit quantised or not, as every run says.

    With a grid in place of ranges, weights alone are quantised.

    Attributes:
        units: The names of what can be quantised, in the graph's order.
    """

    def __init__(self, model: onnx.ModelProto, ranges: Ranges | Grid) -> None:
        products = find_products(model, attention=isinstance(ranges, Ranges) and ranges.attention)
        self.units = units_of(products)
        self._block_of = {product.unit: product.block + 1 for product in products}
        switched = _Switched(model, products, ranges)
        self._parts = switched.parts()

    def run(self, images: Images, quantized: Set[str] = frozenset()) -> Logits:
        """Return logits (B, classes) with the units in `quantized` quantised."""
        return self.states(images, quantized)[-1]

    def states(self, images: Images, quantized: Set[str]) -> list[Array]:
        """Return what every block gets, and at the end the logits."""
        states: list[Array] = [np.asarray(images)]
        for part in self._parts:
            states.append(part.run(states[-1], quantized))
        return states

    def changed(self, states: list[Array], unit: str, quantized: Set[str]) -> Logits:
        """Return the logits with `quantized`, which differs from what `states` were computed with in `unit` alone."""
        first = self._block_of[unit]
        values = states[first]
        for part in self._parts[first:]:
            values = part.run(values, quantized)
        return values


class _Switched:
    """Puts the switches into a graph and cuts it at its blocks."""

    def __init__(self, model: onnx.ModelProto, products: list[Product], ranges: Ranges | Grid) -> None:
        self._model = onnx.shape_inference.infer_shapes(model)
        graph = self._model.graph
        self._constants = {initializer.name: initializer for initializer in graph.initializer}
        self._types = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
        self._grid, self._ranges = grid_of(ranges), ranges if isinstance(ranges, Ranges) else None
        self._switches: dict[str, str] = {}
        self._fed: dict[str, _ConstantPair] = {}
        self._sessions: dict[bytes, OnnxGraph] = {}
        by_node = {product.node: product for product in products}
        self._nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            if node.name in by_node:
                self._switch(node, by_node[node.name])
            self._nodes.append(node)

    def _switch(self, node: onnx.NodeProto, product: Product) -> None:
        if product.weight is not None:
            weight, bias = self._array(product.weight), self._array(product.bias)
            assert weight is not None
            mean, shift = mean_and_shift(product, self._ranges)
            stored_weight = store_weight(weight, bias, mean, self._grid, shift)
            self._fed[product.weight] = _ConstantPair(product.unit, weight, stored_weight.restored)
            if product.bias is not None and bias is not None and stored_weight.bias is not None:
                self._fed[product.bias] = _ConstantPair(product.unit, bias, stored_weight.bias)
        if self._ranges is None:
            return
        switch = f"switch:{product.unit}"
        self._switches[switch] = product.unit
        for index, name in enumerate(product.activations):
            node.input[index] = self._round(name, self._ranges.tensors[name], switch, f"{product.node}:{index}")

    def _round(self, name: str, measured: TensorRange, switch: str, prefix: str) -> str:
        """Insert Where(switch, DQ(Q(x − shift)), x) and return its output."""
        scale = measured.scale(self._grid)
        step, zero, held, restored, choice = (f"{prefix}:{what}" for what in ("step", "zero", "held", "dq", "chosen"))
        self._constants[step] = numpy_helper.from_array(scale.step.reshape(()), step)
        self._constants[zero] = numpy_helper.from_array(np.array(scale.zero_point, DTYPES[scale.grid]), zero)
        shifted = name
        if measured.shift:
            shift, shifted = f"{prefix}:shift", f"{prefix}:shifted"
            self._constants[shift] = numpy_helper.from_array(np.array(measured.shift, np.float32), shift)
            self._nodes.append(helper.make_node("Sub", [name, shift], [shifted], shifted))
        self._nodes += [
            helper.make_node("QuantizeLinear", [shifted, step, zero], [held], held),
            helper.make_node("DequantizeLinear", [held, step, zero], [restored], restored),
            helper.make_node("Where", [switch, restored, name], [choice], choice),
        ]
        return choice

    def _array(self, name: str | None) -> Array | None:
        return None if name is None else np.array(numpy_helper.to_array(self._constants[name]), np.float32)

    def parts(self) -> list[_Part]:
        """Cut at the blocks: the embedding, the blocks, and what follows with the last of them."""
        cut: list[list[onnx.NodeProto]] = [[]]
        for node in self._nodes:
            match = BLOCK.match(node.name)
            if match and int(match[1]) + 1 == len(cut):
                cut.append([])
            cut[-1].append(node)
        results = [nodes[0].input[0] for nodes in cut[1:]] + [self._model.graph.output[0].name]
        sources = [self._model.graph.input[0].name, *results[:-1]]
        return [self._part(*part) for part in zip(cut, sources, results, strict=True)]

    def _part(self, nodes: list[onnx.NodeProto], source: str, result: str) -> _Part:
        """Make one block's graph, its names by order of appearance so that equal structures are equal bytes."""
        outputs = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in outputs)
        plain = {name: f"v{index}" for index, name in enumerate([*read, *_outputs(nodes)])}
        unknown = set(read) - {source} - set(self._switches) - set(self._constants)
        assert not unknown, f"a block reads {sorted(unknown)} of another"
        inputs = [_typed(self._types[source], plain[source])]
        fed, switches, constants = {}, {}, []
        for name in read:
            if name in self._switches:
                switches[plain[name]] = self._switches[name]
                inputs.append(helper.make_tensor_value_info(plain[name], TensorProto.BOOL, []))
            elif name in self._constants and self._constants[name].data_type in FED_TYPES:
                constant = self._constants[name]
                fed[plain[name]] = self._fed.get(name) or self._constant(name)
                inputs.append(helper.make_tensor_value_info(plain[name], constant.data_type, list(constant.dims)))
            elif name in self._constants:
                copy = onnx.TensorProto()
                copy.CopyFrom(self._constants[name])
                copy.name = plain[name]
                constants.append(copy)
        renamed = [_renamed(node, plain, f"n{index}") for index, node in enumerate(nodes)]
        graph = helper.make_graph(renamed, "part", inputs, [_typed(self._types[result], plain[result])], constants)
        model = helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        return _Part(self._session(model.SerializeToString(deterministic=True)), plain[source], switches, fed)

    def _constant(self, name: str) -> _ConstantPair:
        values = np.array(numpy_helper.to_array(self._constants[name]))
        return _ConstantPair("", values, values)

    def _session(self, content: bytes) -> OnnxGraph:
        if content not in self._sessions:
            self._sessions[content] = OnnxGraph(content, name="a block of the graph")
        return self._sessions[content]


def _outputs(nodes: list[onnx.NodeProto]) -> list[str]:
    """Return what the nodes make, in order."""
    return [name for node in nodes for name in node.output if name]


def _renamed(node: onnx.NodeProto, plain: dict[str, str], name: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = name
    copy.input[:] = [plain.get(value, value) for value in node.input]
    copy.output[:] = [plain.get(value, value) for value in node.output]
    return copy


def _typed(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    for dimension in copy.type.tensor_type.shape.dim:
        if dimension.HasField("dim_param"):  # shape inference numbers those that it does not know
            dimension.dim_param = "batch"
    return copy
