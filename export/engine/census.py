"""The precision gate: every layer of an engine by type and data type, against what the manifest promises.

An engine that came out in FP32 by accident answers as well and is only slow, so that nobody notices. Before the build
the parsed, strongly typed network tells each layer's type; after it the engine inspector tells what became of it.
"""

import collections
import dataclasses
import json
import re
from typing import Any

from deepvit.runtime.errors import InputError, OutOfBoundsError, first_of
from deepvit.runtime.manifest import Census, Manifest, Precision

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
COMPUTING = frozenset({GEMMS, CONVOLUTIONS, "ACTIVATION", "ELEMENTWISE", "NORMALIZATION"})
SUMMING = frozenset({"SOFTMAX", "REDUCE"})  # accumulate in float32 whatever the graph's precision
# The inspector's words for data types, longest first: "Row major linear FP16 format", or "Half".
WORDS = {
    "BFLOAT16": "BF16", "BF16": "BF16", "FP16": "HALF", "HALF": "HALF", "INT8": "INT8", "FP8": "FP8", "E4M3": "FP8",
    "INT64": "INT64", "INT32": "INT32", "BOOL": "BOOL", "FP32": "FLOAT", "FLOAT": "FLOAT",
}  # fmt: skip
FP32_TACTIC = re.compile(r"(?:gemm|fprop)_(?:f32f32|tf32)")  # kernels that read both operands as float32


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a network, or of an engine, where `name` also names the ONNX nodes that were fused into it."""

    name: str
    kind: str
    inputs: tuple[str, ...]  # data types, without the inputs that are empty
    outputs: tuple[str, ...]
    sources: tuple[str, ...] = ()  # the kinds of layers that make the inputs
    tactic: str = ""

    @property
    def is_quantized(self) -> bool:
        """Whether it computes on quantised operands: all of them come out of a DEQUANTIZE."""
        return bool(self.sources) and set(self.sources) == {"DEQUANTIZE"}


def census_of(network: list[Layer], engine: list[Layer] | None) -> Census:
    """Count layers by type and data type, for the manifest."""
    return Census(
        network=_count(network),
        engine=None if engine is None else _count(engine),
        gemms_attributed=None if engine is None else len(_attributed(network, engine)),
    )


def _count(layers: list[Layer]) -> dict[str, int]:
    counts = collections.Counter(_label(layer) for layer in layers)
    return dict(sorted(counts.items()))


def _label(layer: Layer) -> str:
    types = "/".join(sorted(set(layer.outputs))) or "-"
    is_product = layer.kind in (GEMMS, CONVOLUTIONS)
    return f"{layer.kind} {types}{' of quantised' if is_product and layer.is_quantized else ''}"


def require_network(layers: list[Layer], manifest: Manifest) -> None:
    """Hold the parsed network against the manifest.

    Raises:
        InputError: The manifest promises nothing.
        OutOfBoundsError: Layers of other types than the manifest promises; they are named.
    """
    faults = network_breaches(layers, manifest)
    if faults:
        shown = first_of(faults, SHOWN, "; ")
        raise OutOfBoundsError(f"the network is not the {manifest.precision.value} model that was promised: {shown}")


def require_engine(layers: list[Layer], network: list[Layer], manifest: Manifest) -> None:
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
    quantized = sum(layer.is_quantized for layer in layers if layer.kind in (GEMMS, CONVOLUTIONS))
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


def engine_breaches(layers: list[Layer], network: list[Layer], manifest: Manifest) -> list[str]:
    """Return in words where the engine is not what the network promised.

    A fused layer may read or write float32 at its edges; one that computes GEMMs and touches nothing narrower does not
    compute in the promised type.
    """
    computes_in = COMPUTES_IN[manifest.precision]
    faults = []
    quantized = {layer.name for layer in network if layer.is_quantized and layer.kind in (GEMMS, CONVOLUTIONS)}
    for layer, names in _attributed_layers(network, layers):
        types = FLOATS.intersection(layer.inputs + layer.outputs)
        if not types:
            continue  # built without detail: nothing to hold
        if computes_in != "FLOAT" and (types == {"FLOAT"} or FP32_TACTIC.search(layer.tactic)):
            faults.append(f"{', '.join(names)} computes in FLOAT, expected {computes_in}")
        if quantized.intersection(names) and QUANTIZED[manifest.precision] not in layer.inputs:
            faults.append(
                f"{', '.join(names)} reads {'/'.join(sorted(types))}, expected {QUANTIZED[manifest.precision]}"
            )
    return faults


def _attributed(network: list[Layer], engine: list[Layer]) -> set[str]:
    return {name for _, names in _attributed_layers(network, engine) for name in names}


def _attributed_layers(network: list[Layer], engine: list[Layer]) -> list[tuple[Layer, list[str]]]:
    """Return the engine's layers that compute GEMMs or convolutions of the network, with the names of those."""
    layer_names = {layer.name for layer in network if layer.kind in (GEMMS, CONVOLUTIONS)}
    pairs = []
    for layer in engine:
        names = sorted(layer_names.intersection(re.split(r"[\s\[\]\x1e\x1f+,]+", layer.name)))
        if names:
            pairs.append((layer, names))
    return pairs


def layers_from_inspector(text: str) -> list[Layer]:
    """Read the engine inspector's JSON, as TensorRT 10 and 11 write it.

    Raises:
        InputError: Not such a JSON.
    """
    try:
        records = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the engine inspector gave no JSON with Layers: {text[:80]!r}") from error
    return [_engine_layer(record) for record in records]


def _engine_layer(record: Any) -> Layer:
    if not isinstance(record, dict):  # names only: the engine was built without detail
        return Layer(str(record), "UNKNOWN", (), ())
    return Layer(
        name=f"{record.get('Name', '')} {record.get('Metadata', '')}",
        kind=str(record.get("LayerType", "UNKNOWN")),
        inputs=_types(record.get("Inputs")),
        outputs=_types(record.get("Outputs")),
        tactic=str(record.get("TacticName", "")),
    )


def _types(tensors: Any) -> tuple[str, ...]:
    """Return the data types of the inspector's tensors; TensorRT 10 has them within the format, 11 beside it."""
    types = []
    for tensor in tensors if isinstance(tensors, list) else []:
        text = str(tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype") or "").upper()
        types += [name for word, name in WORDS.items() if word in text][:1]
    return tuple(types)
