"""What is measured of fused re-attention on a GPU, as far as a machine without one can tell."""

import ctypes
import hashlib
import itertools
import json
import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import reattention_gpu
from benchmarks.gpu_check import timing
from benchmarks.gpu_check.fakes import FakeGpu, FakeReAttention
from benchmarks.gpu_check.findings import Findings, SkippedError
from benchmarks.gpu_check.reattention import cubins, sanitized, sanitizer, speed
from benchmarks.gpu_check.reattention.cases import attended, random_case, without_mix
from benchmarks.gpu_check.reattention.chip import chip_of
from benchmarks.gpu_check.reattention.correctness import check_kernels, check_many_images
from benchmarks.gpu_check.reattention.models import time_models, with_kernels
from benchmarks.gpu_check.reattention.names import LARGE, MODEL, MODEL_BATCHES, SHAPES, TIMED, model_named
from benchmarks.gpu_check.reattention.prediction import expected_us, predictions_for, text_of, times_us
from benchmarks.gpu_check.reattention.work import Work, of_kernel
from benchmarks.gpu_check.record import Check, Figure, Note, Skipped
from benchmarks.gpu_check.sections import reattention, reattention_torch
from deepvit.export.engine.listing.peaks import gpu_from_text
from deepvit.model.fused.operator import formula
from deepvit.runtime.kernels.table import KERNELS, Number
from tests.commands.command_line import without_gpu
from tests.places import ROOT

H200 = gpu_from_text("H200")


def found_by(part):
    said = []
    part(Findings(said.append, is_fake=True))
    return said


def failed(said):
    return [each.name for each in said if isinstance(each, Check) and not each.passed]


# ---- predictions


def test_the_predictions_that_are_written_down_are_those_of_the_formulae():
    assert reattention_gpu.PREDICTIONS.read_text() == text_of(H200)


def test_everything_that_is_timed_is_predicted():
    predicted = predictions_for(H200)
    ours = speed.kernels_and_unfused(FakeReAttention.of(KERNELS))
    for shape, batch in TIMED:
        for what in (*ours(shape), *speed.operator_and_unfused(shape), speed.COMPILED):
            assert shape.named(batch, what) in predicted
    whole = {model_named(MODEL, batch, "Triton language") for batch in MODEL_BATCHES}
    assert whole < set(predicted)
    assert all(each.expected > 0 for each in predicted.values())


def test_counts_of_a_call_of_deepvit_32():
    """By hand: 13 blocks of 16 rows read k and v of 197 tokens, q and the output besides; 208 places in a map."""
    shape = LARGE[0]
    work = of_kernel(shape.kernels[0], shape.stored, 2)
    assert (shape.heads, shape.width, shape.tokens, shape.stored, work.blocks) == (12, 32, 197, 200, 26)
    assert work.cache_bytes == 26 * (2 * 197 + 32) * 12 * 32 * 2
    assert work.memory_bytes == 2 * 200 * 4 * 12 * 32 * 2
    assert work.exponentials == 26 * 12 * 16 * 208
    assert work.products == 26 * 2 * 16 * (12 * 200 * 32 + 16 * 16 * 208 + 12 * 208 * 32)


def test_longer_rows_are_scanned_twice():
    (shape,) = [each for each in LARGE if each.tokens == 577 and each.number is Number.FP16]
    work = of_kernel(shape.kernels[0], shape.stored, 1)
    assert work.cache_bytes == work.blocks * (3 * 577 + 32) * 12 * 40 * 2
    assert work.exponentials == work.blocks * 2 * 12 * 16 * 616


def test_blocks_come_in_whole_waves():
    chip = chip_of(H200)
    of_block = {"memory_bytes": 1.0, "cache_bytes": 1e6}
    one, full, more = (
        expected_us(Work(**{name: value * blocks for name, value in of_block.items()}, blocks=blocks), chip)
        for blocks in (1, chip.multiprocessors, chip.multiprocessors + 1)
    )
    assert one == pytest.approx(full)
    assert more - 1 == pytest.approx(2 * (full - 1))  # without the launch
    assert times_us(Work(memory_bytes=0, cache_bytes=5.5e12), chip)["cache"] == pytest.approx(1e6, rel=0.01)


def test_a_prediction_is_made_of_any_known_gpu(tmp_path, monkeypatch, capsys):
    for arguments, code in ((["--predict", "A100"], 0), (["--predict", "Voodoo"], 2)):
        monkeypatch.setattr(sys, "argv", ["x", *arguments, "--output", str(tmp_path / "a.json")])
        assert reattention_gpu.main() == code
    assert json.loads((tmp_path / "a.json").read_text())["gpu"].startswith("A100")
    assert "no data sheet of it is known" in capsys.readouterr().err


