"""Every image gets a row, in its place, whatever is wrong with others, and the same one in any process."""

import collections
import contextlib
import pathlib
import signal

import numpy as np
import pytest

import deepvit
from deepvit.classify.classifier import Classifier, blocks_of
from deepvit.classify.options import Answer, ClassificationRequest
from deepvit.classify.processes import records_of_processes
from deepvit.classify.request import ClassifierOpener, open_classifier
from deepvit.classify.sources.listing import Listing
from deepvit.measure.evaluate.options import Shards
from deepvit.runtime.errors import InputError, MissingError
from tests.classify.red_images import Dying, Unequal, open_red, red_classifier, red_folder, red_image


def test_images_get_their_classes_in_order(tmp_path):
    expected = red_folder(tmp_path, 10)
    rows = list(red_classifier().classify(tmp_path, batch_size=4))
    assert {row.path: row.label for row in rows} == expected
    assert [row.path for row in rows] == list(expected)
    first = rows[0]
    assert (first.name, [guess.label for guess in first.top], first.error) == ("0", [0, 1, 2], None)
    assert first.probability == pytest.approx(np.exp(3) / (np.exp(3) + 9), rel=1e-6)
    assert first.logits is None


def test_several_sources_and_top_and_logits(tmp_path):
    paths = [tmp_path / f"{red}.png" for red in (7, 2)]
    for path in paths:
        red_image(path, int(path.stem))
    classifier = red_classifier(Answer(top=50, logits=True))
    rows = list(classifier.classify(paths))
    assert [row.label for row in rows] == [7, 2]
    assert [len(row.top) for row in rows] == [10, 10]
    assert rows[0].logits.tolist() == [3.0 if label == 7 else 0.0 for label in range(10)]


def test_what_cannot_be_used_is_a_row_with_an_error(tmp_path):
    expected = red_folder(tmp_path, 9)
    broken, nan, *_, gone = [pathlib.Path(path) for path in expected]
    broken.write_bytes(b"broken")
    red_image(nan, 3, green=1)  # whose logits are not finite
    gone.unlink()
    gone.symlink_to("nowhere.png")
    rows = {row.path: row for row in red_classifier(Answer(logits=True)).classify(tmp_path, batch_size=4)}
    assert list(rows) == list(expected)
    assert rows[str(broken)].error.startswith("not an image of JPEG")
    assert "not finite" in rows[str(nan)].error
    assert "No such file" in rows[str(gone)].error
    for path in (broken, nan, gone):
        row = rows[str(path)]
        assert (row.label, row.name, row.probability, row.top, row.logits) == (None, None, None, (), None)
    assert all(rows[path].label == label for path, label in expected.items() if rows[path].error is None)
    assert sum(row.error is None for row in rows.values()) == 6


def test_blocks_without_a_usable_image(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"broken")
    red_image(tmp_path / "5.png", 5)
    rows = list(red_classifier().classify(tmp_path, batch_size=2))
    assert [row.label for row in rows] == [None] * 5 + [5]


def test_a_block_gives_the_same_record_in_other_processes(tmp_path):
    red_folder(tmp_path, 22)
    (tmp_path / "0" / "003.png").write_bytes(b"broken")
    listing = Listing([str(tmp_path)])
    here = {block.number: record for block, record in red_classifier().records(blocks_of(listing, 4), workers=2)}
    found = list(records_of_processes(open_red, Shards(processes=2), blocks_of(listing, 4), workers=0))
    assert sorted(number for number, _ in found) == list(range(6))
    for number, record in found:
        assert record.keys() == here[number].keys()
        assert all(np.array_equal(array, here[number][name]) for name, array in record.items())


def test_a_slow_process_has_no_block_that_it_did_not_ask_for(tmp_path):
    red_folder(tmp_path, 22)
    blocks = blocks_of(Listing([str(tmp_path)]), 4)
    found = list(records_of_processes(Unequal(), Shards(processes=2), blocks, workers=0))
    assert sorted(number for number, _ in found) == list(range(6))
    assert sorted(collections.Counter(process for _, process in found).values()) == [1, 5]


def test_a_process_that_is_killed_is_told(tmp_path):
    red_folder(tmp_path, 8)
    listing = Listing([str(tmp_path)])
    with pytest.raises(MissingError, match="a classifying process was killed"):
        list(records_of_processes(Dying(), Shards(processes=1), blocks_of(listing, 4), workers=0))


@pytest.fixture
def ignoring_sigterm():
    """As a program that was started so, whose processes are so too."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("ignoring_sigterm")
def test_what_a_list_raises_while_processes_run_is_raised(tmp_path):
    def blocks():
        raise OSError("the list is gone")
        yield

    with pytest.raises(OSError, match="the list is gone"):
        list(records_of_processes(open_red, Shards(processes=1), blocks(), workers=0))


def test_another_process_opens_the_same_model(tiny_artifact):
    request = ClassificationRequest(model=str(tiny_artifact), images=("none",))
    with contextlib.closing(open_classifier(request)) as classifier:
        key = classifier.model.contestant.key
    with ClassifierOpener(request, key, 1)() as classifier:
        assert classifier.model.session.classes == 5
    replaced = pytest.raises(InputError, match="was replaced while it was opened")
    with replaced, ClassifierOpener(request, ["of another", *key[1:]], 1)():
        pass


def test_the_package_shows_it():
    assert deepvit.Classifier is Classifier
    with pytest.raises(AttributeError, match="no attribute 'Klassifier'"):
        _ = deepvit.Klassifier
