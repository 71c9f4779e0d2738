"""What an export is going to do: checked, and listed, before any model is loaded; the export itself works by it."""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING

from deepvit.calibration import stages as calibration_stages
from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.ranges import RANGES
from deepvit.images.class_names import default_names, read_labels
from deepvit.images.samples import default_images, parity_images
from deepvit.images.sources import ImageSource
from deepvit.model.row import Variant
from deepvit.runtime.artifact import MANIFEST, MAX_MANIFEST_BYTES, MODEL
from deepvit.runtime.artifact.manifest import Backend, ChooseForm, InputForm, Precision
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import require_room
from deepvit.runtime.files.staging import require_output
from deepvit.runtime.trt.library import INSTALL, installed_version

from . import stages
from .graph.reattention.kernel import kernel_for
from .options import QUANTIZED, ExportOptions
from .quantized.plan import QuantizationPlan, plan_quantization

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

WEIGHT_BYTES = {Precision.FP32: 4, Precision.FP16: 2, Precision.BF16: 2, Precision.INT8: 1, Precision.FP8: 1}
MOST_NAMES_BYTES = MAX_MANIFEST_BYTES * 3 // 4  # of the class names, in the manifest
INDENT = 4  # of a name, in bytes
BESIDE_WEIGHTS = 1.2  # how much larger an artifact is, at most, for its graph and its manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What of a model an export is planned by."""

    variant: Variant
    img_size: int
    channels: int
    classes: int
    is_random: bool
    parameters: int


def shape_of(loaded: "LoadedModel") -> ModelShape:
    """Return what an export of `loaded` is planned by."""
    module = loaded.module
    return ModelShape(
        variant=loaded.variant,
        img_size=module.img_size,
        channels=module.in_chans,
        classes=module.num_classes,
        is_random=loaded.weights.source == "random",
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """An export that nothing speaks against as far as can be told without the model.

    Attributes:
        shape: Of the model.
        options: What is asked for.
        folder: The artifact's.
        parity: The images that prove it.
        quantization: The images that calibrate and check, opened; None where nothing is quantised.
        expected_bytes: How large the artifact gets, at most.
        class_names: By label: the user's, else those that are known; None where none are.
    """

    shape: ModelShape
    options: ExportOptions
    folder: pathlib.Path
    parity: ImageSource
    quantization: QuantizationPlan | None
    expected_bytes: int
    class_names: tuple[str, ...] | None

    @property
    def calibrates(self) -> int:
        """On how many images ranges are measured."""
        plan = self.quantization
        if plan is None or plan.chosen is None or plan.ranges is not None or self.options.quantization.weight_only:
            return 0
        return plan.chosen.choice.count

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the artifact, the manifest last."""
        has_ranges = self.quantization is not None and not self.options.quantization.weight_only
        return (MODEL, *((RANGES,) if has_ranges else ()), MANIFEST)

    @property
    def stages(self) -> tuple[str, ...]:
        """What is done, in the words that the export reports."""
        graph, plan = self.options.graph, self.quantization
        chosen = () if plan is None or plan.chosen is None else (calibration_stages.choosing(plan.chosen.choice.count),)
        typing = () if graph.precision is Precision.FP32 else (stages.casting(graph.precision),)
        forms = () if graph.choose_form is ChooseForm.RULES else (stages.choosing_form(graph.choose_form),)
        return (
            *chosen,
            *forms,
            stages.FOLDING,
            stages.tracing(graph.spec.opset),
            stages.comparing(len(self.parity)),
            stages.BATCHES,
            *((stages.FUSING,) if graph.is_fused else ()),
            *(typing if plan is None else self._quantizing(plan)),
            *(() if graph.precision is Precision.FP32 else (stages.proving(graph.precision),)),
            stages.WRITING,
            stages.TRYING,
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """What is found out, and on how many images."""
        graph, plan = self.options.graph, self.quantization
        parity = f"each stage against the last on {len(self.parity)} images: largest difference, SQNR, top-1 agreement"
        if plan is None or not plan.checks:
            return (parity,)
        budget = self.options.quantization.goal
        judged = "" if budget is None else f", held against {budget.text}"
        where = f"{graph.precision.value} against float32 on {plan.checks} held-out images"
        return (parity, f"{where}: agreement, and with labels top-1{judged}")

    def _quantizing(self, plan: QuantizationPlan) -> tuple[str, ...]:
        options, grid = self.options.quantization, self.options.graph.grid
        assert grid is not None
        names: list[str] = []
        if self.calibrates:
            names.append(calibration_stages.extremes(self.calibrates))
            if options.equalization_for(grid) is not Equalization.OFF:
                names.append(calibration_stages.RESCALING)
            names.append(calibration_stages.histograms(self.calibrates))
        elif plan.ranges is not None and plan.ranges.rescalings:
            names.append(calibration_stages.RESCALING)
        if options.budget is not None:
            names.append(stages.searching(options.budget.text))
        if plan.checks:
            names.append(stages.checking(plan.checks))
        return tuple(names)


def plan_export(shape: ModelShape, options: ExportOptions) -> ExportPlan:
    """Plan the export of a model; nothing is written, and no image is decoded.

    Raises:
        InputError: An output, dataset or option that cannot be used.
        MissingError: The disk has no room, or the compiler that chooses a form is not installed.
    """
    if options.graph.input_form is InputForm.UINT8 and shape.channels != 3:
        raise InputError(f"‹input› uint8 takes RGB pixels, the model has {shape.channels} channels")
    if options.graph.choose_form is ChooseForm.LISTING and installed_version(Backend.TENSORRT_RTX) is None:
        raise MissingError(
            f"‹choose_form› listing asks TensorRT-RTX's compiler, which needs no GPU; {INSTALL[Backend.TENSORRT_RTX]}"
        )
    if options.graph.is_fused:
        kernel_for(shape.variant, shape.img_size, options.graph.spec, options.graph.precision)
    folder = options.artifact_folder(shape.variant.name)
    expected = int(shape.parameters * WEIGHT_BYTES[options.graph.precision] * BESIDE_WEIGHTS)
    require_output(folder, marker=MANIFEST, option="‹output›")
    require_room(folder, expected, "‹output›")
    is_quantized = options.graph.precision in QUANTIZED
    quantization = plan_quantization(options, shape.classes, is_random=shape.is_random) if is_quantized else None
    count = options.parity_images or default_images(shape.img_size)
    return ExportPlan(
        shape=shape,
        options=options,
        folder=folder,
        parity=parity_images(options.imagenet, count, options.decoding),
        quantization=quantization,
        expected_bytes=expected,
        class_names=class_names_of(shape.variant, shape.classes, options.labels),
    )


def class_names_of(variant: Variant, classes: int, labels: pathlib.Path | None) -> tuple[str, ...] | None:
    """Return the user's names of the classes, else those that are known; None where none are.

    Raises:
        InputError: The user's cannot be used, or are more than a manifest holds.
    """
    if labels is None:
        return variant.names_of(classes) or default_names(classes)
    names = read_labels(labels, classes)
    size = len(json.dumps(names, ensure_ascii=False).encode()) + INDENT * classes
    if size > MOST_NAMES_BYTES:
        raise InputError(f"‹labels› {labels} has {size} bytes of names, expected at most {MOST_NAMES_BYTES}")
    return tuple(names)
