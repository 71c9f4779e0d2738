"""The two lists of pinned versions say the same, and every version has hashes."""

import re

import pytest

from tests.places import ROOT


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text):
    return {
        normal(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    }


def faults(constraints, hashed):
    """Return what is pinned otherwise or not at all in the hashed list, or has no hash."""
    own, other = pins(constraints), pins(hashed)
    different = [
        f"{name}: {version}, with hashes {other.get(name)}"
        for name, version in own.items()
        if other.get(name) != version
    ]
    blocks = re.split(r"^(?=[A-Za-z0-9])", hashed, flags=re.MULTILINE)[1:]
    bare = [block.split()[0] for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}$", block.strip())]
    return different + bare


def test_the_lists_agree():
    assert faults((ROOT / "constraints.txt").read_text(), (ROOT / ".ci/constraints-hashed.txt").read_text()) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("pillow==", "pillow==0."), ("pillow==", "pillow-simd=="), (r"--hash=sha256:", "--hash=md5:")],
)
def test_a_difference_is_told(before, after):
    hashed = (ROOT / ".ci/constraints-hashed.txt").read_text().replace(before, after)
    assert faults((ROOT / "constraints.txt").read_text(), hashed)
