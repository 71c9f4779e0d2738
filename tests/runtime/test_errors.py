"""Lists in error lines, and libraries that are missing."""

import pydantic
import pytest

from deepvit.runtime.errors import MissingError, first_of, needed_for, validation_faults


@pytest.mark.parametrize(
    ("texts", "count", "line"),
    [
        ([], 2, ""),
        (["a", "b"], 2, "a, b"),
        (["a", "b", "c"], 2, "a, b and 1 more"),
        (["a", "b", "c"], 1, "a and 2 more"),
    ],
)
def test_the_first_texts_are_named_and_the_others_counted(texts, count, line):
    assert first_of(texts, count) == line


def test_the_separator_is_free():
    assert first_of(["a", "b", "c"], 2, "; ") == "a; b and 1 more"


class Inner(pydantic.BaseModel):
    sizes: list[int]


class Outer(pydantic.BaseModel):
    inner: Inner
    name: str


def test_every_fault_of_a_record_says_where_it_is():
    with pytest.raises(pydantic.ValidationError) as refused:
        Outer.model_validate({"inner": {"sizes": [1, "two"]}})
    assert [fault.partition(": ")[0] for fault in validation_faults(refused.value)] == ["inner.sizes.1", "name"]
    with pytest.raises(pydantic.ValidationError) as refused:
        Outer.model_validate_json(b"{")
    assert validation_faults(refused.value)[0].startswith("file: Invalid JSON")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ModuleNotFoundError("No module named 'timm'", name="timm"),
            "drawing needs timm, which is not installed; "
            "pip install torch torchvision timm onnxscript onnx-ir safetensors",
        ),
        (
            ModuleNotFoundError("No module named 'cuda.bindings'", name="cuda.bindings"),
            "drawing needs cuda, which is not installed; pip install cuda-python",
        ),
        (
            ImportError("libcuda.so.1: cannot open", name="onnxruntime.capi"),
            "drawing needs onnxruntime, which cannot be loaded: libcuda.so.1: cannot open; pip install onnxruntime",
        ),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(error, line):
    with pytest.raises(MissingError) as refused, needed_for("drawing"):
        raise error
    assert str(refused.value) == line
    assert refused.value.exit_code == 3


def test_other_errors_are_left_as_they_are():
    with pytest.raises(KeyError), needed_for("drawing"):
        raise KeyError("torch")
