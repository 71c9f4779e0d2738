"""Addresses: told from paths, and shown without passwords and signatures; patterns."""

import pytest

from deepvit.classify.sources.addresses import is_address, is_pattern, public, public_text, split_pattern, suffix_of


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("photos/a@b?c.jpg", "photos/a@b?c.jpg"),
        ("s3://bucket/a@b.jpg", "s3://bucket/a@b.jpg"),
        ("s3://AKIA:abc@bucket/a.jpg", "s3://bucket/a.jpg"),
        ("s3://AKIA:ab/c+d@bucket/x@y.jpg", "s3://bucket/x@y.jpg"),
        ("sftp://user@host/a.jpg", "sftp://host/a.jpg"),
        ("https://host:8080/a@b.jpg", "https://host:8080/a@b.jpg"),
        ("https://u:p@host:8080/a.jpg?X-Amz-Signature=f00&b=c", "https://host:8080/a.jpg"),
        ("simplecache::https://u:p@host/a.jpg?sig=x", "simplecache::https://host/a.jpg"),
    ],
)
def test_what_is_shown(place, shown):
    assert public(place) == shown
    assert is_address(place) == ("://" in place)
    if is_address(place):
        assert (
            public_text(f"cli.py classify a --images '{place}' --top 5")
            == f"cli.py classify a --images '{shown}' --top 5"
        )


def test_suffixes():
    names = ("a/b.JPG", "https://h/b.jpg?c=d.png", "a.b/c", ".jpg", "s3://bucket/x.tar")
    assert [suffix_of(name) for name in names] == [".jpg", ".jpg", "", "", ".tar"]


def test_patterns():
    places = ("a?.jpg", "[ab].jpg", "a.jpg", "https://h/a.jpg?b", "s3://b/*.jpg")
    assert [is_pattern(place) for place in places] == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("pattern", "root", "depth", "matching", "others"),
    [
        ("a/*.jpg", "a/", 0, ["x.jpg", ".jpg"], ["b/x.jpg", "xjpg", "x.jpg2"]),
        ("*/?[!b]/x+.jpg", "", 2, ["q/ra/x+.jpg"], ["q/rb/x+.jpg", "q/ra/xx.jpg"]),
        ("s3://b/c/**/*.jpg", "s3://b/c/", None, ["x.jpg", "d/e/x.jpg"], ["d/x.png"]),
        ("/d/**", "/d/", None, ["x", "y/z"], []),
    ],
)
def test_what_patterns_match(pattern, root, depth, matching, others):
    found, expression, deep = split_pattern(pattern)
    assert (found, deep) == (root, depth)
    assert all(expression.fullmatch(name) for name in matching)
    assert not any(expression.fullmatch(name) for name in others)
