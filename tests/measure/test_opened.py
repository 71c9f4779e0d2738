"""What a user's name of a model means."""

import pytest

from deepvit.measure.models import is_variant


@pytest.mark.parametrize("name", ["deepvit_32", "unknown"])  # whether there is such a variant, its table says
def test_a_plain_name_is_a_variant(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_variant(name)
    (tmp_path / name).mkdir()
    assert not is_variant(name)


@pytest.mark.parametrize("name", ["", "out/deepvit_32", "./deepvit_32", "model.onnx", "deepvit-32"])
def test_anything_else_is_a_path(name):
    assert not is_variant(name)
