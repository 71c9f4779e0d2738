"""What a server needs to run an artifact: manifest, preprocessing, sessions. Loads neither torch nor tensorrt."""

from .artifact import Artifact, open_artifact
from .artifact.manifest import Manifest
from .opening import open_session
from .ort.arithmetic import Arithmetic
from .preprocess import Preprocessing, crop_image, model_input
from .session import Session, begin, run_each

__all__ = [
    "Arithmetic",
    "Artifact",
    "Manifest",
    "Preprocessing",
    "Session",
    "begin",
    "crop_image",
    "model_input",
    "open_artifact",
    "open_session",
    "run_each",
]
