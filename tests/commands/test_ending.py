"""What this machine has too little of, memory and room on the disk: one line that says so, and exit 3."""

import pathlib
import resource
import shutil

import pytest

from deepvit.commands.terminal.console import write_json
from deepvit.commands.terminal.ending import fail_if_starved
from deepvit.export.engine.add import add_engine
from deepvit.export.engine.options import EngineOptions
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.measure.display.figures import new_figure, save_figure
from deepvit.measure.evaluate.crop_cache import CropCache
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.triton.options import RepositoryOptions
from deepvit.runtime.triton.repository import write_repository
from tests.commands.command_line import refused, run_anew

FULL = pathlib.Path("/dev/full")  # every write to it finds no room
GB = 10**9


@pytest.mark.parametrize("limit_gb", [1.2, 2.5])
@pytest.mark.parametrize("command", [("compare", "digits_cnn"), ("export", "digits_cnn", "--output")])
def test_too_little_memory_to_load_the_libraries(tmp_path, limit_gb, command):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (int(limit_gb * GB), int(limit_gb * GB)))

    arguments = command if command[-1] != "--output" else (*command, tmp_path / "a")
    line = refused(3, *arguments, preexec_fn=limit)
    assert line.startswith(f"error: out of memory (this process may have {limit_gb} GB, by ulimit -v): ")
    assert "pip install" not in line
    assert list(tmp_path.iterdir()) == []


def starved(error, capsys):
    """The exit code that `error` leads to, and its line; None where it is no matter of memory or the disk."""
    try:
        fail_if_starved(error, as_json=False)
    except SystemExit as ended:
        return ended.code, capsys.readouterr().err
    return None


def caused(error, cause):
    error.__cause__ = cause
    return error


ALLOCATION = (
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.2 GiB for an array"),
        RuntimeError(ALLOCATION),
        RuntimeError("std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 1024"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        caused(
            MissingError("running an ONNX model needs ONNX Runtime; pip install"), ImportError("failed to map segment")
        ),
        caused(SystemError("initialization failed"), MemoryError()),
        caused(InputError("model.onnx cannot be run"), RuntimeError("std::bad_alloc")),
    ],
)
def test_what_comes_of_too_little_memory(error, capsys):
    code, line = starved(error, capsys)
    assert (code, line.count("\n")) == (3, 1)
    assert line.startswith("error: out of memory")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'onnxruntime'"),
        InputError("bad_alloc.pth is no checkpoint"),
        caused(InputError("image a.png declares 4 Tpixels"), MemoryError()),
        OSError(2, "No such file or directory"),
        RuntimeError("anything else"),
    ],
)
def test_what_does_not(error, capsys):
    assert starved(error, capsys) is None


def test_what_was_needed_is_said(capsys):
    assert "you tried to allocate 8 bytes" in starved(RuntimeError(ALLOCATION), capsys)[1]


def test_no_room_for_temporary_files(capsys):
    """As Python's tempfile says it, and what PyTorch's exporter makes of that."""
    cause = FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")
    for error in (cause, caused(RuntimeError("Failed to export the model"), cause)):
        code, line = starved(error, capsys)
        assert (code, line) == (3, "error: no room on the disk for temporary files; free some, or set TMPDIR\n")


def test_a_full_disk_behind_stdout():
    with FULL.open("w") as stdout:
        result = run_anew("models", stdout=stdout)
    assert (result.returncode, result.stderr) == (3, "error: no room on the disk to write stdout; free some\n")


def test_a_full_disk_behind_a_result(exported):
    for arguments in (["models", "--json", FULL], ["report", exported, "--output", FULL]):
        assert "no room on the disk to write /dev/full" in refused(3, *arguments), arguments


def test_a_result_is_whole_or_not_there(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    inode = path.stat().st_ino
    write_json(path, lambda _typed: "new")
    assert path.read_text() == "new\n"
    assert path.stat().st_ino != inode  # another file, of which nobody saw a part
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]


def test_a_full_disk_behind_a_figure():
    with pytest.raises(MissingError, match="no room on the disk to write /dev/full"):
        save_figure(new_figure((2, 2)), FULL, "‹plot›")


def test_a_figure_is_whole_or_not_there(tmp_path):
    path = tmp_path / "plot.svg"
    path.write_text("old")
    with pytest.raises(InputError, match="cannot be written"):
        save_figure(new_figure((2, 2)), tmp_path / "plot.odd", "‹plot›")
    save_figure(new_figure((2, 2)), path, "‹plot›")
    assert "<svg" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["plot.svg"]


@pytest.fixture
def little_room(monkeypatch):
    """A thousand bytes on every disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(GB, 0, 1000))


def test_an_export_that_would_not_fit_is_not_begun(tiny_loaded, tmp_path, little_room):
    with pytest.raises(MissingError, match=r"/a needs about [\d.]+ MB, 0.001 MB are free there; .* ‹output›"):
        export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(), output=tmp_path / "a"), _not_begun)
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_would_not_fit_is_not_begun(tiny_artifact, on_rig, little_room):
    options = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=("8.9",))
    with pytest.raises(MissingError, match=r"tiny-fp16 needs about [\d.]+ MB, 0.001 MB are free there; free some$"):
        add_engine(tiny_artifact, options, _not_begun)


def test_a_package_that_would_not_fit_is_not_begun(tiny_artifact, tmp_path, little_room):
    options = RepositoryOptions(output=tmp_path / "repository", labels=[], golden_image=b"not decoded")
    with pytest.raises(MissingError, match=r"repository needs about [\d.]+ MB, .* ‹triton›"):
        write_repository(open_artifact(tiny_artifact), options)
    assert list(tmp_path.iterdir()) == []


def test_crops_that_would_not_fit_are_not_begun(tmp_path, little_room):
    with pytest.raises(MissingError, match=r"crops.u8 needs about 7.53 GB, .* leave ‹cache_crops› out"):
        CropCache(tmp_path / "crops", images=50_000, crop=224)
    assert list(tmp_path.iterdir()) == []


def _not_begun(*said):
    raise AssertionError(f"it was begun: {said}")
