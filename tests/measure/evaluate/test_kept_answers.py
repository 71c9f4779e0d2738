"""What is kept of an evaluation gives the true figures, or is found anew: crops, the reference's logits, the journal."""

import fcntl
import io
import os
import shutil
import sqlite3

import numpy as np
import PIL
import pytest
from PIL import Image

from deepvit.images.imagenet import open_dataset
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions, Keeping
from deepvit.measure.evaluate.run_files import options_with_files
from deepvit.runtime.errors import InputError
from tests.doubles.evaluation_stub import CLASSES, contestant, timeless

SIDE = 40  # of images, so that what tells them apart lies thousands of bytes from either end of the file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "evaluation"


@pytest.fixture
def dataset(tmp_path):
    """Three images of each class, all of one size in bytes and one time."""
    return _dataset(tmp_path / "x", shift=0)


def _dataset(root, shift):
    for label in range(CLASSES):
        for copy in range(3):
            path = root / "val" / str(label) / f"{copy}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (SIDE, SIDE), ((label + shift) % CLASSES, 0, 0)).save(path)
            os.utime(path, ns=(0, 0))
    return root


def _run(dataset, reference=None, resume=False, crops=False, stop_after=None):
    """Evaluate; None where the run ends after some blocks, its journal left."""
    source, given = open_dataset(str(dataset), CLASSES), EvaluationOptions(batch_size=7, workers=0)
    keeping = Keeping(resume=resume, crops=crops)
    with options_with_files(given, [contestant()], reference, source, keeping) as options:
        evaluator = Evaluator([contestant()], source, options, reference)
        evaluator.run(evaluator.missing()[:stop_after])
        if stop_after is not None:
            evaluator.close()
            raise KeyboardInterrupt
        result = evaluator.results("d")
        evaluator.close()
    found = timeless(result)
    return found | found["models"][0]


def _interrupted(dataset, **options):
    with pytest.raises(KeyboardInterrupt):
        _run(dataset, **options, stop_after=3)


def _exchanged(dataset, shift=1):
    """Put other images at the same place, names, sizes and times."""
    shutil.rmtree(dataset)
    _dataset(dataset, shift)


def _deleted(path):
    path.unlink()


def _truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def _zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def _bit_flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _rotated(path):
    crops = np.frombuffer(path.read_bytes(), np.uint8).reshape(3 * CLASSES, -1)
    path.write_bytes(np.roll(crops, 3, axis=0).tobytes())


def _a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_deleted, _truncated, _zeroed, _bit_flipped, _rotated, _a_folder])
def test_crops_whose_pixels_are_lost_are_decoded_anew(dataset, cache, caplog, damage):
    expected = _run(dataset, crops=True)
    assert expected["top1"] == 1
    (pixels,) = cache.rglob("crops.u8")
    damage(pixels)
    assert _run(dataset, crops=True) == expected
    (said,) = [each.getMessage() for each in caplog.records if "kept crops" in each.getMessage()]
    assert "decoded anew" in said
    caplog.clear()
    assert _run(dataset, crops=True) == expected
    assert not caplog.records  # mended


def test_crops_of_another_data_set_are_decoded_anew(tmp_path, dataset, cache, caplog):
    other = _dataset(tmp_path / "a-longer-name" / "y", shift=1)
    for path in other.rglob("*.bmp"):
        os.utime(path, ns=(1, 1))
    assert _run(dataset, crops=True)["top1"] == 1
    (first,) = cache.glob("crops/*")
    assert _run(other, crops=True)["top1"] == 0
    (second,) = set(cache.glob("crops/*")) - {first}
    for name in ("crops.u8", "rows.sqlite"):
        shutil.copy(second / name, first / name)
    assert _run(dataset, crops=True)["top1"] == 1
    assert "30 kept crops were damaged or of other images" in caplog.text


def test_a_folder_of_crops_that_others_may_write_to_is_refused(dataset, cache):
    _run(dataset, crops=True)
    assert (cache / "crops").stat().st_mode & 0o777 == 0o700
    (cache / "crops").chmod(0o777)
    with pytest.raises(InputError, match="can be written by others"):
        _run(dataset, crops=True)


def test_same_names_sizes_and_times_are_other_images(dataset, caplog):
    assert _run(dataset, crops=True)["top1"] == 1
    _exchanged(dataset)
    assert _run(dataset, crops=True)["top1"] == 0
    assert "30 kept crops were damaged or of other images" in caplog.text


def test_the_reference_runs_anew_on_images_of_same_names_sizes_and_times(dataset, caplog):
    reference = contestant("r", noise=0.5)
    assert _run(dataset, reference)["reference"]["top1"] == 1
    _exchanged(dataset)
    found = _run(dataset, reference)["reference"]
    assert (found["top1"], found["agreement"]) == (0, 1)
    assert "5 blocks of kept logits of r were damaged or of other images" in caplog.text


def test_a_resumed_run_keeps_nothing_of_other_images(dataset, caplog):
    _interrupted(dataset, crops=True)
    _exchanged(dataset)
    assert _run(dataset, resume=True)["top1"] == 0
    assert "3 blocks of this evaluation were damaged or of other images" in caplog.text


