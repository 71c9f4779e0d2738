"""What quantisation can be asked for. Options check themselves."""

import dataclasses
import enum
import pathlib
from typing import Annotated

from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import Grid
from deepvit.runtime.options import Help

from .budget.budget import Budget, agreement_of_at_least, drop_of_at_most
from .observe.histogram import Method

DEFAULT_IMAGES = 512
DEFAULT_SEED = 0
DEFAULT_CHECK_IMAGES = 1000
MAX_IMAGES = 100_000
# What kept the logits closest on the trained models: benchmarks/results/quantization_digits.json.
DEFAULT_METHODS = {Grid.INT8: Method("mse"), Grid.UINT8: Method("mse"), Grid.FP8: Method("max")}


class Equalization(enum.Enum):
    """Whether activations are rescaled into weights before the ranges are taken."""

    ON = "on"
    OFF = "off"


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationOptions:
    """How a graph becomes INT8 or FP8.

    Attributes:
        images: How many images calibrate; where None, 512, or all of the bundled ones for random weights.
        method: How ranges are chosen; where None, the default of the precision, or what a ranges file says.
        seed: Of the choice of images.
        ranges: A ranges file to use instead of calibrating.
        skip_corrupt: Replace images that cannot be decoded, instead of failing.
        equalization: Whether activations are rescaled into weights first.
        attention: Quantise q·kᵀ and A'·v as well; FP8 only.
        weight_only: Leave activations in the graph's own precision.
        budget: What the result may cost; without one everything is quantised and the cost is reported.
        check_images: On how many held-out images the cost is measured; 0 measures nothing.
    """

    images: Annotated[int | None, Help("How many images calibrate INT8 or FP8; 512.", name="calibration_images")] = None
    method: Annotated[
        Method | None,
        Help(
            "Ranges by max, percentile-99.9 to -99.999, entropy or mse; INT8: mse, FP8: max.",
            name="calibration_method",
            parse=Method,
        ),
    ] = None
    seed: Annotated[int, Help("Of the choice of calibration images.", name="calibration_seed")] = DEFAULT_SEED
    ranges: Annotated[pathlib.Path | None, Help("A ranges.json of the same graph, instead of images.")] = None
    skip_corrupt: Annotated[bool, Help("Replace calibration images that cannot be decoded.")] = False
    equalization: Annotated[Equalization, Help("on or off: rescale activations into weights, exactly, first.")] = (
        Equalization.ON
    )
    attention: Annotated[
        bool, Help("FP8: quantise q·kᵀ and A'·v too, for GPUs that run them faster.", name="quantize_attention")
    ] = False
    weight_only: Annotated[bool, Help("Store weights in eight bits, compute in FP16.")] = False
    budget: Annotated[
        Budget | None,
        Help(
            "Points of top-1 that INT8 or FP8 may lose; keeps linears in FP16 for it.",
            name="max_drop",
            parse=drop_of_at_most,
        ),
        Help(
            "Percent of images with float32's top-1 class; likewise, without labels.",
            name="min_agreement",
            parse=agreement_of_at_least,
        ),
    ] = None
    check_images: Annotated[int, Help("Held-out images that INT8 or FP8 is checked on; 0 checks nothing.")] = (
        DEFAULT_CHECK_IMAGES
    )

    def method_for(self, grid: Grid) -> Method:
        """Return the method that was asked for, else the grid's default."""
        return DEFAULT_METHODS[grid] if self.method is None else self.method

    def __post_init__(self) -> None:
        if self.images is not None and not 1 <= self.images <= MAX_IMAGES:
            raise InputError(f"‹calibration_images› {self.images}: expected 1 to {MAX_IMAGES}")
        if not 0 <= self.check_images <= MAX_IMAGES:
            raise InputError(f"‹check_images› {self.check_images}: expected 0 to {MAX_IMAGES}")
        if self.attention and self.weight_only:
            raise InputError("‹quantize_attention› and ‹weight_only› exclude each other; give one of them")
        if self.budget is not None and self.check_images == 0:
            raise InputError("a budget has to be checked; give ‹check_images› more than 0")
