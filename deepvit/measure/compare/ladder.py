"""`compare`: the parity ladder measured anew on any images, without labels, and the images on which it is worst.

The reference in PyTorch gets its input from timm's own transform, so that an error of preprocessing is seen as well as
one of the graph or the engine.
"""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import PIL

from deepvit.images.decode import decode_images
from deepvit.images.samples import open_images_or_samples
from deepvit.images.sources import ImageSource, list_sha256, spread
from deepvit.metrics.bounds import ENGINE_BOUNDS, FP32_BOUND, Bound, bound_of, breaches
from deepvit.metrics.distance import compare_logits
from deepvit.metrics.paired import proportion_interval
from deepvit.runtime.artifact import MANIFEST, MODEL
from deepvit.runtime.errors import PYTORCH, InputError, MissingError
from deepvit.runtime.manifest import Interval, ParityStage
from deepvit.runtime.preprocess import FILES, Crop, DecodePolicy, model_input
from deepvit.runtime.session import PLAN_SUFFIXES, artifact_of, engine_here, identity_of
from deepvit.runtime.session.tensors import Images, Logits

from ..evaluate.evaluator import run_unchecked
from ..evaluate.result import Corrupt
from ..models import (
    OpenedModel,
    is_variant,
    load_weights_of,
    open_model,
    open_torch,
    preprocessing_breaches,
    shared_class_names,
)
from ..options import SessionOptions, WeightOptions
from .result import ComparedModel, Comparison, Judged, thumbnail, worst_images
from .timm_inputs import timm_inputs

BATCH = 16
DEFAULT_IMAGES = 64
# timm resizes with the Pillow that is installed, runtime.preprocess as Pillow 13 does: before, tall images differ.
INPUT_BOUND = 0.0 if int(PIL.__version__.partition(".")[0]) >= 13 else 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rung:
    """One way to run a model: its graph, or its engine, which is held against the graph."""

    stage: str
    model: OpenedModel
    is_engine: bool = False


@dataclasses.dataclass
class _Outputs:
    """The outputs of all images so far, and their worst inputs; logits by model and rung."""

    names: list[str] = dataclasses.field(default_factory=list)
    thumbnails: dict[int, list[bytes]] = dataclasses.field(default_factory=dict)  # by model
    expected: list[Logits] = dataclasses.field(default_factory=list)
    logits: dict[tuple[int, int], list[Logits]] = dataclasses.field(default_factory=dict)
    input_max_abs: dict[int, float] = dataclasses.field(default_factory=dict)
    corrupt: list[Corrupt] = dataclasses.field(default_factory=list)


def open_reference_for(
    reference: str | None, models: Sequence[str], sessions: SessionOptions, weights: WeightOptions
) -> OpenedModel:
    """Open what the models are compared with.

    Args:
        reference: pytorch, a path, or None: PyTorch where its weights are at hand, else the first of several models.
        models: As the user names them.
        sessions: How sessions are opened.
        weights: Where PyTorch weights come from.

    Raises:
        InputError: Nothing to compare with.
        MissingError: PyTorch, which would be the reference, is not installed.
    """
    if reference not in (None, "pytorch"):
        return open_model(str(reference), sessions, weights)
    if is_variant(models[0]):
        return open_model(models[0], sessions, weights)
    path = pathlib.Path(models[0])
    identity = identity_of(path)
    if identity is None:
        raise InputError(f"{path} has no {MANIFEST} that names its weights; give ‹reference› an artifact of them")
    if identity.has_random_weights or not weights.are_random:
        try:
            return open_torch(load_weights_of(identity, weights))
        except MissingError as error:
            raise MissingError(f"{error}; or compare with another artifact: ‹reference› PATH") from error
    if reference is None and len(models) > 1:
        return open_model(models[0], sessions, weights)
    if importlib.util.find_spec("torch") is None:
        raise MissingError(
            f"compare {path} with what? PyTorch is not installed: pip install {PYTORCH}; or compare with another "
            "artifact: ‹reference› PATH"
        )
    raise InputError(
        f"compare {path} with what? Give its weights by ‹checkpoint› FILE or ‹pretrained›, or ‹reference› another "
        "artifact"
    )


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
    ladders = [list(_rungs(name, sessions, weights)) for name in models]
    for ladder in ladders:
        _require_same_classes(ladder[0].model, reference)
    source = spread(open_images_or_samples(dataset, policy), count)
    outputs = _Outputs()
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
        models=[_judged(index, name, ladders[index], reference, outputs) for index, name in enumerate(models)],
    )


