"""A request opened: the same models in every process."""

import contextlib
import pickle
import shutil

import pytest
from PIL import Image

from deepvit.measure.evaluate import request as request_module
from deepvit.measure.evaluate.options import EvaluationRequest, Shards
from deepvit.measure.evaluate.request import ShardOpener, open_request
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import artifact_of
from deepvit.runtime.ort.session import OnnxRuntimeSession


@pytest.fixture
def request_of(tiny_artifact, tmp_path):
    shutil.copytree(tiny_artifact, tmp_path / "a")
    classes = artifact_of(tmp_path / "a").manifest.classes
    for label in range(classes):
        (tmp_path / "images" / "val" / str(label)).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / "val" / str(label) / "a.png")

    def of(**options):
        return EvaluationRequest(
            **{"models": (str(tmp_path / "a"),), "dataset": str(tmp_path / "images"), "limit": 4} | options
        )

    return of


def test_another_process_opens_the_same_models(request_of, tmp_path, tiny_artifact):
    shutil.copytree(tiny_artifact, tmp_path / "b")
    request = request_of(reference=str(tmp_path / "b"))
    with contextlib.closing(open_request(request)) as contest:
        opener = pickle.loads(pickle.dumps(ShardOpener(request, contest.keys)))
    with opener() as evaluator:
        assert len(evaluator.models) == 1
    for place, name in enumerate("ab"):
        keys = [list(key) for key in opener.keys]
        keys[place][0] = "of another model"
        refused = pytest.raises(InputError, match=f"{name} was replaced while it was opened")
        with refused, ShardOpener(request, keys)():
            pytest.fail("it was opened")


@pytest.mark.parametrize("options", [{"dataset": "/no/such"}, {"reference": "/no/such"}, {"models": ("a", "/no/such")}])
def test_what_was_opened_is_closed_when_the_rest_is_refused(request_of, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    opened, closed = [], []
    start = OnnxRuntimeSession.__init__
    monkeypatch.setattr(
        OnnxRuntimeSession, "__init__", lambda self, *a, **k: (start(self, *a, **k), opened.append(self))[0]
    )
    monkeypatch.setattr(OnnxRuntimeSession, "close", lambda self: closed.append(self))
    with pytest.raises(InputError, match="/no/such"):
        open_request(request_of(**options))
    assert opened == closed
    assert len(opened) == 1


def test_a_single_gpu_that_is_named_gets_its_process(request_of, monkeypatch):
    """Where this process has opened its own sessions already, on the first GPU."""
    started = []

    def run_instead(evaluator, opener, shards, progress):
        started.append(shards.gpus)
        evaluator.run(evaluator.missing(), progress)

    monkeypatch.setattr(request_module, "run_shards", run_instead)
    for gpus in ((), ("1",)):
        request = request_of(shards=Shards(gpus=gpus))
        with contextlib.closing(open_request(request)) as contest:
            request_module.run_request(request, contest, lambda done, total: None)
    assert started == [("1",)]
