"""`make gpu-check`: what it writes, when, and how it ends; whatever becomes of a section, the others are run."""

import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pydantic
import pytest

from benchmarks.gpu_check import __main__ as program
from benchmarks.gpu_check import worker
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.record import RESULTS, Check, Figure, GpuCheck, file_of
from benchmarks.gpu_check.sections import SECTIONS
from deepvit.runtime.trt.machine import Machine
from tests.commands.command_line import without_gpu
from tests.places import ROOT

PLANTED = "tests.contracts.benchmarks.planted"


def run_program(*arguments, **environment):
    command = [sys.executable, "-m", "benchmarks.gpu_check", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """Run the sections runtime and a planted one, which fails as it is told, as the command line does."""

    def run(how, *arguments, seconds=60):
        monkeypatch.setenv("PLANTED", how)
        for name in [name for name in SECTIONS if name != "runtime"]:
            monkeypatch.delitem(program.SECTIONS, name)
        monkeypatch.setitem(program.SECTIONS, PLANTED, seconds)
        output = tmp_path / "check.json"
        monkeypatch.setattr(sys, "argv", ["gpu_check", "--fake", "--output", str(output), *arguments])
        code = program.main()
        return code, json.loads(output.read_text())

    return run


def section_of(result, name=PLANTED):
    (section,) = [each for each in result["sections"] if each["name"] == name]
    return section


# Those that need no process of their own here: test_gpu_sections.py and test_gpu_reattention.py run them.
RUN_ELSEWHERE = ("runtime", "reattention", "reattention_torch")


@without_gpu
@pytest.mark.parametrize("section", [name for name in SECTIONS if name not in RUN_ELSEWHERE])
def test_every_section_runs_on_fakes_and_says_that_it_did(section, tmp_path):
    run = run_program("--fake", section, "--output", tmp_path / "a.json")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{section:12s} done on fakes" in run.stdout
    result = json.loads((tmp_path / "a.json").read_text())
    assert GpuCheck.model_validate(result).holds
    assert (result["fake"], result["gpu"], result["machine"]["gpu"]) == (True, None, None)
    assert all(figure["value"] is None and figure["unit"] for figure in result["sections"][0]["figures"])
    assert result["sections"][0]["checks"]


@without_gpu
def test_without_a_gpu_it_ends_in_a_line_and_nothing_is_written():
    before = sorted(RESULTS.iterdir())
    run = run_program()
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith("error: no NVIDIA GPU here") and run.stderr.count("\n") == 1
    fakes = run_program("--fake", "environment")
    assert fakes.returncode == 0 and "skipped" in fakes.stdout and "wrote" not in fakes.stdout
    assert sorted(RESULTS.iterdir()) == before


@without_gpu
def test_make_runs_the_fakes_where_there_is_no_gpu_and_says_what_it_skipped():
    command = ["make", "--dry-run", "--no-print-directory", "gpu-check"]
    recipe = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    script = recipe.replace("benchmarks.gpu_check", "benchmarks.gpu_check environment")
    run = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "environment  done on fakes" in run.stdout and "skipped what PyTorch sees" in run.stdout


WITHOUT = """
import os
from importlib.machinery import PathFinder
import sys

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in os.environ["WITHOUT"].split()
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path = [Without if each is PathFinder else each for each in sys.meta_path]
"""


@pytest.mark.parametrize(
    ("without", "code", "said"),
    [
        ("pydantic", 3, "error: a check needs pydantic, which is not installed here: pip install pydantic\n"),
        ("PIL", 3, "error: a check needs pillow, which is not installed here: pip install pillow\n"),
        ("rich typer torch timm onnx onnxruntime onnx_ir onnxscript ml_dtypes safetensors", 0,
         "not installed here: torch, timm"),
    ],
)  # fmt: skip
def test_it_needs_little_and_says_what_is_missing(tmp_path, without, code, said):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    run = run_program("--fake", "runtime", "numerics", WITHOUT=without, PYTHONPATH=str(tmp_path))
    assert run.returncode == code, run.stdout + run.stderr
    assert said in (run.stderr if code else run.stdout)
    assert code or "runtime      done on fakes" in run.stdout


def test_fakes_write_no_file_that_looks_like_a_gpu_s():
    run = run_program("--fake", "--output", file_of("NVIDIA H200"))
    assert run.returncode == 2 and "not of fakes" in run.stderr
    assert not file_of("NVIDIA H200").exists() or json.loads(file_of("NVIDIA H200").read_text())["gpu"]
    here = program.conditions_here().model_copy(update={"gpu": None})
    known = {"code": "0", "started": "", "minutes": 8, "machine": here}
    for fake, gpu in ((True, "NVIDIA H200"), (False, None)):
        with pytest.raises(pydantic.ValidationError, match="names no GPU"):
            GpuCheck(fake=fake, gpu=gpu, **known)
    with pytest.raises(pydantic.ValidationError, match="names no GPU"):
        GpuCheck(fake=True, gpu=None, **(known | {"machine": here.model_copy(update={"gpu": "NVIDIA H200"})}))


@pytest.mark.parametrize("arguments", [("nothing",), ("--minutes", "0"), ("--minutes", "nan")])
def test_wrong_usage_is_refused(arguments):
    run = run_program("--fake", *arguments)
    assert run.returncode == 2 and "Traceback" not in run.stderr


def test_a_figure_of_fakes_has_no_value():
    said = []
    for is_fake in (True, False):
        Findings(said.append, is_fake=is_fake).figure("speed", 3.0, "images/s")
    assert said == [Figure(name="speed", value=value, unit="images/s") for value in (None, 3.0)]


@pytest.mark.parametrize(
    ("how", "why", "traceback"),
    [
        ("raise", "exit code 1", "ValueError: a planted fault"),
        ("abort", "signal SIGABRT", "planted.py"),
        ("hang", "not ended in its time; exit code 1", "planted.py"),
    ],
)
def test_a_section_that_fails_keeps_what_it_found_and_the_others_run(planted, capsys, how, why, traceback):
    code, result = planted(how, seconds=4)
    assert code == 1
    section = section_of(result)
    assert (section["outcome"], section["why"]) == ("failed", why)
    assert traceback in section["traceback"] and str(ROOT) not in section["traceback"]
    assert [check["name"] for check in section["checks"]] == ["before"]
    assert section_of(result, "runtime")["outcome"] == "done"
    assert "NOT all checks hold" in capsys.readouterr().out


def test_what_a_section_started_goes_with_it(planted):
    """As the builder of an engine does that outlasts its section."""
    _, result = planted("orphan")
    (note,) = section_of(result)["notes"]
    status = pathlib.Path(f"/proc/{note['text']}/status")
    until = time.monotonic() + 30
    while (is_there := status.exists() and "\nState:\tZ" not in status.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_there


def test_a_check_outside_its_bound_is_told_and_a_number_that_is_none_is_outside(planted, capsys):
    code, result = planted("outside")
    assert code == 1
    assert section_of(result)["checks"][1] == {
        "name": "distance", "passed": False, "measured": None, "unit": "m", "bound": "at most 1",
    }  # fmt: skip
    assert "FAILED distance: None m, expected at most 1" in capsys.readouterr().out


def test_what_is_skipped_is_said_with_its_reason(planted, capsys):
    code, result = planted("skip")
    assert (code, section_of(result)["outcome"], section_of(result)["why"]) == (0, "skipped", "nothing to do here")
    assert "nothing to do here" in capsys.readouterr().out


def test_nothing_checked_is_not_held(planted):
    code, result = planted("skip", "--minutes", "0.01")
    assert [each["outcome"] for each in result["sections"]] == ["skipped", "skipped"]
    assert result["sections"][0]["why"] == "the 0.01 minutes were over"
    assert code == 1


def test_no_section_begins_or_goes_on_when_the_time_is_over(planted):
    start = time.monotonic()
    code, result = planted("hang", "--minutes", "0.15")
    assert time.monotonic() - start < 30
    assert code == 1 and section_of(result)["why"].startswith("not ended in its time")


def test_parts_are_skipped_when_the_time_of_their_section_is_over():
    said = []
    findings = Findings(said.append, is_fake=False, deadline=time.monotonic() + 5)
    assert findings.has_time("a short part", 1) and said == []
    assert not findings.has_time("a long part", 10)
    assert (said[0].what, said[0].why) == ("a long part", "the time was over")


def test_engines_layers_lie_beside_the_result(planted, tmp_path):
    _, result = planted("layers")
    assert result["layers"] == "check-layers.json.gz"
    content = json.loads(gzip.decompress((tmp_path / "check-layers.json.gz").read_bytes()))
    assert content == {"an engine": {"Layers": [1]}, "another": "no JSON"}


def test_a_killed_run_leaves_what_was_found(planted, monkeypatch, tmp_path):
    """The file is whole after every finding: when a section goes on, what was found by then is in it, as unfinished."""
    seen, output = [], tmp_path / "check.json"
    begin = program.run_section

    def looking(name, told, **options):
        def look(section):
            told(section)
            sections = json.loads(output.read_text())["sections"]
            seen.append([(each["name"], each["outcome"], len(each["checks"])) for each in sections])

        return begin(name, told=look, **options)

    monkeypatch.setattr(program, "run_section", looking)
    planted("skip")
    assert seen[0] == [("runtime", "unfinished", 1)]
    assert [each[0] for each in seen[-1]] == ["runtime", PLANTED]
    assert seen[-1][0][1] == "done" and seen[-1][1][1:] == ("unfinished", 1)


def test_a_section_that_is_unfinished_does_not_hold():
    check = Check(name="a", passed=True, measured=1.0, unit="", bound="")
    held = {
        outcome: worker.Section(name="a", outcome=outcome, checks=[check]).holds for outcome in ("done", "unfinished")
    }
    assert held == {"done": True, "unfinished": False}


def test_a_result_is_named_after_its_gpu_and_says_which_it_is(monkeypatch, tmp_path):
    """On a machine with a GPU, here a made-up one: the sections are given its place, and the file its name."""
    given = []

    def pretended(name, *, is_fake, **options):
        given.append((name, is_fake))
        return worker.Section(name=name, outcome="done", checks=[])

    here = program.conditions_here().model_copy(update={"gpu": "NVIDIA H200"})
    monkeypatch.setattr(program, "this_machine", lambda: Machine(gpu="NVIDIA H200", compute_capability="9.0"))
    monkeypatch.setattr(program, "conditions_here", lambda: here)
    monkeypatch.setattr(program, "run_section", pretended)
    monkeypatch.setattr("benchmarks.gpu_check.record.RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "runtime", "forms"])
    assert program.main() == 1  # nothing was checked
    result = json.loads((tmp_path / "gpu-nvidia-h200.json").read_text())
    assert (result["fake"], result["gpu"], given) == (False, "NVIDIA H200", [("runtime", False), ("forms", False)])
    assert result["command"] == "python -m benchmarks.gpu_check runtime forms"


def test_an_interrupted_run_ends_its_section(tmp_path):
    """Ctrl-C goes to the program alone: the process of its section goes too."""
    command = [sys.executable, "-c", f"""
import signal, sys
from benchmarks.gpu_check import __main__ as program
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a test in the background would not have
program.SECTIONS.clear()
program.SECTIONS[{PLANTED!r}] = 600
sys.argv = ["gpu_check", "--fake", "--output", {str(tmp_path / "a.json")!r}]
print("ready", flush=True)
sys.exit(program.main())
"""]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PLANTED": "hang"}, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    waiting = time.monotonic() + 60
    while not (found := children.read_text().split()) and time.monotonic() < waiting:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    for child in found:
        line = pathlib.Path(f"/proc/{child}/cmdline")
        assert not line.exists() or b"spawn_main" not in line.read_bytes()