@without_gpu
def test_without_a_gpu_it_says_so_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])
    assert reattention_gpu.main() == 3
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: no NVIDIA GPU here") and said.err.count("\n") == 1


# ---- timing


def test_turns_meet_a_drift_alike_and_the_first_round_is_a_warm_up():
    clock = itertools.count(100, 1)  # a GPU that gets slower all the time
    asked = []

    def timer(name, times):
        return lambda: asked.append(name) or (times * next(clock) if len(asked) > 2 else 1e9)

    found = timing.in_turns({"a": timer("a", 1), "b": timer("b", 2)}, 5)
    assert asked == ["a", "b"] * 6
    assert 2 * found["a"].median_ms < found["b"].median_ms < 2.03 * found["a"].median_ms
    assert found["a"].median_ms == 104 and found["a"].spread_ms == 4


def test_a_figure_has_what_was_predicted_beside_it():
    said = []
    Findings(said.append, is_fake=False).figure("a", 3.0, "µs", spread=0.1, predicted=2.0)
    assert said == [Figure(name="a", value=3.0, unit="µs", spread=0.1, predicted=2.0)]


def test_calls_are_timed_by_their_batch_beside_their_prediction(monkeypatch):
    """With times that are told, in the place of a GPU's."""
    shape, batch = SHAPES[-1], 1
    name = shape.named(batch, speed.UNFUSED)
    monkeypatch.setattr(speed, "times", lambda place, runs: {each: timing.Time(0.5, 0.1) for each in runs})
    monkeypatch.setattr(speed, "TIMED", ((shape, batch),))
    said = []
    prediction = type("P", (), {"expected": 7.0})
    speed.time_calls(Findings(said.append, is_fake=False), FakeGpu(), speed.operator_and_unfused, {name: prediction})
    assert Figure(name=name, value=500.0, unit="µs an image", spread=100.0, predicted=7.0) in said
    assert [each.predicted for each in said] == [None, 7.0]


@without_gpu
@pytest.mark.parametrize("section", [reattention, reattention_torch], ids=["reattention", "reattention_torch"])
def test_the_section_runs_on_fakes(section):
    said = found_by(lambda findings: section.run(findings, FakeGpu()))
    assert any(isinstance(each, Check) for each in said) and failed(said) == []
    assert [each.value for each in said if isinstance(each, Figure) and each.value is not None] == []
    assert "no GPU here" in [each.why for each in said if isinstance(each, Skipped)] or section is reattention_torch


# ---- what is right


def test_the_separate_operators_are_the_formula():
    case = random_case(SHAPES[-1], "cpu", batch=2)
    unpadded = case.qkv[:, : case.tokens].double()
    expected = formula(unpadded, case.theta.double(), case.bias.double(), case.scale)
    assert torch.allclose(attended(case, torch.float64)[:, : case.tokens], expected, rtol=0, atol=1e-9)
    assert without_mix(case).shape == (*case.qkv.shape[:2], case.qkv.shape[3] * case.qkv.shape[4])


class Transposed(FakeReAttention):
    """Mixes with Θ' transposed."""

    def attend(self, kernel, case, out=None):
        return super().attend(kernel, type(case)(**vars(case) | {"theta": case.theta.T.contiguous()}), out)


class Padding(FakeReAttention):
    """Sees keys of padding."""

    def attend(self, kernel, case, out=None):
        return super().attend(kernel, type(case)(**vars(case) | {"tokens": case.tokens + 1}), out)


class Unscaled(FakeReAttention):
    """Leaves q and the output as they are."""

    def attend(self, kernel, case, out=None):
        return super().attend(kernel, type(case)(**vars(case) | {"channels": None}), out)


class Racing(FakeReAttention):
    """Another number now and then."""

    turns = itertools.count()

    def attend(self, kernel, case, out=None):
        out = super().attend(kernel, case, out)
        out[0, 0, 0] *= 2 if next(self.turns) % 7 == 0 else 1
        return out


class Unwritten(FakeReAttention):
    """Leaves the last row as it was."""

    def attend(self, kernel, case, out=None):
        found = super().attend(kernel, case)
        if out is not None:
            out[:, :-1] = found[:, :-1]
        return found if out is None else out


class Narrow(FakeReAttention):
    """Loses images beyond some number."""

    def attend(self, kernel, case, out=None):
        return super().attend(kernel, case, out) * (len(case.qkv) == 1)


@pytest.mark.parametrize(
    ("fault", "part", "told"),
    [
        (Transposed, check_kernels, "against float64"),
        (Padding, check_kernels, "against float64"),
        (Unscaled, check_kernels, "channels and one query: against float64"),
        (Unwritten, check_kernels, "against float64"),
        (Racing, check_kernels, "another result"),
        (Narrow, check_many_images, "the last image"),
    ],
)
def test_a_kernel_that_is_wrong_is_told(fault, part, told):
    for attention, is_told in ((fault.of(KERNELS[-1:]), True), (FakeReAttention.of(KERNELS[-1:]), False)):
        names = failed(found_by(lambda findings, attention=attention: part(findings, FakeGpu(), attention)))
        assert any(told in name for name in names) is is_told


