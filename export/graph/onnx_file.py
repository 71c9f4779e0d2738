"""What every ONNX graph of ours is: its header, its shapes, what it says of itself, its bytes."""

import dataclasses

import onnx

from deepvit.calibration.quantize import PRODUCT, count_quantized
from deepvit.runtime.artifact.manifest import IDENTITY, VERSION, Identity

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
IR_VERSION = 10
PRODUCER = "deepvit"
SHAPE_BYTES = 1024  # constants up to this size may be shapes, which inference reads


def finish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fix the header, infer every shape and check the model.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: The graph is wrong, which is our mistake.
    """
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, PRODUCER, ""
    # What an operator with a body gives is declared where it is written: no shape is inferred through its body.
    defined = {(function.domain, function.name) for function in model.functions}
    outputs = {name for node in model.graph.node if (node.domain, node.op_type) in defined for name in node.output}
    declared = [value for value in model.graph.value_info if value.name in outputs]
    del model.graph.value_info[:]
    light = _without_weights(model, declared)
    inferred = onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred, full_check=True)
    model.graph.value_info.extend(inferred.graph.value_info)
    return model


def _without_weights(model: onnx.ModelProto, declared: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """Return the model with its weights as inputs: inference and the checker ask for no more than their types.

    They would copy all of them several times, which takes longer than what they do.
    """
    whole = model.graph
    graph = onnx.GraphProto(
        name=whole.name, node=whole.node, input=whole.input, output=whole.output, value_info=declared
    )
    for constant in whole.initializer:
        if len(constant.raw_data) <= SHAPE_BYTES:
            graph.initializer.append(constant)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    return onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, graph=graph, functions=model.functions
    )


def identify(model: onnx.ModelProto, identity: Identity, version: str = "") -> None:
    """Write into the graph's metadata what it is, and nothing else: a manifest is held against it, or is not needed.

    Args:
        model: The graph, changed in place.
        identity: What it is.
        version: Of this package.
    """
    del model.metadata_props[:]
    model.metadata_props.add(key=IDENTITY, value=identity.metadata)
    model.metadata_props.add(key=VERSION, value=version)
    model.producer_version = version


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Serialise, the same bytes for the same model."""
    return bytes(model.SerializeToString(deterministic=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GemmCounts:
    """How many matrix products and convolutions a graph has, and how many of the products are of quantised numbers."""

    gemms: int
    convolutions: int
    quantized_gemms: int


def count_gemms(model: onnx.ModelProto) -> GemmCounts:
    """Count what the engine's census is held against."""
    kinds = [node.op_type for node in model.graph.node]
    return GemmCounts(
        gemms=kinds.count("MatMul") + kinds.count("Gemm") + kinds.count(PRODUCT),
        convolutions=kinds.count("Conv"),
        quantized_gemms=count_quantized(model),
    )
