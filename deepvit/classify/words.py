"""A classification in words, for a terminal: the first rows as a table, and what became of all of them."""

import dataclasses
from collections.abc import Iterator

import rich.table

from deepvit.measure.display.table import table_of
from deepvit.measure.results.classification import Classification, Unusable

from .request import Found, sources_text
from .rows import Row

ROWS_SHOWN = 20
UNUSABLE_SHOWN = 10
OTHERS_SHOWN = 2  # classes beside the most probable one


@dataclasses.dataclass
class Tally:
    """What passes through `count`, counted; the first rows, to be shown.

    Attributes:
        rows: The first ROWS_SHOWN.
        unusable: The first UNUSABLE_SHOWN with an error.
        errors: How many have one.
        images: How many there are.
    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    unusable: list[Row] = dataclasses.field(default_factory=list)
    errors: int = 0
    images: int = 0

    def count(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield rows as they are."""
        for row in rows:
            self.images += 1
            if len(self.rows) < ROWS_SHOWN:
                self.rows.append(row)
            if row.error is not None:
                self.errors += 1
                if len(self.unusable) < UNUSABLE_SHOWN:
                    self.unusable.append(row)
            yield row

    def result(self, found: Found, output: str | None) -> Classification:
        """Return what was counted, as JSON has it."""
        model = found.job.classifier.model
        return Classification(
            model=model.name,
            runs_on=model.session.description,
            random_weights=model.has_random_weights,
            images=sources_text(found.job.request),
            list_sha256=found.job.listing.sha256,
            listed=self.images,
            classified=self.images - self.errors,
            unusable=self.errors,
            first_unusable=[Unusable(path=row.path, error=row.error or "") for row in self.unusable],
            output=output,
            duration_s=found.seconds,
            images_per_second=found.images_run / found.seconds if found.images_run else None,
        )


def describe_rows(tally: Tally) -> Iterator[str | rich.table.Table]:
    """Yield the first rows as a table."""
    yield table_of(("image", "class", "probability", "then"), [_cells(row) for row in tally.rows], texts=2)
    if tally.images > len(tally.rows):
        yield f"… and {tally.images - len(tally.rows)} more"


def _cells(row: Row) -> tuple[str, str, str, str]:
    if row.error is not None:
        return row.path, f"error: {row.error}", "", ""
    first, *others = row.top
    then = ", ".join(f"{guess.name} {guess.probability:.1%}" for guess in others[:OTHERS_SHOWN])
    return row.path, first.name, f"{first.probability:.1%}", then


def describe_classification(found: Classification) -> Iterator[str]:
    """Yield what became of all images, in a line or two."""
    note = " (random weights)" if found.random_weights else ""
    rate = "nothing run now" if found.images_per_second is None else f"{found.images_per_second:.1f} images/s"
    yield f"classified {found.classified} of {found.listed} images, {rate}, by {found.model}{note}, {found.runs_on}"
    if found.output is not None:
        yield f"wrote {found.output}"


def describe_unusable(found: Classification) -> Iterator[str]:
    """Yield which images have no class, the first of them."""
    if found.unusable:
        yield f"{found.unusable} of {found.listed} images could not be used; their rows say why. The first:"
    for each in found.first_unusable:
        yield f"  {each.path}: {each.error}"
