"""What a benchmark can be asked for. Options check themselves."""

import dataclasses
from typing import Annotated, ClassVar

from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help


def batch_sizes_from_text(text: str) -> tuple[int, ...]:
    """Parse 1,8,64.

    Raises:
        InputError: Not numbers by commas.
    """
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise InputError(f"‹batch_sizes› {text}: expected numbers by commas, as in 1,8,64")
    return tuple(sorted(map(int, parts)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """How a benchmark times its models.

    Attributes:
        batches: Images per run.
        rounds: How often every model has its turn, per batch size.
        turn_s: Seconds that a turn lasts at least.
        turn_runs: Runs that a turn has at least.
        warm_up_s: At most so many seconds until the latency is stable.
    """

    heading: ClassVar[str] = "Timing"

    batches: Annotated[
        tuple[int, ...], Help("Images per run, as in 1,8,64.", name="batch_sizes", parse=batch_sizes_from_text)
    ] = (1, 8)
    rounds: Annotated[int, Help("Turns of every model at each batch size.", min=1)] = 15
    turn_s: Annotated[float, Help("Seconds that a turn lasts.", name="turn", min=0.01, max=60)] = 0.5
    turn_runs: int = 2
    warm_up_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.batches or min(self.batches) < 1 or len(set(self.batches)) != len(self.batches):
            raise InputError(f"‹batch_sizes› {','.join(map(str, self.batches))}: expected different sizes, as in 1,8")
        if not 1 <= self.rounds <= 10_000:
            raise InputError(f"‹rounds› {self.rounds}: expected 1 to 10000")
