"""`package`."""

from deepvit.export.options import ExportOptions
from deepvit.export.pipeline import export_artifact
from tests.commands.command_line import HERE, refused, run, run_here, valid_result


def test_package_writes_a_repository_and_check_finds_a_typo(exported, tmp_path):
    repository = tmp_path / "repository"
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"digit {number}\n" for number in range(10)))
    written = run("package", exported, "--triton", repository, "--labels", labels, "--backends", "python,onnxruntime")
    assert written.returncode == 0, written.stderr
    assert "random" not in written.stdout
    assert f"next: {HERE} package --triton" in written.stdout
    assert (repository / "digits_cnn" / "labels.txt").read_text().splitlines()[3] == "digit 3"
    assert run("package", "--triton", repository, "--check").returncode == 0
    config = repository / "digits_cnn_onnxruntime" / "config.pbtxt"
    config.write_text(config.read_text().replace("dynamic_batching", "dynamic_batchin"))
    assert "does not follow Triton's schema" in refused(1, "package", "--triton", repository, "--check")
    assert "has no engine.plan" in refused(2, "package", exported, "--triton", tmp_path / "a", "--backends", "tensorrt")
    assert not (tmp_path / "a").exists()


def test_the_labels_are_the_artifacts_own(tiny_loaded, tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(5)))
    artifact = tmp_path / "artifact"
    export_artifact(tiny_loaded, ExportOptions(output=artifact, labels=labels, parity_images=2))
    assert run_here(["package", str(artifact), "--triton", str(tmp_path / "repository"), "--backends", "python"]) == 0
    for model in ("tiny_cnn", "tiny_cnn_classify"):
        assert (tmp_path / "repository" / model / "labels.txt").read_text() == labels.read_text()


def test_manifests_for_kubernetes_are_written_with_it(tiny_artifact, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["package", str(tiny_artifact), "--triton", "repository", "--kubernetes", "my manifests"]
    assert run_here([*given, "--dry-run", "--json", "plan.json"]) == 0
    planned = {entry["path"] for entry in valid_result(tmp_path / "plan.json")["files"]}
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert run_here([*given, "--json", "package.json"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("\nnext: kubectl apply -k 'my manifests'\n")
    assert valid_result(tmp_path / "package.json")["kubernetes"] == "my manifests"
    assert planned == {
        f"{each}/{path.name}" for each in ("repository", "my manifests") for path in (tmp_path / each).iterdir()
    }
    assert run_here([*given[:-1], "repository/manifests"]) == 2
    assert "expected two folders apart" in capsys.readouterr().err