def test_a_network_whose_kernel_is_wrong_is_told():
    """The one small variant whose head width a kernel has as it is."""
    place = FakeGpu()
    place.variants = ("digits_patch",)
    with torch.inference_mode():
        for attention, is_wrong in ((FakeReAttention(), False), (Transposed(), True)):
            networks = with_kernels("digits_patch", attention)
            assert list(networks) == ["CUDA C++, 16 rows", "CUDA C++, 32 rows"]
            said = found_by(lambda findings, networks=networks: time_models(findings, place, networks, {}))
            assert len(failed(said)) == 2 * is_wrong


# ---- launches


def test_a_launch_has_the_parameters_of_the_kernel():
    text = (ROOT / "runtime/kernels/cuda/reattention.cuh").read_text()
    declared = re.search(r"NAME\(([^)]*)\) \{", text.replace("\\\n", ""))[1]
    kinds = [
        ctypes.c_void_p if "*" in each else {"float": ctypes.c_float, "int": ctypes.c_int}[each.split()[0]]
        for each in declared.split(",")
    ]
    assert list(cubins.PARAMETERS) == kinds
    assert kinds.count(ctypes.c_void_p) == cubins.POINTERS


class FakeDriver:
    """CUDA's driver on memory of this process, new memory NaN in 16 bits, and a kernel that keeps what it was given."""

    def __init__(self, real):
        self._real, self.calls, self.memory = real, [], {}

    def __getattr__(self, name):
        if not name.startswith("cu"):
            return getattr(self._real, name)
        return lambda *arguments: self.called(name, arguments)

    def called(self, name, arguments):
        self.calls.append((name, arguments))
        if name == "cuMemAlloc":
            memory = np.full(arguments[0], 0xFF, np.uint8)
            self.memory[memory.ctypes.data] = memory
            return self._real.CUresult.CUDA_SUCCESS, memory.ctypes.data
        if name.startswith("cuMemcpy"):
            ctypes.memmove(*arguments)
        if name == "cuDeviceGetAttribute":
            return self._real.CUresult.CUDA_SUCCESS, 9 if "MAJOR" in arguments[0].name else 0
        has_value = name in ("cuModuleLoadData", "cuModuleGetFunction", "cuDeviceGet", "cuDevicePrimaryCtxRetain")
        return (self._real.CUresult.CUDA_SUCCESS, name) if has_value else (self._real.CUresult.CUDA_SUCCESS,)


@pytest.fixture
def driver(monkeypatch):
    fake = FakeDriver(cubins.driver)
    monkeypatch.setattr(cubins, "driver", fake)
    monkeypatch.setattr(sanitized, "driver", fake)
    monkeypatch.setattr(cubins, "machine_code", lambda target: (b"code", f"for {target}"))
    return fake


def test_a_kernel_is_launched_as_the_table_says(driver):
    loaded = cubins.Cubins("8.9")
    assert loaded.source == "for 8.9"
    kernel = loaded.kernels[0]
    assert KERNELS[1] not in loaded.kernels  # 32 rows: too much shared memory for 8.9
    for _ in range(2):
        loaded.launch(kernel, (1, 2, 3, 4, 5), 0.5, (7, 200, 190), 9)
    assert [name for name, _ in driver.calls] == [
        "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernel", "cuLaunchKernel",
    ]  # fmt: skip
    assert driver.calls[2][1][2] == kernel.shared_bytes
    _function, *sizes, shared, stream, (values, kinds), extra = driver.calls[-1][1]
    assert (sizes, shared, stream, extra) == ([12, 7, 1, kernel.threads, 1, 1], kernel.shared_bytes, 9, 0)
    assert (values, kinds) == ((1, 2, 3, 4, 5, 0.5 * math.log2(math.e), 200, 190), cubins.PARAMETERS)


def test_a_gpu_that_there_are_no_kernels_for_is_skipped(driver):
    with pytest.raises(SkippedError, match=r"no kernels for compute capability 7\.5"):
        cubins.Cubins("7.5")


