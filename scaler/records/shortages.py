"""Placements without capacity, and the quota of the account, so that the next run does not try them at once.

Capacity comes and goes within minutes. The quota of an account can often not be read, only be hit;
it changes when a person asks for more. Both are saved beside the state file. If that file is lost or
damaged, the next run finds them out again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from scaler.model import Placement
from scaler.support.clock import format_time, parse_time
from scaler.support.documents import read_json
from scaler.support.files import make_folder, replace_file

CAPACITY_FOR = timedelta(minutes=5)
"""How long a placement without capacity is not tried."""

QUOTA_FOR = timedelta(hours=1)
"""How long a quota that was hit is assumed to be unchanged."""

_SCHEMA = 1

_LARGEST = 1 << 20
"""Bytes of the file: a vendor sells some hundred types at some ten places."""


class Shortages:
    """The shortages of one stack; without a path they are not saved."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._full: dict[Placement, datetime] = {}
        """When the lack of capacity was found."""
        self._quota: tuple[int, datetime] | None = None
        self._addresses: tuple[int, datetime] | None = None
        if path:
            self._load(path)

    @property
    def name(self) -> str:
        """The name of the file, for a person who wants to remove it."""
        return self.path.name if self.path else "shortages"

    def full(self, now: datetime) -> Mapping[Placement, datetime]:
        """Return the placements that had no capacity, and since when that is known."""
        return {place: at for place, at in self._full.items() if _is_fresh(at, now, CAPACITY_FOR)}

    def quota(self, now: datetime) -> tuple[int, datetime] | None:
        """Return how many machines the account allows this stack, and when that was found."""
        return self._quota if self._quota and _is_fresh(self._quota[1], now, QUOTA_FOR) else None

    def addresses(self, now: datetime) -> tuple[int, datetime] | None:
        """Return how many public addresses the account allows this stack's servers, and when that was found."""
        return self._addresses if self._addresses and _is_fresh(self._addresses[1], now, QUOTA_FOR) else None

    def note_full(self, places: Iterable[Placement], now: datetime) -> None:
        """Save that these placements have no capacity."""
        self._full = {**self.full(now), **dict.fromkeys(places, now)}
        self._save()

    def note_quota(self, most: int, now: datetime) -> None:
        """Save that the account refused more than so many machines of this stack."""
        self._quota = most, now
        self._save()

    def note_addresses(self, most: int, now: datetime) -> None:
        """Save that the account refused more than so many public addresses of this stack's servers."""
        self._addresses = most, now
        self._save()

    def _load(self, path: Path) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            document = read_json(path, _LARGEST)
            if document["schema"] != _SCHEMA:
                return
            full = {(str(row["type"]), str(row["location"])): parse_time(row["at"]) for row in document["no_capacity"]}
            quota, addresses = document["quota"], document.get("addresses")
            self._quota = (int(quota["servers"]), parse_time(quota["at"])) if quota else None
            self._addresses = (int(addresses["most"]), parse_time(addresses["at"])) if addresses else None
            self._full = full

    def _save(self) -> None:
        """Replace the file in one step. Ignore a file that cannot be written: that only costs a request later."""
        if not self.path:
            return
        document = {
            "schema": _SCHEMA,
            "no_capacity": [
                {"type": kind, "location": location, "at": format_time(at)}
                for (kind, location), at in sorted(self._full.items())
            ],
            "quota": {"servers": self._quota[0], "at": format_time(self._quota[1])} if self._quota else None,
            "addresses": {"most": self._addresses[0], "at": format_time(self._addresses[1])}
            if self._addresses
            else None,
        }
        with suppress(OSError):
            make_folder(self.path.parent)
            replace_file(self.path, json.dumps(document, indent=2).encode() + b"\n")


def _is_fresh(at: datetime, now: datetime, lifetime: timedelta) -> bool:
    """Return whether `at` is less than `lifetime` ago. A time in the future comes from a wrong clock, and is not."""
    return timedelta(seconds=-1) <= now - at < lifetime
