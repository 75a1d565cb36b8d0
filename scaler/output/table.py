"""Tables: aligned columns for a terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaler.support.text import one_line


def columns(rows: Iterable[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Return the rows as lines with aligned columns. Leave out a column that is empty in every row.

    With `numbers`, align all columns but the first to the right.
    """
    used = [column for column in zip(*rows, strict=True) if any(column)]
    aligned = [_pad(column, right=numbers and index > 0) for index, column in enumerate(used)]
    return ["  ".join(row).rstrip() for row in zip(*aligned, strict=True)]


def _pad(column: Sequence[str], *, right: bool) -> list[str]:
    width = max(len(cell) for cell in column)
    return [cell.rjust(width) if right else cell.ljust(width) for cell in column]


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns under their names, which are put in capitals."""
    return "\n".join(columns([[name.upper() for name in head], *([one_line(cell) for cell in row] for row in rows)]))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of plain texts."""
    lines = [[markdown_text(cell) for cell in row] for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Escape a text from outside: it neither ends a table cell nor becomes HTML, a link or an image."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    # Without a link's address, neither a link nor an image is made of it.
    return line.replace("](", "]\\(")
