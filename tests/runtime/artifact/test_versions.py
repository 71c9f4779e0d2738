"""Versions as numbers."""

import pytest

from deepvit.runtime.artifact.versions import numbers_of


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("11.4.0.106", (11, 4, 0, 106)),
        (" 580.95.05\n", (580, 95, 5)),
        ("8.9", (8, 9)),
        ("10.12.0rc1", (10, 12, 0)),
        ("12.", (12,)),
        ("v10", ()),
        ("", ()),
    ],
)
def test_leading_numbers(text, numbers):
    assert numbers_of(text) == numbers


def test_they_compare_as_versions():
    assert numbers_of("10.12") > numbers_of("10.9") > numbers_of("9")
