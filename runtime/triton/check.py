"""Whether a model repository would be served: schema, files, hashes, and how the ensemble is wired."""

import pathlib
from typing import Annotated, Literal

import pydantic

from ..artifact import record_file
from ..artifact.manifest import FileRecord
from ..errors import InputError, validation_faults
from ..files import read_bounded
from . import layout
from .schema import ModelConfig, parse_config, schema

MODEL_FILES = {"tensorrt_plan": "model.plan", "onnxruntime_onnx": "model.onnx"}
ITEM_BYTES = {schema.TYPE_FP32: 4, schema.TYPE_INT32: 4, schema.TYPE_UINT8: 1}
MAX_RECORD_BYTES = 4 << 20
MAX_CONFIG_BYTES = 1 << 20


class Record(pydantic.BaseModel):
    """repository.json."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[Literal[1], pydantic.Field(alias="schema")]
    ensemble: str
    served: Literal["tensorrt", "onnxruntime", "python"]
    files: dict[str, FileRecord]


def check_repository(folder: pathlib.Path) -> list[str]:
    """Return what is wrong with the repository, one line each; nothing where it is as it was written.

    Raises:
        InputError: Not a repository that this package wrote.
    """
    record = _read_record(folder)
    faults = _file_faults(folder, record)
    configs: dict[str, ModelConfig] = {}
    for model in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            configs[model.name] = _read_config(model)
        except InputError as error:
            faults.append(str(error))
            continue
        faults += _model_faults(model, configs[model.name])
    for config in configs.values():
        faults += _ensemble_faults(config, configs)
    if record.ensemble not in configs:
        faults.append(f"{record.ensemble}: the ensemble is missing")
    return faults


def _read_record(folder: pathlib.Path) -> Record:
    path = folder / layout.RECORD
    if not path.exists():
        raise InputError(f"{folder} is not a repository that `package` wrote: it has no {layout.RECORD}")
    try:
        return Record.model_validate_json(read_bounded(path, MAX_RECORD_BYTES, "a record"))
    except pydantic.ValidationError as error:
        raise InputError(f"{path} is not valid: {validation_faults(error)[0]}") from error


def _file_faults(folder: pathlib.Path, record: Record) -> list[str]:
    """What was changed, removed or added since the repository was written."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {layout.RECORD}
    faults = [f"{name}: missing" for name in sorted(record.files.keys() - present)]
    faults += [f"{name}: not part of the repository" for name in sorted(present - record.files.keys())]
    for name in sorted(record.files.keys() & present):
        expected = record.files[name]
        size = (folder / name).stat().st_size
        if size != expected.bytes:
            faults.append(f"{name}: {size} bytes, expected {expected.bytes}")
        elif record_file(folder / name).sha256 != expected.sha256:
            faults.append(f"{name}: not the bytes that were written")
    return faults


def _read_config(model: pathlib.Path) -> ModelConfig:
    path = model / layout.CONFIG
    try:
        text = read_bounded(path, MAX_CONFIG_BYTES, "a config", name=f"{model.name}/{layout.CONFIG}").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{model.name}/{layout.CONFIG} cannot be read: {error}") from error
    return parse_config(text, f"{model.name}/{layout.CONFIG}")


def _model_faults(model: pathlib.Path, config: ModelConfig) -> list[str]:
    """What Triton would refuse in one model's folder."""
    faults = []
    if config.name != model.name:
        faults.append(f"{model.name}: config.pbtxt calls it {config.name!r}")
    if config.max_batch_size < 1:
        faults.append(f"{model.name}: max_batch_size is {config.max_batch_size}, expected at least 1")
    needed = MODEL_FILES.get(config.platform, "model.py" if config.backend == "python" else None)
    if needed is None and config.platform != "ensemble":
        faults.append(f"{model.name}: platform {config.platform!r}, backend {config.backend!r} is none of ours")
    if needed is not None and not (model / layout.VERSION / needed).is_file():
        faults.append(f"{model.name}: {layout.VERSION}/{needed} is missing")
    for output in config.output:
        if output.label_filename:
            faults += _label_faults(model, output)
    for warmup in config.model_warmup:
        for name, sample in warmup.inputs.items():
            faults += _warmup_faults(model, config, name, sample)
    return faults


def _label_faults(model: pathlib.Path, output: ModelConfig) -> list[str]:
    path = model / output.label_filename
    lines = len(path.read_bytes().splitlines()) if path.is_file() else 0
    if [lines] == list(output.dims):
        return []
    return [f"{model.name}: {output.label_filename} has {lines} lines, {output.name} {list(output.dims)} classes"]


def _warmup_faults(model: pathlib.Path, config: ModelConfig, name: str, sample: ModelConfig) -> list[str]:
    if name not in {tensor.name for tensor in config.input}:
        return [f"{model.name}: its warm-up names {name!r}, which is no input"]
    path = model / layout.WARMUP / sample.input_data_file
    size = path.stat().st_size if path.is_file() else -1
    expected = ITEM_BYTES.get(sample.data_type, 0)
    for dimension in sample.dims:
        expected *= dimension
    if size == expected:
        return []
    return [f"{model.name}: warm-up file {sample.input_data_file} has {size} bytes, expected {expected}"]


def _ensemble_faults(config: ModelConfig, models: dict[str, ModelConfig]) -> list[str]:
    """Steps that name models or tensors that are not there, or join tensors of different types or shapes."""
    carried = {tensor.name: tensor for tensor in config.input}
    faults = []
    for step in config.ensemble_scheduling.step:
        model = models.get(step.model_name)
        if model is None:
            faults.append(f"{config.name}: step {step.model_name} is no model here")
            continue
        inputs = {tensor.name: tensor for tensor in model.input}
        outputs = {tensor.name: tensor for tensor in model.output}
        faults += [f"{config.name}: {model.name} is given no {name}" for name in inputs.keys() - step.input_map.keys()]
        for name, source in step.input_map.items():
            faults += _join_faults(config.name, model.name, name, inputs.get(name), source, carried.get(source))
        for name, target in step.output_map.items():
            if name in outputs:
                carried[target] = outputs[name]
            else:
                faults.append(f"{config.name}: {model.name} has no output {name!r}")
    if config.platform == "ensemble":
        for output in config.output:
            faults += _join_faults(config.name, config.name, output.name, output, output.name, carried.get(output.name))
    return faults


def _join_faults(
    ensemble: str, model: str, name: str, sink: ModelConfig | None, source: str, producer: ModelConfig | None
) -> list[str]:
    if sink is None:
        return [f"{ensemble}: {model} has no input {name!r}"]
    if producer is None:
        return [f"{ensemble}: {model} takes {source!r}, which nothing gives"]
    if producer.data_type != sink.data_type or list(producer.dims) != list(sink.dims):
        kinds = [f"{schema.DataType.Name(tensor.data_type)} {list(tensor.dims)}" for tensor in (sink, producer)]
        return [f"{ensemble}: {model} takes {name} as {kinds[0]}, {source!r} is {kinds[1]}"]
    return []
