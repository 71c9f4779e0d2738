"""A graph as TensorRT-RTX compiles it, on any machine: no GPU is asked for."""

import dataclasses
import pathlib
from collections.abc import Sequence

from deepvit.progress import Share
from deepvit.runtime.artifact import MAX_MODEL_BYTES, Artifact
from deepvit.runtime.artifact.manifest import Backend, BatchRange
from deepvit.runtime.errors import DeviceError, InputError, MissingError
from deepvit.runtime.files import read_bounded
from deepvit.runtime.opening import proved_model
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.ort.rounding import load_model
from deepvit.runtime.trt.library import INSTALL, installed_version

from ...graph.reattention.operator import nodes_of
from ..building.process import build_engine
from ..building.worker import Job
from ..options import EngineOptions
from .traffic import Compiled, kernels_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Graph:
    """What is compiled, and the batch sizes that it takes."""

    content: bytes  # an ONNX file of one input, its batch first
    fixed_batch: int | None  # where it takes one number of images alone
    most: int | None  # up to how many it was proved

    def batch(self, asked: int | None) -> int:
        """Return the batch size: only at a fixed one are the sizes of all tensors known.

        Raises:
            InputError: None is asked for where it takes any, or one that it does not take.
        """
        if self.fixed_batch is None:
            if asked is None:
                raise InputError("‹kernels› needs ‹batch› N: only at a fixed batch are the sizes of all tensors known")
            if self.most is not None and asked > self.most:
                raise InputError(f"‹batch› {asked}: the graph was proved up to {self.most}; export again")
            return asked
        if asked not in (None, self.fixed_batch):
            raise InputError(f"‹batch› {asked}: the graph takes batches of {self.fixed_batch} alone")
        return self.fixed_batch

    def batches(self, asked: int | None, usual: Sequence[int]) -> list[int]:
        """Return the batch size that is asked for, or those of `usual` that it takes; see `batch`."""
        if asked is not None or self.fixed_batch is not None:
            return [self.batch(asked)]
        return [each for each in usual if self.most is None or each <= self.most]


def graph_of(artifact: Artifact) -> Graph:
    """Return an artifact's graph, proved."""
    fixed = artifact.manifest.input.shape[0]
    return Graph(
        content=proved_model(artifact),
        fixed_batch=None if isinstance(fixed, str) else fixed,
        most=artifact.manifest.batch.max,
    )


def lone_graph(path: pathlib.Path) -> Graph:
    """Return the graph of an ONNX file without a manifest.

    Raises:
        InputError: No model that ONNX Runtime can load, or not of one input that is open in nothing but its batch.
    """
    content = read_bounded(path, MAX_MODEL_BYTES, "an ONNX model")
    inputs = OnnxGraph(content, name=str(path), arithmetic=Arithmetic.AS_DECLARED).inputs
    shapes = [shape for _, shape in inputs.values()]
    if len(shapes) != 1 or not shapes[0] or any(isinstance(size, str) for size in shapes[0][1:]):
        raise InputError(f"{path} takes {inputs}; expected one input that is open in nothing but its batch, the first")
    fixed = shapes[0][0]
    return Graph(content=content, fixed_batch=None if isinstance(fixed, str) else fixed, most=None)


def compile_kernels(graph: Graph, batch: int | None, compute_capability: str, bar: Share) -> Compiled:
    """Compile a graph for one batch size and return its kernels; nothing is written.

    Where the graph has fused re-attention, a layer stands in for the plugin's: what the compiler says that it reads and
    writes is as seen as all else, and its kernel is not there.

    Args:
        graph: Of any precision.
        batch: The number of images; None where the graph takes one number alone.
        compute_capability: The GPU, as in 8.9.
        bar: Called as the compiler goes on.

    Raises:
        InputError: No batch, one that the graph does not take, or a GPU that TensorRT-RTX does not build for.
        MissingError: TensorRT-RTX is not installed.
        DeviceError: The compiler gave up, or does not list what it made.
    """
    size = graph.batch(batch)
    if installed_version(Backend.TENSORRT_RTX) is None:
        raise MissingError(
            f"kernels are what TensorRT-RTX compiles, which needs no GPU; {INSTALL[Backend.TENSORRT_RTX]}"
        )
    options = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=(compute_capability,))
    job = Job(
        options=options,
        batch=BatchRange(min=size, opt=size, max=size),
        timing_cache=None,
        is_run=False,
        has_stand_in=bool(nodes_of(load_model(graph.content).graph)),
    )
    build = build_engine(graph.content, job, None, bar, lambda _: None)
    layers = build.layers()
    if layers is None:
        raise DeviceError(
            f"TensorRT-RTX {build.version} does not list the layers of what it builds; "
            f"{INSTALL[Backend.TENSORRT_RTX]} gives one that does"
        )
    return Compiled(
        version=build.version, compute_capability=compute_capability, batch=size, kernels=kernels_of(layers, size)
    )
