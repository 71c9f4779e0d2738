"""The largest activations of a graph, tensor by tensor: what tells how far FP16 is from overflowing."""

import functools

import numpy as np
import onnx
from onnx import TensorProto, helper

from deepvit.calibration.padded_tokens import KEY_MASK
from deepvit.metrics.bounds import FP16_MAX
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.ort.graph import Array, OnnxGraph
from deepvit.runtime.ort.rounding import MOVES_DATA
from deepvit.runtime.session.tensors import Images, Logits, padded_batch, split_batches

from ..onnx_file import INPUT, OUTPUT
from .apart import run_apart

REDUCTIONS = ("ReduceMax", "ReduceMin")
SHOWN = 5  # of those that are too large


def largest_activations(model: onnx.ModelProto, images: Images) -> dict[str, float]:
    """Return max |x| over `images` of every float32 tensor that a node computes, by the tensor's name.

    What a node only moves is named after the node that computed it. Scores are measured before padding is masked, which
    no value of theirs survives.
    """
    return probed_answers(model, images)[1]


def probed_answers(model: onnx.ModelProto, images: Images) -> tuple[Logits, dict[str, float]]:
    """Return a graph's logits and its largest activations, from one pass; see `largest_activations`."""
    graph = OnnxGraph(_probed(model).SerializeToString(), name="the ONNX graph in float32, with its ranges", threads=1)
    fixed = graph.inputs[INPUT][1][0]
    parts = split_batches(images, fixed if isinstance(fixed, int) else 1)

    def run(part: Images) -> dict[str, Array]:
        answers = graph.run({INPUT: padded_batch(part, fixed) if isinstance(fixed, int) else part})
        return answers | {OUTPUT: answers[OUTPUT][: len(part)]}

    found = run_apart(functools.partial(run, part) for part in parts)
    extremes: dict[str, float] = {}
    for answers in found:
        for name, value in answers.items():
            reduce, _, tensor = name.partition(":")
            if reduce in REDUCTIONS:
                extremes[tensor] = max(extremes.get(tensor, 0.0), abs(float(value)))
    return np.concatenate([np.asarray(answers[OUTPUT], np.float32) for answers in found]), extremes


def largest(activations: dict[str, float], count: int) -> dict[str, float]:
    """Return the largest few of some activations."""
    return dict(sorted(activations.items(), key=lambda item: (-item[1], item[0]))[:count])


def require_in_fp16(activations: dict[str, float]) -> None:
    """Refuse activations that FP16 does not hold.

    Raises:
        OutOfBoundsError: Such activations, the largest of them named.
    """
    over = {name: value for name, value in activations.items() if value > FP16_MAX}
    if over:
        examples = ", ".join(f"{name} reaches {value:.4g}" for name, value in largest(over, SHOWN).items())
        raise OutOfBoundsError(
            f"{len(over)} activations do not fit FP16, which ends at {FP16_MAX:.0f}: {examples}; export with ‹bf16›"
        )


def _probed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph that gives the extremes of its tensors too.

    They are taken inside the graph, so that memory does not grow with the number of tensors.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    constants = {initializer.name for initializer in graph.initializer}
    floats = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT} - constants
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:  # each maximum right behind its tensor, which can then be freed
        nodes.append(node)
        is_skipped = node.op_type in MOVES_DATA or any(name.endswith(KEY_MASK) for name in node.input)
        for name in () if is_skipped else floats.intersection(node.output):
            for reduce in REDUCTIONS:
                nodes.append(helper.make_node(reduce, [name], [f"{reduce}:{name}"], keepdims=0))
                graph.output.append(helper.make_tensor_value_info(f"{reduce}:{name}", TensorProto.FLOAT, []))
    del graph.node[:]
    graph.node.extend(nodes)
    return probed
