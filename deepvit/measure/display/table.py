"""Tables for a terminal of 80 columns: what is empty is left out, and nothing is broken within a word."""

from collections.abc import Sequence

import rich.table

WIDTH = 80


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> rich.table.Table:
    """Return a table.

    Args:
        columns: The heads.
        rows: A cell for each; a column whose cells are all empty is left out.
        texts: How many columns, the first, are texts that may be wrapped between words; the others are figures.
    """
    shown = [place for place in range(len(columns)) if not rows or any(row[place] for row in rows)]
    widths = [max(len(row[place]) for row in [columns, *rows]) for place in shown]
    gap = 2 if sum(widths) + 2 * len(widths) <= WIDTH else 1
    table = rich.table.Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for place in shown:
        is_text = place < texts
        words = [word for row in [columns, *rows] for word in row[place].split()]
        table.add_column(
            columns[place],
            justify="left" if is_text else "right",
            no_wrap=not is_text,
            min_width=max(map(len, words), default=0),
        )
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    return table
