"""Lists in error lines."""

import pytest

from deepvit.runtime.errors import first_of


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
