"""The kernels compiled by NVRTC for GPUs that are not here, and what is kept of that."""

import copy
import hashlib
import json

import pytest

from deepvit.runtime.errors import MissingError
from deepvit.runtime.kernels import __main__ as command
from deepvit.runtime.kernels import cubins, nvrtc
from deepvit.runtime.kernels.cubins import TARGETS, Resources, cubin_for, manifest_of, resources_in, write_cubins
from deepvit.runtime.kernels.table import KERNELS
from tests.places import ROOT

KEPT = ROOT / "benchmarks/results/reattention-cubins.json"
SMALL = tuple(each for each in KERNELS if each.tokens == 26)[:2]


@pytest.fixture(scope="module")
def kept():
    return json.loads(KEPT.read_text())


@pytest.mark.parametrize("capability", TARGETS)
def test_every_kind_of_gpu(capability):
    cubin = cubin_for(capability, KERNELS[:1])
    assert cubin.content.startswith(b"\x7fELF") and KERNELS[0].name.encode() in cubin.content
    found = cubin.resources[KERNELS[0].name]
    assert 0 < found.registers <= 65536 // KERNELS[0].threads
    assert (found.spill_store_bytes, found.spill_load_bytes) == (0, 0)


def test_the_same_sources_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(cubins, "KERNELS", SMALL)
    monkeypatch.setattr(cubins.cubin_for, "__defaults__", (SMALL,))
    for name in "ab":
        write_cubins(tmp_path / name, 2, ("8.0", "12.0"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == files
    assert set(files) == {"kernels.json", "reattention.sm_80.cubin", "reattention.sm_120.cubin"}
    record = json.loads(files["kernels.json"])
    assert [hashlib.sha256(files[each["file"]]).hexdigest() for each in record["cubins"]] == [
        each["sha256"] for each in record["cubins"]
    ]
    assert record["kernels"][0]["resources"].keys() == {"8.0", "12.0"}


def faults(record):
    """What is not as it must be of a manifest."""
    faults = []
    for kernel, row in zip(KERNELS, record["kernels"], strict=True):
        if (row["name"], row["threads"], row["shared_bytes"]) != (kernel.name, kernel.threads, kernel.shared_bytes):
            faults.append(f"{row['name']} is not {kernel.name}")
        if row["resources"].keys() != {each for each, most in TARGETS.items() if kernel.shared_bytes <= most}:
            faults.append(f"{kernel.name} is not where it fits")
        spilled = [target for target, each in row["resources"].items() if each["spill_store_bytes"]]
        if spilled and kernel.rows == 16:
            faults.append(f"{kernel.name} spills on {spilled}")
    return faults


def test_what_is_kept_is_of_these_sources(kept):
    """Else: make kernels."""
    assert kept["sources_sha256"] == json.loads(manifest_of([]))["sources_sha256"]
    assert [each["compute_capability"] for each in kept["cubins"]] == list(TARGETS)
    assert faults(kept) == []


def test_planted_faults_are_told(kept):
    record = copy.deepcopy(kept)
    record["kernels"][0]["resources"]["8.0"]["spill_store_bytes"] = 4
    record["kernels"][1]["shared_bytes"] += 1
    record["kernels"][2]["resources"].pop("9.0")
    assert [each.split(" ", 1)[1] for each in faults(record)] == [
        "spills on ['8.0']",
        f"is not {KERNELS[1].name}",
        "is not where it fits",
    ]


def page_row(row):
    """A kernel as docs/reattention.md shows it."""
    found = {target: (each["registers"], each["spill_store_bytes"]) for target, each in row["resources"].items()}
    assert found.get("8.6") == found.get("8.9")
    shown = {target: f"{count}, {spilled} B" if spilled else f"{count}" for target, (count, spilled) in found.items()}
    cells = [shown.get(target, "–") for target in TARGETS if target != "8.9"]
    return f"| {row['tokens']}, {row['width']}, {row['rows']} | {row['shared_bytes']:,} B | {' | '.join(cells)} |"


def test_the_page_shows_what_is_kept(kept):
    of = {
        number: [row for row in kept["kernels"] if row["heads"] == 12 and row["number"] == number]
        for number in ("fp16", "bf16")
    }
    for half, brain in zip(of["fp16"], of["bf16"], strict=True):
        for target, each in half["resources"].items():
            assert abs(each["registers"] - brain["resources"][target]["registers"]) <= 2
            assert each["spill_store_bytes"] == brain["resources"][target]["spill_store_bytes"]
    rows = [page_row(row) for row in of["fp16"]]
    page = (ROOT / "docs/reattention.md").read_text()
    assert "\n".join(rows) in page
    assert page_row(of["fp16"][0] | {"shared_bytes": 0}) not in page


def test_what_is_kept_is_made_again(kept):
    if kept["nvrtc"] != nvrtc.nvrtc_version():
        pytest.skip(f"kept was made by NVRTC {kept['nvrtc']}")
    (row,) = [each for each in kept["cubins"] if each["compute_capability"] == "8.6"]
    assert hashlib.sha256(cubin_for("8.6").content).hexdigest() == row["sha256"]


def test_resources():
    said = (
        "ptxas info    : Function properties for a\n    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 168 registers, used 1 barriers\n"
    )
    assert resources_in(said, "a") == Resources(168, 4, 12)
    with pytest.raises(RuntimeError, match="says nothing of b"):
        resources_in(said, "b")


@pytest.mark.parametrize(
    ("body", "told"), [("flaot x;", "flaot"), ("int unused;", "never referenced")], ids=["error", "warning"]
)
def test_what_does_not_compile_says_why(body, told):
    with pytest.raises(RuntimeError, match=told):
        nvrtc.compiled(f'extern "C" __global__ void k() {{ {body} }}', {}, ["--gpu-architecture=sm_80"])


def test_the_command(tmp_path, monkeypatch, capsys):
    made = [cubin_for(each, SMALL[:1]) for each in ("8.0", "9.0")]
    monkeypatch.setattr(command, "write_cubins", lambda folder, workers: made)
    assert command.main(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["8.0", "9.0"]
    registers = [str(each.resources[SMALL[0].name].registers) for each in made]
    assert lines[2].split() == [*registers, SMALL[0].name]


def test_without_nvrtc(tmp_path, monkeypatch, capsys):
    def none():
        raise RuntimeError("Failure finding libnvrtc.so")

    monkeypatch.setattr(nvrtc.nvrtc, "nvrtcVersion", none)
    with pytest.raises(MissingError, match="needs NVRTC: Failure finding libnvrtc.so; pip install nvidia-cuda-nvrtc"):
        nvrtc.nvrtc_version()
    assert command.main(tmp_path) == 3
    assert capsys.readouterr().err.startswith("error: compiling kernels needs NVRTC")
