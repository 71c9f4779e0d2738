"""Float32 graph + ranges → the same graph with Q/DQ nodes, which is how every engine builder is told of INT8 and FP8.

`DequantizeLinear(QuantizeLinear(x))` in front of a product's activations, `DequantizeLinear` of stored numbers in front
of its weights. A tensor that several products read is quantised once. Scales and shifts are FP16 numbers, so that the
graph can be cast to FP16 afterwards without changing them.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from deepvit.metrics.bounds import FP16_MAX
from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.errors import OutOfBoundsError

from .graph_links import makers
from .grid import DTYPES, Scale, stored, weight_scale
from .policy import Product, find_products
from .ranges import Ranges, TensorRange, grid_of

# Output channels of (inputs, outputs), counted from the end where weights alone are quantised: ONNX Runtime takes a
# DequantizeLinear of axis 1 for what it can fuse with the product into MatMulNBits, which then computes wrongly or with
# activations rounded to eight bits, according to the session's level of optimisation (seen in 1.31; not in 1.24).
CHANNELS, CHANNELS_UNFUSED = 1, -1
MICROSOFT, PRODUCT = "com.microsoft", "MatMulIntegerToFloat"  # ONNX Runtime's own INT8 product


@dataclasses.dataclass(frozen=True)
class StoredWeight:
    """A linear's weights on their grid, and its bias corrected for what that changed."""

    values: npt.NDArray[np.generic]  # (inputs, outputs), INT8 or E4M3
    scale: Scale
    bias: npt.NDArray[np.float32] | None  # (outputs,)

    @property
    def restored(self) -> npt.NDArray[np.float32]:
        """The weights as the product reads them."""
        return self.values.astype(np.float32) * self.scale.step


def store_weight(
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32] | None,
    mean: npt.NDArray[np.float64] | None,
    grid: Grid,
    shift: float = 0.0,
) -> StoredWeight:
    """Round weights (inputs, outputs) to their grid and correct the bias: b + c·1ᵀW + (E[x] − c)·(W − W_q).

    So the linear's mean output stays what it was (Nagel et al., "Data-free quantization", arXiv:1906.04721, section
    4.2, with the mean measured), of an input x − c with the `shift` c. `mean` is E[x], (inputs,); None leaves the bias
    as it is.
    """
    scale = weight_scale(weight, grid)
    stored_weight = StoredWeight(stored(weight, scale), scale, bias)
    if bias is None or mean is None:
        return stored_weight
    difference = weight.astype(np.float64) - stored_weight.restored
    moved = bias + shift * weight.sum(axis=0, dtype=np.float64)
    return dataclasses.replace(stored_weight, bias=(moved + (mean - shift) @ difference).astype(np.float32))


def mean_and_shift(product: Product, ranges: Ranges | None) -> tuple[npt.NDArray[np.float64] | None, float]:
    """Return what `store_weight` has to know of a linear's input; nothing of one that stays as it is."""
    if ranges is None:
        return None, 0.0
    name = product.activations[0]
    return np.array(ranges.means[name]), ranges.tensors[name].shift


