"""Blocks of records → the result of each model: the same whatever the order and the processes they came from."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from deepvit.images.sources import ImageSource, list_sha256
from deepvit.metrics.paired import wilson_interval
from deepvit.runtime.errors import InputError

from ..opened import Contestant
from .blocks import Block
from .result import Corrupt, Evaluation
from .scores import Scores, calibration_error

Arrays = Mapping[str, npt.NDArray[np.generic]]
LABELS, ERRORS, REFERENCE = "labels", "errors", "reference"  # names in a block; a model's begin with its number


def block_head(block: Block) -> dict[str, npt.NDArray[np.generic]]:
    """Return what a block keeps beside the models' records: its labels, and place and fault of what cannot be used."""
    return {LABELS: block.labels, ERRORS: np.frombuffer(json.dumps(block.errors).encode(), np.uint8)}


def summarize(
    blocks: Sequence[Arrays],
    models: Sequence[Contestant],
    reference: Contestant | None,
    source: ImageSource,
    real: Sequence[Sequence[int]] | None,
) -> list[Evaluation]:
    """Sum up all blocks of a list, model by model.

    Args:
        blocks: In the order of the list.
        models: What was scored.
        reference: What they were compared with.
        source: The images.
        real: The valid labels of every listed image, where ReaL labels are given.

    Raises:
        InputError: No image could be used.
    """
    faults = [tuple(fault) for block in blocks for fault in json.loads(block[ERRORS].tobytes())]
    corrupt = [Corrupt(name=source.name(place), error=error) for place, error in faults]
    if len(corrupt) == len(source):
        first = corrupt[0]
        raise InputError(f"none of the {len(source)} images could be used; the first: {first.name} {first.error}")
    used = [block for block in blocks if len(block[LABELS])]
    labels = np.concatenate([block[LABELS] for block in used]).astype(np.int64)
    bad = {place for place, _ in faults}
    valid = None if real is None else [real[place] for place in range(len(source)) if place not in bad]
    classes = models[0].session.classes
    expected = None if reference is None else Scores(_records(REFERENCE, used), labels, classes)
    listed = list_sha256(source)
    found = []
    for place, model in enumerate(models):
        scores = Scores(_records(str(place), used), labels, classes)
        seconds = sum(float(block[f"{place}.seconds"]) for block in used)
        result = _result(model, scores, valid, len(source), seconds)
        agreement = None if expected is None or reference is None else scores.agreement_with(expected, reference.name)
        by_class = scores.by_class(expected)
        update = {"reference": agreement, "per_class": by_class, "corrupt": corrupt, "list_sha256": listed}
        found.append(result.model_copy(update=update))
    return found


def _records(prefix: str, blocks: Sequence[Arrays]) -> dict[str, npt.NDArray[np.generic]]:
    names = [name.partition(".")[2] for name in blocks[0] if name.startswith(f"{prefix}.")]
    return {
        name: np.concatenate([block[f"{prefix}.{name}"] for block in blocks]) for name in names if name != "seconds"
    }


def _result(
    model: Contestant, scores: Scores, valid: Sequence[Sequence[int]] | None, listed: int, seconds: float
) -> Evaluation:
    bins = scores.reliability()
    real_top1, real_images = (None, 0) if valid is None else scores.real_top1(valid)
    return Evaluation(
        model=model.name,
        runs_on=model.session.description,
        random_weights=model.random_weights,
        dataset="",
        list_sha256="",
        listed=listed,
        evaluated=scores.images,
        corrupt=[],
        top1=scores.top1(),
        top1_interval=wilson_interval(int(scores.is_right.sum()), scores.images),
        top5=scores.top5(),
        published_top1=model.published_top1,
        real_top1=real_top1,
        real_images=real_images,
        non_finite=scores.non_finite,
        calibration_error=calibration_error(bins),
        reference=None,
        reliability=bins,
        per_class=[],
        seconds=0.0,
        images_per_second=None,
        model_images_per_second=scores.images / seconds,
    )
