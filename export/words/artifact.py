"""An artifact in words: what it is, what it takes, how it was proved."""

from collections.abc import Iterator

import rich.table

from deepvit.metrics.bounds import PRECISION_BOUNDS, Bound, unshown
from deepvit.metrics.distance import db_text
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.artifact.manifest import Identity, Manifest
from deepvit.runtime.errors import first_of
from deepvit.runtime.trt.machine import Machine

from .engine import describe_engine
from .graph import describe_calibration, describe_form, describe_plain

NAMES_SHOWN = 3  # of classes


def describe_export(manifest: Manifest) -> Iterator[str | rich.table.Table]:
    """Yield the parity ladder, the folds with their conditioning, and the largest activation."""
    table = rich.table.Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # all of it fits 80 columns
    for column in ("stage", "against", "max abs", "SQNR", "agreement", "95% interval", "images"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("stage", "against") else "right")
    for stage in manifest.parity:
        sqnr = db_text(stage.sqnr_db)
        agreement = f"{stage.top1_agreement:.2%}"
        sure = (
            ""
            if stage.top1_interval is None
            else f"{100 * stage.top1_interval.low:.1f} to {100 * stage.top1_interval.high:.1f}"
        )
        table.add_row(stage.stage, stage.against, f"{stage.max_abs:.2e}", sqnr, agreement, sure, f"{stage.images}")
    yield table
    if remark := unshown(manifest.parity[-1], PRECISION_BOUNDS.get(manifest.precision, Bound())):
        yield remark
    for record in manifest.folds:
        if record.applied:
            bias = f", largest bias {record.max_abs_bias:.3g}" if record.max_abs_bias else ""
            weight = f"largest weight {record.max_abs_weight:.3g}"
            yield f"folded {record.name} in {record.applied} modules: {weight}{bias}"
    yield from describe_form(manifest.graph)
    if manifest.calibration is not None:
        yield from describe_calibration(manifest.calibration)
    if manifest.largest_activation:
        name, value = max(manifest.largest_activation.items(), key=lambda item: item[1])
        yield f"largest activation: {value:.4g} in {name} (FP16 ends at 65504)"
    if manifest.plain is not None:
        yield from describe_plain(manifest.plain)


def describe_identity(identity: Identity) -> Iterator[str]:
    """Yield what a model is, what it takes, and what its classes are called."""
    weights = f"{identity.weights.source} weights {identity.weights.sha256[:16]}…"
    yield f"{identity.variant}, {identity.precision.value}, {identity.classes} classes, {weights}"
    yield from _describe_input(identity)
    names = identity.class_names
    yield f"class names: {'none; numbers are shown' if names is None else first_of(names, NAMES_SHOWN, '; ')}"


def describe_artifact(artifact: Artifact, machine: Machine) -> Iterator[str | rich.table.Table]:
    """Yield what the artifact is, and for each engine where it runs and what it is made of."""
    manifest = artifact.manifest
    yield from describe_identity(manifest)
    for name, record in manifest.files.items():
        yield f"file {name}, {record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}"
    applied = [f"{record.name} in {record.applied}" for record in manifest.folds if record.applied]
    yield f"folded: {', '.join(applied) or 'nothing'}"
    yield from describe_form(manifest.graph)
    for stage in manifest.parity:
        sqnr = db_text(stage.sqnr_db)
        yield f"parity {stage.stage} against {stage.against}: max abs {stage.max_abs:.2e}, SQNR {sqnr}"
    if manifest.calibration is not None:
        yield from describe_calibration(manifest.calibration)
    if manifest.plain is not None:
        yield from describe_plain(manifest.plain)
    if not manifest.engines:
        yield "no engine"
    for engine in manifest.engines:
        yield from describe_engine(engine, machine)


def _describe_input(identity: Identity) -> Iterator[str]:
    """Yield what the graph takes and gives, and how an image becomes that."""
    images, logits, sizes = identity.input, identity.output, ""
    if isinstance(identity, Manifest):
        batch = identity.batch
        sizes = f", batch {batch.min} to {batch.max}, tuned for {batch.opt}"
    yield (
        f"input {images.name}: {_shape(images.shape)} {images.dtype}{sizes}; output {logits.name}: "
        f"{_shape(logits.shape)}"
    )
    steps = identity.preprocess
    values = f"mean {_channels(steps.mean)}, std {_channels(steps.std)}"
    where = "inside the graph" if steps.layout == "NHWC" else "before the graph"
    yield (
        f"preprocessing: shorter side to {steps.resize} ({steps.interpolation}), centre {steps.crop} × {steps.crop}, "
        f"{steps.color}; {values}, {where}"
    )


def _shape(shape: tuple[int | str, ...]) -> str:
    return " × ".join(str(side) for side in shape[1:])


def _channels(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))
