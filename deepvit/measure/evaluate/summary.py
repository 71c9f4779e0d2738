"""Blocks of records → the result of each model: the same whatever the order and the processes they came from."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from deepvit.images.blocks import Block
from deepvit.images.sources import ImageSource, list_sha256
from deepvit.metrics.paired import proportion_interval
from deepvit.runtime.errors import InputError

from ..models import Contestant, shared_class_names
from .result import Corrupt, EvaluatedModel, Evaluation
from .scores import Agreement, ClassScore, Scores, calibration_error

Arrays = Mapping[str, npt.NDArray[np.generic]]
LABELS, ERRORS, REFERENCE = "labels", "errors", "reference"  # names in a block; a model's begin with its number


def block_head(block: Block) -> dict[str, npt.NDArray[np.generic]]:
    """Return what a block keeps beside the models' records: its labels, and place and fault of what cannot be used."""
    return {LABELS: block.labels, ERRORS: np.frombuffer(json.dumps(block.errors).encode(), np.uint8)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pass:
    """The pass over the images that results come from.

    Attributes:
        dataset: As the user named it.
        source: The images.
        real: The valid labels of every listed image, where ReaL labels are given.
        seconds: Of this run, decoding included.
        images_per_second: In this run; None where everything had been run before.
    """

    dataset: str
    source: ImageSource
    real: Sequence[Sequence[int]] | None = None
    seconds: float
    images_per_second: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ImageSet:
    """What all models have in common: the blocks with an image, their labels, and the images that have none."""

    blocks: Sequence[Arrays]
    labels: npt.NDArray[np.int64]  # (n,), of the images that were evaluated
    valid: Sequence[Sequence[int]] | None  # their ReaL labels
    corrupt: list[Corrupt]
    list_sha256: str

    def scores(self, prefix: str, classes: int) -> Scores:
        return Scores(_records(prefix, self.blocks), self.labels, classes)


def summarize(
    blocks: Sequence[Arrays], models: Sequence[Contestant], reference: Contestant | None, run: Pass
) -> Evaluation:
    """Sum up all blocks of a list, model by model.

    Args:
        blocks: In the order of the list.
        models: What was scored.
        reference: What they were compared with.
        run: The pass that they come from.

    Raises:
        InputError: No image could be used.
    """
    image_set = _image_set(blocks, run)
    expected = None if reference is None else image_set.scores(REFERENCE, models[0].session.classes)
    evaluated = []
    for place, model in enumerate(models):
        scores = image_set.scores(str(place), model.session.classes)
        agreement = None if expected is None or reference is None else scores.agreement_with(expected, reference.name)
        seconds = sum(float(block[f"{place}.seconds"]) for block in image_set.blocks)
        evaluated.append(_evaluated(model, scores, image_set, agreement, scores.by_class(expected), seconds))
    return Evaluation(
        dataset=run.dataset,
        list_sha256=image_set.list_sha256,
        listed=len(run.source),
        evaluated=len(image_set.labels),
        corrupt=image_set.corrupt,
        real_images=0 if image_set.valid is None else sum(1 for valid in image_set.valid if valid),
        duration_s=run.seconds,
        images_per_second_with_decoding=run.images_per_second,
        class_names=shared_class_names([*models, *(() if reference is None else (reference,))]),
        models=evaluated,
    )


def _image_set(blocks: Sequence[Arrays], run: Pass) -> _ImageSet:
    faults = [tuple(fault) for block in blocks for fault in json.loads(block[ERRORS].tobytes())]
    corrupt = [Corrupt(name=run.source.name(place), error=error) for place, error in faults]
    if len(corrupt) == len(run.source):
        first = corrupt[0]
        raise InputError(f"none of the {len(run.source)} images could be used; the first: {first.name} {first.error}")
    filled = [block for block in blocks if len(block[LABELS])]
    bad = {place for place, _ in faults}
    return _ImageSet(
        blocks=filled,
        labels=np.concatenate([block[LABELS] for block in filled]).astype(np.int64),
        valid=None if run.real is None else [run.real[i] for i in range(len(run.source)) if i not in bad],
        corrupt=corrupt,
        list_sha256=list_sha256(run.source),
    )


def _records(prefix: str, blocks: Sequence[Arrays]) -> dict[str, npt.NDArray[np.generic]]:
    names = [name.partition(".")[2] for name in blocks[0] if name.startswith(f"{prefix}.")]
    return {
        name: np.concatenate([block[f"{prefix}.{name}"] for block in blocks]) for name in names if name != "seconds"
    }


def _evaluated(
    model: Contestant,
    scores: Scores,
    image_set: _ImageSet,
    agreement: Agreement | None,
    per_class: list[ClassScore],
    model_seconds: float,
) -> EvaluatedModel:
    bins = scores.reliability()
    return EvaluatedModel(
        model=model.name,
        runs_on=model.session.description,
        emulated=model.session.is_emulated,
        random_weights=model.random_weights,
        top1=scores.top1(),
        top1_interval=proportion_interval(int(scores.is_right.sum()), scores.images),
        top5=scores.top5(),
        published_top1=None if model.published_top1 is None else model.published_top1 / 100,
        real_top1=None if image_set.valid is None else scores.real_top1(image_set.valid),
        non_finite=scores.non_finite,
        calibration_error=calibration_error(bins),
        reference=agreement,
        reliability=bins,
        per_class=per_class,
        images_per_second=scores.images / model_seconds,
    )
