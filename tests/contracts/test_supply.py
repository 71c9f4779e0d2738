"""The two lists of pinned versions say the same, and every version has hashes; what the environment names is built with."""

import os
import re
import shutil
import subprocess

import pytest

from tests.places import ROOT


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text):
    return {
        normal(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    }


def faults(constraints, hashed):
    """Return what is pinned otherwise or not at all in the hashed list, or has no hash."""
    own, other = pins(constraints), pins(hashed)
    different = [
        f"{name}: {version}, with hashes {other.get(name)}"
        for name, version in own.items()
        if other.get(name) != version
    ]
    blocks = re.split(r"^(?=[A-Za-z0-9])", hashed, flags=re.MULTILINE)[1:]
    bare = [block.split()[0] for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}$", block.strip())]
    return different + bare


def test_the_lists_agree():
    assert faults((ROOT / "constraints.txt").read_text(), (ROOT / ".ci/constraints-hashed.txt").read_text()) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("pillow==", "pillow==0."), ("pillow==", "pillow-simd=="), (r"--hash=sha256:", "--hash=md5:")],
)
def test_a_difference_is_told(before, after):
    hashed = (ROOT / ".ci/constraints-hashed.txt").read_text().replace(before, after)
    assert faults((ROOT / "constraints.txt").read_text(), hashed)


@pytest.mark.parametrize("folder", ["", "/opt/TensorRT"])
def test_headers_that_the_environment_names_reach_the_compiler(tmp_path, folder):
    """Of TensorRT, by `.ci/run`, whose make is run dry."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "make").write_text(
        f'#!/bin/sh\n[ "$1" = lint ] || exec {shutil.which("make")} -n build/cpp "$2"\n'
    )
    (tmp_path / "bin" / "make").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    environment |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TENSORRT_INCLUDE": folder}
    done = subprocess.run([ROOT / ".ci/run"], env=environment, capture_output=True, text=True, check=True)
    assert f'-DDEEPVIT_TENSORRT_INCLUDE="{folder}"' in done.stdout
    assert ("cuda-headers/nvidia/cu13/include" in done.stdout) is bool(folder)
