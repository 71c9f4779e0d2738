"""`classify`: the classes that `eval` counts, in one process and in two; what is refused; what is said."""

import json
import pathlib
import shutil

import pyarrow.parquet
import pytest

from deepvit.classify import request as requests
from tests.classify.red_images import Dying
from tests.commands.command_line import HERE, refused_here, run, run_here, valid_result

SECRET = "wJalrXUtnFEMI"


@pytest.fixture(scope="module")
def few(digits, tmp_path_factory):
    """Some of the digits' images, one of them broken, one missing; 2 blocks of 16 and a rest."""
    folder = tmp_path_factory.mktemp("few") / "images"
    for path in sorted((digits / "val").glob("*/*"))[::14]:
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    first, second, *_ = sorted(folder.glob("*/*"))
    first.write_bytes(b"broken")
    second.unlink()
    second.symlink_to("nowhere")
    return folder


def classify(*arguments):
    return run_here(["classify", *map(str, arguments)])


def test_top1_is_that_of_eval(exported, digits, tmp_path):
    for path in sorted((digits / "val").glob("*/*"))[::4]:
        (tmp_path / "val" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "val" / path.parent.name)
    limited = "--batch-size", "64", "--json"
    assert run_here(["eval", str(exported), "--imagenet", str(tmp_path), *limited, str(tmp_path / "eval.json")]) == 0
    (model,) = json.loads((tmp_path / "eval.json").read_text())["models"]
    rows = tmp_path / "rows.jsonl"
    assert classify(exported, "--images", tmp_path / "val", "--output", rows, *limited, tmp_path / "c.json") == 0
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert model["top1"] > 0.9
    right = sum(row["class"] == int(pathlib.Path(row["path"]).parent.name) for row in found)
    assert right / len(found) == pytest.approx(model["top1"], rel=1e-6)
    assert [row["path"] for row in found] == sorted(str(path) for path in (tmp_path / "val").glob("*/*"))
    result = valid_result(tmp_path / "c.json")
    assert (result["listed"], result["classified"], result["unusable"]) == (149, 149, 0)
    assert result["output"] == str(rows)


def test_one_process_and_two_give_the_same_file(exported, few, tmp_path, capsys):
    files = []
    for processes in (1, 2):
        files.append(tmp_path / f"{processes}.parquet")
        given = ("--images", few, "--output", files[-1], "--batch-size", 16, "--processes", processes, "--workers", 0)
        assert classify(exported, *given, "--logits", "--top", 3) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = pyarrow.parquet.read_table(files[0]).to_pylist()
    assert len(rows) == 43
    assert [row["error"] is None for row in rows] == [False, False, *[True] * 41]
    assert {len(row["top"]) for row in rows[2:]} == {3}
    assert {len(row["logits"]) for row in rows[2:]} == {10}
    said = capsys.readouterr()
    assert "classified 41 of 43 images" in said.out
    assert "2 of 43 images could not be used; their rows say why. The first:" in said.err
    assert "… and 23 more" in said.out


def test_a_killed_process_is_a_line_and_exit_3(exported, few, monkeypatch, capsys):
    monkeypatch.setattr(requests, "ClassifierOpener", lambda *_: Dying(with_block=True))
    given = "classify", str(exported), "--images", str(few), "--batch-size", "8", "--processes", "2"
    says = "a classifying process was killed, usually for want of memory; give fewer --processes, and --resume"
    assert says in refused_here(3, given, capsys)


def test_the_terminal_shows_the_first(exported, few):
    result = run("classify", exported, "--images", few / "3", "--limit", 3)
    assert result.returncode == 0, result.stderr
    head, *rows, _, following = result.stdout.splitlines()
    assert head.split() == ["image", "class", "probability", "then"]
    assert [row.split()[1] for row in rows] == ["3", "3", "3"]
    assert following == f"next: {HERE} classify {exported} --images {few / '3'} --limit 3 --output predictions.csv"


def test_nothing_but_errors_is_exit_1(exported, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("nowhere/a.jpg\nnowhere/b.jpg\n")
    rows = tmp_path / "rows.csv"
    assert classify(exported, "--images", tmp_path / "list.txt", "--output", rows) == 1
    assert "error: none of the 2 images could be used" in capsys.readouterr().err
    assert len(rows.read_text().splitlines()) == 3


def test_what_is_there_is_not_replaced(exported, few, tmp_path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_text("before")
    given = ["classify", str(exported), "--images", str(few), "--limit", "4", "--output", str(rows)]
    assert "is there already; name another file, or --overwrite" in refused_here(2, given, capsys)
    assert rows.read_text() == "before"
    assert run_here([*given, "--overwrite"]) == 0
    assert len(rows.read_text().splitlines()) == 5
    capsys.readouterr()
    image = str(next((few / "3").iterdir()))
    given = ["classify", str(exported), "--images", image, "--output", image, "--overwrite"]
    assert "is a file that this command reads" in refused_here(2, given, capsys)
    given = ["classify", str(exported), "--images", "nowhere"]
    assert "--images nowhere does not exist; expected a file, a folder, a pattern" in refused_here(2, given, capsys)


def test_passwords_are_written_nowhere(exported, tmp_path, capsys, monkeypatch, caplog):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "list.txt").write_text(f"memory://user:{SECRET}@none/a.png?sig={SECRET}\n")
    given = ["--images", tmp_path / "list.txt", "--output", tmp_path / "rows.jsonl", "--json", tmp_path / "c.json"]
    given = ["--images", f"memory://user:{SECRET}@none/a.png?sig={SECRET}", *given]
    monkeypatch.setattr("sys.argv", ["cli.py", "classify", *map(str, given)])  # which --json repeats
    assert classify(exported, *given) == 1
    for name in ("rows.jsonl", "c.json"):
        assert "memory://none/a.png" in (tmp_path / name).read_text()
    assert classify(exported, "--images", f"memory://user:{SECRET}@none/**/*.png") == 2
    (tmp_path / "list.txt").unlink()
    said = capsys.readouterr()
    written = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert [text for text in (said.out, said.err, caplog.text, *written) if SECRET in text] == []
    assert len(written) >= 2
