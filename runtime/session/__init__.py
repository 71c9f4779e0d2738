"""One way to run a model, whatever runs it."""

from .flow import Ended, Overlapping, Pending, begin, run_each, runs_at_once, unchecked_result
from .onnx import proved_graph, proved_model
from .opening import PLAN_SUFFIXES, artifact_of, engine_here, identity_of, is_in_artifact, open_session
from .protocol import Session, closed_on_failure

__all__ = [
    "PLAN_SUFFIXES",
    "Ended",
    "Overlapping",
    "Pending",
    "Session",
    "artifact_of",
    "begin",
    "closed_on_failure",
    "engine_here",
    "identity_of",
    "is_in_artifact",
    "open_session",
    "proved_graph",
    "proved_model",
    "run_each",
    "runs_at_once",
    "unchecked_result",
]
