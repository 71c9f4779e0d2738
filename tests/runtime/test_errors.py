"""Lists in error lines."""

import pydantic
import pytest

from deepvit.runtime.errors import first_of, validation_faults


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
