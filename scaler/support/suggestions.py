"""Suggest what a misspelled word probably means."""

from __future__ import annotations

from collections.abc import Collection


def nearest(word: str, known: Collection[str]) -> str:
    """Return a fix for an unknown word: the nearest known one, else the list of all; empty if none is known."""
    from difflib import get_close_matches

    close = get_close_matches(word.lower(), known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if known else ""
