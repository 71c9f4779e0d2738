"""The models of a repository, each in its folder: configuration, version, warm-up."""

import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np

from ...artifact import MANIFEST, MODEL, Artifact
from .. import configs, layout
from ..options import TritonBackend
from ..schema import ModelConfig, config_text
from .plan import RepositoryPlan
from .python_models import write_python


def write_model(folder: pathlib.Path, plan: RepositoryPlan, backend: TritonBackend) -> None:
    artifact, model = plan.artifact, folder / plan.names.model(backend.value)
    engine = plan.engine
    config = configs.model_config(plan.names, artifact.manifest, backend, plan.batch_of(backend), plan.level)
    _write_config(folder, config)
    version = model / layout.VERSION
    version.mkdir()
    if backend is TritonBackend.PYTHON:
        write_python(version, "infer")
        plan.golden.save(version / layout.GOLDEN)
        (version / layout.ARTIFACT).mkdir()
        for name in (MANIFEST, *artifact.manifest.files):
            _copy(artifact, name, version / layout.ARTIFACT / name)
        write_plugin(version, plan)
    elif backend is TritonBackend.ONNXRUNTIME:
        _copy(artifact, MODEL, version / "model.onnx")
    else:
        assert engine is not None
        _copy(artifact, engine.file, version / "model.plan")
    _write_warmup(model, {layout.IMAGES: plan.golden.images.tobytes()})


def write_preprocess(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    image, manifest = plan.options.golden_image, plan.artifact.manifest
    model = folder / plan.names.preprocess
    _write_config(folder, configs.preprocess_config(plan.names, manifest, len(image), plan.options.max_megapixels))
    version = model / layout.VERSION
    version.mkdir()
    write_python(version, "preprocess")
    (version / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    (version / layout.GOLDEN_IMAGE).write_bytes(image)
    digest = hashlib.sha256(plan.golden_crop.tobytes()).hexdigest()
    (version / "golden.sha256").write_text(digest + "\n", encoding="ascii")
    _write_warmup(model, {layout.GOLDEN_IMAGE: image})


def write_classify(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    model = folder / plan.names.classify
    _write_config(folder, configs.classify_config(plan.names, plan.artifact.manifest, plan.served))
    version = model / layout.VERSION
    version.mkdir()
    write_python(version, "classify")
    plan.golden.save(version / layout.GOLDEN)
    _write_labels(model, plan.options.labels)
    status = np.full((1, 1), layout.WARM_UP_STATUS, np.int32)
    _write_warmup(model, {layout.LOGITS: plan.golden.logits.tobytes(), layout.STATUS: status.tobytes()})


def write_ensemble(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    model = folder / plan.names.ensemble
    _write_config(folder, configs.ensemble_config(plan.names, plan.artifact.manifest, plan.served))
    (model / layout.VERSION).mkdir()
    (model / layout.VERSION / ".keep").touch()  # Triton wants the folder, others drop empty ones
    _write_labels(model, plan.options.labels)


def write_plugin(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    """Write the library that an engine needs, and its record, where it needs one."""
    if plan.plugin is not None:
        record, content = plan.plugin
        (folder / layout.PLUGIN).write_bytes(content)
        (folder / layout.PLUGIN_RECORD).write_text(record.model_dump_json(by_alias=True), encoding="utf-8")


def _write_config(folder: pathlib.Path, config: ModelConfig) -> None:
    (folder / config.name).mkdir()
    (folder / config.name / layout.CONFIG).write_text(config_text(config), encoding="utf-8")


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
