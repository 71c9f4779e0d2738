"""The sections of a check, a file each with a function `run`; in this order, each with the seconds that it may take."""

SECTIONS = {
    "environment": 60,
    "runtime": 120,
    "reattention": 150,
    "reattention_torch": 120,
    "numerics": 120,
    "forms": 90,
    "sessions": 120,
    "transfers": 90,
    "engines": 420,
}
