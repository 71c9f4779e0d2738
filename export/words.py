"""Results in words, for a terminal."""

from collections.abc import Iterator

import rich.table

from deepvit.metrics.bounds import PRECISION_BOUNDS, Bound, unshown
from deepvit.metrics.distance import db_text
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.errors import first_of
from deepvit.runtime.manifest import (
    Calibration,
    ChooseForm,
    Engine,
    EnginePlugin,
    Identity,
    Level,
    Manifest,
    PlainSessions,
    ReattentionForm,
    TriedForm,
    TriedForms,
)
from deepvit.runtime.trt.fit import misfits
from deepvit.runtime.trt.machine import Machine

from .quantized.held_out_check import describe_check, describe_proof

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
    if manifest.graph.padded_tokens is not None:
        yield _padding(manifest.graph.padded_tokens)
    if manifest.graph.tried is not None:
        yield from describe_tried(manifest.graph.tried)
    if manifest.graph.reattention is ReattentionForm.FUSED:
        yield FUSED
    if manifest.calibration is not None:
        yield from describe_calibration(manifest.calibration)
    if manifest.largest_activation:
        name, value = max(manifest.largest_activation.items(), key=lambda item: item[1])
        yield f"largest activation: {value:.4g} in {name} (FP16 ends at 65504)"
    if manifest.plain is not None:
        yield from describe_plain(manifest.plain)


def describe_tried(tried: TriedForms) -> Iterator[str]:
    """Yield the forms that the graph's was chosen from, each as options of an export, and what it would cost."""
    how = "estimated, not run" if tried.by is ChooseForm.LISTING else "measured"
    yield f"form chosen by {tried.by.value} at batch {tried.batch}, {how}: {tried.tool}, {tried.where}"
    for index, form in enumerate(tried.forms):
        mark = "chosen" if index == tried.chosen else "rules" if index == 0 else "tried"
        yield f"  {mark}: {_form_options(form)}: {_form_cost(form)}"


def _form_options(form: TriedForm) -> str:
    padded = " ".join(
        f"‹{name}›" if is_padded else f"‹no_{name}›"
        for name, is_padded in (("pad_tokens", form.pad_tokens), ("pad_head_dim", form.pad_head_dim))
    )
    return f"‹mix› {form.mix.value} ‹qkv› {form.qkv.value} {padded}"


def _form_cost(form: TriedForm) -> str:
    if form.milliseconds is not None:
        return f"{form.milliseconds:.1f} ms"
    return f"{form.mb_per_image:.1f} MB an image, {form.kernels} kernels"


FUSED = (
    "re-attention fused into one operator a block: a kernel where the plugin is loaded, elsewhere its body in the file"
)


def _padding(rows: int) -> str:
    return f"tokens padded to {rows} rows, exactly: those added are masked"


def describe_plain(plain: PlainSessions) -> Iterator[str]:
    """Yield what a session of ONNX Runtime without our options does to the graph, where that is not to answer right."""
    if not plain.wrong and not plain.refused:
        return
    faults = [
        f"{fault} {'at every level of optimisation' if len(levels) == len(Level) else 'at ' + ', '.join(levels)}"
        for fault, members in (("refused", plain.refused), ("answers wrongly", plain.wrong))
        if (levels := [level.value for level in members])
    ]
    cure = "; set session.disable_quant_qdq=1, as the runtimes here do" if plain.right else ""
    yield f"a plain session of ONNX Runtime {plain.version} on a CPU: {'; '.join(faults)}{cure}"


def describe_calibration(calibration: Calibration) -> Iterator[str]:
    """Yield what the ranges come from, what stays unquantised, and what quantisation costs."""
    if calibration.split is None:
        yield f"weights alone in {calibration.grid.value}, not calibrated"
    else:
        yield (
            f"calibrated on {calibration.images} images of {calibration.split.value}, ranges by {calibration.method} "
            f"for {calibration.grid.value}; {calibration.rescaled} sites rescaled, exactly"
        )
    if calibration.replaced:
        yield f"replaced, because they cannot be decoded: {', '.join(calibration.replaced)}"
    if calibration.budget is not None:
        yield f"budget {calibration.budget}: stay unquantised: {', '.join(calibration.kept) or 'none'}"
    if proof := describe_proof(calibration):
        yield f"budget {calibration.budget}: {proof}"
    if calibration.check is None:
        yield "accuracy: not checked on held-out images"
    else:
        yield f"accuracy: {describe_check(calibration.check)}"


