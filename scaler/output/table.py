"""Tables: aligned columns for a terminal, and Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from scaler.support.text import one_line

_NARROWEST = 20
"""The columns of text that a broken cell keeps, as long as another column can be left out instead; and the longest word
that is never broken, such as a time."""

_GAP = "  "


def columns(rows: Iterable[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Return the rows as lines with aligned columns. Leave out a column that is empty in every row.

    With `numbers`, align all columns but the first to the right.
    """
    used = [column for column in zip(*rows, strict=True) if any(column)]
    aligned = [_pad(column, right=numbers and index > 0) for index, column in enumerate(used)]
    return [_GAP.join(row).rstrip() for row in zip(*aligned, strict=True)]


def _pad(column: Sequence[str], *, right: bool) -> list[str]:
    width = max(len(cell) for cell in column)
    return [cell.rjust(width) if right else cell.ljust(width) for cell in column]


def text_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None, *, dispensable: Sequence[str] = ()
) -> str:
    """Return aligned columns under their names, which are put in capitals.

    If the lines would be longer than `width`, cells are broken between words; if that is not enough, the
    `dispensable` columns are left out, the first ones first, and named below. None: any length.
    """
    table = [[name.upper() for name in head], *([one_line(cell) for cell in row] for row in rows)]
    kept, hidden = list(range(len(head))), []
    for name in dispensable:
        if width is None or _length(_least(table, kept)) <= width:
            break
        kept.remove(head.index(name))
        hidden.append(name.upper())
    lines = broken_columns([[row[index] for index in kept] for row in table], width)
    return "\n".join([*lines, *([f"\nToo wide for this terminal: {', '.join(hidden)}."] if hidden else [])])


def _length(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _least(table: Sequence[Sequence[str]], kept: Iterable[int]) -> list[int]:
    """Return how wide the columns are if their long cells are broken, but not into less than `_NARROWEST`."""
    return [max(min(len(row[index]), max(_longest_word(row[index]), _NARROWEST)) for row in table) for index in kept]


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def broken_columns(table: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return aligned columns, with cells broken between words until no line is longer than `width`, if that is enough.

    The widest column is broken first. Words are broken where nothing else is left, but none of `_NARROWEST` or less.
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    least = [max(map(_longest_word, column)) for column in zip(*table, strict=True)]
    while width is not None and _length(widths) > width:
        spare = [index for index, wide in enumerate(widths) if wide > least[index]]
        spare = spare or [index for index, wide in enumerate(widths) if wide > _NARROWEST]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    broken = ([_wrapped(*cell) for cell in zip(row, widths, strict=True)] for row in table)
    return columns(line for cells in broken for line in zip_longest(*cells, fillvalue=""))


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=_longest_word(cell) > width)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of plain texts."""
    lines = [[markdown_text(cell) for cell in row] for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Escape a text from outside: it neither ends a table cell nor becomes HTML, a link or an image."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    # Without a link's address, neither a link nor an image is made of it.
    return line.replace("](", "]\\(")
