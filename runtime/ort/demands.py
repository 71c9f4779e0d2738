"""What a graph asks of whoever opens it in ONNX Runtime on a CPU, by the form that it was written in: the one table.

The C++ runtime reads the form from the manifest and has the same table (cpp/src/backend/cpu/onnxruntime.cpp). Triton's
ONNX Runtime backend takes no session entries, only how far to optimise, so `Demands.without_entries` is for it.
"""

import dataclasses
import enum

import onnx

from ..artifact.manifest import Level
from ..errors import InputError
from .rounding import BFLOAT16, FLOAT8, load_model, types_in

# Every rewrite of Q/DQ nodes left out: they run as they stand, those of weights once, when the model is loaded.
UNFUSED = (("session.disable_quant_qdq", "1"),)
PRODUCTS = ("MatMul", "Gemm")


class Form(enum.Enum):
    """What tells one graph from another for ONNX Runtime's CPU provider."""

    PLAIN = "plain"
    WEIGHT_ONLY = "weight-only"  # 8-bit weights beside activations that are not quantised
    FLOAT8 = "fp8"
    BFLOAT16 = "bf16"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demands:
    """How a form has to be opened.

    Attributes:
        entries: The session's configuration entries.
        without_entries: The last level of optimisation at which it runs in a session that cannot be given entries.
        runs: Whether it runs at all.
    """

    entries: tuple[tuple[str, str], ...] = ()
    without_entries: Level = Level.ALL
    runs: bool = True


# Seen with ONNX Runtime 1.31 on the digits models (docs/forms.md).
DEMANDS = {
    Form.PLAIN: Demands(),
    # From EXTENDED on, DequantizeLinear and MatMul become MatMulNBits, whose answers are wrong but at ALL, where it
    # rounds activations to eight bits. Since axis −1 stands in `calibration.quantize` it does not; older graphs have 1.
    Form.WEIGHT_ONLY: Demands(entries=UNFUSED, without_entries=Level.BASIC),
    # From EXTENDED on, QuantizeLinear moves in front of Transpose, which takes FP8 from opset 21 on alone, and in front
    # of Slice, which never does: the last block of a graph whose attention is quantised.
    Form.FLOAT8: Demands(entries=UNFUSED, without_entries=Level.BASIC),
    # It has no kernels for BF16; `rounding` computes in float32.
    Form.BFLOAT16: Demands(runs=False),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """What is known of a graph before it is opened: its form, and the data types of its constants and casts."""

    form: Form = Form.PLAIN
    types: frozenset[int] = frozenset()

    @property
    def demands(self) -> Demands:
        return DEMANDS[self.form]


def contents_of(content: bytes) -> Contents:
    """Return what is in an ONNX file; nothing for what is no ONNX model at all."""
    try:
        graph = load_model(content).graph
        types = types_in(graph)
        return Contents(form=_form_of(graph, types), types=types)
    except (InputError, UnicodeDecodeError):  # the latter of a name
        return Contents()


def _form_of(graph: onnx.GraphProto, types: frozenset[int]) -> Form:
    if BFLOAT16 in types:
        return Form.BFLOAT16
    if FLOAT8 in types:
        return Form.FLOAT8
    restored = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    products = [list(node.input) for node in graph.node if node.op_type in PRODUCTS]
    is_weight_only = any(restored.isdisjoint(each[:1]) and not restored.isdisjoint(each[1:2]) for each in products)
    return Form.WEIGHT_ONLY if is_weight_only else Form.PLAIN
