"""Which of Triton's backends can run an artifact, and how far ONNX Runtime may optimise its graph there."""

import dataclasses
import logging

from ..artifact import MODEL, Artifact
from ..errors import InputError
from ..manifest import Backend, Engine, Level
from ..ort.demands import contents_of
from ..ort.plain import probe_plain
from .options import TritonBackend
from .serving.golden import Golden

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What runs the artifact, in order of preference, and ONNX Runtime's level of optimisation."""

    backends: tuple[TritonBackend, ...]
    level: Level


def choose_backends(artifact: Artifact, golden: Golden, requested: tuple[TritonBackend, ...] | None) -> Choice:
    """Return the backends that can run the artifact; of those asked for, all must be among them.

    Args:
        artifact: Whose files they would run.
        golden: What it answers for one image.
        requested: Backends; all that can run it where None, but the Python backend for BF16 without an engine.

    Raises:
        InputError: A backend that was asked for cannot run it, or none can.
    """
    content = artifact.read(MODEL)
    contents = contents_of(content)
    level = contents.demands.without_entries
    runs = contents.demands.runs
    obstacles = {
        TritonBackend.TENSORRT: "" if engine_of(artifact) else "it has no engine.plan that holds its weights",
        TritonBackend.ONNXRUNTIME: "ONNX Runtime does not compute in BF16 on a CPU"
        if not runs
        else _obstacle(content, golden, level),
        TritonBackend.PYTHON: "",
    }
    for backend in requested or ():
        if obstacles[backend]:
            raise InputError(f"‹backends› {backend.value}: {artifact.folder}: {obstacles[backend]}")
    if requested:
        return Choice(requested, level)
    able = tuple(backend for backend in TritonBackend if not obstacles[backend])
    if not runs and not artifact.manifest.engines:
        raise InputError(
            f"{artifact.folder} computes in BF16, which nothing in Triton does on a CPU: export with ‹fp16› or ‹fp32› "
            "(‹backends› python would round float32 to it, slowly), or build an engine: ‹deepvit› build ARTIFACT"
        )
    if obstacles[TritonBackend.ONNXRUNTIME]:
        logger.warning("not packaged for Triton's ONNX Runtime: %s", obstacles[TritonBackend.ONNXRUNTIME])
    return Choice(able, level)


def _obstacle(content: bytes, golden: Golden, level: Level) -> str:
    """Return why Triton's ONNX Runtime backend cannot run a graph; nothing where a session like its own does."""
    tried = probe_plain(content, golden.images, golden.logits[0], golden.sqnr_db, [level])
    if tried.right:
        return ""
    fault = "refuses the graph" if tried.refused else "answers wrongly"
    return f"ONNX Runtime {tried.version} {fault} at the level {level.value}, which is all that Triton can tell it"


def engine_of(artifact: Artifact) -> Engine | None:
    """Return the engine that Triton's TensorRT backend can load."""
    for engine in artifact.manifest.engines:
        if engine.backend is Backend.TENSORRT and not engine.weight_stripped:
            return engine
    return None
