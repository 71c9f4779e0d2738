"""The precision gate: every layer of an engine by type and data type, against what the manifest promises.

An engine that came out in FP32 by accident answers as well and is only slow, so that nobody notices. Before the build
the parsed, strongly typed network tells each layer's type; after it its own layers tell what became of it.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator

from deepvit.runtime.artifact.manifest import Census, Manifest, Precision, ReattentionForm
from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError, first_of

from .layers import EngineLayer

SHOWN = 8
GEMMS, CONVOLUTIONS = "MATRIX_MULTIPLY", "CONVOLUTION"
# TensorRT's names of the types in which each precision computes; INT8 and FP8 graphs compute in FP16 what they leave.
COMPUTES_IN = {
    Precision.FP32: "FLOAT",
    Precision.FP16: "HALF",
    Precision.BF16: "BF16",
    Precision.INT8: "HALF",
    Precision.FP8: "HALF",
}
QUANTIZED = {Precision.INT8: "INT8", Precision.FP8: "FP8"}
FLOATS = frozenset({"FLOAT", "HALF", "BF16", "FP8", "FP4"})
# Layers that do arithmetic on images; others move data, or compute shapes.
PLUGINS = frozenset({"PLUGIN", "PLUGIN_V2", "PLUGIN_V3"})  # what they multiply is no product of the network
COMPUTING = frozenset({GEMMS, CONVOLUTIONS, "ACTIVATION", "ELEMENTWISE", "NORMALIZATION"}) | PLUGINS
SUMMING = frozenset({"SOFTMAX", "REDUCE"})  # accumulate in float32 whatever the graph's precision
# Types of engine layers that multiply: gemm, correlation, runtime_fusion, CaskConvolution, CaskGemmMatrixMultiply, …
MULTIPLIES = re.compile("gemm|correlation|runtime_fusion|convolution", re.IGNORECASE)
FP32_TACTIC = re.compile(r"(?:gemm|fprop)_(?:f32f32|tf32)")  # kernels that read both operands as float32


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a parsed network."""

    name: str
    kind: str
    inputs: tuple[str, ...]  # data types, without the inputs that are empty
    outputs: tuple[str, ...]
    sources: tuple[str, ...] = ()  # the kinds of layers that make the inputs

    @property
    def is_product(self) -> bool:
        return self.kind in (GEMMS, CONVOLUTIONS)

    @property
    def is_quantized(self) -> bool:
        """Whether it computes on quantised operands: all of them come out of a DEQUANTIZE."""
        return bool(self.sources) and set(self.sources) == {"DEQUANTIZE"}


def census_of(network: list[Layer], engine: list[EngineLayer] | None) -> Census:
    """Count layers by type and data type, for the manifest."""
    return Census(
        network=_count(_label(layer) for layer in network),
        engine=None if engine is None else _count(_types_of(x.kind, {t.type for t in x.outputs}) for x in engine),
        gemms_attributed=None if engine is None else sum(bool(layers) for _, layers in _products(network, engine)),
    )


def _count(labels: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(labels).items()))


def _label(layer: Layer) -> str:
    return _types_of(layer.kind, layer.outputs) + (" of quantised" if layer.is_product and layer.is_quantized else "")


def _types_of(kind: str, types: Iterable[str]) -> str:
    return f"{kind} {'/'.join(sorted(set(types))) or '-'}"


def require_network(layers: list[Layer], manifest: Manifest) -> None:
    """Hold the parsed network against the manifest.

    Raises:
        InputError: The manifest promises nothing.
        MissingError: It promises fused re-attention, and no plugin was there to take it.
        OutOfBoundsError: Layers of other types than the manifest promises; they are named.
    """
    if manifest.graph.reattention is ReattentionForm.FUSED and not any(layer.kind in PLUGINS for layer in layers):
        raise MissingError(
            "fused re-attention: no plugin is loaded that takes deepvit::ReAttention, and an engine without it would "
            "compute the body in separate kernels; load the plugin, whose library DEEPVIT_PLUGIN names, or export "
            "without ‹reattention› fused"
        )
    faults = network_breaches(layers, manifest)
    if faults:
        shown = first_of(faults, SHOWN, "; ")
        raise OutOfBoundsError(f"the network is not the {manifest.precision.value} model that was promised: {shown}")


def require_engine(layers: list[EngineLayer], network: list[Layer], manifest: Manifest) -> None:
    """Hold the built engine against the manifest.

    Raises:
        OutOfBoundsError: Layers of other types than the manifest promises; they are named.
    """
    faults = engine_breaches(layers, network, manifest)
    if faults:
        shown = first_of(faults, SHOWN, "; ")
        raise OutOfBoundsError(f"the engine is not the {manifest.precision.value} model that was promised: {shown}")


