"""Which session a path is opened as, and by what it runs."""

from .onnx import proved_graph, proved_model
from .session import PLAN_SUFFIXES, artifact_of, engine_here, identity_of, is_in_artifact, open_session

__all__ = [
    "PLAN_SUFFIXES",
    "artifact_of",
    "engine_here",
    "identity_of",
    "is_in_artifact",
    "open_session",
    "proved_graph",
    "proved_model",
]
