"""What an evaluation finds, as records."""

from typing import Literal

from deepvit.metrics.result import Fraction, Record, Result
from deepvit.runtime.artifact.manifest import Interval

from .scores import Agreement, ClassScore, ReliabilityBin


class Corrupt(Record):
    """An image that was not scored, and why."""

    name: str
    error: str


class EvaluatedModel(Record):
    """One model's scores, as fractions of the images that were evaluated."""

    model: str
    runs_on: str
    emulated: bool  # arithmetic that rounds every tensor as declared: its answers are a GPU's, its speed is nobody's
    random_weights: bool
    top1: Fraction
    top1_interval: Interval
    top5: Fraction
    published_top1: Fraction | None
    real_top1: Fraction | None = None  # by the ReaL labels
    non_finite: int  # images whose logits are not finite; they count as wrong
    calibration_error: Fraction
    reference: Agreement | None
    reliability: list[ReliabilityBin]
    per_class: list[ClassScore]
    images_per_second: float  # the model alone


class Evaluation(Result):
    """The result of one pass over labelled images, of all models that were scored in it."""

    kind: Literal["evaluation"] = "evaluation"
    dataset: str
    list_sha256: str
    listed: int
    evaluated: int
    corrupt: list[Corrupt]
    real_images: int = 0  # that have ReaL labels
    duration_s: float  # of this run, from the first image to the last, decoding included
    images_per_second_with_decoding: float | None  # in this run; None where everything had been run before
    class_names: tuple[str, ...] = ()  # by label; those that a model brings, else ImageNet's, else numbers
    models: list[EvaluatedModel]
