"""An ONNX file as TensorRT reads it: a strongly typed network, its layers, its profile, and a plan made of them."""

import logging
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deepvit.progress import Share
from deepvit.runtime.artifact.manifest import Backend, BatchRange, HardwareCompatibility
from deepvit.runtime.artifact.self_contained import require_self_contained
from deepvit.runtime.errors import DeviceError, InputError, MissingError, first_of
from deepvit.runtime.trt.library import Library, checked, constructed

from ..census import Layer
from ..options import EngineOptions
from ..timing_cache import locked, read_timings, set_aside, write_timings
from .phases import BuildProgress

if TYPE_CHECKING:
    import tensorrt
    import tensorrt_rtx

logger = logging.getLogger(__name__)
ERRORS_SHOWN = 5
MOVES_DATA = "SHUFFLE"


class EngineBuilder:
    """A parsed ONNX file, ready to be built.

    Args:
        library: The loaded TensorRT.
        onnx: The ONNX file's bytes.
        log: TensorRT's log.

    Raises:
        InputError: TensorRT cannot take the graph, with the names of the ONNX nodes; or it needs another file.
        DeviceError: TensorRT refused to start.
    """

    def __init__(self, library: Library, onnx: bytes, log: Any) -> None:
        require_self_contained(onnx, "the graph")
        trt = library.trt
        self._library, self._log = library, log
        self._onnx = onnx  # the network refers to the weights in it
        self._builder: tensorrt.Builder = constructed(trt.Builder, "create a builder", log, log)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._network: tensorrt.INetworkDefinition = checked(
            self._builder.create_network(flags), "create a network", log
        )
        self._parser: tensorrt.OnnxParser = constructed(
            trt.OnnxParser, "create an ONNX parser", log, self._network, log
        )
        if not self._parser.parse(onnx):
            raise InputError(f"TensorRT cannot take the graph: {_parser_errors(self._parser)}")

    def layers(self) -> list[Layer]:
        """Return every layer of the network with the data types of its tensors."""
        network = self._network
        layers: list[tensorrt.ILayer] = [network.get_layer(index) for index in range(network.num_layers)]
        made_by: dict[str, str] = {}
        for layer in layers:
            kind = _name(layer.type)
            if kind == MOVES_DATA:  # the parser reshapes weights between their DEQUANTIZE and the product
                kind = next((made_by.get(tensor.name, kind) for tensor in _tensors(1, layer.get_input)), kind)
            for output in _tensors(layer.num_outputs, layer.get_output):
                made_by[output.name] = kind
        return [_layer_record(layer, made_by) for layer in layers]

    def build(self, options: EngineOptions, batch: BatchRange, timings: pathlib.Path | None, report: Share) -> bytes:
        """Return the plan.

        Raises:
            InputError: An option that this library does not know.
            DeviceError: The builder gave up; with what it logged last.
        """
        config: tensorrt.IBuilderConfig = checked(
            self._builder.create_builder_config(), "create a builder configuration", self._log
        )
        _configure(self._library, config, options)
        if options.backend is Backend.TENSORRT_RTX:
            _set_compute_capabilities(self._library, config, options.compute_capabilities)
        self._add_profile(config, batch)
        config.progress_monitor = _monitor(self._library, report)
        if timings is not None:
            _load_timings(config, timings, self._log)
        plan: tensorrt.IHostMemory = checked(
            self._builder.build_serialized_network(self._network, config), "build the engine", self._log
        )
        if timings is not None:
            try:
                _save_timings(config, timings, self._log)
            except (InputError, MissingError) as error:  # also of a file that was asked for: the plan is worth more
                logger.warning("the build's timings are not kept: %s", error)
        return bytes(plan)

    def _add_profile(self, config: "tensorrt.IBuilderConfig", batch: BatchRange) -> None:
        """Give the dynamic batch its least, best and largest size; a graph of one size needs no profile."""
        inputs = [self._network.get_input(index) for index in range(self._network.num_inputs)]
        if inputs[0].shape[0] != -1:
            return
        profile: tensorrt.IOptimizationProfile = checked(
            self._builder.create_optimization_profile(), "create an optimisation profile", self._log
        )
        for each in inputs:
            sizes = [(size, *tuple(each.shape)[1:]) for size in (batch.min, batch.opt, batch.max)]
            profile.set_shape(each.name, sizes[0], sizes[1], sizes[2])
        if config.add_optimization_profile(profile) < 0:
            raise DeviceError(f"TensorRT does not take the batch sizes {batch}")


