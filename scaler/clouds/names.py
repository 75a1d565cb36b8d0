"""The error for a name in a spec that the cloud does not have."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from scaler.clouds import UnfitError

_SHOWN = 8


class UnknownNameError(UnfitError):
    """What a spec names is not at the cloud."""

    nearest: str = ""
    """The known name that it is most like; empty if it is like none."""


def unknown(title: str, kind: str, name: str, known: Collection[str]) -> UnknownNameError:
    """Return the error for an unknown name, with the nearest known one and a list of what exists."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(sorted(known)[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    error = UnknownNameError(
        f"{title} has no {kind} {name}.",
        why=f"there is {listed}" if known else f"there is no {kind} in this account",
        fix=f"Did you mean {nearest[0]}?" if nearest else "Name one that exists, or create it first.",
    )
    error.nearest = nearest[0] if nearest else ""
    return error
