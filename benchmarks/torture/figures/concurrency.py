"""Figure 12: sixteen writers of one place, of which one is killed, and evaluations that share a cache."""

import contextlib
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import time

from deepvit.commands.app import main
from deepvit.runtime import open_artifact
from deepvit.runtime.artifact import MANIFEST, staged_artifact
from deepvit.runtime.errors import InputError
from examples.digits.make_dataset import write_dataset

from ..figure import Case, Figure
from ..trial import Ended, Result, run_forked, start_forked
from .kills import EXPORT_FP16
from .material import tiny_artifacts

WRITERS, ROUNDS = 16, 100
EVALUATIONS, EVALUATION_ROUNDS = 4, 25
OUTPUT = "output"
WRITTEN_OR_REFUSED, KILLED = frozenset({0, 2}), -signal.SIGKILL


def _write(sources: list[pathlib.Path], output: pathlib.Path, seed: int) -> None:
    """Put one of the artifacts at the output, file by file, slowly."""
    source = random.Random(seed)
    chosen = source.choice(sources)
    with staged_artifact(output) as staging:
        for path in sorted(chosen.iterdir(), key=lambda path: path.name == MANIFEST):
            shutil.copyfile(path, staging / path.name)
            time.sleep(source.uniform(0, 0.1))


def _fault_at(output: pathlib.Path, sources: list[pathlib.Path]) -> str:
    """Return what is wrong with the artifact at the output, which must be one of the sources, whole."""
    try:
        artifact = open_artifact(output)
        for name in artifact.manifest.files:
            artifact.read(name)
    except InputError as error:
        return str(error)
    manifests = [(source / MANIFEST).read_bytes() for source in sources]
    return "" if (output / MANIFEST).read_bytes() in manifests else "a manifest that nobody wrote"


def one_place(case: Case) -> Result:
    """Sixteen writers at once, one of which is killed: the place always holds one whole artifact, and nothing is left."""
    sources = sorted(path for path in case.material.iterdir() if path.is_dir())
    output = case.folder / OUTPUT
    shutil.copytree(sources[0], output)
    writers = [
        start_forked(functools.partial(_write, sources, output, case.index * WRITERS + n), case.folder / f"log-{n}")
        for n in range(WRITERS)
    ]
    time.sleep(case.random.uniform(0, 0.2))
    writers[-1 - case.random.randrange(4)].send(signal.SIGKILL)  # the first ones are done by now
    ended = [writer.wait(60) for writer in writers]
    faults = [end.fault(WRITTEN_OR_REFUSED) for end in ended if end.code != KILLED]
    faults.append(_fault_at(output, sources))
    faults.append(run_forked(functools.partial(_write, sources, output, 0), case.folder / "log").fault(frozenset({0})))
    left = sorted(
        path.name for path in case.folder.iterdir() if path.name != OUTPUT and not path.name.startswith("log")
    )
    faults.append(f"left behind: {left}" if any("staging" in name for name in left) else "")
    return Result(f"{sum(end.code == 0 for end in ended)} wrote", next(filter(None, faults), ""))


def a_mixture_is_seen(case: Case) -> Result:
    """A control: the model of one artifact beside the manifest of another is told."""
    sources = sorted(path for path in case.material.iterdir() if path.is_dir())
    output = case.folder / OUTPUT
    shutil.copytree(sources[0], output)
    shutil.copyfile(sources[1] / "model.onnx", output / "model.onnx")
    return Result("mixture", _fault_at(output, sources))


def _evaluate(material: pathlib.Path, cache: pathlib.Path, json_path: pathlib.Path, batch: int) -> None:
    os.environ["DEEPVIT_CACHE"] = str(cache)
    arguments = ["eval", str(material / "artifact"), "--imagenet", str(material / "digits"), "--limit", "96"]
    main([*arguments, "--workers", "0", "--cache-crops", "--batch-size", str(batch), "--json", str(json_path)])


def _top1(path: pathlib.Path) -> object:
    return json.loads(path.read_text())["models"][0]["top1"]


def prepare_evaluations(material: pathlib.Path) -> None:
    write_dataset(material / "digits")
    arguments = [*EXPORT_FP16, "--output", str(material / "artifact")]
    assert run_forked(functools.partial(main, arguments), material / "log", 300).code == 0
    (material / "cache").mkdir(mode=0o700)
    run = functools.partial(_evaluate, material, material / "cache", material / "truth.json", 8)
    assert run_forked(run, material / "log", 300).code == 0


def one_cache(case: Case) -> Result:
    """Four evaluations share a cache of crops, one is killed: the others' results are the truth, and a next one's."""
    cache = case.folder / "cache"
    cache.mkdir(mode=0o700)
    truth = _top1(case.material / "truth.json")

    def start(number: int) -> functools.partial[None]:
        return functools.partial(_evaluate, case.material, cache, case.folder / f"{number}.json", 4 + number)

    processes = [start_forked(start(number), case.folder / f"log-{number}") for number in range(EVALUATIONS)]
    time.sleep(case.random.uniform(0, 1.5))
    processes[0].send(signal.SIGKILL)
    ended: list[Ended] = [process.wait(120) for process in processes]
    faults = [end.fault(WRITTEN_OR_REFUSED) for end in ended[1:]]
    faults.append(run_forked(start(EVALUATIONS), case.folder / "log", 120).fault(frozenset({0})))
    for number in range(1, EVALUATIONS + 1):
        with contextlib.suppress(FileNotFoundError):  # that one was refused, as its log says
            result = _top1(case.folder / f"{number}.json")
            faults.append("" if result == truth else f"top-1 {result}, alone {truth}")
    return Result(ended[0].label, next(filter(None, faults), ""))


def another_result_is_seen(case: Case) -> Result:
    """A control: a result that is another model's is told."""
    truth = _top1(case.material / "truth.json")
    return Result("other", "" if truth == 0.1 else f"top-1 0.1, alone {truth}")


FIGURES = (
    Figure(
        number="12 output",
        name=f"{WRITERS} writers of one place, one of them killed",
        count=ROUNDS,
        trial=one_place,
        controls=(a_mixture_is_seen,),
        prepare=tiny_artifacts,
        processes=1,
    ),
    Figure(
        number="12 cache",
        name=f"{EVALUATIONS} evaluations share a cache, one of them killed",
        count=EVALUATION_ROUNDS,
        trial=one_cache,
        controls=(another_result_is_seen,),
        prepare=prepare_evaluations,
        processes=1,
    ),
)
