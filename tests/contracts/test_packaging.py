"""The wheel, installed alone: one top-level name, every package and its data, and what a user does from another folder."""

import email
import json
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pytest
from PIL import Image

import deepvit
from deepvit.commands.terminal.last_line import BASE
from deepvit.runtime.errors import PACKAGES
from tests.doubles.lean_environment import closure, link
from tests.places import ROOT, files_of_the_tree

SECONDS = 300
LINKED = ("calibration", "export", "runtime")  # folders on top that are installed below deepvit
CPP = pathlib.PurePosixPath("runtime/cpp")
DECODES = """
import sys
import deepvit
from deepvit.images.decode import decode_images
from deepvit.images.samples import bundled_samples
from deepvit.runtime.preprocess import Preprocessing

if __name__ == "__main__":
    assert deepvit.__file__.startswith(sys.argv[1]), deepvit.__file__
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    preprocessing = Preprocessing(resize=32, crop=32, interpolation="bicubic", layout="NCHW", **half)
    decoded = list(decode_images(bundled_samples(), [preprocessing], workers=1, indices=range(3)))
    assert [item.crop.shape for item in decoded] == [(32, 32, 3)] * 3, decoded
"""
RUNS = """
import sys
import deepvit, numpy
from deepvit.runtime import open_session

assert deepvit.__file__.startswith(sys.argv[1]), deepvit.__file__
assert open_session(sys.argv[2]).run(numpy.zeros((3, 3, 32, 32), "f4")).shape == (3, 5)
assert "torch" not in sys.modules
"""
COMMANDS = """
import contextlib, io, json, logging, sys
from deepvit.commands.app import main

found = []
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as ended:
            found.append([ended.code, said.getvalue()])
    logging.root.handlers.clear()  # which wrote to that command's stderr
print(json.dumps(found))
"""
MOST_MB = 400  # of an installation that serves, which Python's own pip and setuptools have 30 of
NEEDS_TORCH = (
    ("export", "digits_cnn"),
    ("export", "digits_cnn", "--checkpoint", "none.safetensors"),
    ("sensitivity", "digits_cnn", "--imagenet", "data"),
    ("attention", "digits_cnn"),
    ("eval", "digits_cnn", "--imagenet", "data"),
    ("eval", "a", "--imagenet", "hfds/mnist"),
    ("bench", "digits_cnn", "--peers", "none"),
    ("bench", "a", "--peers", "pytorch"),
    ("compare", "digits_cnn"),
    ("compare", "random"),
    ("compare", "trained"),
)


def build(folder, *options):
    """Build the project in `folder`, a copy: what the build leaves in it must not meet another one."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", *options, folder]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    return folder / "dist"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A function: name → a copy of the work tree, its links as links, without what git ignores."""

    def copy(name):
        folder = tmp_path_factory.mktemp(name) / "tree"
        for path in files_of_the_tree():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path, follow_symlinks=False)
        return folder

    return copy


@pytest.fixture(scope="module")
def wheel(tree):
    (path,) = build(tree("wheel"), "--wheel").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with what the wheel installs and nothing else."""
    folder = tmp_path_factory.mktemp("site") / "packages"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", folder, wheel], check=True, timeout=SECONDS)
    return folder


@pytest.fixture(scope="module")
def metadata(installed):
    (path,) = installed.glob("*.dist-info/METADATA")
    return email.message_from_string(path.read_text())


@pytest.fixture(scope="module")
def lean(metadata, tmp_path_factory):
    """A folder with what the extra cpu brings and nothing else, and its bytes."""
    folder = tmp_path_factory.mktemp("lean")
    return folder, link(closure(metadata, ["cpu"]), folder)


@pytest.fixture
def python(installed, tmp_path):
    """A function: runs Python from another folder with the installed wheel and what is installed here."""
    libraries = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    return runner(installed, libraries, tmp_path)


def runner(installed, libraries, tmp_path):
    """Return a function that runs Python from another folder with the wheel and `libraries`, without this checkout.

    -S leaves out the .pth file by which this environment has the checkout, -P the folder of a script.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        "PYTHONPATH": ":".join([str(installed), *map(str, libraries)]), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
        "DEEPVIT_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip

    def run(*arguments):
        command = [sys.executable, "-S", "-P", *map(str, arguments)]
        return subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    return run


def contents_of(wheel):
    """Names in a wheel with their checksums, without its metadata, which lists them once more."""
    infos = zipfile.ZipFile(wheel).infolist()
    return {info.filename: info.CRC for info in infos if ".dist-info/" not in info.filename}


