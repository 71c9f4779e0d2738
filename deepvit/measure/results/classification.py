"""What `classify` did, as a result; the rows are in their own file."""

from typing import Literal

from deepvit.metrics.result import Record, Result


class Unusable(Record):
    """An image without a class, and why."""

    path: str
    error: str


class Classification(Result):
    """A pass over images without labels."""

    kind: Literal["classification"] = "classification"
    model: str
    runs_on: str
    random_weights: bool
    images: str  # as the user named them, without passwords
    list_sha256: str  # of the names of all images, and of the sizes and times of their files
    listed: int
    classified: int
    unusable: int
    first_unusable: list[Unusable]  # a few; the file of rows has them all
    output: str | None = None  # the file of rows
    duration_s: float  # of this run, decoding included
    images_per_second: float | None  # of this run; None where everything had been run before
