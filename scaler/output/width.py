"""Texts that are as wide as a terminal at most. Pure.

`width` is the number of columns; None: nobody looks at columns, as in a file or a pipe.
"""

from __future__ import annotations

import re

import click

_WORD = re.compile(r"\S+")


def fit(text: str, width: int | None, hanging: int = 0) -> str:
    """Break the lines that are too long between words; what follows is indented by two more columns, or by `hanging`.

    A word that is too long by itself stays whole, so that addresses and commands can be copied.
    """
    return text if width is None else "\n".join(_broken(line, width, hanging) for line in text.split("\n"))


def _broken(line: str, width: int, hanging: int) -> str:
    if len(click.unstyle(line)) <= width:
        return line
    short = " " * (len(line) - len(line.lstrip()) + 2)
    indent = " " * hanging or short
    lines: list[str] = []
    begun, used, end = "", 0, 0
    for word in _WORD.finditer(line):
        gap = line[end : word.start()]
        end = word.end()
        long = len(click.unstyle(word[0]))
        if used and used + len(gap) + long > width:
            lines.append(begun)
            begun = indent if len(indent) + long <= width else short
            used, gap = len(begun), ""
        begun += gap + word[0]
        used += len(gap) + long
    return "\n".join([*lines, begun])