def _parser_errors(parser: "tensorrt.OnnxParser") -> str:
    """Return the parser's first errors, each with its ONNX node."""
    errors = []
    for index in range(parser.num_errors):
        error: tensorrt.ParserError = parser.get_error(index)
        node = f"{error.node_name() or 'a node without a name'} ({error.node_operator() or 'the graph'})"
        errors.append(f"{node}: {' '.join(error.desc().split())}")
    return first_of(errors, ERRORS_SHOWN, "; ")


def _tensors(count: int, get: Callable[[int], Any]) -> "list[tensorrt.ITensor]":
    """Return the tensors of a layer; an optional input that is left out is None."""
    return [tensor for tensor in (get(index) for index in range(count)) if tensor is not None]


def _name(member: Any) -> str:
    return str(member).rpartition(".")[2]


def _layer_record(layer: "tensorrt.ILayer", made_by: dict[str, str]) -> Layer:
    inputs = _tensors(layer.num_inputs, layer.get_input)
    return Layer(
        name=layer.name,
        kind=_name(layer.type),
        inputs=tuple(_name(tensor.dtype) for tensor in inputs),
        outputs=tuple(_name(tensor.dtype) for tensor in _tensors(layer.num_outputs, layer.get_output)),
        sources=tuple(made_by.get(tensor.name, "INPUT") for tensor in inputs),
    )


def _configure(library: Library, config: "tensorrt.IBuilderConfig", options: EngineOptions) -> None:
    """Set what `options` says. There is no precision among it: that is the graph's."""
    trt = library.trt
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the census after the build needs it
    config.clear_flag(trt.BuilderFlag.TF32)  # FP32 is FP32: TF32 keeps 10 bits of the significand
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.weight_stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)  # the same weights come back, so kernels may count on them
    levels = {
        HardwareCompatibility.NONE: trt.HardwareCompatibilityLevel.NONE,
        HardwareCompatibility.SAME_COMPUTE_CAPABILITY: trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
        HardwareCompatibility.AMPERE_PLUS: trt.HardwareCompatibilityLevel.AMPERE_PLUS,
    }
    config.hardware_compatibility_level = levels[options.hardware_compatible]
    if config.hardware_compatibility_level != levels[options.hardware_compatible]:  # a library may ignore it
        raise DeviceError(f"TensorRT {library.version} does not build {options.hardware_compatible.value} engines here")


def _set_compute_capabilities(
    library: Library, config: "tensorrt_rtx.IBuilderConfig", capabilities: tuple[str, ...]
) -> None:
    """Name the GPUs that TensorRT-RTX builds for."""
    members = {
        name: member for name, member in library.trt.ComputeCapability.__members__.items() if name.startswith("SM")
    }
    member_names = [f"SM{capability.replace('.', '')}" for capability in capabilities]
    unknown = [capability for capability, name in zip(capabilities, member_names, strict=True) if name not in members]
    if unknown:
        names = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in members)
        raise InputError(f"TensorRT-RTX does not build for compute capability {', '.join(unknown)}, only for {names}")
    config.num_compute_capabilities = len(member_names)
    for index, name in enumerate(member_names):
        if not config.set_compute_capability(members[name], index):
            raise DeviceError(f"TensorRT-RTX does not take compute capability {capabilities[index]}")


def _monitor(library: Library, report: Share) -> "tensorrt.IProgressMonitor":
    trt = library.trt
    progress = BuildProgress(report)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]  # the base is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


def _load_timings(config: "tensorrt.IBuilderConfig", path: pathlib.Path, log: Any) -> None:
    """Start from the timings in `path`, or from none where TensorRT does not take them."""
    with locked(path):
        timings = read_timings(path)
    if timings:
        cache: tensorrt.ITimingCache | None = config.create_timing_cache(timings)
        if cache is not None and config.set_timing_cache(cache, False):
            return
        set_aside(path, "TensorRT does not take it")
    empty: tensorrt.ITimingCache = checked(config.create_timing_cache(b""), "create a timing cache", log)
    checked(config.set_timing_cache(empty, False), "use a new timing cache", log)


def _save_timings(config: "tensorrt.IBuilderConfig", path: pathlib.Path, log: Any) -> None:
    """Write what was measured, together with what another build may have written meanwhile."""
    cache: tensorrt.ITimingCache = checked(config.get_timing_cache(), "give its timing cache", log)
    with locked(path):
        theirs = read_timings(path)
        others: tensorrt.ITimingCache | None = config.create_timing_cache(theirs) if theirs else None
        if others is not None and not cache.combine(others, False):
            logger.warning("timing cache %s is of another build; its timings are replaced", path)
        serialized: tensorrt.IHostMemory = checked(cache.serialize(), "write its timing cache", log)
        write_timings(path, bytes(serialized))
