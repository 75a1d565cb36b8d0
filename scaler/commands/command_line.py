"""Options of a command line that may be one that cannot be parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

_SHORT_FLAGS = "[hqvy]*"
"""Options without a value, which may stand before another one after the same dash."""


def last_value(arguments: Sequence[str], *names: str) -> str | None:
    """Return the value of the last of these options, such as `-o` and `--output`; None if there is none."""
    words = list(takewhile(lambda argument: argument != "--", arguments))
    found = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        for name in names:
            if name.startswith("--"):
                option = re.fullmatch(f"{name}(?:=(.*))?", word, re.DOTALL)
            else:
                option = re.fullmatch(f"-{_SHORT_FLAGS}{name[1]}(.+)?", word, re.DOTALL)
            if option:
                found = following if option[1] is None else option[1]
    return found
