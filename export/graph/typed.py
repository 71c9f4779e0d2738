"""A graph in the types of its precision, with what is known of how it came about."""

import dataclasses

import onnx

from deepvit.runtime.artifact.manifest import Calibration, ParityStage

from .float32 import Float32Graph


@dataclasses.dataclass(frozen=True, kw_only=True)
class TypedGraph:
    """A graph on its way to an artifact.

    Attributes:
        model: The graph.
        source: The float32 graph that it was made from.
        float32: The float32 graph that it computes; of INT8 and FP8 the rescaled one.
        stages: The rungs of the parity ladder that lie between both.
        extremes: Tensor → its largest magnitude on the calibration images.
        calibration: Where its ranges come from; None where nothing is quantised.
        ranges_text: The ranges file; empty where nothing was calibrated.
    """

    model: onnx.ModelProto
    source: Float32Graph
    float32: onnx.ModelProto
    stages: tuple[ParityStage, ...] = ()
    extremes: dict[str, float] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None
    ranges_text: bytes = b""