def test_a_resumed_run_runs_only_the_rest(dataset, monkeypatch, caplog):
    expected = _run(dataset)
    _interrupted(dataset)
    runs = []
    monkeypatch.setattr(Evaluator, "run", _noting(runs, Evaluator.run))
    assert _run(dataset, resume=True) == expected
    assert runs == [[3, 4]]
    assert not caplog.records


def _noting(runs, run):
    def noted(evaluator, numbers, *others):
        runs.append(list(numbers))
        run(evaluator, numbers, *others)

    return noted


def test_a_resumed_run_keeps_nothing_that_another_pillow_decoded(dataset, monkeypatch):
    _interrupted(dataset)
    runs = []
    monkeypatch.setattr(Evaluator, "run", _noting(runs, Evaluator.run))
    monkeypatch.setattr(PIL, "__version__", "0.0")
    _run(dataset, resume=True)
    assert runs == [[0, 1, 2, 3, 4]]


def _tables(cache, pattern):
    (path,) = cache.glob(pattern)
    connection = sqlite3.connect(path)
    yield connection
    connection.commit()
    connection.close()


def _forged(cache, pattern):
    """Give two blocks wrong answers, whatever they keep, and a third garbage."""
    for connection in _tables(cache, pattern):
        for number, content in connection.execute("SELECT number, arrays FROM blocks LIMIT 2").fetchall():
            arrays = dict(np.load(io.BytesIO(content)))
            forged = {name: np.roll(each, 1, -1) if each.ndim == 2 else each for name, each in arrays.items()}
            stream = io.BytesIO()
            np.savez(stream, **forged)
            connection.execute("UPDATE blocks SET arrays = ? WHERE number = ?", (stream.getvalue(), number))
        connection.execute("UPDATE blocks SET arrays = ? WHERE number = 2", (b"PK\3\4garbage",))


def test_a_forged_journal_is_not_believed(dataset, cache, caplog):
    expected = _run(dataset)
    _interrupted(dataset)
    _forged(cache, "run-*.sqlite")
    assert _run(dataset, resume=True) == expected
    assert "3 blocks of this evaluation were damaged" in caplog.text


def test_forged_logits_are_not_believed(dataset, cache, caplog):
    reference = contestant("r", noise=0.5)
    expected = _run(dataset, reference)
    _forged(cache, "logits-*.sqlite")
    assert _run(dataset, reference) == expected
    assert "3 blocks of kept logits of r were damaged" in caplog.text


def test_blocks_that_the_list_has_not_are_passed_over(dataset, cache):
    expected = _run(dataset)
    _interrupted(dataset)
    for connection in _tables(cache, "run-*.sqlite"):
        for number in (-1, 5, 10**15):
            connection.execute(
                "INSERT INTO blocks SELECT ?, images, arrays, sha256 FROM blocks WHERE number = 0", [number]
            )
    assert _run(dataset, resume=True) == expected


def _garbage(path):
    path.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("damage", [_garbage, _truncated, _a_folder])
@pytest.mark.parametrize("pattern", ["run-*.sqlite", "logits-*.sqlite", "crops/*/rows.sqlite"])
@pytest.mark.parametrize("resume", [True, False])
def test_damaged_databases_are_begun_anew(dataset, cache, damage, pattern, resume, caplog):
    reference = contestant("r", noise=0.5)
    expected = _run(dataset, reference, crops=True)
    _interrupted(dataset, reference=reference, crops=True)
    (path,) = cache.glob(pattern)
    damage(path)
    assert _run(dataset, reference, resume=resume, crops=True) == expected
    if resume or "run-" not in pattern:  # else it is not read
        assert "is found anew" in caplog.text
    assert _run(dataset, reference, crops=True) == expected


def test_a_journal_that_is_damaged_while_it_is_written(dataset, cache):
    evaluator = Evaluator(
        [contestant()], open_dataset(str(dataset), CLASSES), EvaluationOptions(batch_size=7, workers=0)
    )
    evaluator.run(evaluator.missing()[1:])
    with pytest.raises(InputError, match="1 of 5 blocks were lost or damaged while the evaluation ran"):
        evaluator.results("d")


def test_a_lock_that_was_removed_meanwhile_is_no_lock(dataset, cache, monkeypatch):
    lock, others = fcntl.flock, []

    def flock(file, how):
        lock(file, how)
        if not others:  # its holder ends and removes it, and another takes a new one of the same name
            (path,) = cache.glob("run-*.lock")
            path.unlink()
            others.append(path.open("w"))
            lock(others[0], how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match="the same evaluation is running"):
        _run(dataset)
    others[0].close()
    assert _run(dataset)["top1"] == 1


def test_a_folder_at_the_place_of_the_lock(dataset, cache):
    _interrupted(dataset)
    source = open_dataset(str(dataset), CLASSES)
    with options_with_files(EvaluationOptions(), [contestant()], None, source, Keeping()) as options:
        lock = options.journal.with_suffix(".lock")
        assert lock.is_file()
    lock.mkdir()
    with options_with_files(EvaluationOptions(), [contestant()], None, source, Keeping()):
        assert lock.is_file()
