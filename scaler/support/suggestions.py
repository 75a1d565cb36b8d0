"""Suggest what a misspelled word probably means."""

from __future__ import annotations

from collections.abc import Collection


def nearest(word: str, known: Collection[str]) -> str:
    """Return a fix for an unknown word: the nearest known one, else the list of all."""
    if close := _close(word, known):
        return f"Did you mean {close}?"
    return f"Use one of: {', '.join(known)}." if known else "There is none yet. `scaler status` shows what is there."


def nearest_clause(word: str, known: Collection[str]) -> str:
    """Return the same as the end of a sentence, as the problems of a spec have it."""
    if close := _close(word, known):
        return f"did you mean {close}?"
    return f"known: {', '.join(known)}" if known else ""


def _close(word: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), known, n=1)), "")
