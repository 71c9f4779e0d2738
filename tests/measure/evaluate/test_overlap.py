"""An engine evaluated while its images are copied: the same result to the bit, in less time by the GPU's own clock."""

import json

import numpy as np
import pytest
from PIL import Image

from deepvit.images.imagenet import open_dataset
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions
from deepvit.measure.models import Contestant
from deepvit.runtime.errors import DeviceError
from deepvit.runtime.session import Overlapping
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.session import TensorRtSession
from tests.doubles.evaluation_stub import CLASSES, TINY, OneByOne, contestant, timeless
from tests.doubles.fake_gpu import PLAN, Clock, FakeCuda, fail_at, fake_library

BLOCKS, BLOCK = 20, 4
COPY_IN, COMPUTE, COPY_OUT = 2.0, 3.0, 0.2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    generator = np.random.default_rng(0)
    for number in range(BLOCKS * BLOCK):
        path = folder / "val" / str(number % CLASSES) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8)).save(path)
    return open_dataset(str(folder), CLASSES)


def engine(plan=PLAN, cuda=None):
    cuda = cuda or FakeCuda(clock=Clock(COPY_IN, COMPUTE, COPY_OUT))
    library = fake_library(side=4, classes=CLASSES, profile=(1, BLOCK, BLOCK))
    return cuda, TensorRtSession(EngineOnGpu(plan, library, cuda, name="engine.plan"))


def of(session, name="engine"):
    return Contestant(name=name, session=session, preprocessing=TINY, identity=name)


def evaluate(dataset, models, reference=None, journal=None, blocks=None):
    options = EvaluationOptions(batch_size=BLOCK, workers=0, journal=journal)
    evaluator = Evaluator(models, dataset, options, reference)
    missing = evaluator.missing()
    evaluator.run(missing[:blocks])
    found = None if evaluator.missing() else json.dumps(timeless(evaluator.results("d")))
    evaluator.close()
    return found, missing


def test_the_result_is_the_same_and_the_copies_cost_nothing(dataset, tmp_path):
    cuda, session = engine()
    expected, _ = evaluate(dataset, [of(OneByOne(session))], contestant("reference", noise=0.1))
    assert cuda.clock.now / BLOCKS == pytest.approx(COPY_IN + COMPUTE + COPY_OUT)  # the negative control
    cuda, session = engine()
    found, _ = evaluate(dataset, [of(session)], contestant("reference", noise=0.1))
    assert found == expected
    assert cuda.clock.now / BLOCKS <= 1.1 * COMPUTE
    for blocks in (7, None):
        found, missing = evaluate(
            dataset, [of(session)], contestant("reference", noise=0.1), tmp_path / "run.sqlite", blocks
        )
    assert (found, len(missing)) == (expected, BLOCKS - 7)
    session.close()
    assert not (cuda.live or cuda.pinned or cuda.streams or cuda.events)


def test_engines_that_share_a_gpu_take_turns(dataset):
    """Else the time of one would be told as that of another."""
    cuda, session = engine()
    one, two = of(session, "one"), of(engine(PLAN + b"2", cuda)[1], "two")
    assert isinstance(session, Overlapping)
    for models, reference, runs in (([one, two], None, 4), ([contestant()], one, 2), ([one], two, 4)):
        start = cuda.clock.now
        evaluator = Evaluator(models, dataset, EvaluationOptions(batch_size=BLOCK, workers=0), reference)
        evaluator.run(evaluator.missing()[:2])
        evaluator.close()
        assert cuda.clock.now - start == pytest.approx(runs * (COPY_IN + COMPUTE + COPY_OUT))


def test_a_batch_that_fails_ends_the_pass_and_what_was_before_it_is_kept(dataset, tmp_path, monkeypatch):
    cuda, session = engine()
    fail_at(4, cuda, monkeypatch)
    journal = tmp_path / "run.sqlite"
    with pytest.raises(DeviceError):
        evaluate(dataset, [of(session)], journal=journal)
    found, missing = evaluate(dataset, [of(session)], journal=journal)
    assert len(missing) == BLOCKS - 3
    assert found == evaluate(dataset, [of(OneByOne(session))])[0]
