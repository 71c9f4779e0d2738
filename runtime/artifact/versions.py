"""Versions as numbers: 11.4.0.106 of TensorRT, 580.95.05 of a driver, 8.9 of a compute capability."""

import re


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the leading numbers of `version`; none of text that starts with no number."""
    match = re.match(r"\d{1,9}(?:\.\d{1,9})*", version.strip())
    return tuple(int(part) for part in match[0].split(".")) if match else ()
