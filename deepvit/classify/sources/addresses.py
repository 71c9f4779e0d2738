"""Addresses, as in s3://bucket/photos: told from paths, and shown without what nobody else may know.

An address is opened as it was given. What is shown, written or kept of it is `public` of it: a user's name and password
and everything after a question mark, which is where signed addresses have their signature, are left out.
"""

import re

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*(://|::)")
# Who logs in, before an @: up to the first / as a rule; a password may have one, which :80/ is not.
LOGIN = re.compile(r"://(?:[^/@\s]*|[^/@:\s]*:(?!\d+/)[^@\s]*)@")
IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
WILD = re.compile(r"[*?\[]")
WILD_IN_ADDRESS = re.compile(r"[*\[]")  # a question mark begins a query there


def is_address(place: str) -> bool:
    """Return whether `place` names a store, as s3://, and not a file of this machine."""
    return SCHEME.match(place) is not None


def public(place: str) -> str:
    """Return a path as it is; an address without login and query."""
    if not is_address(place):
        return place
    return LOGIN.sub("://", place.partition("?")[0])


def public_text(text: str) -> str:
    """Return a text, a command say, with every address in it as `public` has it."""
    return IN_TEXT.sub(lambda found: public(found[0]), text)


def suffix_of(place: str) -> str:
    """Return the suffix of a path or address in small letters: .jpg; empty where it has none."""
    name = public(place).rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def is_pattern(place: str) -> bool:
    """Return whether `place` has wildcards."""
    return (WILD_IN_ADDRESS if is_address(place) else WILD).search(place) is not None


def split_pattern(pattern: str) -> tuple[str, re.Pattern[str], int | None]:
    """Return where to look, what matches from there on, and how many folders deep; None: any number.

    `*` and `?` stand for letters within a name, `[…]` for one of some, `**/` for folders, any number of them.
    """
    first = (WILD_IN_ADDRESS if is_address(pattern) else WILD).search(pattern)
    assert first is not None
    slash = pattern.rfind("/", 0, first.start())
    rest = pattern[slash + 1 :]
    depth = None if "**" in rest else rest.count("/")
    return pattern[: slash + 1], re.compile(_expression(rest)), depth


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", pattern)
    return "".join(_translated(part) if place % 2 else re.escape(part) for place, part in enumerate(parts))


def _translated(wildcard: str) -> str:
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if wildcard in fixed:
        return fixed[wildcard]
    inner = wildcard[1:-1].replace("\\", r"\\")
    return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
