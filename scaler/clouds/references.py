"""The things that a spec names, such as SSH keys: one list for all names of a kind.

Vendors limit how often some kinds are listed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from scaler.clouds.facts import Reference
from scaler.support.clock import Clock
from scaler.support.values import dataclass

KEPT_S = 60.0
"""How long a list is used; DigitalOcean answers ten lists of SSH keys in a minute."""


@dataclass(frozen=True)
class Named:
    """A thing that a spec can name."""

    words: tuple[str, ...]
    """The words that name it beside its id."""
    row: Any = None
    """What the cloud's list says of it, as its client gives it."""


Names = Mapping[str, Named]
"""The things of a kind, by id."""


class ReferenceLists:
    """The lists of a cloud's things, each read when it is first needed. Safe to use from several threads."""

    def __init__(self, read: Callable[[Reference], Names], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._lists: dict[Reference, tuple[float, Names]] = {}

    def names(self, kind: Reference, wanted: str, kept_s: float = KEPT_S) -> Names:
        """The things of a kind, read anew if the list is older, or if it is not new and lacks what is wanted."""
        with self._lock:
            now = self._clock.monotonic()
            read_at, known = self._lists.get(kind, (None, {}))
            if read_at is None or now - read_at > kept_s or (id_of(known, wanted) is None and now > read_at):
                known = self._read(kind)
                self._lists[kind] = (self._clock.monotonic(), known)
            return known


def id_of(names: Names, wanted: str) -> str | None:
    """The id of the thing that a word names."""
    return next((number for number, named in names.items() if wanted == number or wanted in named.words), None)
