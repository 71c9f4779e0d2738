"""config.pbtxt of every model, as messages of Triton's schema: a field that it does not have cannot be written."""

import dataclasses
from collections.abc import Iterable

from ..artifact.manifest import BatchRange, Level, Manifest, Precision
from ..ort.providers import CUDA_OPTIONS
from . import layout
from .layout import Names
from .options import TritonBackend
from .schema import ModelConfig, schema

TYPES = {"float32": schema.TYPE_FP32, "uint8": schema.TYPE_UINT8, "int32": schema.TYPE_INT32}
# What Triton's ONNX Runtime backend makes of optimization.graph.level; ALL is where nothing is said. It passes on no
# configuration entry but session.use_device_allocator_for_initializers (src/onnxruntime.cc of its repository).
GRAPH_LEVELS = {Level.BASIC: -1, Level.EXTENDED: 1, Level.DISABLE: 2}
QUEUE_DELAY_MICROSECONDS = 2000  # how long a request may wait for others to share its batch
PREPROCESSING_INSTANCES = 2
ENGINE_INSTANCES = 2  # of a plan on a GPU: one copies images and logits while the other computes


@dataclasses.dataclass(frozen=True)
class Spec:
    """One tensor without its batch; −1 is a dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One tensor of the warm-up request and the file that holds its bytes."""

    spec: Spec
    file: str


def graph_input(manifest: Manifest) -> Spec:
    """Return what the artifact takes."""
    return Spec(manifest.input.name, manifest.input.dtype, _without_batch(manifest.input.shape))


def graph_output(manifest: Manifest) -> Spec:
    """Return what the artifact gives."""
    return Spec(manifest.output.name, "float32", _without_batch(manifest.output.shape))


def _without_batch(shape: Iterable[int | str]) -> tuple[int, ...]:
    return tuple(int(size) for size in list(shape)[1:])


def preprocess_config(names: Names, manifest: Manifest, image_bytes: int, max_megapixels: int) -> ModelConfig:
    """Encoded images → what the artifact takes, and which of them could not be decoded.

    Args:
        names: The models' names.
        manifest: The artifact's.
        image_bytes: Size of the golden image, which warms the model up.
        max_megapixels: Larger images are refused.
    """
    outputs = (dataclasses.replace(graph_input(manifest), name=layout.IMAGES), _status())
    config = _config(names.preprocess, manifest.batch.max, (_image(),), outputs)
    config.backend = "python"
    config.input[0].allow_ragged_batch = True
    config.parameters[layout.MAX_MEGAPIXELS].string_value = str(max_megapixels)
    _warm_up(config, [Sample(Spec(layout.IMAGE, "uint8", (image_bytes,)), layout.GOLDEN_IMAGE)])
    return _python(config, PREPROCESSING_INSTANCES)


def model_config(
    names: Names, manifest: Manifest, backend: TritonBackend, batch: BatchRange, level: Level = Level.ALL
) -> ModelConfig:
    """What the artifact takes → logits, batches formed of requests that wait for one another.

    Args:
        names: The models' names.
        manifest: The artifact's.
        backend: What runs it.
        batch: The batch sizes that it takes there.
        level: How far ONNX Runtime may optimise it.
    """
    images, logits = graph_input(manifest), graph_output(manifest)
    config = _config(names.model(backend.value), batch.max, (images,), (logits,))
    # No preferred batch size: it would cap what the queue forms, and the server's own guide advises against it.
    config.dynamic_batching.max_queue_delay_microseconds = QUEUE_DELAY_MICROSECONDS
    for size in sorted({1, batch.max}):  # the largest too: memory is then what it will be
        _warm_up(config, [Sample(images, layout.IMAGES)], size)
    if backend is TritonBackend.PYTHON:
        config.backend = "python"
        return _python(config, 1)
    if backend is TritonBackend.ONNXRUNTIME and level is not Level.ALL:
        config.optimization.graph.level = GRAPH_LEVELS[level]
    if backend is TritonBackend.ONNXRUNTIME and manifest.precision is Precision.FP32:
        # ONNX Runtime's options, passed on where it runs on a GPU; Triton knows this accelerator since 24.07.
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
        accelerator.parameters.update(CUDA_OPTIONS)
    kind = schema.ModelInstanceGroup
    if backend is TritonBackend.TENSORRT:
        config.platform, config.default_model_filename = "tensorrt_plan", "model.plan"
        config.instance_group.add(count=ENGINE_INSTANCES, kind=kind.KIND_GPU)
        _record_graphs(config, images, batch)
        return config
    config.platform, config.default_model_filename = "onnxruntime_onnx", "model.onnx"
    config.instance_group.add(count=1, kind=kind.KIND_AUTO)
    return config


