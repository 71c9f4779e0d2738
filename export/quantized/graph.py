"""Calibrated graph → INT8 or FP8 graph within its accuracy budget, checked on images that had no part in it."""

import dataclasses

import onnx

from deepvit.calibration.budget.budget import Budget
from deepvit.calibration.onnxruntime_products import fuse_products
from deepvit.calibration.quantize import quantize_graph
from deepvit.calibration.ranges import ranges_sha256
from deepvit.images.sources import Subset
from deepvit.metrics.paired import PairedCounts
from deepvit.model.load import LoadedModel
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import AccuracyCheck, Calibration, Grid, ParityStage
from deepvit.runtime.session import Session

from ..graph.cast import cast_graph
from ..graph.float32 import Float32Graph, graph_session
from ..graph.trace import finish
from ..options import ExportOptions
from .accuracy import budget_failure, describe_check, measure_check, require_default
from .budget_search import BudgetSearch
from .calibrated import CalibratedGraph, calibrate_graph
from .images import (
    CalibrationInput,
    HeldOut,
    calibration_input,
    held_out_images,
    open_labelled,
    require_budget_images,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizedGraph:
    """The typed graph with Q/DQ, and how it came about."""

    model: onnx.ModelProto
    float32: onnx.ModelProto  # rescaled
    ranges_text: bytes
    record: Calibration
    stages: tuple[ParityStage, ...]
    extremes: dict[str, float]  # tensor → largest magnitude on the calibration images


def quantization_input(loaded: LoadedModel, options: ExportOptions, progress: Progress) -> CalibrationInput:
    """Choose the images, and refuse what can be refused before a graph is exported.

    Raises:
        InputError: Images, ranges or labels that cannot be used.
    """
    if options.quantization.budget is not None:
        if options.graph.batch.min == options.graph.batch.max:
            raise InputError("a budget is searched with batches of several sizes; give --batch MIN:OPT:MAX")
        require_budget_images(options.quantization.budget, options.imagenet, loaded.module.num_classes)
    return calibration_input(loaded, options.quantization, options.imagenet, progress)


def quantize(
    source: Float32Graph, options: ExportOptions, inputs: CalibrationInput, progress: Progress
) -> QuantizedGraph:
    """Calibrate `source` and quantise it, all of it or what the budget allows.

    Raises:
        InputError: Ranges of another graph, or images that changed.
        OutOfBoundsError: It costs too much, an activation is not finite, or rescaling changed the answer.
    """
    wanted = options.quantization
    calibrated = calibrate_graph(source, options.graph, wanted, inputs, progress)
    work = _Work(source, calibrated, options, progress)
    if wanted.budget is None:
        kept: tuple[str, ...] = ()
        model = work.typed(())
        check = None if source.is_random or work.held_out is None else work.check(model, work.held_out)[0]
        if check is not None:
            require_default(check)
    else:
        model, kept, check = work.within(wanted.budget)
    ranges = calibrated.ranges
    text = ranges.to_json().encode()
    record = Calibration(
        method=ranges.method,
        images=ranges.images,
        list_sha256=ranges.list_sha256,
        ranges_sha256=ranges_sha256(text),
        grid=ranges.grid,
        split=ranges.split,
        seed=ranges.seed,
        replaced=ranges.replaced,
        rescaled=len(ranges.rescalings),
        weight_only=wanted.weight_only,
        attention=ranges.attention,
        budget=None if wanted.budget is None else f"{wanted.budget.kind.value} {wanted.budget.limit:g}",
        kept=kept,
        check=check,
    )
    extremes = {name: max(-seen.minimum, seen.maximum) for name, seen in ranges.tensors.items()}
    return QuantizedGraph(
        model=model,
        float32=calibrated.model,
        ranges_text=text,
        record=record,
        stages=calibrated.stages,
        extremes=extremes,
    )


class _Work:
    """One quantisation: the graph, its images, and what has been tried."""

    def __init__(
        self, source: Float32Graph, calibrated: CalibratedGraph, options: ExportOptions, progress: Progress
    ) -> None:
        self.source, self.calibrated, self.options, self.progress = source, calibrated, options, progress
        classes, count = source.loaded.module.num_classes, options.quantization.check_images
        self.held_out = held_out_images(options.imagenet, classes, calibrated.images, count)
        self._channels = source.loaded.module.in_chans
        self._reference: Session | None = None

    def typed(self, kept: tuple[str, ...]) -> onnx.ModelProto:
        """Return the graph with all but the `kept` linears quantised, in its types."""
        weight_only = self.options.quantization.weight_only
        model = quantize_graph(self.calibrated.model, self.calibrated.ranges, frozenset(kept), weight_only=weight_only)
        typed = cast_graph(finish(model), self.options.graph.rest)
        is_for_cpu = self.options.graph.grid is Grid.UINT8 and not weight_only
        return fuse_products(typed) if is_for_cpu else typed

    def check(self, model: onnx.ModelProto, held_out: HeldOut) -> tuple[AccuracyCheck, PairedCounts]:
        """Measure what the typed graph costs against the float32 graph."""
        if self._reference is None:
            self._reference = graph_session(self.source.model, "the ONNX graph in float32")
        session = graph_session(model, f"the ONNX graph in {self.options.graph.precision.value}")
        advance = self.progress(f"checking on {len(held_out.source)} held-out images")
        return measure_check(session, self._reference, held_out, self.source.preprocessing, self._channels, advance)

    def within(self, budget: Budget) -> tuple[onnx.ModelProto, tuple[str, ...], AccuracyCheck]:
        """Find the fewest linears to keep on the calibration images, and check them on the held-out ones.

        Where the check fails, half of the held-out images join the search, and the other half, of which only that one
        verdict was seen, check what it finds.

        Raises:
            OutOfBoundsError: No choice meets the budget.
        """
        images = self.calibrated.images
        assert images is not None
        if self.held_out is None:
            raise InputError("a budget is checked on images that did not calibrate, and none are left; add val/")
        classes = self.source.loaded.module.num_classes
        labelled, is_labelled = open_labelled(self.options.imagenet or "", classes, images.split)
        search = BudgetSearch(
            self.source,
            self.calibrated,
            weight_only=self.options.quantization.weight_only,
            is_labelled=is_labelled and self.held_out.is_labelled,
            progress=self.progress,
        )
        search.add(Subset(labelled, images.indices))
        held_out, at_least = self.held_out, 0
        for attempt in ("first", "second"):
            kept = search.fewest(budget, at_least)
            if not kept.is_met:
                raise budget_failure(budget, kept.units, f"{budget.describe(kept.counts)} on the search images")
            model = self.typed(kept.units)
            check, counts = self.check(model, held_out)
            if budget.is_met(counts):
                return model, kept.units, check
            if attempt == "first":
                halves = [Subset(held_out.source, tuple(range(i, len(held_out.source), 2))) for i in (0, 1)]
                search.add(halves[0])
                held_out, at_least = dataclasses.replace(held_out, source=halves[1]), len(kept.units)
        raise budget_failure(budget, kept.units, describe_check(check))
