"""A graph in words: its form, how it was quantised, what a plain session does to it."""

from collections.abc import Iterator

from deepvit.runtime.artifact.manifest import (
    Calibration,
    ChooseForm,
    GraphForm,
    Level,
    PlainSessions,
    ReattentionForm,
    TriedForm,
    TriedForms,
)

from ..quantized.words import describe_check, describe_proof

FUSED = (
    "re-attention fused into one operator a block: a kernel where the plugin is loaded, elsewhere its body in the file"
)


def describe_form(form: GraphForm) -> Iterator[str]:
    """Yield in which form a graph is written, where that is not the plain one."""
    if form.padded_tokens is not None:
        yield f"tokens padded to {form.padded_tokens} rows, exactly: those added are masked"
    if form.tried is not None:
        yield from _describe_tried(form.tried)
    if form.reattention is ReattentionForm.FUSED:
        yield FUSED


def _describe_tried(tried: TriedForms) -> Iterator[str]:
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
            f"for {calibration.grid.value}; {calibration.rescaled} sites shifted or rescaled, exactly"
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
