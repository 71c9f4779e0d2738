"""Scores against a count by hand; what is not scored is counted and named."""

import numpy as np
import pytest
from PIL import Image

from runtime.errors import InputError, OutOfBoundsError
from runtime.evaluate import evaluate, summarize
from runtime.imagenet import open_dataset
from runtime.manifest import BatchRange, Tensor
from runtime.preprocess import Preprocessing
from runtime.tensors import check_logits

TINY = Preprocessing(resize=4, crop=4, interpolation="nearest", mean=(0.0,) * 3, std=(1.0,) * 3, layout="NCHW")


class RedSession:
    """Logits from the red channel: class = red value; `shift` makes it wrong."""

    input = Tensor(name="images", shape=("batch", 3, 4, 4), dtype="float32")
    batch = BatchRange(min=1, opt=8, max=8)
    description = "a stub"
    classes = 10

    def __init__(self, shift=0):
        self.shift = shift

    def run(self, images):
        red = np.round(images[:, 0, 0, 0] * 255).astype(int) + self.shift
        return np.eye(10, dtype=np.float32)[red % 10]

    def close(self):
        pass


@pytest.fixture
def dataset(tmp_path):
    for label in range(10):
        for copy in range(3):
            path = tmp_path / "val" / str(label) / f"{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            red = label if copy else (label + 1) % 10  # one image in three looks like its neighbour
            Image.new("RGB", (6, 6), (red, 0, 0)).save(path)
    return tmp_path


def _result(dataset, session, reference=None, **options):
    source = open_dataset(str(dataset), 10)
    other = None if reference is None else ("reference", reference, TINY)
    tally, seconds = evaluate(session, source, TINY, reference=other, batch_size=7, workers=0, **options)
    return summarize(
        tally, seconds, model="m", session=session, random_weights=False, dataset="d", source=source,
        published_top1=None, reference=None if reference is None else "reference",
    )  # fmt: skip


def test_accuracy_and_agreement(dataset):
    result = _result(dataset, RedSession(), RedSession(shift=1))
    assert (result.listed, result.evaluated) == (30, 30)
    assert result.top1 == pytest.approx(100 * 20 / 30)
    assert result.reference.agreement == 0
    assert result.reference.top1 == 0
    assert _result(dataset, RedSession(), RedSession()).reference.sqnr_db is None


def test_corrupt_images_are_counted_and_named(dataset):
    (dataset / "val" / "3" / "1.png").write_bytes(b"broken")
    (dataset / "val" / "4" / "2.png").write_bytes((dataset / "val" / "4" / "1.png").read_bytes()[:40])
    result = _result(dataset, RedSession())
    assert (result.listed, result.evaluated, [c.name for c in result.corrupt]) == (30, 28, ["3/1.png", "4/2.png"])
    assert result.top1 == pytest.approx(100 * 18 / 28)
    for path in dataset.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="none of the 30 images"):
        _result(dataset, RedSession())


def test_a_reference_that_crops_differently_is_refused(dataset):
    other = TINY.model_copy(update={"resize": 5})
    with pytest.raises(InputError, match="same preprocessing"):
        evaluate(RedSession(), open_dataset(str(dataset), 10), TINY, reference=("r", RedSession(), other), workers=0)


def test_non_finite_logits_are_an_error():
    logits = np.zeros((3, 2), np.float32)
    assert check_logits(logits, "m") is logits
    logits[1, 0] = np.nan
    with pytest.raises(OutOfBoundsError, match="1 of 3 images are not finite"):
        check_logits(logits, "m")
