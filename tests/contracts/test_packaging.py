"""The wheel, installed alone: one top-level name, every package and its data, and what a user does from another folder."""

import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

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


@pytest.fixture
def python(installed, tmp_path):
    """A function: runs Python from another folder with the installed wheel and what it depends on, without this checkout.

    -S leaves out the .pth file by which this environment has the checkout, -P the folder of a script.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    libraries = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {
        "PYTHONPATH": ":".join([str(installed), *libraries]), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
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
        "deepvit/export/engine/worker.py",
        "deepvit/runtime/triton/serving/classify.py",
        "deepvit/model/weights/trained/digits_cnn.safetensors",
        "deepvit/model/weights/trained/digits_patch.safetensors",
        "deepvit/images/photographs/chelsea.jpg",
        "deepvit/images/imagenet_synsets.txt",
        "deepvit/measure/report/page.html",
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
    run = python("-m", "deepvit.export.engine.worker", tmp_path)
    assert (run.returncode, run.stderr) == (1, "")
    assert "job.json: No such file" in json.loads(run.stdout)["message"]


def test_an_artifact_runs_without_torch(installed, python, tiny_artifact):
    run = python("-c", RUNS, installed, tiny_artifact)
    assert run.returncode == 0, run.stderr
