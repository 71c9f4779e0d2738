"""`compare`."""

from tests.commands.command_line import refused, run, valid_result


def test_compare_layers(exported, tmp_path):
    result = run("compare", "--layers", exported, "--pretrained", "--json", tmp_path / "layers.json")
    assert result.returncode == 0, result.stderr
    report = valid_result(tmp_path / "layers.json")
    assert [row["layer"] for row in report["graph"]] == [*(f"blocks.{i}" for i in range(6)), "logits"]
    assert all(40 < row["sqnr_db"] < 100 for row in report["graph"])
    assert report["engine"] is None
    assert "falls most at " in result.stdout


def test_refusals(exported, tmp_path):
    for arguments, says in (
        ([exported], "Give its weights by --checkpoint FILE or --pretrained"),
        (["--layers", exported, exported], "takes one artifact, got 2"),
        (["--layers", tmp_path], "not an artifact"),
        (["--layers", exported], "SHA-256"),
        (["--layers", exported, "--reference", exported], "expected fp32"),
    ):
        assert says in refused(2, "compare", *arguments), arguments
