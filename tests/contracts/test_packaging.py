"""The wheel: it builds, holds what the packages read at run time, and gives the console script."""

import subprocess
import sys
import zipfile

from tests.places import ROOT

NEEDED = (
    "cli.py",
    "commands/console.py",
    "export/engine_worker.py",
    "deepvit/model/weights/trained/digits_cnn.safetensors",
    "deepvit/model/weights/trained/digits_patch.safetensors",
    "deepvit/images/photographs/chelsea.jpg",
    "runtime/imagenet_synsets.txt",
    "runtime/report/page.html",
    "runtime/session_onnxruntime.py",
)


def test_wheel(tmp_path):
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in tracked.decode().split("\0"):
        if name and not name.startswith(("tests/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source], check=True, timeout=300
    )
    (wheel,) = tmp_path.glob("deepvit-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert set(NEEDED) <= set(names)
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names)
    installed = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True, timeout=300)
    listed = subprocess.run(
        [installed / "bin" / "deepvit", "models"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert "deepvit_l_384" in listed.stdout
