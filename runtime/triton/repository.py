"""Artifact → model repository: a folder that appears whole or not at all."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence

import numpy as np

from ..artifact import MANIFEST, MODEL, Artifact, record_file
from ..errors import InputError
from ..files import require_room
from ..files.staging import require_output, staged_folder
from ..kernels.plugin_record import PluginRecord
from ..manifest import GOLDEN_SQNR_DB, BatchRange, Engine, Level
from ..ort.arithmetic import Arithmetic
from ..preprocess import Crop, crop_image
from ..session import open_session
from . import configs, layout
from .choice import choose_backends, engine_of, plugin_of
from .guide import guide
from .layout import Names
from .options import RepositoryOptions, TritonBackend
from .schema import ModelConfig, config_text
from .serving.golden import Golden

RUNTIME = pathlib.Path(__file__).resolve().parents[1]
MODEL_PY = '''"""Triton model; its code is runtime/triton/serving/{model}.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # the runtime that was packaged, whatever else is installed

from runtime.triton.serving.{model} import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
REQUIRED = ("numpy", "pillow", "pydantic")
REQUIRED_BY_PYTHON = ("ml_dtypes", "onnx", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class RepositoryPlan:
    """A repository that nothing speaks against as far as can be told before it is written."""

    artifact: Artifact
    names: Names
    backends: tuple[TritonBackend, ...]
    served: TritonBackend
    level: Level
    golden: Golden
    options: RepositoryOptions
    golden_crop: Crop
    expected_bytes: int
    plugin: tuple[PluginRecord, bytes] | None  # the library that an engine needs, and what it is

    @property
    def models(self) -> list[str]:
        """The models' names: those that infer, the preprocessing, the classes, the ensemble."""
        names = self.names
        return [*(names.model(each.value) for each in self.backends), names.preprocess, names.classify, names.ensemble]

    @property
    def files(self) -> list[str]:
        """What is written at the top of the repository: a folder for each model, and a few files."""
        needed = [layout.PLUGIN, layout.PLUGIN_RECORD] if self.serves_plugin else []
        return [*self.models, *needed, layout.REQUIREMENTS, layout.GUIDE, layout.PROBE, layout.RECORD]

    @property
    def serves_plugin(self) -> bool:
        """Whether Triton's own TensorRT backend needs it."""
        return self.plugin is not None and self.engine is not None and self.engine.plugin is not None

    @property
    def engine(self) -> Engine | None:
        return engine_of(self.artifact) if TritonBackend.TENSORRT in self.backends else None


def plan_repository(artifact: Artifact, options: RepositoryOptions) -> RepositoryPlan:
    """Plan the repository of an artifact; nothing is written.

    Raises:
        InputError: The artifact lacks what is asked for, or `options.output` cannot be written.
        MissingError: The disk has no room.
    """
    if any(character.isspace() for character in str(options.output.absolute())):
        raise InputError(f"‹triton› {options.output}: a path with a space hangs Triton's Python backend; name another")
    if artifact.manifest.graph.attention_maps is not None:
        raise InputError(f"{artifact.folder} gives its attention maps; to serve it, export it without ‹attention_maps›")
    names = Names(artifact.manifest.variant if options.name is None else options.name)
    require_output(options.output, marker=layout.RECORD, option="‹triton›")
    require_room(options.output, artifact.manifest.files[MODEL].bytes, "‹triton›")  # at least, before anything is run
    crop = crop_image(options.golden_image, artifact.manifest.preprocess, options.decoding)
    golden = _golden_of(artifact, crop)
    choice = choose_backends(artifact, golden, options.backends)
    backends = choice.backends
    served = options.served or backends[0]
    if served not in backends:
        raise InputError(f"‹serve› {served.value} is not among ‹backends› {','.join(b.value for b in backends)}")
    expected = _expected_bytes(artifact, backends)
    require_room(options.output, expected, "‹triton›")
    plan = RepositoryPlan(
        artifact, names, backends, served, choice.level, golden, options, crop, expected, plugin_of(artifact)
    )
    for backend in backends:
        _batch_of(plan, backend)
    return plan


def write_repository(artifact: Artifact, options: RepositoryOptions, spelled: Callable[[str], str] = str) -> list[str]:
    """Write the repository and return the names of its models.

    Args:
        artifact: What it serves.
        options: How.
        spelled: Spells in the guide what errors.py says of names, for its readers.

    Raises:
        InputError: The artifact lacks what is asked for, or `options.output` cannot be written.
        MissingError: The disk has no room.
    """
    return write_planned(plan_repository(artifact, options), spelled)


def write_planned(plan: RepositoryPlan, spelled: Callable[[str], str] = str) -> list[str]:
    """Write what was planned, as `write_repository` does."""
    artifact, options = plan.artifact, plan.options
    names, backends, served = plan.names, plan.backends, plan.served
    with staged_folder(options.output, marker=layout.RECORD, option="‹triton›") as folder:
        for backend in backends:
            _write_model(folder, plan, backend)
        _write_preprocess(folder, plan)
        _write_classify(folder, plan)
        _write_config(folder, configs.ensemble_config(names, artifact.manifest, served))
        (folder / names.ensemble / layout.VERSION).mkdir()
        (folder / names.ensemble / layout.VERSION / ".keep").touch()  # Triton wants the folder, others drop empty ones
        _write_labels(folder / names.ensemble, options.labels)
        (folder / layout.REQUIREMENTS).write_text("".join(f"{each}\n" for each in requirements(plan)), encoding="ascii")
        if plan.serves_plugin:
            _write_plugin(folder, plan)
        sha256 = "" if plan.plugin is None else plan.plugin[0].sha256
        text = guide(names, artifact.manifest, list(backends), served, plan.engine, sha256, options.max_megapixels)
        (folder / layout.GUIDE).write_text(spelled(text), encoding="utf-8")
        shutil.copyfile(RUNTIME / "triton" / layout.PROBE, folder / layout.PROBE)
        _write_record(folder, plan)
    return plan.models


def _expected_bytes(artifact: Artifact, backends: tuple[TritonBackend, ...]) -> int:
    """Return what the files of the artifact take in the repository, which are nearly all of it."""
    files, engine = artifact.manifest.files, engine_of(artifact)
    by_backend = {
        TritonBackend.PYTHON: sum(record.bytes for record in files.values()),
        TritonBackend.ONNXRUNTIME: files[MODEL].bytes,
        TritonBackend.TENSORRT: files[engine.file].bytes if engine is not None else 0,
    }
    return sum(by_backend[backend] for backend in backends)


def _golden_of(artifact: Artifact, crop: Crop) -> Golden:
    """Compute the golden logits, in ONNX Runtime on the CPU as the graph declares, of verified files."""
    manifest = artifact.manifest
    images = manifest.input_from(crop[None])
    session = open_session(artifact.folder / MODEL, arithmetic=Arithmetic.AS_DECLARED)
    try:
        return Golden(images, session.run(images), GOLDEN_SQNR_DB[manifest.precision])
    finally:
        session.close()


def _write_model(folder: pathlib.Path, plan: RepositoryPlan, backend: TritonBackend) -> None:
    artifact, model = plan.artifact, folder / plan.names.model(backend.value)
    engine = plan.engine
    config = configs.model_config(plan.names, artifact.manifest, backend, _batch_of(plan, backend), plan.level)
    _write_config(folder, config)
    version = model / layout.VERSION
    version.mkdir()
    if backend is TritonBackend.PYTHON:
        _write_python(version, "infer")
        plan.golden.save(version / layout.GOLDEN)
        (version / layout.ARTIFACT).mkdir()
        for name in (MANIFEST, *artifact.manifest.files):
            _copy(artifact, name, version / layout.ARTIFACT / name)
        _write_plugin(version, plan)
    elif backend is TritonBackend.ONNXRUNTIME:
        _copy(artifact, MODEL, version / "model.onnx")
    else:
        assert engine is not None
        _copy(artifact, engine.file, version / "model.plan")
    _write_warmup(model, {layout.IMAGES: plan.golden.images.tobytes()})


def _batch_of(plan: RepositoryPlan, backend: TritonBackend) -> BatchRange:
    """Triton forms batches from one image up: an engine whose profile begins later cannot be served so."""
    engine, batch = plan.engine, plan.artifact.manifest.batch
    if backend is TritonBackend.TENSORRT and engine is not None:
        batch = engine.profile
    if batch.min != 1:
        raise InputError(f"the artifact takes batches from {batch.min}; Triton needs 1: export with ‹batch› 1:OPT:MAX")
    return batch


def _write_preprocess(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    image, manifest = plan.options.golden_image, plan.artifact.manifest
    model = folder / plan.names.preprocess
    _write_config(folder, configs.preprocess_config(plan.names, manifest, len(image), plan.options.max_megapixels))
    version = model / layout.VERSION
    version.mkdir()
    _write_python(version, "preprocess")
    (version / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    (version / layout.GOLDEN_IMAGE).write_bytes(image)
    digest = hashlib.sha256(plan.golden_crop.tobytes()).hexdigest()
    (version / "golden.sha256").write_text(digest + "\n", encoding="ascii")
    _write_warmup(model, {layout.GOLDEN_IMAGE: image})


def _write_classify(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    model = folder / plan.names.classify
    _write_config(folder, configs.classify_config(plan.names, plan.artifact.manifest, plan.served))
    version = model / layout.VERSION
    version.mkdir()
    _write_python(version, "classify")
    plan.golden.save(version / layout.GOLDEN)
    _write_labels(model, plan.options.labels)
    status = np.full((1, 1), layout.WARM_UP_STATUS, np.int32)
    _write_warmup(model, {layout.LOGITS: plan.golden.logits.tobytes(), layout.STATUS: status.tobytes()})


def _write_plugin(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    """Write the library that an engine needs, and its record, where it needs one."""
    if plan.plugin is not None:
        record, content = plan.plugin
        (folder / layout.PLUGIN).write_bytes(content)
        (folder / layout.PLUGIN_RECORD).write_text(record.model_dump_json(by_alias=True), encoding="utf-8")


def _write_config(folder: pathlib.Path, config: ModelConfig) -> None:
    (folder / config.name).mkdir()
    (folder / config.name / layout.CONFIG).write_text(config_text(config), encoding="utf-8")


def _write_python(version: pathlib.Path, model: str) -> None:
    """Write one of our models into its version folder, with the runtime that it imports."""
    (version / "model.py").write_text(MODEL_PY.format(model=model), encoding="utf-8")
    _copy_served(RUNTIME, version / "runtime")


def _copy_served(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a folder of the runtime, up to the first failure: shutil.copytree goes on, and then tells no errno."""
    target.mkdir()
    for path in filter(_is_served, source.iterdir()):
        if path.is_dir():
            _copy_served(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)


def _is_served(path: pathlib.Path) -> bool:
    """Whether a server needs it: not the C++ runtime, nor what writes repositories."""
    if path.parent == RUNTIME / "triton":
        return path.name in ("__init__.py", "serving")
    return path.name not in ("__pycache__", "cpp")


def requirements(plan: RepositoryPlan) -> list[str]:
    """Return what the Python models import, in the versions that are installed here, as pip takes it."""
    packages = [*REQUIRED, *(REQUIRED_BY_PYTHON if TritonBackend.PYTHON in plan.backends else ())]
    return [f"{package}=={importlib.metadata.version(package)}" for package in packages]


def _write_labels(model: pathlib.Path, labels: Sequence[str]) -> None:
    (model / layout.LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")


def _write_warmup(model: pathlib.Path, files: dict[str, bytes]) -> None:
    (model / layout.WARMUP).mkdir()
    for name, content in files.items():
        (model / layout.WARMUP / name).write_bytes(content)


def _copy(artifact: Artifact, name: str, target: pathlib.Path) -> None:
    """Copy a file of the artifact; its hash is checked as it is read."""
    if name == MANIFEST:
        target.write_text(artifact.manifest.to_json(), encoding="utf-8")
        return
    target.write_bytes(artifact.read(name))


def _write_record(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    files = {
        path.relative_to(folder).as_posix(): record_file(path).model_dump()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    record = {"schema": 1, "ensemble": plan.names.ensemble, "served": plan.served.value, "files": files}
    (folder / layout.RECORD).write_text(json.dumps(record, indent=1) + os.linesep, encoding="utf-8")