def _record_graphs(config: ModelConfig, images: Spec, batch: BatchRange) -> None:
    """Let the TensorRT backend record a CUDA graph for every step, each for all batches down to the one before.

    Rows that a batch does not fill hold what was there before; the network takes every image by itself.
    """
    config.optimization.cuda.graphs = True
    least = batch.min
    for size in batch.steps:
        graph = config.optimization.cuda.graph_spec.add(batch_size=size)
        graph.input[images.name].dim.extend(images.shape)
        graph.graph_lower_bound.batch_size = least
        graph.graph_lower_bound.input[images.name].dim.extend(images.shape)
        least = size + 1


def classify_config(names: Names, manifest: Manifest, backend: TritonBackend) -> ModelConfig:
    """Logits → the most probable classes, unless they are not finite or the model does not give the golden ones."""
    config = _config(names.classify, manifest.batch.max, (_logits(manifest), _status()), _answer(manifest))
    config.backend = "python"
    config.parameters["model"].string_value = names.model(backend.value)
    config.parameters["model_input"].string_value = manifest.input.name
    config.parameters["model_output"].string_value = manifest.output.name
    _warm_up(config, [Sample(_logits(manifest), layout.LOGITS), Sample(_status(), layout.STATUS)])
    _name_labels(config)
    return _python(config, 1)


def ensemble_config(names: Names, manifest: Manifest, backend: TritonBackend) -> ModelConfig:
    """Encoded images → classes."""
    config = _config(names.ensemble, manifest.batch.max, (_image(),), _answer(manifest))
    config.platform = "ensemble"
    _step(
        config,
        names.preprocess,
        {layout.IMAGE: layout.IMAGE},
        {layout.IMAGES: "preprocessed", layout.STATUS: "decoded"},
    )
    _step(
        config, names.model(backend.value), {manifest.input.name: "preprocessed"}, {manifest.output.name: "raw_logits"}
    )
    answer = {spec.name: spec.name for spec in _answer(manifest)}
    _step(config, names.classify, {layout.LOGITS: "raw_logits", layout.STATUS: "decoded"}, answer)
    _name_labels(config)
    return config


def _image() -> Spec:
    return Spec(layout.IMAGE, "uint8", (-1,))


def _status() -> Spec:
    return Spec(layout.STATUS, "int32", (1,))


def _logits(manifest: Manifest) -> Spec:
    return Spec(layout.LOGITS, "float32", (manifest.classes,))


def _answer(manifest: Manifest) -> tuple[Spec, ...]:
    shape = (min(layout.CLASSES_SHOWN, manifest.classes),)
    best = Spec(layout.CLASSES, "int32", shape), Spec(layout.PROBABILITIES, "float32", shape)
    return (*best, _logits(manifest), _status())


def _config(name: str, max_batch: int, inputs: Iterable[Spec], outputs: Iterable[Spec]) -> ModelConfig:
    config = schema.ModelConfig(name=name, max_batch_size=max_batch)
    for spec in inputs:
        config.input.add(name=spec.name, data_type=TYPES[spec.dtype], dims=spec.shape)
    for spec in outputs:
        config.output.add(name=spec.name, data_type=TYPES[spec.dtype], dims=spec.shape)
    config.version_policy.latest.num_versions = 1
    config.response_cache.enable = False
    return config


def _python(config: ModelConfig, instances: int) -> ModelConfig:
    config.instance_group.add(count=instances, kind=schema.ModelInstanceGroup.KIND_CPU)
    config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "yes"  # numpy reads what DLPack hands over
    return config


def _warm_up(config: ModelConfig, samples: Iterable[Sample], batch_size: int = 1) -> None:
    warmup = config.model_warmup.add(name=f"golden image, batch {batch_size}", batch_size=batch_size, count=1)
    for sample in samples:
        entry = warmup.inputs[sample.spec.name]
        entry.data_type = TYPES[sample.spec.dtype]
        entry.dims.extend(sample.spec.shape)
        entry.input_data_file = sample.file


def _name_labels(config: ModelConfig) -> None:
    """Let a client ask for class names, by Triton's classification extension on the logits."""
    for output in config.output:
        if output.name == layout.LOGITS:
            output.label_filename = layout.LABELS


def _step(config: ModelConfig, model: str, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    step = config.ensemble_scheduling.step.add(model_name=model, model_version=-1)
    step.input_map.update(inputs)
    step.output_map.update(outputs)
