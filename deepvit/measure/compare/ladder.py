"""`compare`: the parity ladder measured anew on any images, without labels, and the images on which it is worst.

The reference in PyTorch gets its input from timm's own transform, so that an error of preprocessing is seen as well as
one of the graph or the engine.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deepvit.images.decode import decode_images
from deepvit.images.samples import open_images_or_samples
from deepvit.images.sources import ImageSource, list_sha256, spread
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import FILES, Crop, DecodePolicy, model_input
from deepvit.runtime.session.tensors import Images

from ..evaluate.evaluator import run_unchecked
from ..evaluate.result import Corrupt
from ..models import OpenedModel, shared_class_names
from ..options import SessionOptions, WeightOptions
from .judging import Outputs, judge_ladder
from .opening import Rung, rungs_of
from .result import Comparison, thumbnail
from .timm_inputs import timm_inputs

BATCH = 16
DEFAULT_IMAGES = 64


def compare_models(
    models: Sequence[str],
    reference: OpenedModel,
    sessions: SessionOptions,
    weights: WeightOptions,
    *,
    dataset: str | None,
    count: int,
    policy: DecodePolicy = FILES,
    progress: Callable[[int, int], None],
) -> Comparison:
    """Run images through the reference and through every stage of every model.

    Args:
        models: Artifact folders, files of them, or variants.
        reference: What they are compared with.
        sessions: How sessions are opened.
        weights: Of variants.
        dataset: A folder of images, labelled or not; the bundled photographs where None.
        count: At most so many of them, spread over it.
        policy: Which of them are decoded.
        progress: Images done, images in all.

    Raises:
        InputError: A model or folder that cannot be opened, other classes than the reference's, no usable image.
    """
    ladders = [list(rungs_of(name, sessions, weights)) for name in models]
    for ladder in ladders:
        _require_same_classes(ladder[0].model, reference)
    source = spread(open_images_or_samples(dataset, policy), count)
    outputs = Outputs()
    for places in _chunks(len(source)):
        _compare_chunk(source, places, ladders, reference, outputs)
        progress(places.stop, len(source))
    if not outputs.names:
        raise InputError(f"none of the {len(source)} images of {dataset} could be used: {outputs.corrupt[0].error}")
    return Comparison(
        reference=reference.name,
        dataset=dataset or "bundled photographs",
        list_sha256=list_sha256(source),
        listed=len(source),
        compared=len(outputs.names),
        corrupt=outputs.corrupt,
        class_names=shared_class_names([*(ladder[0].model for ladder in ladders), reference]),
        models=[judge_ladder(index, name, ladders[index], reference, outputs) for index, name in enumerate(models)],
    )


def _require_same_classes(model: OpenedModel, reference: OpenedModel) -> None:
    if model.session.classes != reference.session.classes:
        raise InputError(
            f"{model.name} has {model.session.classes} classes, {reference.name} has {reference.session.classes}"
        )


def _chunks(images: int) -> Iterator[range]:
    for start in range(0, images, BATCH):
        yield range(start, min(start + BATCH, images))


def _read_again(source: ImageSource, index: int) -> bytes:
    """Return the bytes of an image that was decoded before."""
    try:
        return source.read(index)[0]
    except InputError as error:
        raise InputError(f"{source.name(index)} was changed while it was compared: {error}; run it again") from error


def _compare_chunk(
    source: ImageSource, places: range, ladders: Sequence[Sequence[Rung]], reference: OpenedModel, outputs: Outputs
) -> None:
    preprocessings = [reference.preprocessing, *(ladder[0].model.preprocessing for ladder in ladders)]
    decoded = list(decode_images(source, preprocessings, workers=0, indices=places))
    outputs.corrupt += [Corrupt(name=source.name(item.index), error=item.error) for item in decoded if not item.crops]
    good = [item for item in decoded if item.crops]
    if not good:
        return
    encoded = [_read_again(source, item.index) for item in good]
    outputs.names += [source.name(item.index) for item in good]
    reference_crops = np.stack([item.crops[0] for item in good])
    if reference.loaded is not None:
        normalised = timm_inputs(reference.loaded, encoded)
        outputs.expected.append(run_unchecked(reference.session, normalised))
    else:
        normalised = _normalised(reference_crops, reference)
        outputs.expected.append(run_unchecked(reference.session, _input(reference_crops, reference)))
    for index, ladder in enumerate(ladders):
        crops = np.stack([item.crops[1 + index] for item in good])
        outputs.thumbnails.setdefault(index, []).extend(map(thumbnail, crops))
        inputs = _normalised(crops, ladder[0].model)
        worst = float(np.abs(inputs - normalised).max()) if inputs.shape == normalised.shape else float("inf")
        outputs.input_max_abs[index] = max(worst, outputs.input_max_abs.get(index, 0.0))
        for height, rung in enumerate(ladder):
            logits = run_unchecked(rung.model.session, _input(crops, rung.model))
            outputs.logits.setdefault((index, height), []).append(logits)


def _input(crops: Crop, model: OpenedModel) -> Images:
    return model_input(crops, model.preprocessing, model.session.input.channels)


def _normalised(crops: Crop, model: OpenedModel) -> Images:
    """Return crops as (N, channels, H, W) float32 normalised, whatever the graph takes."""
    preprocessing = model.preprocessing.model_copy(update={"layout": "NCHW"})
    return model_input(crops, preprocessing, model.session.input.channels)
