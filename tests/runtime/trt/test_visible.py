"""Which GPU is meant: CUDA and nvidia-smi count alike, and nothing leaves what the environment gave."""

import os
import stat
import subprocess
import sys

import pytest

from deepvit.runtime.errors import InputError
from deepvit.runtime.trt.machine import pci_bus_of, this_machine
from deepvit.runtime.trt.visible import VISIBLE, gpus_within_visible, visible_gpu, visible_gpus
from tests.places import ROOT

# A machine with three GPUs; the third is split.
NVIDIA_SMI = """#!/bin/sh
case "$*" in
  -L) echo 'GPU 0: NVIDIA T4 (UUID: GPU-0000)'
      echo 'GPU 1: NVIDIA L4 (UUID: GPU-1111)'
      echo 'GPU 2: NVIDIA A100 (UUID: GPU-2222)'
      echo '  MIG 3g.20gb Device 0: (UUID: MIG-3333-4444)';;
  *pci.bus_id*"-i 0") echo '00000000:3B:00.0';;
  *pci.bus_id*"-i 1"|*pci.bus_id*"-i GPU-1111") echo '00000000:AF:00.0';;
  *"-i 0"|*"-i GPU-0000") echo 'NVIDIA T4, 7.5, 580.82.07, 15360 MiB';;
  *"-i 1"|*"-i GPU-1111") echo 'NVIDIA L4, 8.9, 580.82.07, 23034 MiB';;
  *"-i 2"|*"-i GPU-2222") echo 'NVIDIA A100, 8.0, 580.82.07, 40960 MiB';;
  *) echo 'No devices were found'; exit 6;;
esac
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", ()),
        ("-1", ()),
        ("2", ("2",)),
        (" 4, GPU-8f1e ,MIG-2a", ("4", "GPU-8f1e", "MIG-2a")),
        ("1,-1,0", ("1",)),
        ("0,none,1", ("0",)),
        ("MIG-GPU-2222/1/0", ("MIG-GPU-2222/1/0",)),
    ],
)
def test_what_is_visible(monkeypatch, text, expected):
    monkeypatch.delenv(VISIBLE, raising=False)
    if text is not None:
        monkeypatch.setenv(VISIBLE, text)
    assert visible_gpus() == expected


@pytest.mark.parametrize(
    ("text", "device", "gpu"),
    [
        (None, 0, "NVIDIA T4"),
        (None, 1, "NVIDIA L4"),
        ("1,0", 0, "NVIDIA L4"),
        ("1,0", 1, "NVIDIA T4"),
        ("GPU-1111,2", 1, "NVIDIA A100"),
        ("GPU-1111", 0, "NVIDIA L4"),
        ("MIG-3333-4444", 0, "NVIDIA A100"),
        ("MIG-GPU-1111/1/0", 0, "NVIDIA L4"),
    ],
)
def test_nvidia_smi_is_asked_of_the_gpu_that_cuda_counts_so(nvidia_smi, monkeypatch, text, device, gpu):
    monkeypatch.delenv(VISIBLE, raising=False)
    if text is not None:
        monkeypatch.setenv(VISIBLE, text)
    assert this_machine(device).gpu == gpu


@pytest.mark.parametrize(
    ("text", "device", "bus"),
    [(None, 0, "0000:3b:00.0"), (None, 1, "0000:af:00.0"), ("1,0", 0, "0000:af:00.0"), ("GPU-1111", 0, "0000:af:00.0")],
)
def test_where_a_gpu_is(nvidia_smi, monkeypatch, text, device, bus):
    monkeypatch.delenv(VISIBLE, raising=False)
    if text is not None:
        monkeypatch.setenv(VISIBLE, text)
    assert pci_bus_of(device) == bus


@pytest.mark.parametrize(
    ("text", "device", "why"),
    [
        ("1,0", 2, "leaves no GPU 2"),
        ("-1", 0, "hides them"),
        ("7", 0, "No devices were found"),
        ("MIG-9", 0, "nvidia-smi has no MIG-9"),
    ],
)
def test_a_gpu_that_is_not_there(nvidia_smi, monkeypatch, text, device, why):
    monkeypatch.setenv(VISIBLE, text)
    assert why in this_machine(device).why_no_gpu


def test_numbers_count_within_what_was_given(monkeypatch):
    monkeypatch.setenv(VISIBLE, "4,GPU-8f1e,MIG-2a")
    assert gpus_within_visible(("0", "1", "2")) == ("4", "GPU-8f1e", "MIG-2a")
    assert gpus_within_visible(("MIG-2a", "0")) == ("MIG-2a", "4")
    for other in ("3", "4", "GPU-9", "-1"):
        with pytest.raises(InputError, match=f"‹gpus› {other}: .*leaves 3, counted from 0"):
            gpus_within_visible(("0", other))
    with pytest.raises(InputError, match="are GPU-8f1e,GPU-8f1e of .*expected different GPUs"):
        gpus_within_visible(("1", "GPU-8f1e"))
    monkeypatch.delenv(VISIBLE)
    assert gpus_within_visible(("0", "GPU-9")) == ("0", "GPU-9")
    assert visible_gpu(3) == "3"


@pytest.mark.parametrize(("given", "expected"), [(None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")])
def test_cuda_counts_as_nvidia_smi_does_before_it_is_used(given, expected):
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_DEVICE_ORDER"}
    if given is not None:
        environment["CUDA_DEVICE_ORDER"] = given
    script = "import os, deepvit.runtime.session; print(os.environ['CUDA_DEVICE_ORDER'])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