def expected_files():
    """What is to be installed: the modules of every package of ours, and all files beside them that are no modules."""
    packages, files = set(), []
    for path in files_of_the_tree():
        if path.parts[0] in ("deepvit", *LINKED) and CPP not in path.parents and not (ROOT / path).is_symlink():
            files.append(path if path.parts[0] == "deepvit" else "deepvit" / path)
            if path.name == "__init__.py":
                packages.add(files[-1].parent)
    return {str(path) for path in files if path.suffix != ".py" or path.parent in packages}


def test_the_wheel_has_every_package_and_its_data_alone(wheel):
    names = set(contents_of(wheel))
    assert names == expected_files()
    for name in (
        "deepvit/commands/app.py",
        "deepvit/export/engine/building/worker.py",
        "deepvit/runtime/triton/serving/classify.py",
        "deepvit/model/weights/trained/digits_cnn.safetensors",
        "deepvit/model/weights/trained/digits_patch.safetensors",
        "deepvit/images/photographs/chelsea.jpg",
        "deepvit/images/imagenet_names.txt",
        "deepvit/images/imagenet_synsets.txt",
        "deepvit/measure/report/page.css",
        "deepvit/measure/report/page.html",
        "deepvit/measure/report/parts.html",
    ):
        assert name in names
    assert [name for name in names if name.endswith((".cpp", ".h", ".hpp", ".c")) or "test" in name] == []


def test_an_sdist_gives_the_same_wheel(wheel, tree):
    dist = build(tree("sdist"))  # the sdist, and the wheel from that
    (path,) = dist.glob("*.whl")
    assert len(list(dist.glob("*.tar.gz"))) == 1
    assert contents_of(path) == contents_of(wheel)


def test_one_name_is_installed(installed, python):
    names = {path.name for path in installed.iterdir()}
    assert {name.partition("-")[0] for name in names} == {"deepvit", "bin"}
    assert [name.split("-", 1)[1].endswith(".dist-info") for name in names if "-" in name] == [True]
    assert [path.name for path in (installed / "bin").iterdir()] == ["deepvit"]
    names = ("deepvit", "runtime", "export", "calibration", "commands", "measure", "cli", "tests")
    shown = python("-c", f"import importlib.util as u, json; print(json.dumps([n for n in {names} if u.find_spec(n)]))")
    assert shown.stdout, shown.stderr
    assert json.loads(shown.stdout) == ["deepvit"]
    shown = python("-c", "import deepvit; print(deepvit.__file__)")
    assert shown.stdout.strip() == str(installed / "deepvit" / "__init__.py")


def test_what_comes_next_works_from_another_folder(installed, tiny_artifact, tmp_path):
    """As a shell runs what is printed, with the installed program on its path and no checkout about."""
    shutil.copytree(tiny_artifact, tmp_path / "artifact")
    path = f"{installed / 'bin'}:/usr/bin:/bin"
    environment = {"PATH": path, "PYTHONPATH": str(installed), "HOME": str(tmp_path)}

    def run(line):
        command = ["/bin/sh", "-c", line]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert ended.returncode == 0, (line, ended.stderr)
        return re.findall("^next: (.*)", ended.stdout, re.MULTILINE)

    assert run("deepvit package artifact --triton repository") == ["deepvit package --triton repository --check"]
    assert run("deepvit package --triton repository --check") == []
    assert run("deepvit inspect artifact") == ["deepvit bench artifact --peers none"]
    (report,) = run("deepvit bench artifact --peers none --rounds 1 --turn 0.01 --json bench.json")
    assert report == "deepvit report artifact --with bench.json"
    assert run(f"env -u DISPLAY -u WAYLAND_DISPLAY {report}") == []


def test_the_console_script(installed, python):
    listed = python(installed / "bin" / "deepvit", "models")
    assert listed.returncode == 0, listed.stderr
    assert "deepvit_l_384" in listed.stdout
    first, *_ = (installed / "bin" / "deepvit").read_text().splitlines()
    assert first == f"#!{sys.executable}"


def test_worker_processes(installed, python, tmp_path):
    (tmp_path / "decodes.py").write_text(DECODES)
    run = python(tmp_path / "decodes.py", installed)
    assert run.returncode == 0, run.stderr


def test_the_engine_worker_is_found_by_its_name(python, tmp_path):
    run = python("-m", "deepvit.export.engine.building.worker", tmp_path)
    assert (run.returncode, run.stderr) == (1, "")
    assert "job.json: No such file" in json.loads(run.stdout)["message"]


