"""One way to run a model, whatever runs it."""

from .onnx import proved_graph, proved_model
from .opening import PLAN_SUFFIXES, artifact_of, engine_here, identity_of, is_in_artifact, open_session
from .protocol import Session, closed_on_failure

__all__ = [
    "PLAN_SUFFIXES",
    "Session",
    "artifact_of",
    "closed_on_failure",
    "engine_here",
    "identity_of",
    "is_in_artifact",
    "open_session",
    "proved_graph",
    "proved_model",
]
