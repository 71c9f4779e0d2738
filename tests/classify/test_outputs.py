"""Rows in a file: what each form has, the same bytes for the same rows, and no file that is half written."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest

from deepvit.classify import outputs
from deepvit.classify.rows import Guess, Row
from deepvit.runtime.errors import InputError, MissingError

GUESSES = tuple(Guess(label=label, name=f'"{label}, ü"', probability=0.5 / (label + 1)) for label in range(2))
ROWS = (
    Row(path="a/b, c.png", top=GUESSES, logits=np.array([1.5, 0.1], np.float32)),
    Row(path="ü.png", error='not an image of "JPEG"'),
)
CONTENT = [
    {
        "path": "a/b, c.png",
        "class": 0,
        "name": '"0, ü"',
        "probability": 0.5,
        "top": [
            {"class": 0, "name": '"0, ü"', "probability": 0.5},
            {"class": 1, "name": '"1, ü"', "probability": 0.25},
        ],
        "error": None,
    },
    {"path": "ü.png", "class": None, "name": None, "probability": None, "top": [], "error": 'not an image of "JPEG"'},
]
WITH_LOGITS = [CONTENT[0] | {"logits": [1.5, 0.1]}, CONTENT[1] | {"logits": None}]


def read(path):
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_rows_come_back(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    outputs.write_rows(path, ROWS, with_logits=False)
    assert read(path) == CONTENT
    outputs.write_rows(path, ROWS, with_logits=True)
    first, second = read(path)
    assert first.pop("logits") == pytest.approx([1.5, 0.1], rel=1e-7)
    assert (first, second) == (CONTENT[0], WITH_LOGITS[1])


def test_csv_has_lists_as_json(tmp_path):
    path = tmp_path / "rows.csv"
    outputs.write_rows(path, ROWS, with_logits=True)
    first, second = read(path)
    assert (first["path"], first["class"], first["probability"], first["error"]) == ("a/b, c.png", "0", "0.5", "")
    assert json.loads(first["top"]) == CONTENT[0]["top"]
    assert json.loads(first["logits"]) == [1.5, 0.1]
    assert (second["class"], second["top"], second["logits"]) == ("", "[]", "")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_the_same_rows_are_the_same_bytes(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("deepvit.classify.arrow.ROWS_PER_GROUP", 3)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    outputs.write_rows(first, 4 * ROWS, with_logits=True)
    outputs.write_rows(second, iter(4 * ROWS), with_logits=True)
    assert first.read_bytes() == second.read_bytes()
    assert len(read(first)) == 8


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_text("before")

    def rows():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outputs.write_rows(path, rows(), with_logits=False)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused_first(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"rows.txt: expected a file that ends in \.jsonl, \.ndjson, \.csv, \.parquet"):
        outputs.require_writable(tmp_path / "rows.txt", overwrite=False)
    there = tmp_path / "rows.csv"
    there.touch()
    with pytest.raises(InputError, match="is there already"):
        outputs.require_writable(there, overwrite=False)
    outputs.require_writable(there, overwrite=True)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    outputs.require_writable(tmp_path / "new.csv", overwrite=False)
    with pytest.raises(
        MissingError, match="writing Parquet needs pyarrow, which is not installed; pip install pyarrow"
    ):
        outputs.require_writable(tmp_path / "new.parquet", overwrite=False)
