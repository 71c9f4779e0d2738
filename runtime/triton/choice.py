"""Which of Triton's backends can run an artifact, and how far ONNX Runtime may optimise its graph there."""

import dataclasses
import logging

from ..artifact import MODEL, Artifact
from ..artifact.manifest import Backend, Engine, Level
from ..errors import InputError
from ..kernels.plugin_record import PluginRecord, Use, named_plugin, verified_plugin, why_no_plugin
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
    engine = engine_of(artifact)
    obstacles = {
        TritonBackend.TENSORRT: "it has no engine.plan that holds its weights" if engine is None else _lack(engine),
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
    if engine is not None and obstacles[TritonBackend.TENSORRT]:
        logger.warning("not packaged for Triton's TensorRT: %s", obstacles[TritonBackend.TENSORRT])
    if obstacles[TritonBackend.ONNXRUNTIME]:
        logger.warning("not packaged for Triton's ONNX Runtime: %s", obstacles[TritonBackend.ONNXRUNTIME])
    return Choice(able, level)


def _lack(engine: Engine) -> str:
    """Return why the plugin that an engine needs cannot be packaged; nothing where it can, or none is needed."""
    return (why_no_plugin(_use(engine)) or "") if engine.plugin is not None else ""


def plugin_of(artifact: Artifact) -> tuple[PluginRecord, bytes] | None:
    """Return the record and the bytes of the named plugin's library where an engine needs it, verified."""
    path = named_plugin()
    for engine in artifact.manifest.engines:
        if path is not None and engine.plugin is not None and not _lack(engine):
            return verified_plugin(path, _use(engine))
    return None


def _use(engine: Engine) -> Use:
    """Return what a plugin has to be for an engine, wherever it is served."""
    return Use(
        backend=engine.backend,
        version=engine.version,
        compute_capabilities=tuple(engine.compute_capability.split(",")),
        built_with=engine.plugin,
    )


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
