"""Where a reduced precision loses the answer: every block's output of the typed graph against the float32 graph."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deepvit.calibration.padded_tokens import real_tokens
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.building.worker import Job
from deepvit.export.engine.options import EngineOptions
from deepvit.progress import Share
from deepvit.runtime.artifact import MODEL, Artifact
from deepvit.runtime.artifact.manifest import Backend, BatchRange, Engine
from deepvit.runtime.errors import InputError, needed_for
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.ort.rounding import load_model
from deepvit.runtime.session.tensors import Images
from deepvit.runtime.trt.library import load_library
from deepvit.runtime.trt.plugin import require_plugin

from .result import LayerDistance

with needed_for("comparing layers"):
    from polygraphy import config as polygraphy_config
    from polygraphy.backend.base import BaseRunner
    from polygraphy.common import TensorMetadata
    from polygraphy.comparator import Comparator, SnrCompareFunc
    from polygraphy.logger import G_LOGGER

if TYPE_CHECKING:
    from deepvit.runtime.trt.engine import EngineOnGpu

polygraphy_config.AUTOINSTALL_DEPS = False
G_LOGGER.module_severity = G_LOGGER.CRITICAL  # it reports every tensor; what matters comes back as a result
BLOCK = re.compile(r"(blocks\.\d+)/")
Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[dict[str, Array]], Mapping[str, Array]]


def compare_layers(artifact: Artifact, reference: bytes, images: Images) -> list[LayerDistance]:
    """Compare the artifact's graph with a float32 one, both in ONNX Runtime on the CPU, at every block's output.

    Args:
        artifact: One of reduced precision, whose blocks' outputs are compared.
        reference: The bytes of a float32 ONNX file of the same model, whose nodes have the same names.
        images: What both are run on, as the artifact's input says.

    Raises:
        InputError: The graphs are not of the same model.
    """
    typed, batch = artifact.read(MODEL), artifact.manifest.batch
    runs = {
        "float32": _graph(reference, "the float32 graph", batch),
        artifact.manifest.precision.value: _graph(typed, MODEL, batch),
    }
    return _compare(runs, artifact.manifest.input.name, images)


def compare_engine_layers(
    artifact: Artifact, engine: Engine, reference: bytes, images: Images, bar: Share
) -> list[LayerDistance]:
    """Compare as `compare_layers`, with an engine that is built for this from the same graph and with its options.

    Raises:
        InputError, MissingError, DeviceError: As `build_engine` and `EngineOnGpu` do.
    """
    backend = engine.backend
    capabilities = tuple(engine.compute_capability.split(",")) if backend is Backend.TENSORRT_RTX else ()
    count, own = len(images), engine.profile
    job = Job(
        options=EngineOptions(
            backend=backend,
            compute_capabilities=capabilities,
            workspace_bytes=engine.options.workspace_bytes,
            optimization_level=engine.options.optimization_level,
            hardware_compatible=engine.hardware_compatible,
            version_compatible=engine.version_compatible,
            weight_stripped=engine.weight_stripped,
        ),
        batch=own if own.min <= count <= own.max else BatchRange(min=count, opt=count, max=count),
        timing_cache=None,
        is_run=False,
        is_fused=engine.plugin is not None,
    )
    marked = _marked(artifact.read(MODEL), MODEL)
    build = build_engine(marked, job, None, bar, lambda _: None)
    with_engine = _engine(build.plan, job, marked)
    runs = {"float32": _graph(reference, "the float32 graph", artifact.manifest.batch), "engine": with_engine.run}
    try:
        return _compare(runs, artifact.manifest.input.name, images)
    finally:
        with_engine.close()


def _engine(plan: bytes, job: Job, weights: bytes) -> "EngineOnGpu":
    from deepvit.runtime.trt.cuda import Cuda  # a library of its own
    from deepvit.runtime.trt.engine import EngineOnGpu

    options, name = job.options, "the engine with every block's output"
    library, cuda = load_library(options.backend), Cuda()
    if job.is_fused:
        require_plugin(library, name, compute_capability=cuda.compute_capability)
    return EngineOnGpu(
        plan,
        library,
        cuda,
        name=name,
        allow_host_code=options.version_compatible,  # TensorRT's own, built a moment ago
        refit_from=weights if options.weight_stripped else None,
        leases=1,
    )


def _graph(content: bytes, name: str, batch: BatchRange) -> Run:
    return OnnxGraph(_marked(content, name), name=name, arithmetic=Arithmetic.AS_DECLARED, batch=batch).run


def _marked(content: bytes, name: str) -> bytes:
    """Return the graph with every block's output as a further output, in float32 and without padding.

    Raises:
        InputError: A graph without blocks.
    """
    model = load_model(content)
    last: dict[str, str] = {}
    for node in model.graph.node:
        if match := BLOCK.match(node.name):
            last[match[1]] = node.output[0]
    if not last:
        raise InputError(f"{name} has no nodes named blocks.N/…; only graphs that this tool exported can be compared")
    real = real_tokens(model.graph)
    for block, tensor in last.items():
        source = tensor if real is None else _cut(model.graph, block, tensor, real)
        model.graph.node.append(helper.make_node("Cast", [source], [block], f"{block}.marked", to=TensorProto.FLOAT))
        model.graph.output.append(onnx.ValueInfoProto(name=block, type=_float_tensor()))
    return bytes(model.SerializeToString())


def _cut(graph: onnx.GraphProto, block: str, tensor: str, rows: int) -> str:
    """Return the name of the first `rows` of a tensor (B, P, C); of all, where the block has fewer."""
    bounds = {"start": 0, "end": rows, "axis": 1}
    for name, value in bounds.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value]), f"{block}.{name}"))
    inputs = [tensor, *(f"{block}.{name}" for name in bounds)]
    graph.node.append(helper.make_node("Slice", inputs, [f"{block}.real"], f"{block}.cut"))
    return f"{block}.real"


def _float_tensor() -> onnx.TypeProto:
    return helper.make_tensor_type_proto(TensorProto.FLOAT, None)


class _Runner(BaseRunner):  # type: ignore[misc]  # Polygraphy is untyped
    """One of our own sessions as Polygraphy runs it: its own would skip the rounding, or load a plan unverified."""

    def __init__(self, name: str, run: Run, feeds: dict[str, Array]) -> None:
        super().__init__(name=name)
        self._run, self._feeds = run, feeds

    def activate_impl(self) -> None:
        pass  # loaded already

    def deactivate_impl(self) -> None:
        pass  # closed by whoever loaded it

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for name, array in self._feeds.items():
            metadata.add(name, array.dtype, array.shape)
        return metadata

    def infer_impl(self, feed_dict: dict[str, Array]) -> "OrderedDict[str, Array]":
        self.inference_time = 0.0
        return OrderedDict(self._run(feed_dict))


def _compare(runs: dict[str, Run], input_name: str, images: Images) -> list[LayerDistance]:
    feeds: dict[str, Array] = {input_name: images}
    results = Comparator.run([_Runner(name, run, feeds) for name, run in runs.items()], data_loader=[feeds])
    names = [set(iterations[0].keys()) for _, iterations in results]
    if names[0] != names[1]:
        raise InputError(
            f"the graphs are not of the same model: only one has {', '.join(sorted(names[0] ^ names[1])[:5])}"
        )
    (accuracy,) = Comparator.compare_accuracy(results, compare_func=SnrCompareFunc(snr_threshold=0.0))
    (iterations,) = accuracy.values()  # one pair of runners, one iteration
    snr_by_name = {name: float(result.snr) for name, result in iterations[0].items()}
    return [LayerDistance(layer=name, sqnr_db=_finite(snr_by_name[name])) for name in sorted(snr_by_name, key=_order)]


def _finite(snr: float) -> float | None:
    """Return what Polygraphy measured; None for its infinity, where nothing differs."""
    return snr if np.isfinite(snr) else None


def _order(name: str) -> tuple[int, int]:
    """Blocks in order, then the logits."""
    number = name.removeprefix("blocks.")
    return (0, int(number)) if number.isdigit() else (1, 0)