def network_breaches(layers: list[Layer], manifest: Manifest) -> list[str]:
    """Return in words where the network is not what the manifest promises."""
    faults = []
    form = manifest.graph
    for kind, promised in (
        (GEMMS, _said("gemms", form.gemms)),
        (CONVOLUTIONS, _said("convolutions", form.convolutions)),
    ):
        got = sum(layer.kind == kind for layer in layers)
        if got != promised:
            faults.append(f"{got} {kind} layers, promised {promised}")
    quantized = sum(layer.is_quantized for layer in layers if layer.is_product)
    if quantized != (form.quantized_gemms or 0):
        faults.append(f"{quantized} quantised GEMMs, promised {form.quantized_gemms or 0}")
    computes_in = COMPUTES_IN[manifest.precision]
    allowed_sums = {"FLOAT", computes_in} - {"BF16"}
    for layer in layers:
        if layer.kind == "QUANTIZE" and set(layer.outputs) != {QUANTIZED.get(manifest.precision)}:
            faults.append(f"{layer.name} quantises to {'/'.join(layer.outputs)}, promised {manifest.precision.value}")
        floats = FLOATS.intersection(layer.outputs)
        allowed = {computes_in} if layer.kind in COMPUTING else allowed_sums if layer.kind in SUMMING else FLOATS
        if not floats <= allowed:
            expected = " or ".join(sorted(allowed))
            faults.append(f"{layer.name} ({layer.kind}) computes in {'/'.join(sorted(floats))}, expected {expected}")
    return faults


def _said(what: str, count: int | None) -> int:
    if count is None:
        raise InputError(f"the manifest does not say how many {what} its graph has; export again")
    return count


def engine_breaches(layers: list[EngineLayer], network: list[Layer], manifest: Manifest) -> list[str]:
    """Return in words where the engine is not what the network promised, GEMM by GEMM and convolution by convolution.

    The compiler names a GEMM on every layer that it put a part of it into: also on the scaling and the GELU after an
    INT8 product, which read float16. So one of a GEMM's layers has to read the promised type, quantised activations
    where those were promised; and none may hold its weights in float32, or multiply in it. A GEMM that no layer names
    is a breach: nothing is known of it.
    """
    faults = []
    for product, own in _products(network, layers):
        promised = _promised(product, manifest)
        read = [layer.activation_types if product.is_quantized else layer.operand_types for layer in own]
        types: frozenset[str] = frozenset().union(*read)
        if not own:
            faults.append(f"{product.name} is in no layer of the engine")
        elif promised not in types:
            faults.append(f"{product.name} reads {'/'.join(sorted(types)) or 'nothing'}, expected {promised}")
        elif promised != "FLOAT" and any(_multiplies_float32(layer) for layer in own):
            faults.append(f"{product.name} computes in FLOAT, expected {promised}")
    return faults


def dequantized_products(layers: list[EngineLayer], network: list[Layer], manifest: Manifest) -> list[str]:
    """Return the quantised GEMMs that the engine does not multiply in eight bits.

    Their operands are stored in eight bits, and the compiler chose to widen them before the product.
    """
    return [
        product.name
        for product, own in _products(network, layers)
        if product.is_quantized
        and not any([t.type for t in layer.operands].count(_promised(product, manifest)) > 1 for layer in own)
    ]


def _promised(product: Layer, manifest: Manifest) -> str:
    """Return the type that a GEMM or a convolution has to read."""
    computes_in = COMPUTES_IN[manifest.precision]
    return QUANTIZED.get(manifest.precision, computes_in) if product.is_quantized else computes_in


def _multiplies_float32(layer: EngineLayer) -> bool:
    """Whether a layer multiplies in float32; another one of the same GEMM may read a narrower type, to widen it."""
    has_weights = any(constant.type == "FLOAT" and constant.is_matrix for constant in layer.constants)
    is_product = MULTIPLIES.search(layer.kind) is not None and layer.operand_types == {"FLOAT"}
    return has_weights or is_product or FP32_TACTIC.search(layer.tactic) is not None


def _products(network: list[Layer], engine: list[EngineLayer]) -> Iterator[tuple[Layer, list[EngineLayer]]]:
    """Yield every GEMM and convolution of the network with the engine's layers that name it."""
    named: dict[str, list[EngineLayer]] = {}
    for layer in engine:
        for name in layer.onnx:
            named.setdefault(name, []).append(layer)
    for product in network:
        if product.is_product:
            yield product, named.get(product.name, [])
