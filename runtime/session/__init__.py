"""One way to run a model, whatever runs it."""

from .flow import Ended, Overlapping, Pending, begin, run_each, runs_at_once, unchecked_result
from .protocol import Session, closed_on_failure

__all__ = [
    "Ended",
    "Overlapping",
    "Pending",
    "Session",
    "begin",
    "closed_on_failure",
    "run_each",
    "runs_at_once",
    "unchecked_result",
]
