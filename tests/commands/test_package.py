"""`package`."""

from tests.commands.command_line import HERE, refused, run


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
