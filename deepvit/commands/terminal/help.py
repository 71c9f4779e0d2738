"""The help of a command as plain text: options under their headings, words whole, an example that can be pasted."""

import textwrap
from typing import Any

import typer.core

NAMES = 28  # columns of the names with their indent; the rest of the line is text
INDENT = "  "


class HelpfulCommand(typer.core.TyperCommand):
    """A command of the program."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options, headings in the order in which they come first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or "Help", []).append(record)
        for heading, records in sections.items():
            formatter.write(f"\n{heading}:\n")
            for name, text in records:
                formatter.write(_described(name, text, formatter.width))

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Write the example, of several lines where it is long, which a shell reads as one."""
        lines = _wrapped(str(self.epilog), formatter.width - 2 * len(INDENT))
        formatter.write("\nExample:\n" + INDENT + f" \\\n{2 * INDENT}".join(lines) + "\n")


def _described(name: str, text: str, width: int) -> str:
    lines = _wrapped(text, width - NAMES)
    name = INDENT + name
    if len(name) + len(INDENT) > NAMES:
        lines.insert(0, "")
    columns = [name, *[""] * (len(lines) - 1)]
    return "".join(f"{column:{NAMES}}{line}".rstrip() + "\n" for column, line in zip(columns, lines, strict=True))


def _wrapped(text: str, width: int) -> list[str]:
    if not text:
        return [""]
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
