"""The Dockerfiles, which no Docker here builds: what they copy is there, what they install exists, and how they serve."""

import json
import re
import tomllib

import pytest

from deepvit.runtime.triton import flags
from tests.places import ROOT

FOLDER = ROOT / "examples" / "docker"
FILES = sorted(FOLDER.glob("*.Dockerfile"))


def instructions(text):
    """Pairs of a word and what follows it, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_say_that_they_were_not_built(path):
    assert len(FILES) == 2
    assert "Not built by us" in path.read_text().splitlines()[0] + path.read_text().splitlines()[1]


def test_the_cpu_server():
    given = instructions((FOLDER / "cpu.Dockerfile").read_text())
    (run,) = [rest for word, rest in given if word == "RUN"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.search(r"/source\[(.*?)\]", run)[1].split(",")) <= extras.keys()
    for name in re.findall(r"/source/(\S+)", run):
        assert (ROOT / name).exists(), name
    ignored = (FOLDER / "cpu.Dockerfile.dockerignore").read_text().split()
    assert not {"artifacts", "examples", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"} & set(ignored)
    ((_, entry),) = [each for each in given if each[0] == "ENTRYPOINT"]
    client = json.loads(entry)[1]
    assert (ROOT / client.replace("/client", "examples/python")).is_file()


def test_triton_serves_by_the_guide_s_rules():
    given = instructions((FOLDER / "triton.Dockerfile").read_text())
    ((_, command),) = [each for each in given if each[0] == "CMD"]
    assert json.loads(command) == ["tritonserver", "--model-repository=/models", *flags.RULES]
