"""What commands say and take alike, beside the options of the libraries."""

import pathlib
import shlex
from typing import TYPE_CHECKING, Annotated

from deepvit.runtime.options import Help

if TYPE_CHECKING:
    from deepvit.measure.options import WeightOptions

RANDOM_WEIGHTS = "random weights: these numbers say nothing about accuracy"
Json = Annotated[pathlib.Path | None, Help("Write the result as JSON to this file.", name="json")]
Variant = Annotated[str, Help("A variant or an alias; see: ‹deepvit› models", is_argument=True)]


def weight_flags(weights: "WeightOptions") -> str:
    """Return the options that name the same weights again, with a space before; none where they are random."""
    if weights.checkpoint is not None:
        return f" --checkpoint {shlex.quote(str(weights.checkpoint))}"
    return " --pretrained" if weights.pretrained else ""