def _rungs(name: str, sessions: SessionOptions, weights: WeightOptions) -> Iterator[_Rung]:
    path = pathlib.Path(name)
    if not path.is_dir():
        model = open_model(name, sessions, weights)
        kind = "engine" if path.suffix in PLAN_SUFFIXES else "model"
        yield _Rung(stage=f"{kind}-{_precision_text(model)}", model=model)
        return
    graph = open_model(str(path / MODEL), sessions, weights)
    yield _Rung(stage=f"onnx-{_precision_text(graph)}", model=graph)
    plan = (
        engine_here(artifact_of(path), allow_host_code=sessions.allow_host_code) if sessions.provider is None else None
    )
    if plan is not None:
        yield _Rung(stage=f"engine {plan}", model=open_model(str(path / plan), sessions, weights), is_engine=True)


def _precision_text(model: OpenedModel) -> str:
    return "unknown" if model.precision is None else model.precision.value


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
    source: ImageSource, places: range, ladders: Sequence[Sequence[_Rung]], reference: OpenedModel, outputs: _Outputs
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


def _judged(index: int, name: str, ladder: Sequence[_Rung], reference: OpenedModel, outputs: _Outputs) -> ComparedModel:
    model = ladder[0].model
    is_same = model.weights_sha256 is not None and model.weights_sha256 == reference.weights_sha256
    faults = list(preprocessing_breaches(model, reference))
    input_max_abs = outputs.input_max_abs[index]
    if is_same and input_max_abs > INPUT_BOUND:
        faults.append(f"its input differs from the reference's by up to {input_max_abs:.3g}, at most {INPUT_BOUND:g}")
    expected = np.concatenate(outputs.expected)
    stages, non_finite, worst = [], 0, []
    against, before = reference.name, expected
    for height, rung in enumerate(ladder):
        logits = np.concatenate(outputs.logits[index, height])
        finite = np.isfinite(logits).all(axis=1) & np.isfinite(before).all(axis=1)
        non_finite = int((~finite).sum())
        if non_finite:
            faults.append(f"{rung.stage}: the logits of {non_finite} images are not finite")
        if finite.any():
            stage = compare_logits(
                rung.stage, against, logits[finite], before[finite], top1_enforced=not model.has_random_weights
            )
            stages.append(stage)
            faults += [f"{rung.stage}: {breach}" for breach in breaches(stage, _bound(rung, reference))]
        against, before = rung.stage, logits
    if stages:
        worst = list(worst_images(outputs.names, outputs.thumbnails[index], before, expected))
    return ComparedModel(
        model=name,
        runs_on=ladder[-1].model.session.description,
        emulated=ladder[-1].model.session.is_emulated,
        precision=model.precision,
        random_weights=model.has_random_weights,
        input_max_abs=input_max_abs if np.isfinite(input_max_abs) else None,
        stages=stages,
        agreement_intervals=[_agreement_interval(stage) for stage in stages],
        judged=_judged_by(_bound(ladder[-1], reference), top1_enforced=not model.has_random_weights),
        non_finite=non_finite,
        breaches=faults,
        worst=worst,
    )


def _agreement_interval(stage: ParityStage) -> Interval:
    return proportion_interval(round(stage.top1_agreement * stage.images), stage.images)


def _judged_by(bound: Bound, *, top1_enforced: bool) -> list[Judged]:
    """Return what has a bound."""
    bounds: dict[Judged, float | None] = {"max abs": bound.max_abs, "SQNR": bound.sqnr_db}
    bounds["agreement"] = bound.top1_agreement if top1_enforced else None
    return [name for name, limit in bounds.items() if limit is not None]


def _bound(rung: _Rung, reference: OpenedModel) -> Bound:
    """Return what a rung must hold: an engine against its graph, a graph against the reference."""
    precision = rung.model.precision
    if rung.is_engine and precision is not None:
        return ENGINE_BOUNDS.get(precision, FP32_BOUND)
    return bound_of(precision, reference.precision, FP32_BOUND)
