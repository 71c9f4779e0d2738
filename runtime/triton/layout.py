"""What the repository is made of: models, tensors, files. The one place that names them."""

import dataclasses
import re

from ..errors import InputError

RECORD = "repository.json"  # written last: every file's hash
CONFIG = "config.pbtxt"
LABELS = "labels.txt"
GUIDE = "README.md"
PROBE = "probe.py"  # asks the server for the golden image's classes
REQUIREMENTS = "requirements.txt"  # what the Python models import, in the versions that they were packaged with
VERSION = "1"
WARMUP = "warmup"  # Triton's own name for the folder of warm-up data
ARTIFACT = "artifact"  # in the Python model's version folder
PLUGIN = "libdeepvit_reattention.so"  # of fused re-attention; at the top, and in the Python model's version folder
PLUGIN_RECORD = "libdeepvit_reattention.json"  # beside it, as kernels/plugin_record.py reads it
GOLDEN = "golden.npz"  # input, logits and how close they must come
GOLDEN_IMAGE = "golden.jpg"
MAX_MEGAPIXELS = "max_megapixels"  # the preprocessing model's parameter: larger images are refused
CLASSES_SHOWN = 5  # most probable ones in the answer

# Tensors, by the names that clients see.
IMAGE = "image"  # (B, N) uint8: the bytes of JPEG or PNG files, zeros behind the shorter ones
STATUS = "status"  # (B, 1) int32: 0, or 4 for an image that cannot be decoded, as in the C ABI
WARM_UP_STATUS = -1  # in the warm-up request of the classifying model
IMAGES = "images"  # what the artifact takes
LOGITS = "logits"  # (B, classes) float32
CLASSES = "classes"  # (B, 5) int32, most probable first; −1 where there is no answer
PROBABILITIES = "probabilities"  # (B, 5) float32, softmax


@dataclasses.dataclass(frozen=True)
class Names:
    """The models' names, all beginning with the ensemble's, so that several repositories can share a server."""

    ensemble: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", self.ensemble):
            raise InputError(f"‹name› {self.ensemble!r}: expected letters, digits, '_', '.' and '-'")

    @property
    def preprocess(self) -> str:
        return f"{self.ensemble}_preprocess"

    @property
    def classify(self) -> str:
        return f"{self.ensemble}_classify"

    def model(self, backend: str) -> str:
        """Return the name of the model that `backend` runs."""
        return f"{self.ensemble}_{backend}"