def test_an_artifact_runs_without_torch(installed, python, tiny_artifact):
    run = python("-c", RUNS, installed, tiny_artifact)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def said(installed, lean, tiny_artifact, tmp_path_factory):
    """A function: command → its exit code and what it said, run after others with what the extra cpu brings alone."""
    tmp_path = tmp_path_factory.mktemp("commands")
    python = runner(installed, [lean[0]], tmp_path)
    here = tmp_path / "elsewhere"
    for name in ("a", "b", "random", "trained"):
        shutil.copytree(tiny_artifact, here / name)
    for name in ("random", "trained"):
        manifest = here / name / "manifest.json"
        text = manifest.read_text().replace("tiny_cnn", "digits_cnn")
        manifest.write_text(text.replace('"random"', '"checkpoint"') if name == "trained" else text)
    for label in range(5):
        (here / f"data/val/{label}").mkdir(parents=True)
        Image.fromarray(np.full((40, 40, 3), 50 * label, np.uint8)).save(here / f"data/val/{label}/image.png")
    commands = [
        ["inspect", "a"],
        ["eval", "a", "--imagenet", "data"],
        ["eval", "a", "b", "--imagenet", "data", "--reference", "b", "--per-class", "--json", "eval.json"],
        [
            "bench",
            "a",
            "b",
            "--batch-sizes",
            "1",
            "--rounds",
            "5",
            "--turn",
            "0.1",
            "--json",
            "bench.json",
            "--plot",
            "bench.png",
        ],
        ["compare", "a", "--reference", "b", "--json", "compare.json", "--plot", "worst.png"],
        ["classify", "a", "--images", "data", "--output", "rows.csv"],
        ["package", "a", "--triton", "repository"],
        ["package", "--triton", "repository", "--check"],
        ["report", "a", "--with", "eval.json", "--with", "bench.json", "--with", "compare.json"],
        ["doctor"],
        ["models"],
        *map(list, NEEDS_TORCH),
    ]
    run = python("-c", COMMANDS, json.dumps(commands))
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    return {tuple(command): answer for command, answer in zip(commands, found, strict=True)}


def test_what_an_artifact_is_good_for_needs_no_torch(said):
    for command, (code, text) in said.items():
        assert command in NEEDS_TORCH or code == 0, (command, text)
    (bench,) = [text for command, (_, text) in said.items() if command[0] == "bench" and "--plot" in command]
    assert "timed without peers, which need PyTorch: pip install torch" in bench
    following = [line for _, text in said.values() for line in text.splitlines() if line.startswith("next: ")]
    assert len(following) > 4
    assert [line for line in following if " export " in line or "pytorch" in line] == []


@pytest.mark.parametrize("command", NEEDS_TORCH, ids=" ".join)
def test_what_needs_torch_says_so(said, command):
    code, text = said[command]
    assert code == 3, text
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "pip install torch torchvision timm onnxscript onnx-ir safetensors" in line
    assert "deepvit[" not in line


def test_the_extra_cpu_is_small(lean, installed):
    folder, size = lean
    own = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    assert (size + own) / 1e6 < MOST_MB - 30
    assert {"numpy", "onnxruntime", "jinja2"} <= {path.name for path in folder.iterdir()}
    assert not {"torch", "timm", "torchvision", "safetensors", "grpc"} & {path.name for path in folder.iterdir()}


def test_metadata(metadata, installed):
    assert metadata["Version"] == deepvit.__version__
    assert f"project(deepvit VERSION {deepvit.__version__} " in (ROOT / CPP / "CMakeLists.txt").read_text()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"]
    assert (installed / "deepvit" / "py.typed").is_file()
    (licence,) = installed.glob("*.dist-info/licenses/LICENSE")
    assert "Apache License" in licence.read_text()


def test_hints_name_what_the_extras_bring(metadata):
    """The lines to paste name packages that extras bring."""
    extras = metadata.get_all("Provides-Extra")
    names = {re.split(r"[<>=\[;]", requirement)[0] for requirement in metadata.get_all("Requires-Dist")}
    assert {"export", "report", "cpu", "gpu", "tensorrt-rtx", "triton", "all", "test"} <= set(extras)
    hinted = {re.split(r"[<>=]", name)[0] for line in PACKAGES.values() for name in line.replace("'", "").split()}
    assert hinted <= names
    assert {re.split(r"[<>=]", each)[0] for each in metadata.get_all("Requires-Dist") if "extra" not in each} == set(
        BASE
    )


def test_without_its_own_libraries_it_ends_in_a_line(installed, tmp_path):
    run = runner(installed, [], tmp_path)(installed / "bin" / "deepvit", "--help")
    assert run.returncode == 3
    (line,) = run.stderr.splitlines()
    assert re.fullmatch(r"error: \w+ is not installed, which every command needs; pip install numpy pillow .*", line)
