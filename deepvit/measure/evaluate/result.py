"""What an evaluation finds, as records."""

from typing import Literal

import pydantic

from deepvit.runtime.manifest import Interval

from .scores import Agreement, ClassScore, ReliabilityBin


class Corrupt(pydantic.BaseModel):
    """An image that was not scored, and why."""

    name: str
    error: str


class Evaluation(pydantic.BaseModel):
    """The result of one evaluation; accuracies in percent of the images evaluated."""

    kind: Literal["evaluation"] = "evaluation"
    model: str
    runs_on: str
    random_weights: bool
    dataset: str
    list_sha256: str
    listed: int
    evaluated: int
    corrupt: list[Corrupt]
    top1: float
    top1_interval: Interval
    top5: float
    published_top1: float | None
    real_top1: float | None = None  # by the ReaL labels
    real_images: int = 0  # that have any
    non_finite: int  # images whose logits are not finite; they count as wrong
    calibration_error: float
    reference: Agreement | None
    reliability: list[ReliabilityBin]
    per_class: list[ClassScore]
    seconds: float  # of this run, from the first image to the last, decoding included
    images_per_second: float | None  # in this run; None where everything had been run before
    model_images_per_second: float  # the model alone
