"""The layers of a finished engine, from the engine inspector's JSON or from what TensorRT-RTX logs when it builds.

The inspector needs a GPU that can load the engine. TensorRT-RTX logs the same at the end of every build, on any
machine, where the engine is built with detail and the logger takes verbose messages.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.errors import InputError
from deepvit.runtime.trt.library import INSTALL

LISTING = "Layers:"  # how the message with the layers begins
SHOWN = 80
# The libraries' words for data types, within a description ("Row major linear FP16 format") or alone ("Half").
WORDS = {
    "BFLOAT16": "BF16", "BF16": "BF16", "FP16": "HALF", "HALF": "HALF", "UINT8": "UINT8", "INT8": "INT8",
    "FP8": "FP8", "E4M3": "FP8", "INT64": "INT64", "INT32": "INT32", "INT4": "INT4", "FP4": "FP4", "BOOL": "BOOL",
    "FP32": "FLOAT", "FLOAT": "FLOAT",
}  # fmt: skip
LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>.*?), Inputs: (?P<inputs>\[.*?\]), Constants: (?P<constants>\[.*?\]), "
    r"Outputs: (?P<outputs>\[.*?\]), TacticName: (?P<tactic>.*?),(?: StreamId: .*?,)? Metadata: ?(?P<metadata>.*)"
)
TENSOR = re.compile(r"\{ Name: (.*?), Dimensions: \[([-\d,]*)\], Strides: .*?, Datatype: (\w+), Format: [^{}]*\}")
ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
COPIES = frozenset({"Reformat", "NoOp"})  # called "… CopyNode for Input Tensor 0 to" what they are no part of
NAMES = re.compile(r"[\s\[\]\x1e\x1f+,]+")  # what stands between the names of layers that were fused into one


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What a layer reads or writes; a side that is open until run time is -1."""

    name: str
    type: str  # FLOAT, HALF, BF16, INT8, …
    dimensions: tuple[int, ...]

    @property
    def is_matrix(self) -> bool:
        """Whether it has two sides, which a bias and a scale do not."""
        return sum(side != 1 for side in self.dimensions) > 1


@dataclasses.dataclass(frozen=True)
class EngineLayer:
    """A layer of a finished engine, most often one kernel."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tactic: str
    onnx: tuple[str, ...]  # the ONNX nodes that were fused into it

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """What it reads, but for biases and scales that are known when it is built."""
        return (*self.inputs, *(constant for constant in self.constants if constant.is_matrix))

    @property
    def operand_types(self) -> frozenset[str]:
        return frozenset(tensor.type for tensor in self.operands)

    @property
    def activation_types(self) -> frozenset[str]:
        return frozenset(tensor.type for tensor in self.inputs)


def layers_from_inspector(text: str) -> list[EngineLayer]:
    """Read the engine inspector's JSON, as TensorRT 10 and 11 write it.

    Raises:
        InputError: Not such a JSON.
    """
    try:
        records = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the engine inspector gave no JSON with Layers: {text[:SHOWN]!r}") from error
    return [_layer_from_json(record) for record in records]


def layers_from_listing(text: str) -> list[EngineLayer]:
    """Read the message with the layers that TensorRT-RTX logs.

    Raises:
        InputError: A layer or a tensor is listed in another form.
    """
    listed = text.removeprefix(LISTING).strip().partition("\n\n")[0]  # what follows is the engine's own inputs
    return [_layer_from_line(line) for line in listed.splitlines()]


def _layer_from_json(record: Any) -> EngineLayer:
    if not isinstance(record, dict):  # names only: the engine was built without detail
        return EngineLayer(str(record), "UNKNOWN", (), (), (), "", ())
    name, kind = str(record.get("Name", "")), str(record.get("LayerType", "UNKNOWN"))
    return EngineLayer(
        name=name,
        kind=kind,
        inputs=_tensors_from_json(record.get("Inputs")),
        constants=(*_tensors_from_json(record.get("Constants")), *_weights_from_json(record.get("Weights"))),
        outputs=_tensors_from_json(record.get("Outputs")),
        tactic=str(record.get("TacticName", "")),
        onnx=() if kind in COPIES else _onnx(name, str(record.get("Metadata", ""))),
    )


def _tensors_from_json(tensors: Any) -> tuple[Tensor, ...]:
    """Return the inspector's tensors; TensorRT 10 has their types within the format, 11 beside it."""
    keys = ("Datatype", "DataType", "Format/Datatype")
    return tuple(
        Tensor(
            name=str(tensor.get("Name", "")),
            type=_type(next((str(tensor[key]) for key in keys if tensor.get(key)), "")),
            dimensions=tuple(int(side) for side in tensor.get("Dimensions") or ()),
        )
        for tensor in (tensors if isinstance(tensors, list) else [])
    )


def _weights_from_json(weights: Any) -> Iterator[Tensor]:
    """Yield the weights of a convolution as TensorRT 10 tells them: their type and number, no sides."""
    if isinstance(weights, dict):
        yield Tensor(name="Weights", type=_type(str(weights.get("Type", ""))), dimensions=(-1, -1))


def _layer_from_line(line: str) -> EngineLayer:
    found = LINE.fullmatch(line)
    if found is None:
        raise InputError(_unknown("layer", line))
    return EngineLayer(
        name=found["name"],
        kind=found["kind"],
        inputs=_tensors_from_text(found["inputs"]),
        constants=_tensors_from_text(found["constants"]),
        outputs=_tensors_from_text(found["outputs"]),
        tactic=found["tactic"],
        onnx=_onnx(found["name"], found["metadata"]),
    )


def _tensors_from_text(text: str) -> tuple[Tensor, ...]:
    tensors = tuple(
        Tensor(name, _type(kind), tuple(int(side) for side in sides.split(",") if side))
        for name, sides, kind in TENSOR.findall(text)
    )
    if len(tensors) != text.count("{ Name: "):
        raise InputError(_unknown("tensor", text))
    return tensors


def _unknown(what: str, text: str) -> str:
    install = INSTALL[Backend.TENSORRT_RTX]
    return f"TensorRT-RTX lists a {what} in a form that is not known here: {text[:SHOWN]!r}; {install}"


def _type(text: str) -> str:
    upper = text.upper()
    return next((name for word, name in WORDS.items() if word in upper), upper)


def _onnx(name: str, metadata: str) -> tuple[str, ...]:
    """Return the ONNX nodes of a layer: its metadata name them, or its own name where it has no metadata."""
    named: Iterable[str] = ONNX_LAYER.findall(metadata) or filter(None, NAMES.split(name))
    return tuple(dict.fromkeys(named))
