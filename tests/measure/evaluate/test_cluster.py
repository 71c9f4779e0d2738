"""Blocks on Ray: found as here, whoever is killed; what a node refuses is said with its name. One Ray for all, of two cores."""

import contextlib
import dataclasses
import os
import pathlib
import platform
import shutil
import signal
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from deepvit.classify.classifier import ImageBlockDecoder, blocks_of
from deepvit.classify.sources.listing import Listing
from deepvit.commands.terminal.options import with_ray_addresses
from deepvit.images.blocks import BlockDecoder
from deepvit.images.imagenet import open_dataset
from deepvit.measure.evaluate.cluster import LOCAL, ClusterJob, records_of_cluster
from deepvit.measure.evaluate.cluster.crew import share_of_gpu
from deepvit.measure.evaluate.options import EvaluationOptions, EvaluationRequest, Keeping, Shards
from deepvit.runtime.errors import DeviceError, InputError, MissingError
from deepvit.runtime.preprocess import FILES
from tests.classify.red_images import red_classifier, red_folder
from tests.doubles.evaluation_stub import CLASSES, TINY, StubOpener, timeless


def test_without_ray_or_a_cluster(monkeypatch):
    """Before the other tests start one."""
    job = ClusterJob(decode=abs, opener=abs, place=None)
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(MissingError, match=r"no Ray at 127\.0\.0\.1:1: .*refused"):
        list(records_of_cluster("127.0.0.1:1", 1, job, []))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match="needs ray, which is not installed; pip install ray"):
        list(records_of_cluster(LOCAL, 1, job, []))


@pytest.fixture(scope="module")
def ray_here():
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as held:
        for name, value in (("RAY_AUTH_MODE", "disabled"), ("RAY_USAGE_STATS_ENABLED", "0")):
            patch.setenv(name, value)
        folder = tempfile.mkdtemp(prefix="ray")  # the path of a socket has at most 107 characters
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=folder)
        held.callback(ray.shutdown)
        yield


@dataclasses.dataclass(frozen=True)
class RedOpener:
    """Opens the red model; `killed_once` is a file that the first to run a block makes, and dies."""

    killed_once: str = ""
    error: Exception | None = None

    @contextlib.contextmanager
    def __call__(self, share):
        if self.error is not None:
            raise self.error
        yield self

    def record(self, block):
        if self.killed_once:
            with contextlib.suppress(FileExistsError):
                pathlib.Path(self.killed_once).touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return red_classifier().record(block)


def on_cluster(folder, **options):
    listing = Listing([str(folder)])
    job = {"decode": ImageBlockDecoder(TINY, FILES), "opener": RedOpener(), "place": str(folder)} | options
    return list(records_of_cluster(LOCAL, 2, ClusterJob(**job), blocks_of(listing, 4)))


@pytest.mark.parametrize("killed", [False, True])
def test_records_are_those_of_this_process(ray_here, tmp_path, killed):
    red_folder(tmp_path / "d", 22)
    (tmp_path / "d" / "0" / "003.png").write_bytes(b"broken")
    here = red_classifier().records(blocks_of(Listing([str(tmp_path / "d")]), 4))
    expected = {block.number: record for block, record in here}
    once = tmp_path / "killed"
    found = on_cluster(tmp_path / "d", opener=RedOpener(str(once) if killed else ""))
    assert sorted(number for number, _, _ in found) == list(range(6))
    for number, _, record in found:
        assert record.keys() == expected[number].keys()
        assert all(np.array_equal(array, expected[number][name]) for name, array in record.items())
    assert once.exists() is killed


@pytest.mark.parametrize("kind", [InputError, MissingError, DeviceError])
def test_what_a_node_lacks_is_said_with_its_name(ray_here, tmp_path, kind):
    red_folder(tmp_path, 2)
    with pytest.raises(kind, match=f"^node {platform.node()}: no engine here$"):
        on_cluster(tmp_path, opener=RedOpener(error=kind("no engine here")))


def test_an_error_of_ours_on_a_node_is_raised_as_it_is(ray_here, tmp_path):
    red_folder(tmp_path, 2)
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        on_cluster(tmp_path, opener=RedOpener(error=ZeroDivisionError("a fault of ours")))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"code": "other"}, InputError, "another version of deepvit or Pillow"),
        ({"place": "/no/such.png"}, MissingError, "/no/such.png is not there"),
    ],
)
def test_a_node_with_other_code_or_without_the_images_is_refused(ray_here, tmp_path, options, error, text):
    red_folder(tmp_path, 2)
    with pytest.raises(error, match=f"node {platform.node()}: .*{text}"):
        on_cluster(tmp_path, **options)


@dataclasses.dataclass(frozen=True)
class SharingOpener(StubOpener):
    def __call__(self, share=1):
        return super().__call__()


def test_an_evaluation_is_that_of_this_process(ray_here, tmp_path):
    for number in range(22):
        path = tmp_path / "d" / "val" / str(number % CLASSES) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (number % 7, 0, 0)).save(path)
    path.write_bytes(b"broken")
    opener = SharingOpener(str(tmp_path / "d"), EvaluationOptions(batch_size=4, workers=0))
    source = open_dataset(opener.dataset, CLASSES)
    with opener() as alone, opener() as evaluator:
        alone.run(alone.missing())
        evaluator.run([0, 1])  # begun here, it goes on there
        decode = BlockDecoder(source, evaluator.croppings, 4)
        job = ClusterJob(decode=decode, opener=opener, place=opener.dataset)
        seen = []
        found = records_of_cluster(LOCAL, 1, job, evaluator.missing())
        evaluator.note(found, lambda done, total: seen.append((done, total)))
        assert timeless(evaluator.results("d")) == timeless(alone.results("d"))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (22, 22)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("--ray", "--ray local"), ("--ray --limit 3", "--ray local --limit 3"), ("--ray auto", "--ray auto"),
     ("--ray a --images b", "--ray local a --images b"), ("--ray ray://h:10001 a", "--ray ray://h:10001 a")],
)  # fmt: skip
def test_an_address_can_be_left_out(given, expected):
    assert " ".join(with_ray_addresses(given.split())) == expected


@pytest.mark.parametrize(
    "options",
    [{"ray": LOCAL, "processes": 2}, {"ray": LOCAL, "gpus": ("0",)}, {"actors": 2}],
)
def test_what_is_of_one_machine_is_refused_with_ray(options):
    with pytest.raises(InputError, match="actors›"):
        Shards(**options)
    assert Shards(ray=LOCAL, actors=2).is_alone is False
    with pytest.raises(InputError, match="cache_crops"):
        EvaluationRequest(models=("a",), dataset="d", shards=Shards(ray=LOCAL), keeping=Keeping(crops=True))


@pytest.mark.parametrize(("actors", "gpus", "share"), [(1, 0, 0), (2, 4, 1), (4, 2, 0.5), (3, 2, 0.5), (3, 1, 0.3333)])
def test_actors_find_room_on_gpus(actors, gpus, share):
    assert share_of_gpu(actors, gpus) == share
