"""A guard, and what its test says when it is taken out of a copy of the tree."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator

from tests.places import ROOT, files_of_the_tree

TESTS_FAILED = 1  # pytest's exit code; 2 to 5 mean that it did not get so far
SECONDS = 300  # that one test may take
CTEST = "ctest:"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guard:
    """Text of `file` that occurs once there, what stands there without it, and the test that then fails."""

    fault: str
    file: str
    guard: str
    without: str
    test: str

    @property
    def is_cpp(self) -> bool:
        return self.test.startswith(CTEST)

    def taken_out_of(self, source: str) -> str:
        assert source.count(self.guard) == 1, (
            f"{self.file} has this guard {source.count(self.guard)} times: {self.guard}"
        )
        return source.replace(self.guard, self.without)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether the test failed as it must, and what it printed."""

    is_red: bool
    output: str


def guards() -> list[Guard]:
    """Read every table beside this file."""
    tables = sorted(pathlib.Path(__file__).parent.glob("*.toml"))
    return [Guard(**row) for table in tables for row in tomllib.loads(table.read_text(encoding="utf-8"))["guard"]]


class Copy:
    """The work tree's files once more, to be spoiled; what was built for C++ is built there too, when first needed."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.root = pathlib.Path(folder) / "tree"
        for name in files_of_the_tree():
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        subprocess.run(["git", "init", "--quiet", self.root], check=True)

    def verdict_without(self, guard: Guard) -> Verdict:
        """Run the guard's test without the guard."""
        with self._spoiled(guard):
            if guard.is_cpp:
                return self._ctest(guard.test.removeprefix(CTEST))
            command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider", guard.test]
            run = self._run(command)
            return Verdict(run.returncode == TESTS_FAILED, run.stdout[-3000:])

    @contextlib.contextmanager
    def _spoiled(self, guard: Guard) -> Iterator[None]:
        path = self.root / guard.file
        source = path.read_text(encoding="utf-8")
        path.write_text(guard.taken_out_of(source), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(source, encoding="utf-8")

    def _ctest(self, name: str) -> Verdict:
        build, tools = self.root / "build", pathlib.Path(sys.executable).parent
        if not build.exists():
            build.mkdir()
            for part in ("dependencies", "cpp-test-data"):
                (build / part).symlink_to(ROOT / "build" / part)
        made = self._run(
            ["make", f"BIN={tools}", f"VENV={tools.parent}", f"--old-file={tools.parent}/installed", "build/cpp"]
        )
        if made.returncode:
            return Verdict(is_red=False, output=made.stdout[-3000:])
        run = self._run([str(tools / "ctest"), "--test-dir", "build/cpp", "--output-on-failure", "-R", f"^{name}$"])
        return Verdict(run.returncode != 0 and "tests failed out of" in run.stdout, run.stdout[-3000:])

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",  # a file spoiled and mended within a second is the same to its bytecode
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
