"""What a section says while it runs: checks, figures, notes, and what it leaves out; each is kept as soon as it is said."""

import importlib.util
import math
import time
from collections.abc import Callable

import numpy as np

from deepvit.metrics.bounds import Bound, breaches
from deepvit.metrics.distance import Float, compare_logits
from deepvit.metrics.result import Record

from .record import Check, Figure, Note, Skipped


class SkippedError(Exception):
    """A section that cannot be run here, in words."""


class Layers(Record):
    """The layers of an engine, JSON as its inspector gives it."""

    name: str
    text: str


Finding = Check | Figure | Note | Skipped | Layers


class Findings:
    """What one section finds.

    Args:
        keep: Called with every finding.
        is_fake: Whether it runs on fakes: then figures have no value.
        deadline: When its time is over, by `time.monotonic`.
    """

    def __init__(self, keep: Callable[[Finding], None], *, is_fake: bool, deadline: float = math.inf) -> None:
        self._keep, self._is_fake, self._deadline = keep, is_fake, deadline

    def check(self, name: str, passed: bool, measured: float | str, bound: str, unit: str = "") -> None:
        """Keep what must hold; a number that is not finite is kept as None."""
        told = measured if isinstance(measured, str) or math.isfinite(measured) else None
        self._keep(Check(name=name, passed=bool(passed), measured=told, unit=unit, bound=bound))

    def at_most(self, name: str, measured: float, most: float, unit: str, named: str = "") -> None:
        """Check a number against a bound, by its name where it has one; NaN is outside every bound."""
        self.check(name, measured <= most, float(measured), f"{named} at most {most:g}".strip(), unit)

    def equal(self, name: str, measured: object, expected: object, unit: str = "") -> None:
        is_number = isinstance(measured, int | float) and not isinstance(measured, bool)
        told: float | str = measured if is_number else str(measured)  # type: ignore[assignment]
        self.check(name, measured == expected, told, f"equal to {expected}", unit)

    def logits(self, name: str, got: Float, expected: Float, bound: Bound, named: str) -> None:
        """Check logits (N, classes) against others by a bound of deepvit/metrics/bounds.py; not their top-1.

        The weights are random, so that rounding decides it.
        """
        if not np.isfinite(got).all():
            self.check(name, False, "not finite", f"{named}: finite logits")
            return
        stage = compare_logits(name, "expected", got, expected, top1_enforced=False)
        if bound.max_abs is not None:
            self.at_most(name, stage.max_abs, bound.max_abs, "largest difference of logits", named)
            return
        assert bound.sqnr_db is not None
        self.figure(f"{name}: largest difference", stage.max_abs, "logits")
        measured = "no difference" if stage.sqnr_db is None else stage.sqnr_db
        self.check(name, not breaches(stage, bound), measured, f"{named} at least {bound.sqnr_db:g}", "dB")

    def figure(
        self,
        name: str,
        value: float | None,
        unit: str,
        *,
        spread: float | None = None,
        predicted: float | None = None,
    ) -> None:
        """Keep what was measured, and what was predicted of it."""
        told = None if self._is_fake or value is None or not math.isfinite(value) else float(value)
        self._keep(Figure(name=name, value=told, unit=unit, spread=spread, predicted=predicted))

    def note(self, name: str, text: object) -> None:
        self._keep(Note(name=name, text=str(text)))

    def skip(self, what: str, why: str) -> None:
        self._keep(Skipped(what=what, why=why))

    def layers(self, name: str, text: str) -> None:
        self._keep(Layers(name=name, text=text))

    @property
    def seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def has_time(self, what: str, seconds: float = 0.0) -> bool:
        """Return whether `seconds` are left for `what`; where they are not, it is skipped, and that is said."""
        if seconds <= self.seconds_left:
            return True
        self.skip(what, "the time was over")
        return False


def require_modules(*modules: str) -> None:
    """Skip the section where one of them is not installed.

    Raises:
        SkippedError: One is not.
    """
    missing = [name for name in modules if not is_installed(name)]
    if missing:
        raise SkippedError(f"not installed here: {', '.join(missing)}")


def is_installed(name: str) -> bool:
    """Return whether a module can be found, without loading it."""
    try:
        return bool(name) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
