"""A module → an ONNX graph: traced by PyTorch's exporter, named after the modules, reproducible byte for byte."""

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch

from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.errors import InputError

from ..onnx_file import BATCH, INPUT, OUTPUT, finish
from .names import name_by_module, strip_metadata
from .repeated import copy_blocks, kind_of, runs_of, stand_in, stand_in_value, weights_of
from .weights import set_weights

TRACE_BATCH = 2  # 1 would be taken for a constant


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
