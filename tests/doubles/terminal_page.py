"""What a terminal of so many columns shows of lines and tables."""

import io

import rich.console


def rendered(lines, width=80):
    """The text of lines and tables, as the command line prints them."""
    console = rich.console.Console(file=io.StringIO(), width=width, markup=False, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)
    return console.file.getvalue()


def tables(lines, width=80):
    """The text of the tables alone, whose lines must fit."""
    return rendered([line for line in lines if not isinstance(line, str)], width)
