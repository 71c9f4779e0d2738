"""The repository as files: schema, hashes, wiring; each fault planted and found."""

import errno
import json
import os
import shutil
import subprocess

import pytest

from deepvit.runtime.artifact import MANIFEST, open_artifact
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.kernels.plugin_record import VARIABLE, record_of
from deepvit.runtime.triton import layout
from deepvit.runtime.triton.check import check_repository
from deepvit.runtime.triton.options import TritonBackend
from deepvit.runtime.triton.releases import release_for
from deepvit.runtime.triton.schema import parse_config, schema
from tests.doubles.changed_artifact import replace_weights
from tests.runtime.kernels.named_plugin import CONTENT, RECORD, write_plugin


@pytest.fixture
def repository(packaged, cpp_data, tmp_path):
    """With an engine, whose plan no TensorRT wrote: only its config is looked at."""
    return packaged(cpp_data / "artifacts" / "engine", tmp_path / "repository")


def config_of(repository, model):
    return parse_config((repository / model / layout.CONFIG).read_text(), model)


def test_a_repository_has_a_model_per_backend_and_is_as_it_was_written(repository):
    models = {path.name for path in repository.iterdir() if path.is_dir()}
    assert models == {
        "small",
        *(f"small_{part}" for part in ("preprocess", "classify", "tensorrt", "onnxruntime", "python")),
    }
    assert check_repository(repository) == []


@pytest.mark.parametrize(("form", "options"), [("small", {"use_tf32": "0"}), ("fp16", None)])
def test_float32_is_float32_in_tritons_onnxruntime(cpp_data, packaged, tmp_path, form, options):
    """On a GPU; see ModelState::LoadModel of onnxruntime_backend (src/onnxruntime.cc)."""
    repository = packaged(cpp_data / "artifacts" / form, tmp_path / "repository")
    accelerators = config_of(repository, "small_onnxruntime").optimization.execution_accelerators
    found = [(each.name, dict(each.parameters)) for each in accelerators.gpu_execution_accelerator]
    assert found == ([("cuda", options)] if options else [])


