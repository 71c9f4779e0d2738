"""Everything that a report can show, found in a folder: artifacts, and the JSON that commands wrote with --json."""

import dataclasses
import json
import math
import pathlib
import typing
from collections.abc import Callable, Sequence

import pydantic

from deepvit.calibration.budget.result import Sensitivity
from deepvit.metrics.result import SCHEMA
from deepvit.runtime.artifact import MANIFEST, Artifact, open_artifact
from deepvit.runtime.errors import InputError
from deepvit.runtime.files import read_bounded

from ..attention.analysis import AttentionAnalysis
from ..bench.result import Benchmark
from ..compare.result import Comparison
from ..evaluate.result import Evaluation
from ..results.artifact import Inspection

MAX_BYTES = 64 << 20  # of one JSON file: the attention of 32 blocks has 0.2 MB, an evaluation with its classes 0.3 MB
Result = Evaluation | Comparison | Benchmark | AttentionAnalysis | Sensitivity | Inspection
KINDS: dict[str, Callable[[object], Result]] = {
    each.model_fields["kind"].default: each.model_validate for each in typing.get_args(Result)
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collected:
    """What was found; `others` are JSON files of something else, `broken` those of results, with what is wrong."""

    artifacts: tuple[Artifact, ...]
    results: tuple[Result, ...]
    others: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]

    def evaluations(self) -> list[Evaluation]:
        return [result for result in self.results if isinstance(result, Evaluation)]

    def comparisons(self) -> list[Comparison]:
        return [result for result in self.results if isinstance(result, Comparison)]

    def benchmarks(self) -> list[Benchmark]:
        return [result for result in self.results if isinstance(result, Benchmark)]

    def attentions(self) -> list[AttentionAnalysis]:
        return [result for result in self.results if isinstance(result, AttentionAnalysis)]

    def estimates(self) -> list[Inspection]:
        return [result for result in self.results if isinstance(result, Inspection)]

    def sensitivities(self) -> list[Sensitivity]:
        return [result for result in self.results if isinstance(result, Sensitivity)]


class _NoResultError(InputError):
    """A JSON file that holds none of the results that are shown."""


def collect(path: pathlib.Path, files: Sequence[pathlib.Path] = ()) -> Collected:
    """Find what can be shown.

    Args:
        path: An artifact folder; or a folder with artifact folders and result files, also in folders of its own.
        files: Result files from elsewhere.

    Raises:
        InputError: No such folder, nothing in it, or one of `files` that is no result.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; expected an artifact, or a folder of artifacts and results (‹json›)")
    manifests = sorted(path.rglob(MANIFEST))
    artifacts = tuple(open_artifact(manifest.parent) for manifest in manifests if not _is_inside_other(manifest, path))
    results: list[Result] = []
    others, broken = [], []
    inside = {manifest.parent for manifest in manifests}
    for file in sorted(path.rglob("*.json")):
        if file.name == MANIFEST or (file.parent in inside and file.parent != path and file.name == "ranges.json"):
            continue
        try:
            results.append(read_result(file))
        except _NoResultError:
            others.append(file.relative_to(path).as_posix())
        except InputError as error:
            broken.append((file.relative_to(path).as_posix(), str(error).removeprefix(f"{file} ")))
    for file in files:
        results.append(read_result(file))
    if not artifacts and not results:
        raise InputError(f"nothing to report in {path}: no artifact, and no result that a command wrote with ‹json›")
    return Collected(artifacts=artifacts, results=tuple(results), others=tuple(others), broken=tuple(broken))


def _is_inside_other(manifest: pathlib.Path, path: pathlib.Path) -> bool:
    """Return whether a manifest lies deeper than artifacts do, in a Triton repository say."""
    return len(manifest.relative_to(path).parts) > 3


def read_result(file: pathlib.Path) -> Result:
    """Read one JSON file that a command wrote.

    Raises:
        InputError: It cannot be read, or is something else.
    """
    text = read_bounded(file, MAX_BYTES, "a result")
    try:
        content = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON") from error
    return _result(file, content)


def _parsed(text: bytes) -> object:
    """Parse JSON; ValueError also for what is no finite number."""

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f"{number} is not finite")
        return value

    return json.loads(text, parse_float=finite, parse_constant=finite)


def _result(file: pathlib.Path, content: object) -> Result:
    first = content[0] if isinstance(content, list) and content else content  # as several evaluations once were
    kind, schema = (first.get("kind"), first.get("schema")) if isinstance(first, dict) else (None, None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise _NoResultError(f"{file} is no result; expected its kind to be one of {', '.join(KINDS)}")
    if schema != SCHEMA or isinstance(content, list):
        raise InputError(f"{file} is the {kind} of another version of this tool; run the command that wrote it again")
    try:
        result = KINDS[kind](content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{file} is no {kind} that this version writes: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    if isinstance(result, Inspection) and result.estimate is None:
        raise _NoResultError(f"{file} is an inspection without an estimate, which a report does not show; give ‹gpu›")
    return result