def test_machine_code_is_that_of_these_sources_or_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(cubins, "BUILT", tmp_path)
    monkeypatch.setattr(cubins, "cubin_for", lambda target: type("Cubin", (), {"content": b"compiled"}))
    assert cubins.machine_code("9.0")[0] == b"compiled"
    (tmp_path / "own.cubin").write_bytes(b"built")
    own = {"compute_capability": "9.0", "file": "own.cubin", "sha256": hashlib.sha256(b"built").hexdigest()}
    record = {"sources_sha256": cubins.sources_sha256(), "nvrtc": "13.2", "cubins": [own]}
    (tmp_path / "kernels.json").write_text(json.dumps(record))
    content, source = cubins.machine_code("9.0")
    assert content == b"built" and source.startswith("make kernels, NVRTC 13.2")
    (tmp_path / "kernels.json").write_text(json.dumps(record | {"sources_sha256": "of others"}))
    assert cubins.machine_code("9.0")[0] == b"compiled"
    (tmp_path / "kernels.json").write_text(json.dumps(record))
    (tmp_path / "own.cubin").write_bytes(b"altered")
    assert cubins.machine_code("9.0")[0] == b"compiled"


# ---- compute-sanitizer


def test_the_watched_program_runs_every_kernel_on_memory_that_padding_leaves_unwritten(driver, monkeypatch, tmp_path):
    seen = []

    def launch(self, kernel, addresses, scale, sizes, stream):
        batch, stored, queries = sizes
        qkv, out = driver.memory[addresses[0]].view(np.uint16), driver.memory[addresses[1]].view(np.uint16)
        tokens = qkv.reshape(batch, stored, 3, kernel.heads * kernel.width)
        unwritten = (tokens == 0xFFFF).all(-1)
        assert not unwritten[:, :, 0].any() and not unwritten[:, : kernel.tokens].any()
        assert unwritten[:, kernel.tokens :, 1:].all()
        assert queries == stored
        assert sanitized.is_finite(tokens[:, :, 0], kernel.number)
        seen.append(kernel)
        out[:] = 0x7C00 if kernel is spoilt else 0

    monkeypatch.setattr(cubins.Cubins, "launch", launch)
    monkeypatch.setattr(cubins, "KERNELS", KERNELS[-4:])
    spoilt, cubin = None, tmp_path / "cubin"
    cubin.write_bytes(b"given")
    assert sanitized.main(cubin) == 0 and seen == list(KERNELS[-4:])
    assert ("cuModuleLoadData", (b"given",)) in driver.calls
    assert len([1 for name, _ in driver.calls if name == "cuMemFree"]) == 4 * cubins.POINTERS
    spoilt = next(each for each in KERNELS[-4:] if each.number is Number.FP16)
    assert sanitized.main(cubin) == 1


@pytest.mark.parametrize("number", Number)
def test_bits_are_those_of_the_type(number):
    values = np.array([1.0, -2.5, np.inf, np.nan, 0.0], np.float32)
    bits = sanitized.bits_of(values, number)
    back = torch.from_numpy(bits.view(np.int16)).view(torch.float16 if number is Number.FP16 else torch.bfloat16)
    assert torch.equal(back.float().nan_to_num(), torch.from_numpy(values).nan_to_num())
    assert [sanitized.is_finite(bits[[i]], number) for i in range(5)] == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("script", "kind", "told"),
    [
        ("grep -qx code \"$8\" && echo '========= ERROR SUMMARY: 0 errors'", Check, True),
        ("echo '========= Invalid read'; exit 99", Check, False),
        ("echo 'Device not supported'; exit 1", Skipped, "Device not supported"),
        ("exec sleep 60", Skipped, "not ended in 0 s"),
    ],
)
def test_what_the_sanitizer_says_is_told(tmp_path, monkeypatch, script, kind, told):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    place = FakeGpu()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    place.is_fake = False
    monkeypatch.setattr(sanitizer, "TOOLS", ("memcheck",))
    monkeypatch.setattr(sanitizer, "SECONDS", 0.3)
    said = found_by(lambda findings: sanitizer.check_with_sanitizer(findings, place, b"code"))
    (found,) = [each for each in said if not isinstance(each, Note)]
    assert isinstance(found, kind) and (found.passed if kind is Check else found.why) == told


def test_the_sanitizer_is_found_in_its_wheel_and_else_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    inside = tmp_path / "nvidia/cu13/compute-sanitizer/compute-sanitizer"
    package = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "nvidia")]})
    monkeypatch.setattr(sanitizer.importlib.util, "find_spec", lambda name: package)
    assert sanitizer.sanitizer_here() is None
    inside.parent.mkdir(parents=True)
    inside.touch()
    assert sanitizer.sanitizer_here() == inside
    monkeypatch.setattr(sanitizer, "sanitizer_here", lambda: None)
    place = FakeGpu()
    place.is_fake = False
    (skipped,) = found_by(lambda findings: sanitizer.check_with_sanitizer(findings, place, b"code"))
    assert sanitizer.WHEEL in skipped.why


def test_the_watched_program_loads_no_pytorch():
    code = "import sys, benchmarks.gpu_check.reattention.sanitized; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
    assert pathlib.Path(sanitized.__file__).name == "sanitized.py"