def quantize_graph(
    model: onnx.ModelProto, ranges: Ranges | Grid, float_units: frozenset[str] = frozenset()
) -> onnx.ModelProto:
    """Insert Q/DQ nodes into a copy of `model`.

    Args:
        model: The float32 graph that the ranges belong to, rescaled.
        ranges: Of every activation that the policy names; or a grid alone, on which weights are stored while
            activations stay as they are.
        float_units: Those that stay as they are, such as `blocks.3.mlp.fc2`.

    Raises:
        OutOfBoundsError: A range whose scale FP16 cannot hold.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    products = [
        product
        for product in find_products(model, attention=isinstance(ranges, Ranges) and ranges.attention)
        if product.unit not in float_units
    ]
    inserter = _Inserter(quantized, ranges)
    for product in products:
        inserter.add(product)
    inserter.finish()
    return quantized


class _Inserter:
    """Collects what is inserted in front of which node."""

    def __init__(self, model: onnx.ModelProto, ranges: Ranges | Grid) -> None:
        self._graph, self._grid = model.graph, grid_of(ranges)
        self._ranges = ranges if isinstance(ranges, Ranges) else None
        self._nodes = {node.name: node for node in self._graph.node}
        self._constants = {initializer.name: initializer for initializer in self._graph.initializer}
        self._inserted: dict[str, list[onnx.NodeProto]] = {}
        self._restored: dict[str, str] = {}  # tensor → what stands for it after Q/DQ

    def add(self, product: Product) -> None:
        node = self._nodes[product.node]
        if self._ranges is not None:
            for name in product.activations:
                if name not in self._restored:
                    self._restored[name] = self._quantize_activation(name, product, self._ranges.tensors[name])
                node.input[list(node.input).index(name)] = self._restored[name]
        if product.weight is not None:
            node.input[1] = self._store_weight(product, CHANNELS_UNFUSED if self._ranges is None else CHANNELS)

    def _insert(self, product: Product, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        node = helper.make_node(kind, inputs, [f"{name}.out"], name, **attributes)
        self._inserted.setdefault(product.node, []).append(node)
        return node.output[0]

    def _constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def _quantize_activation(self, name: str, product: Product, measured: TensorRange) -> str:
        scale = measured.scale(self._grid)
        if not float(scale.step) <= FP16_MAX:
            raise OutOfBoundsError(f"{name} reaches {measured.high:.4g}: its scale does not fit FP16")
        base = name.removesuffix(".out")
        if measured.shift:
            constant = self._constant(f"{base}.shift", np.array(measured.shift, np.float32))
            name = self._insert(product, "Sub", f"{base}/Sub", [name, constant])
        step = self._constant(f"{base}.scale", scale.step.reshape(()))
        zero = self._constant(f"{base}.zero_point", np.array(scale.zero_point, DTYPES[scale.grid]))
        held = self._insert(product, "QuantizeLinear", f"{base}/QuantizeLinear", [name, step, zero])
        return self._insert(product, "DequantizeLinear", f"{base}/DequantizeLinear", [held, step, zero])

    def _store_weight(self, product: Product, axis: int) -> str:
        assert product.weight is not None
        weight = numpy_helper.to_array(self._constants[product.weight])
        bias = None if product.bias is None else numpy_helper.to_array(self._constants[product.bias])
        mean, shift = mean_and_shift(product, self._ranges)
        stored_weight = store_weight(weight, bias, mean, self._grid, shift)
        self._graph.initializer.remove(self._constants.pop(product.weight))
        if product.bias is not None and stored_weight.bias is not None:
            self._constants[product.bias].CopyFrom(numpy_helper.from_array(stored_weight.bias, product.bias))
        base = product.weight
        step, values = stored_weight.scale.step, stored_weight.values
        zero = np.zeros(step.shape, values.dtype)
        inputs = [
            self._constant(base, values),
            self._constant(f"{base}.scale", step),
            self._constant(f"{base}.zero_point", zero),
        ]
        attributes = {"axis": axis} if step.ndim else {}
        return self._insert(product, "DequantizeLinear", f"{base}/DequantizeLinear", inputs, **attributes)

    def finish(self) -> None:
        nodes = []
        for node in self._graph.node:
            nodes += [*self._inserted.get(node.name, []), node]
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(nodes)


def count_quantized(model: onnx.ModelProto) -> int:
    """Return how many products read nothing but dequantised numbers."""
    made_by = {name: node.op_type for name, node in makers(model.graph).items()}
    return sum(
        node.op_type == PRODUCT
        or (
            node.op_type in ("MatMul", "Gemm")
            and all(made_by.get(name) == "DequantizeLinear" for name in node.input[:2])
        )
        for node in model.graph.node
    )