def describe_build(manifest: Manifest, plan: str) -> Iterator[str]:
    """Yield what came of a build: the plan, its precision, and how far its answers are from the graph's."""
    engine = next(engine for engine in manifest.engines if engine.file == plan)
    record = manifest.files[plan]
    yield f"built {plan}, {record.bytes / 1e6:.1f} MB, for {_engine_line(engine)}, SHA-256 {record.sha256}"
    yield f"precision: {_gemm_types(engine.census.network)} in the network, as promised"
    if engine.plugin is not None:
        yield _plugin_line(engine.plugin)
    if engine.census.engine is None:
        yield "the finished engine's layers are unknown: nothing listed them when it was built"
    else:
        gemms = engine.census.gemms_attributed
        yield f"the finished engine's layers hold to it: all {gemms} GEMMs and convolutions were found in them"
    rungs = [stage for stage in manifest.parity if stage.stage == f"engine-{engine.backend.value}"]
    if not rungs:
        yield "not run: no GPU here can run this engine; its answers were not checked"
    for stage in rungs:
        sqnr = "exact" if stage.sqnr_db is None else f"SQNR {stage.sqnr_db:.1f} dB"
        agreement = f"top-1 agreement {stage.top1_agreement:.2%}"
        yield f"against {stage.against} on {stage.images} images: {sqnr}, {agreement}"


def _plugin_line(plugin: EnginePlugin) -> str:
    return (
        f"built with the plugin {plugin.layer}, kernels of SHA-256 {plugin.kernels_sha256}, which it needs to run too, "
        f"in a library of SHA-256 {plugin.sha256}"
    )


def _engine_line(engine: Engine) -> str:
    profile = f"batch {engine.profile}"
    return f"{engine.backend.value} {engine.version}, compute capability {engine.compute_capability}, {profile}"


def _gemm_types(census: dict[str, int]) -> str:
    kinds = ("MATRIX_MULTIPLY", "CONVOLUTION", "SOFTMAX", "PLUGIN")
    return ", ".join(f"{count} {name}" for name, count in census.items() if name.startswith(kinds))


def describe_identity(identity: Identity) -> Iterator[str]:
    """Yield what a model is, what it takes, and what its classes are called."""
    weights = f"{identity.weights.source} weights {identity.weights.sha256[:16]}…"
    yield f"{identity.variant}, {identity.precision.value}, {identity.classes} classes, {weights}"
    yield from describe_input(identity)
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
    if manifest.graph.padded_tokens is not None:
        yield _padding(manifest.graph.padded_tokens)
    if manifest.graph.tried is not None:
        yield from describe_tried(manifest.graph.tried)
    if manifest.graph.reattention is ReattentionForm.FUSED:
        yield FUSED
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
        yield from _describe_engine(engine, machine)


def describe_input(identity: Identity) -> Iterator[str]:
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


def _describe_engine(engine: Engine, machine: Machine) -> Iterator[str | rich.table.Table]:
    yield ""
    yield f"engine {engine.file}: {_engine_line(engine)}"
    tuned = f"tuned on {engine.gpu}, driver {engine.driver}" if engine.gpu else "built without a GPU"
    flags = [name for name in ("version_compatible", "weight_stripped") if getattr(engine, name)]
    flags += [f"{name} {value}" for name, value in engine.options.model_dump().items()]
    yield f"{tuned}; hardware-compatible {engine.hardware_compatible.value}; {', '.join(flags) or 'no further options'}"
    if engine.plugin is not None:
        yield _plugin_line(engine.plugin)
    faults = misfits(engine, machine)
    yield f"runs here: {'no: ' + '; '.join(faults) if faults else 'yes'}"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("layers of the", "type and data type", "count"):
        table.add_column(column, no_wrap=True)
    for where, census in (("network", engine.census.network), ("engine", engine.census.engine or {})):
        for name, count in census.items():
            table.add_row(where, name, f"{count}")
    yield table
    if engine.census.engine is None:
        yield "the finished engine's layers are unknown: nothing listed them when it was built"
