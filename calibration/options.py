"""What quantisation can be asked for. Options check themselves."""

import dataclasses
import pathlib

from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import Grid

from .budget.budget import Budget
from .images import DEFAULT_SEED
from .observe.calibrate import DEFAULT_METHODS, Equalization
from .observe.histogram import Method

DEFAULT_IMAGES = 512
DEFAULT_CHECK_IMAGES = 1000
MAX_IMAGES = 100_000


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

    images: int | None = None
    method: Method | None = None
    seed: int = DEFAULT_SEED
    ranges: pathlib.Path | None = None
    skip_corrupt: bool = False
    equalization: Equalization = Equalization.ON
    attention: bool = False
    weight_only: bool = False
    budget: Budget | None = None
    check_images: int = DEFAULT_CHECK_IMAGES

    def method_for(self, grid: Grid) -> Method:
        """Return the method that was asked for, else the grid's default."""
        return DEFAULT_METHODS[grid] if self.method is None else self.method

    def __post_init__(self) -> None:
        if self.images is not None and not 1 <= self.images <= MAX_IMAGES:
            raise InputError(f"--calibration-images {self.images}: expected 1 to {MAX_IMAGES}")
        if not 0 <= self.check_images <= MAX_IMAGES:
            raise InputError(f"--check-images {self.check_images}: expected 0 to {MAX_IMAGES}")
        if self.attention and self.weight_only:
            raise InputError("--quantize-attention and --weight-only exclude each other; give one of them")
        if self.budget is not None and self.check_images == 0:
            raise InputError("a budget has to be checked; give --check-images more than 0")
