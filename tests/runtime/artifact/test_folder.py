"""The artifact: written whole or not at all, opened verified."""

import contextlib
import errno
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest

import deepvit.runtime.artifact
from deepvit.runtime.artifact import MANIFEST, MODEL, open_artifact, staged_artifact
from deepvit.runtime.artifact.manifest import GraphForm
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.opening import open_session
from tests.places import ROOT


@pytest.fixture
def copy(tiny_artifact, tmp_path):
    return shutil.copytree(tiny_artifact, tmp_path / "copy")


def test_manifest_says_what_the_contract_lists(tiny_artifact):
    manifest = json.loads((tiny_artifact / MANIFEST).read_text())
    assert manifest["schema"] == 1
    assert set(manifest) >= {
        "variant", "classes", "weights", "precision", "input", "output", "batch", "preprocess", "folds", "parity",
        "calibration", "engines", "files", "tools",
    }  # fmt: skip
    assert [stage["stage"] for stage in manifest["parity"]] == ["folded-float64", "onnx-fp32", "onnx-fp16"]
    assert set(manifest["preprocess"]) == {"resize", "crop", "interpolation", "mean", "std", "layout", "color"}
    assert sorted(path.name for path in tiny_artifact.iterdir()) == [MANIFEST, MODEL]


def test_every_mutation_of_the_model_is_refused(copy):
    content, seed = (copy / MODEL).read_bytes(), 5
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(100):
        mutant = bytearray(content)
        mutant[rng.randrange(len(mutant))] ^= rng.randrange(1, 256)
        (copy / MODEL).write_bytes(mutant if rng.random() < 0.8 else content[: rng.randrange(len(content))])
        with pytest.raises(InputError, match=r"SHA-256|has \d+ bytes, expected"):
            open_session(copy)
    (copy / MODEL).write_bytes(content)
    open_session(copy).close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.pop("files"), "files: Field required"),
        (lambda m: m.update(schema=2), "schema: Input should be less than or equal to 1"),
        (lambda m: m["files"].update({"../x": {"bytes": 1, "sha256": "0" * 64}}), "String should match pattern"),
        (lambda m: m["batch"].update(min=9, opt=8), "expected min ≤ opt ≤ max"),
        (lambda m: m["preprocess"].update(std=[0.5, 0, 0.5]), "std must be positive"),
        (lambda m: m.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda m: m["graph"].update(surprise=1), "graph.surprise: Extra inputs are not permitted"),
        (lambda m: m["graph"].update(qkv="halved"), "graph.qkv: Input should be 'fused' or 'split'"),
    ],
)
def test_invalid_manifests(copy, change, expected):
    manifest = json.loads((copy / MANIFEST).read_text())
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="not a valid manifest") as caught:
        open_artifact(copy)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_graphs_form_is_written_as_it_was_said(copy):
    """What a manifest does not say stays unsaid, whatever else the record could hold."""
    text = (copy / MANIFEST).read_text()
    said = json.loads(text)["graph"]
    assert list(said) == ["opset", "mix", "qkv", "gemms", "convolutions"]
    assert open_artifact(copy).manifest.to_json() == text
    for graph in ({}, {"opset": 20, "mix": "conv", "qkv": "fused"}, said | {"quantized_gemms": 4, "attention_maps": 2}):
        (copy / MANIFEST).write_text(json.dumps(json.loads(text) | {"graph": graph}))
        assert json.loads(open_artifact(copy).manifest.to_json())["graph"] == graph
    older = json.loads(text)
    del older["graph"]
    (copy / MANIFEST).write_text(json.dumps(older))
    assert open_artifact(copy).manifest.graph == GraphForm()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": NaN}', b" " * (2 << 20)])
def test_manifests_that_are_no_json(copy, text):
    (copy / MANIFEST).write_bytes(text)
    with pytest.raises(InputError):
        open_artifact(copy)


def test_a_key_that_stands_twice_among_many_is_found_at_once(copy):
    text = "{" + ",".join(f'"{number}":0' for number in [*range(60_000), 59_999]) + "}"
    begun = time.process_time()
    (copy / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="59999 stands there twice"):
        open_artifact(copy)
    assert time.process_time() - begun < 5  # counting each key anew takes a minute


def test_a_disk_that_fails_is_said(copy, monkeypatch):
    artifact = open_artifact(copy)

    class Failing(io.BytesIO):
        def fileno(self):
            return file.fileno()

        def read(self, _size):
            raise OSError(errno.EIO, "Input/output error")

    with (copy / MODEL).open("rb") as file:
        monkeypatch.setattr(
            deepvit.runtime.artifact.folder, "open_bounded", lambda *_: contextlib.nullcontext(Failing())
        )
        with pytest.raises(InputError, match="model.onnx cannot be read: Input/output error"):
            artifact.read(MODEL)


@pytest.mark.parametrize(("name", "size"), [(MODEL, (2 << 30) - 1), ("engine.plan", 8 << 30)])
def test_what_is_too_large_is_not_read(copy, name, size):
    (copy / name).touch()
    os.truncate(copy / name, size + 1)  # a file of holes
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": size, "sha256": "0" * 64}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"has {size + 1} bytes, .* has at most {size}"):
        open_artifact(copy).read(name)


def _stage(output, text="{}"):
    with staged_artifact(output) as folder:
        (folder / MODEL).write_text("model")
        (folder / MANIFEST).write_text(text)


def test_staging_replaces_artifacts_and_nothing_else(tmp_path):
    output = tmp_path / "a" / "b"
    _stage(output, "1")
    _stage(output, "2")
    assert (output / MANIFEST).read_text() == "2"
    assert os.listdir(output.parent) == ["b"]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="folder of something else"):
        _stage(foreign)
    with pytest.raises(InputError, match="is not a folder"):
        _stage(foreign / "thesis.tex")
    assert (foreign / "thesis.tex").read_text() == "years of work"


def test_a_failure_leaves_the_old_artifact_and_no_rest(tmp_path):
    output = tmp_path / "out"
    _stage(output, "old")

    def fail():
        with staged_artifact(output) as folder:
            (folder / MODEL).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (output / MANIFEST).read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_killed_process_leaves_no_artifact_and_the_next_one_cleans_up(tmp_path):
    code = (
        "import os, signal, pathlib, sys; from deepvit.runtime.artifact import staged_artifact\n"
        "with staged_artifact(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'model.onnx').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], cwd=ROOT, check=False)
    assert not (tmp_path / "out").exists()
    assert len(os.listdir(tmp_path)) == 1
    _stage(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_is_said(tmp_path):
    def fill():
        with staged_artifact(tmp_path / "out") as folder:
            (folder / MODEL).write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(MissingError, match="no room on the disk"):
        fill()
    assert os.listdir(tmp_path) == []


def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(tiny_artifact, tmp_path):
    """Even where the manifest says that the file is empty, as a pipe seems to be."""
    folder = shutil.copytree(tiny_artifact, tmp_path / "a")
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][MODEL]["bytes"] = 0
    (folder / MANIFEST).write_text(json.dumps(content))
    (folder / MODEL).unlink()
    os.mkfifo(folder / MODEL)
    with pytest.raises(InputError, match="model.onnx is no regular file"):
        open_artifact(folder).read(MODEL)
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    with pytest.raises(InputError, match="manifest.json is no regular file"):
        open_artifact(folder)
