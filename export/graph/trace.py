"""A module → an ONNX graph: traced by PyTorch's exporter, named after the modules, reproducible byte for byte."""

import ast
import collections
import contextlib
import dataclasses
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import torch

from deepvit.calibration.quantize import PRODUCT, count_quantized
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import IDENTITY, VERSION, BatchRange, Identity

from .repeated import copy_blocks, kind_of, runs_of, stand_in, stand_in_value, weights_of

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
ROOT = "model"  # where a node's name has the path of its module: that of the whole, whose own path is empty
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter says which module a node comes from
IR_VERSION = 10
TRACE_BATCH = 2  # 1 would be taken for a constant
PRODUCER = "deepvit"
TRANSPOSED = "_transposed"  # how the names of linears' weights end: ONNX multiplies from the other side
SHAPE_BYTES = 1024  # constants up to this size may be shapes, which inference reads


def onnx_from_module(module: torch.nn.Module, image: torch.Tensor, batch: BatchRange, opset: int) -> onnx.ModelProto:
    """Export `module` in float32 with a dynamic batch.

    Args:
        module: images → logits, in evaluation mode.
        image: One image as the module takes it, with a batch dimension of 1: gives shape and dtype.
        batch: Bounds of the batch dimension.
        opset: ONNX opset.

    Returns:
        The model, one input `images` and one output `logits`, nodes and weights named by module path, checked by
        `onnx.checker` with strict shape inference.

    Raises:
        InputError: The exporter cannot write this opset.
    """
    key = (kind_of(module), tuple(image.shape), image.dtype, str(batch), opset)
    if key not in _KNOWN:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = _structure(module, image, batch, opset)
    known, model = _KNOWN[key], onnx.ModelProto()
    model.CopyFrom(known.model)
    set_weights(model.graph, module, known.parameters)
    return finish(model)


@dataclasses.dataclass(frozen=True)
class _Structure:
    """A graph without the values of its weights, and the parameters of those that are not named after theirs."""

    model: onnx.ModelProto
    parameters: dict[str, str]


# What was traced in this process: a structure does not depend on weights, and tracing is what an export takes longest
# for where models are small.
_KNOWN: dict[tuple[object, ...], _Structure] = {}
MOST_KNOWN = 32


def _structure(module: torch.nn.Module, image: torch.Tensor, batch: BatchRange, opset: int) -> _Structure:
    runs = runs_of(module.get_submodule("blocks").children())
    copied = stand_in(module, runs)
    model = ir.to_proto(_traced(copied, image, batch, opset))
    names = {stand_in_value(number): name for number, (name, _) in enumerate(weights_of(copied))}
    parameters = {}
    for constant in model.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        name = (
            names.get(float(values.flat[0])) if constant.data_type == onnx.TensorProto.FLOAT and values.size else None
        )
        if name is not None:
            constant.ClearField("raw_data")
            parameters[constant.name] = name
    copy_blocks(model.graph, runs)
    elsewhere = {constant: name for constant, name in parameters.items() if not constant.startswith("blocks.")}
    return _Structure(model, elsewhere)


def _traced(module: torch.nn.Module, image: torch.Tensor, batch: BatchRange, opset: int) -> ir.Model:
    sample = image.expand(TRACE_BATCH, *image.shape[1:]).contiguous()
    # With one batch size only, the dimension is a constant.
    dynamic = None if batch.min == batch.max else ({0: torch.export.Dim(BATCH, min=1, max=max(batch.max, 2))},)
    with _quiet(), torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (sample if dynamic else image.expand(batch.max, *image.shape[1:]).contiguous(),),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=dynamic,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    model = program.model
    if model.opset_imports.get("") != opset:
        raise InputError(f"‹opset› {opset}: PyTorch {torch.__version__} exports opset {model.opset_imports.get('')}")
    name_by_module(model)
    strip_metadata(model)
    return model


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress messages and deprecation warnings from the user's terminal."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def name_by_module(model: ir.Model) -> None:
    """Name nodes `module.path/Op`, their outputs after them, and weights by the module that uses them.

    Nodes of the whole model, which has no path, are `model/Op`.
    `blocks.3.attn.qkv/MatMul` is what a precision report, a profile or an error can be read by.
    """
    graph = model.graph
    uses: collections.Counter[str] = collections.Counter()

    def unique(name: str) -> str:
        uses[name] += 1
        return name if uses[name] == 1 else f"{name}_{uses[name] - 1}"

    outputs = set(graph.outputs)
    renamed: set[ir.Value] = set()
    for node in graph:
        path = _module_path(node)
        node.name = unique(f"{path or ROOT}/{node.op_type}")
        for value in node.inputs:
            if value is not None and value.is_initializer() and value not in renamed:
                renamed.add(value)
                value.name = unique(_weight_name(value, path, node))
        for index, value in enumerate(node.outputs):
            if value not in outputs:
                value.name = f"{node.name}.out" + (str(index) if len(node.outputs) > 1 else "")


def _module_path(node: ir.Node) -> str:
    """Return the path of the innermost module that the node was traced in, else that of what feeds it."""
    if SCOPES not in node.metadata_props:  # made by the exporter's optimiser
        producer = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        path = producer.name.rpartition("/")[0] if producer is not None and producer.name else ""
        return "" if path == ROOT else path
    scopes = ast.literal_eval(node.metadata_props[SCOPES])
    return next((scope for scope in reversed(scopes[:-1]) if scope and not scope.startswith("_")), "")


def _weight_name(value: ir.Value, path: str, node: ir.Node) -> str:
    leaf = (value.name or "").rsplit(".", 1)
    if len(leaf) == 2:  # the exporter kept the parameter's own name; its module is the one that uses it
        return f"{path}.{leaf[1]}" if path else leaf[1]
    if value.const_value is not None and value.const_value.dtype.is_integer():
        return f"{node.name}.shape"
    if node.op_type == "MatMul":
        return f"{path}.weight{TRANSPOSED}" if value is node.inputs[1] else f"{path}.mix_weight"
    return f"{path}.{value.name}" if path and value.name in ("position", "class_token") else f"{node.name}.constant"


def strip_metadata(model: ir.Model) -> None:
    """Remove what depends on the machine: stack traces, paths, the exporter's own notes."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.doc_string = model.graph.doc_string = None
    model.graph.name = PRODUCER
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


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
