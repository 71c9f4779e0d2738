"""What quantisation can be asked for. Options check themselves."""

import dataclasses
import pathlib
from typing import Annotated, ClassVar

from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help

from .budget.budget import Budget, Evidence, agreement_of_at_least, drop_of_at_most
from .observe.equalization import Equalization
from .observe.histogram import Method

BUDGET = "Accuracy budget of INT8 and FP8"  # the heading
DEFAULT_IMAGES = 512
DEFAULT_SEED = 0
DEFAULT_CHECK_IMAGES = 1000
MAX_IMAGES = 100_000
# What kept the logits closest on the trained models: docs/accuracy.md.
DEFAULT_METHODS = {Grid.INT8: Method("mse"), Grid.UINT8: Method("mse"), Grid.FP8: Method("max")}
# Shifts gain on every model in INT8; on the other grids they lose on some: docs/quantise.md.
DEFAULT_EQUALIZATIONS = {
    Grid.INT8: Equalization.SHIFT,
    Grid.UINT8: Equalization.RESCALE,
    Grid.FP8: Equalization.RESCALE,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationOptions:
    """How a graph becomes INT8 or FP8.

    Attributes:
        images: How many images calibrate; where None, 512, or all of the bundled ones for random weights.
        method: How ranges are chosen; where None, the default of the precision, or what a ranges file says.
        seed: Of the choice of images.
        ranges: A ranges file to use instead of calibrating.
        skip_corrupt: Replace images that cannot be decoded, instead of failing.
        equalization: What is moved from activations into weights first; where None, the default of the precision.
        attention: Quantise q·kᵀ and A'·v as well; FP8 only.
        weight_only: Leave activations in the graph's own precision; nothing is calibrated then.
        budget: What the result may cost; without one everything is quantised and the cost is reported.
        evidence: What has to be within the budget.
        check_images: On how many held-out images the cost is measured; 0 measures nothing.
    """

    heading: ClassVar[str] = "Calibration of INT8 and FP8"

    images: Annotated[int | None, Help("Calibrate on so many images; 512 if not given.", name="calibration_images")] = (
        None
    )
    method: Annotated[
        Method | None,
        Help(
            "How ranges are chosen: max, percentile-99.9 to -99.999, entropy or mse; else mse for INT8, max for FP8.",
            name="calibration_method",
            parse=Method,
        ),
    ] = None
    seed: Annotated[int, Help("Seed of the choice of calibration images.", name="calibration_seed")] = DEFAULT_SEED
    ranges: Annotated[pathlib.Path | None, Help("File ranges.json of the same graph, instead of calibrating.")] = None
    skip_corrupt: Annotated[bool, Help("Replace calibration images that cannot be decoded.")] = False
    equalization: Annotated[
        Equalization | None,
        Help(
            "What moves from activations into weights first, exactly: shift (and rescale), rescale or off; else shift "
            "for INT8, rescale for FP8 and on a CPU."
        ),
    ] = None
    attention: Annotated[
        bool, Help("With FP8 quantise q·kᵀ and A'·v too, for GPUs that run them faster.", name="quantize_attention")
    ] = False
    weight_only: Annotated[bool, Help("Store weights in eight bits, compute in FP16; calibrates nothing.")] = False
    budget: Annotated[
        Budget | None,
        Help(
            "Points of top-1 that may be lost; linears stay in FP16 to keep to it.",
            name="max_drop",
            heading=BUDGET,
            parse=drop_of_at_most,
        ),
        Help(
            "Percent of images that must keep float32's top-1 class; needs no labels.",
            name="min_agreement",
            heading=BUDGET,
            parse=agreement_of_at_least,
        ),
    ] = None
    evidence: Annotated[
        Evidence,
        Help(
            "Demand that the 95% interval is within the budget too, not the measured value alone.",
            name="confident",
            value=Evidence.INTERVAL,
            heading=BUDGET,
        ),
    ] = Evidence.ESTIMATE
    check_images: Annotated[
        int, Help("Held-out images that the result is checked on; 0 checks nothing.", heading=BUDGET)
    ] = DEFAULT_CHECK_IMAGES

    def method_for(self, grid: Grid) -> Method:
        """Return the method that was asked for, else the grid's default."""
        return DEFAULT_METHODS[grid] if self.method is None else self.method

    def equalization_for(self, grid: Grid) -> Equalization:
        """Return the equalization that was asked for, else the grid's default."""
        return DEFAULT_EQUALIZATIONS[grid] if self.equalization is None else self.equalization

    @property
    def goal(self) -> Budget | None:
        """The budget, with the evidence that it takes."""
        return None if self.budget is None else dataclasses.replace(self.budget, evidence=self.evidence)

    def __post_init__(self) -> None:
        if self.images is not None and not 1 <= self.images <= MAX_IMAGES:
            raise InputError(f"‹calibration_images› {self.images}: expected 1 to {MAX_IMAGES}")
        if not 0 <= self.check_images <= MAX_IMAGES:
            raise InputError(f"‹check_images› {self.check_images}: expected 0 to {MAX_IMAGES}")
        if self.attention and self.weight_only:
            raise InputError("‹quantize_attention› and ‹weight_only› exclude each other; give one of them")
        if self.weight_only and (self.method, self.ranges, self.equalization) != (None, None, None):
            raise InputError(
                "‹weight_only› calibrates nothing; leave out ‹calibration_method›, ‹ranges› and ‹equalization›"
            )
        if self.budget is None and self.evidence is Evidence.INTERVAL:
            raise InputError("‹confident› is about a budget; give ‹max_drop› or ‹min_agreement› too")
        if self.budget is not None and self.check_images == 0:
            raise InputError("a budget has to be checked; give ‹check_images› more than 0")
