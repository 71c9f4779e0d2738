"""Which Triton can load a plan: a plan loads only in the TensorRT that wrote it, and every Triton carries one."""

import re

from ..artifact.manifest import Engine
from ..errors import InputError

IMAGE = "nvcr.io/nvidia/tritonserver"
# TensorRT → Triton's container. NVIDIA's list of them is docs.nvidia.com/deeplearning/frameworks/support-matrix; its
# TensorRT container of the same tag has the same TensorRT (triton-inference-server/server, issue 3904). None was run by
# us: 25.10, 26.07, 26.08 and 26.09 by what people report who did; 25.12 by the maintainers in issue 8462; 26.02 by
# NVIDIA/Model-Optimizer, pull request 1112. Tags with trtllm have another one, and no TensorRT backend (issue 7346).
TAGS = {
    "10.13.3.9": "25.10-py3",
    "10.14.1.48": "25.12-py3",
    "10.15.1.29": "26.02-py3",
    "11.1.0.106": "26.07-py3",
    "11.2.1.2": "26.08-py3",
    "11.3.0.99": "26.09-py3",
}
ASK = f"`docker run --rm {IMAGE}:YY.MM-py3 sh -c 'echo $TRT_VERSION'` tells"


def release_for(tensorrt: str) -> str:
    """Return in words which Triton container loads a plan of this TensorRT version."""
    tag = TAGS.get(_release(tensorrt))
    if tag is not None:
        return f"{IMAGE}:{tag} carries TensorRT {tensorrt}"
    return f"the release whose container carries TensorRT {tensorrt}, as the TensorRT container of its tag does; {ASK}"


def image_for(engine: Engine | None) -> str:
    """Return the container that loads an engine; the newest in the table where there is none to load.

    A version-compatible plan loads in later TensorRT of the same major version too: the next one is taken for it.

    Raises:
        InputError: None in the table does.
    """
    if engine is None:
        return f"{IMAGE}:{max(TAGS.values())}"
    wanted = _release(engine.version)
    if engine.version_compatible:
        later = [
            each for each in TAGS if _numbers(each)[0] == _numbers(wanted)[0] and _numbers(each) >= _numbers(wanted)
        ]
        wanted = min(later, key=_numbers, default=wanted)
    if wanted not in TAGS:
        raise InputError(
            f"no Triton container is known here that carries TensorRT {engine.version}, which wrote {engine.file} "
            f"(known: {', '.join(TAGS)}); name one that does with ‹image›, as in {IMAGE}:YY.MM-py3: {ASK}"
        )
    return f"{IMAGE}:{TAGS[wanted]}"


def _release(version: str) -> str:
    """Return a version without what a Python package adds to it, as in 10.14.1.48.post1."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return version if found is None else found[0]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