def test_the_configs_of_every_backend_follow_the_schema(repository):
    for model, platform, file in (
        ("tensorrt", "tensorrt_plan", "model.plan"),
        ("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    ):
        config = config_of(repository, f"small_{model}")
        assert config.platform == platform
        assert config.default_model_filename == file
        assert (repository / f"small_{model}" / "1" / file).is_file()
        assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [
            ("images", schema.TYPE_FP32, [3, 224, 224])
        ]
        assert [(t.name, list(t.dims)) for t in config.output] == [("logits", [10])]
        assert config.max_batch_size == 8
        assert list(config.dynamic_batching.preferred_batch_size) == []
        assert config.version_policy.latest.num_versions == 1
        assert not config.response_cache.enable
        assert config.instance_group[0].count == (2 if model == "tensorrt" else 1)
        warm_up = (repository / f"small_{model}" / "warmup" / "images").read_bytes()
        assert len(warm_up) == 4 * 3 * 224 * 224
    cuda = config_of(repository, "small_tensorrt").optimization.cuda
    assert cuda.graphs
    bounds = [(graph.graph_lower_bound.batch_size, graph.batch_size) for graph in cuda.graph_spec]
    assert bounds == [(1, 1), (2, 2), (3, 4), (5, 8)]
    for graph in cuda.graph_spec:
        for shapes in (graph.input, graph.graph_lower_bound.input):
            assert {name: list(shape.dim) for name, shape in shapes.items()} == {"images": [3, 224, 224]}
    assert not config_of(repository, "small_onnxruntime").optimization.cuda.graphs
    assert config_of(repository, "small_tensorrt").instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    steps = config_of(repository, "small").ensemble_scheduling.step
    assert [step.model_name for step in steps] == ["small_preprocess", "small_tensorrt", "small_classify"]


@pytest.mark.parametrize(
    ("model", "old", "new", "expected"),
    [
        ("small_tensorrt", "max_batch_size", "max_batchsize", "does not follow Triton's schema"),
        ("small_onnxruntime", "TYPE_FP32", "TYPE_FLOAT", "does not follow Triton's schema"),
        ("small_tensorrt", 'platform: "tensorrt_plan"', 'platform: "tensorrt"', "none of ours"),
        ("small_python", 'name: "small_python"', 'name: "smal_python"', "config.pbtxt calls it"),
        ("small", 'model_name: "small_tensorrt"', 'model_name: "small_tensorr"', "is no model here"),
        ("small", 'value: "preprocessed"', 'value: "preproessed"', "which nothing gives"),
        ("small_preprocess", "TYPE_FP32", "TYPE_UINT8", "takes images as TYPE_FP32"),
        ("small_classify", "dims: 10", "dims: 11", "takes logits as TYPE_FP32 [11]"),
        ("small", "dims: 10", "dims: 11", "labels.txt has 10 lines"),
        ("small_tensorrt", 'input_data_file: "images"', 'input_data_file: "image"', "has -1 bytes"),
    ],
)  # fmt: skip
def test_a_typo_in_a_config_is_found(repository, model, old, new, expected):
    path = repository / model / layout.CONFIG
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    faults = check_repository(repository)
    assert any(expected in fault for fault in faults), faults
    assert any(fault.startswith(f"{model}/config.pbtxt: ") for fault in faults), faults  # and that it was changed


def test_changed_missing_and_added_files_are_found(repository):
    (repository / "small_tensorrt" / "1" / "model.plan").write_bytes(b"another plan")
    (repository / "small_python" / "1" / "artifact" / "model.onnx").unlink()
    (repository / "small" / "extra").write_text("")
    faults = "\n".join(check_repository(repository))
    for expected in ("small_tensorrt/1/model.plan: 12 bytes", "artifact/model.onnx: missing", "small/extra: not part"):
        assert expected in faults


def test_what_is_no_repository_is_an_error(tmp_path, repository):
    with pytest.raises(InputError, match="is not a repository that `package` wrote"):
        check_repository(tmp_path)
    for text in ("{", "{}", '{"schema": 2}'):
        (repository / layout.RECORD).write_text(text)
        with pytest.raises(InputError, match="is not valid"):
            check_repository(repository)


def test_an_earlier_repository_is_replaced_and_anything_else_is_not(packaged, cpp_data, tmp_path, repository):
    artifact = cpp_data / "artifacts" / "small"
    packaged(artifact, repository, backends=(TritonBackend.PYTHON,))
    assert not (repository / "small_tensorrt").exists()
    assert check_repository(repository) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(InputError, match="folder of something else; name another one with ‹triton›"):
        packaged(artifact, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_packaged_is_refused_and_leaves_nothing(packaged, cpp_data, tmp_path):
    small = cpp_data / "artifacts" / "small"
    for options, expected in (
        ({"backends": (TritonBackend.TENSORRT,)}, "has no engine.plan"),
        ({"name": "a b"}, "expected letters"),
        ({"backends": (TritonBackend.PYTHON,), "served": TritonBackend.ONNXRUNTIME}, "is not among ‹backends›"),
        ({"golden_image": b"no image"}, "not an image"),
    ):
        with pytest.raises(InputError, match=expected):
            packaged(small, tmp_path / "out", **options)
    with pytest.raises(InputError, match="a path with a space hangs"):
        packaged(small, tmp_path / "a b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["copy2", "copyfile"])
def test_a_full_disk_is_what_is_lacking(packaged, cpp_data, tmp_path, monkeypatch, name):
    def full(source, target, **_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, name, full)
    with pytest.raises(MissingError, match="no room on the disk to write .*; free some or name another place"):
        packaged(cpp_data / "artifacts" / "small", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_swapped_weights_are_not_packaged(packaged, cpp_data, tmp_path):
    import shutil

    shutil.copytree(cpp_data / "artifacts" / "small", tmp_path / "artifact")
    replace_weights(tmp_path / "artifact" / "model.onnx")
    with pytest.raises(InputError, match="SHA-256|bytes, expected"):
        packaged(tmp_path / "artifact", tmp_path / "out")


def test_the_readme_says_how_to_serve(repository, cpp_data):
    text = (repository / layout.GUIDE).read_text()
    for flag in ("--http-address=127.0.0.1", "--model-control-mode=none", "--disable-auto-complete-config"):
        assert flag in text
    assert "weights are random" in text
    assert "onnxruntime==" in (repository / layout.REQUIREMENTS).read_text()
    version = open_artifact(cpp_data / "artifacts" / "engine").manifest.engines[0].version
    assert release_for(version) in text
    assert "tritonserver:25.10-py3 carries" in release_for("10.13.3.9")


@pytest.mark.parametrize("is_compatible", [False, True], ids=["exact", "version-compatible"])
def test_the_readme_has_a_container_that_serves_with_the_same_rules(cpp_data, packaged, tmp_path, is_compatible):
    """The line is run as it stands, on a docker, a pip and a tritonserver that print what they were given."""
    artifact = shutil.copytree(cpp_data / "artifacts" / "engine", tmp_path / "artifact")
    manifest = json.loads((artifact / MANIFEST).read_text())
    manifest["engines"][0]["version_compatible"] = is_compatible
    (artifact / MANIFEST).write_text(json.dumps(manifest))
    repository = packaged(artifact, tmp_path / "repository")
    for program in ("docker", "pip", "tritonserver"):
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\nprintf '%s\\n' {program} \"$@\"\n")
        path.chmod(0o755)
    readme = (repository / layout.GUIDE).read_text()
    line = readme[readme.index("    docker run") : readme.index("\n\n|")]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def said(*command):
        done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    given = said("bash", "-c", line)
    assert given[:2] == ["docker", "run"]
    assert "--gpus" in given  # a plan serves it
    assert f"{repository}:/models:ro" in given
    assert [each for each in given if each.endswith(":8000")] == ["127.0.0.1:8000:8000"]
    assert given[given.index("sh") - 1].startswith("nvcr.io/nvidia/tritonserver:")
    inside = said("sh", "-c", "\n".join(given[given.index("sh") + 2 :]))
    assert inside[:4] == ["pip", "install", "-r", f"/models/{layout.REQUIREMENTS}"]
    rules = said("bash", "-c", readme[readme.index("    MALLOC") : readme.index("\n\nOnly")])[1:]
    # Triton's TensorRT backend refuses a version-compatible plan without it.
    assert ("--backend-config=tensorrt,version-compatible=true" in rules) is is_compatible
    assert ("by host code within it" in readme) is is_compatible
    assert inside[4:] == [
        "tritonserver",
        "--model-repository=/models",
        *(each for each in rules if "repository" not in each and "address" not in each),
    ]


def test_an_engine_of_fused_reattention_is_served_with_its_plugin(cpp_data, packaged, tmp_path, monkeypatch, caplog):
    artifact = shutil.copytree(cpp_data / "artifacts" / "engine", tmp_path / "artifact")
    manifest = json.loads((artifact / MANIFEST).read_text())
    plugin = {name: RECORD[name] for name in ("sha256", "kernels_sha256", "layer")}
    manifest["engines"][0]["plugin"] = plugin
    (artifact / MANIFEST).write_text(json.dumps(manifest))
    monkeypatch.setenv(VARIABLE, str(write_plugin(tmp_path)))
    repository = packaged(artifact, tmp_path / "r")
    assert check_repository(repository) == []
    for folder in (repository, repository / "small_python" / "1"):
        assert (folder / layout.PLUGIN).read_bytes() == CONTENT
        assert record_of(folder / layout.PLUGIN).kernels_sha256 == RECORD["kernels_sha256"]
    readme = (repository / layout.GUIDE).read_text()
    assert RECORD["sha256"] in readme
    assert f'--backend-config=tensorrt,plugins="$PWD"/{layout.PLUGIN}\n' in readme
    assert f"--backend-config=tensorrt,plugins=/models/{layout.PLUGIN}'" in readme
    (repository / layout.PLUGIN).write_bytes(CONTENT[::-1])
    assert check_repository(repository) == [f"{layout.PLUGIN}: not the bytes that were written"]
    write_plugin(tmp_path, kernels_sha256="1" * 64)
    with pytest.raises(
        InputError, match=r"‹backends› tensorrt: .*has kernels of SHA-256 1{64}, the engine was built with"
    ):
        packaged(artifact, tmp_path / "s", backends=(TritonBackend.TENSORRT,))
    repository = packaged(artifact, tmp_path / "r")
    assert "not packaged for Triton's TensorRT: " in caplog.text
    assert not (repository / "small_tensorrt").exists()
    assert not list(repository.rglob(layout.PLUGIN))
    assert "plugins=" not in (repository / layout.GUIDE).read_text()
