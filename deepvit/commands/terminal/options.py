"""What commands say and take alike, beside the options of the libraries."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Annotated

from deepvit.measure.evaluate.options import CLUSTER
from deepvit.runtime.options import Help

RANDOM_WEIGHTS = "random weights: these numbers say nothing about accuracy"
OUTPUT = "Output"  # the heading of what is written
Json = Annotated[pathlib.Path | None, Help("Write the result as JSON to this file.", name="json", heading=OUTPUT)]
DryRun = Annotated[
    bool, Help("Say what would be done, written and measured; write nothing.", name="dry_run", heading=OUTPUT)
]
Variant = Annotated[str, Help("A variant or an alias; see: ‹deepvit› models", is_argument=True)]
RAY = "--ray"


def with_ray_addresses(arguments: Sequence[str]) -> Iterator[str]:
    """Yield arguments, an address behind each --ray that has none: Typer has no options whose value can be left out."""
    for place, argument in enumerate(arguments):
        yield argument
        if argument == RAY and CLUSTER.fullmatch("".join(arguments[place + 1 : place + 2])) is None:
            yield "local"
