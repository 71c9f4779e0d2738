"""The command that usually follows each one, complete, with what was given: pasted, it works. None where none would."""

import dataclasses
import enum
import importlib.util
import os
import pathlib
import shlex
import shutil
import sys
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deepvit.runtime.options import Help

if TYPE_CHECKING:
    from deepvit.calibration.options import QuantizationOptions
    from deepvit.classify.options import ClassificationRequest
    from deepvit.export.options import ExportOptions
    from deepvit.measure.attention.options import AttentionOptions
    from deepvit.measure.compare.options import ComparisonOptions
    from deepvit.measure.evaluate.options import EvaluationRequest
    from deepvit.measure.options import SensitivityOptions, SessionOptions, WeightOptions
    from deepvit.runtime.artifact import Artifact

WEIGHTS = ("checkpoint", "sha256", "pretrained", "no_ema")  # what every command takes that loads them
EXPORTERS = ("torch", "timm", "onnxscript", "onnxruntime")
REPORTERS = ("jinja2", "matplotlib")


def command_line(command: str, *places: object, **options: object) -> str:
    """Return a command of this program as it is typed; options that are None or False are left out."""
    words = [command, *map(_text, places)]
    for name, value in options.items():
        if value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [_text(value)])]
    return shlex.join(words)


def given(options: Any, *fields: str) -> dict[str, object]:
    """Return name → value of those options of a dataclass that are not at their defaults; of `fields` where given."""
    kinds = typing.get_type_hints(type(options), include_extras=True)
    values = {}
    for field in dataclasses.fields(options):
        helps = [each for each in getattr(kinds[field.name], "__metadata__", ()) if isinstance(each, Help)]
        value = getattr(options, field.name)
        if len(helps) == 1 and value != field.default and (not fields or field.name in fields):
            values[helps[0].name or field.name] = value
    return values


def first_export() -> str | None:
    """Return the export that works wherever one does: of weights that come with this package."""
    return command_line("export", "digits_cnn", fp16=True, pretrained=True) if _has(*EXPORTERS) else None


def after_export(artifact: "Artifact", options: "ExportOptions", weights: "WeightOptions") -> str:
    """Return how its answers are scored, or drawn; without labels, how they are compared."""
    from deepvit.export.graph.spec import Outputs

    data = options.imagenet
    if options.graph.outputs is Outputs.MAPS:
        return command_line("attention", artifact.folder, images=data, **_decoding(options))
    if data is not None and _is_labelled(data, artifact.manifest.classes):
        file = artifact.folder / runnable_file(artifact)
        return command_line("eval", file, imagenet=data, **_decoding(options))
    return command_line("compare", artifact.folder, imagenet=data, **_reference(weights), **_decoding(options))


def after_sensitivity(
    variant: str, options: "SensitivityOptions", weights: "WeightOptions", quantization: "QuantizationOptions"
) -> str:
    """Return the export that keeps those linears in FP16 that cost too much, where there are images to tell."""
    budget = {} if options.imagenet is None else {"min_agreement": 99.5}
    precision = {options.precision.value: True}
    shared = {**given(weights), **given(options, "imagenet", "target"), **_decoding(options)}
    shared |= given(quantization)
    return command_line("export", variant, **precision, **shared, **budget)


def after_build(artifact: "Artifact") -> str:
    """Return what shows the engine."""
    return command_line("inspect", artifact.folder)


def after_inspect(artifact: "Artifact", *, can_build: bool) -> str | None:
    """Return the build of an engine where one is lacking and can be had here, else what times it or draws its maps."""
    if artifact.manifest.graph.attention_maps is not None:
        return command_line("attention", artifact.folder) if _has("matplotlib", "onnxruntime") else None
    if can_build and not artifact.manifest.engines:
        return command_line("build", artifact.folder)
    return command_line("bench", artifact.folder, peers="none") if _has("onnxruntime") else None


def after_inspecting_file(path: pathlib.Path) -> str | None:
    """Return what times a model that has no manifest."""
    return _bench([str(path)]) if _has("onnxruntime") else None


def after_compare(
    models: Sequence[str],
    classes: int,
    options: "ComparisonOptions",
    weights: "WeightOptions",
    sessions: "SessionOptions",
) -> str:
    """Return how they are scored where there are labels, else how they are timed."""
    shared = {**given(weights, *WEIGHTS), **given(sessions)}
    data = options.dataset
    if data is None or not _is_labelled(data, classes):
        return _bench(models, **shared)
    reference = options.reference
    if reference is None and is_artifact(models[0]) and not weights.are_random:
        reference = "pytorch"
    return command_line("eval", *models, imagenet=data, reference=reference, **shared, **_decoding(options))


