"""Say which variables a command of the spec names and does not get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from scaler.support.environment import CommandEnvironment

_LARGEST_SCRIPT = 64 << 10
"""Bytes of a script that are read."""


def missed_variables(words: Sequence[str], folder: Path, environ: CommandEnvironment) -> list[str]:
    """Return the variables that are set for scaler, that a command or its script names, and that it does not get."""
    return sorted({name for text in _texts(words, folder) for name in environ.missed_by(text)})


def _texts(words: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield the words of a command, and the beginning of each script among them."""
    for word in words:
        yield word
        with suppress(OSError, ValueError):
            path = folder / word
            if path.is_file():
                with path.open("rb") as file:
                    content = file.read(_LARGEST_SCRIPT)
                if b"\0" not in content:
                    yield content.decode(errors="replace")