def after_eval(request: "EvaluationRequest", *, has_random_weights: bool) -> str:
    """Return the same with a reference where none was, the export of a variant, else how fast they are."""
    shared = {**given(request.weights), **given(request.sessions)}
    model, *others = request.models
    if not others and request.reference == "none":
        if not is_artifact(model) and not pathlib.Path(model).exists():
            data = {"imagenet": request.dataset, **_decoding(request)}
            return command_line("export", model, fp16=True, **given(request.weights), **data)
        if is_artifact(model) and (has_random_weights or not request.weights.are_random) and _has(*EXPORTERS):
            data = {"imagenet": request.dataset, "limit": request.limit, "reference": "pytorch", **_decoding(request)}
            return command_line("eval", model, **data, **shared)
    shared.pop("img_size", None)  # an artifact says it itself
    return _bench(request.models, **shared)


def after_classify(request: "ClassificationRequest", output: pathlib.Path | None) -> str | None:
    """Return the same with a file of rows, where there was none and the images can be named in one word."""
    from deepvit.classify.sources.addresses import public

    (first, *others) = request.images
    if output is not None or others or public(first) != first:  # a password is not printed
        return None
    shared = {**given(request, "column", "limit"), **_decoding(request), **given(request.answer)}
    shared |= {**given(request.weights), **given(request.sessions), "variant": request.preprocess_as}
    return command_line("classify", request.model, images=first, **shared, output="predictions.csv")


def after_bench(models: Sequence[str], weights: "WeightOptions", result: pathlib.Path | None) -> str | None:
    """Return the page about the first artifact, else the export of the first variant."""
    for model in models:
        if is_artifact(model):
            folder = pathlib.Path(model) if pathlib.Path(model).is_dir() else pathlib.Path(model).parent
            return command_line("report", folder, **{"with": result}) if _has(*REPORTERS) else None
    variants = [model for model in models if not pathlib.Path(model).exists()]
    return command_line("export", variants[0], fp16=True, **given(weights, *WEIGHTS)) if variants else None


def after_attention(model: str, weights: "WeightOptions", options: "AttentionOptions") -> str:
    """Return the export that gives the maps of the graph, or what it is made of."""
    if is_artifact(model):
        return command_line("inspect", model)
    output = pathlib.Path("artifacts") / f"{model}-maps"
    return command_line(
        "export",
        model,
        fp16=True,
        attention_maps=True,
        output=output,
        **given(weights),
        imagenet=options.dataset,
        **_decoding(options),
    )


def after_package(repository: pathlib.Path) -> str:
    """Return what tells whether it is still as it was written."""
    return command_line("package", triton=repository, check=True)


def after_manifests(folder: pathlib.Path) -> str:
    """Return what brings them up, a whole command of another program."""
    return shlex.join(["kubectl", "apply", "-k", str(folder)])


def viewer(page: pathlib.Path) -> str | None:
    """Return what opens `page` where this machine has a screen."""
    if sys.platform == "darwin":
        return shlex.join(["open", str(page)])
    has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return shlex.join(["xdg-open", str(page)]) if has_screen and shutil.which("xdg-open") else None


def runnable_file(artifact: "Artifact") -> str:
    """Return the file of `artifact` to evaluate on this machine: an engine that runs here, else the ONNX file."""
    from deepvit.runtime.opening import engine_here

    return engine_here(artifact, allow_host_code=False) or "model.onnx"


def is_artifact(model: str) -> bool:
    """Return whether a user who says `model` names an artifact, or a file of one."""
    from deepvit.runtime.opening import is_in_artifact

    path = pathlib.Path(model)
    return path.exists() and is_in_artifact(path)


def _bench(models: Sequence[str], **options: object) -> str:
    is_lone = pathlib.Path(models[0]).exists() and not is_artifact(models[0])
    return command_line("bench", *models, **options, peers="none" if is_lone else None)


def _reference(weights: "WeightOptions") -> dict[str, object]:
    return {"reference": "pytorch"} if weights.are_random else given(weights, *WEIGHTS)


def _decoding(options: Any) -> dict[str, object]:
    """Return which images are decoded, where somebody said it."""
    return given(options.decoding)


def _is_labelled(dataset: str, classes: int) -> bool:
    from deepvit.images.imagenet import is_labelled

    return is_labelled(dataset, classes)


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in modules)


def _text(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
