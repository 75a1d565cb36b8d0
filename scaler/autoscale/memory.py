"""The memory of autoscaling: what a decision needs to know of earlier ones, in a file beside the state file.

`<stack>.autoscale.json` is always replaced as a whole. If it is lost or damaged, no group shrinks
before a stabilisation window has passed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from scaler.autoscale.decision import History, MetricHealth, Rate, SampleState
from scaler.errors import StateError
from scaler.records.json_fields import MOST_SERVERS
from scaler.support.clock import format_time, parse_time
from scaler.support.documents import read_json
from scaler.support.files import make_folder, replace_file
from scaler.support.values import dataclass

SCHEMA = 1

_LARGEST = 16 << 20
"""Bytes of the file: the numbers of one stabilisation window, for each group."""


@dataclass(frozen=True)
class Remembered:
    """The history of each group, and what was logged of it last."""

    histories: Mapping[str, History]
    logged: Mapping[str, str]
    """By group: the key of the last logged decision, so that each is logged once."""

    @property
    def moments(self) -> tuple[datetime, ...]:
        """All times in the histories."""
        return tuple(moment for history in self.histories.values() for moment in history.moments)

    def none_after(self, now: datetime) -> Remembered:
        """Return the same memory with each time in the future replaced by `now`."""
        return replace(self, histories={name: history.none_after(now) for name, history in self.histories.items()})


@dataclass(frozen=True)
class Memory:
    """The file with the memory of one stack."""

    path: Path
    warn: Callable[[str], None]

    @classmethod
    def of(cls, state_dir: Path, stack: str, warn: Callable[[str], None]) -> Memory:
        """Return the memory of a stack in a state folder."""
        return cls(state_dir / f"{stack}.autoscale.json", warn)

    def load(self) -> Remembered:
        """Read the file. Warn and return an empty memory if it is damaged or from a newer scaler."""
        try:
            document = read_json(self.path, _LARGEST)
            if document["schema"] != SCHEMA:
                raise ValueError(f"it has schema {document['schema']}")
            groups = document["groups"]
            return Remembered(
                {name: _history(fields) for name, fields in groups.items()},
                {name: str(fields["logged"]) for name, fields in groups.items()},
            )
        except FileNotFoundError:
            return Remembered({}, {})
        except OSError as error:
            raise StateError(
                f"The memory of autoscaling, {self.path}, cannot be read.",
                why=error.strerror or str(error),
                fix="Make it readable for this user, or name another folder with --state-dir.",
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            self.warn(f"{self.path.name} is damaged and is replaced by a new one: {type(error).__name__}")
            return Remembered({}, {})

    def save(self, remembered: Remembered) -> None:
        """Replace the file. Raise StateError if that is not possible."""
        document = {
            "schema": SCHEMA,
            "groups": {
                name: {**_fields(history), "logged": remembered.logged.get(name, "")}
                for name, history in remembered.histories.items()
            },
        }
        try:
            make_folder(self.path.parent)
            replace_file(self.path, json.dumps(document, indent=2).encode() + b"\n")
        except OSError as error:
            raise StateError(
                f"The memory of autoscaling, {self.path}, cannot be written.",
                why=error.strerror or str(error),
                fix="Free disk space and make the folder writable, or name another folder with --state-dir.",
            ) from error


def _fields(history: History) -> dict[str, Any]:
    return {
        "count": history.count,
        "meant": history.meant,
        "raised": _text(history.raised),
        "lowered": _text(history.lowered),
        "by_hand": _text(history.by_hand),
        "asked": [[format_time(moment), count] for moment, count in history.asked],
        "health": {
            name: {"state": str(health.state), "since": format_time(health.since)}
            for name, health in history.health.items()
        },
        "rates": {
            name: {
                "finished": rate.finished,
                "at": format_time(rate.at),
                "busy": rate.busy,
                "per_server": rate.per_server,
            }
            for name, rate in history.rates.items()
        },
    }


def _history(fields: Mapping[str, Any]) -> History:
    return History(
        asked=tuple((parse_time(moment), _count(count, most=None)) for moment, count in fields["asked"]),
        count=None if fields["count"] is None else _count(fields["count"]),
        raised=_moment(fields["raised"]),
        lowered=_moment(fields["lowered"]),
        # Earlier versions saved neither.
        by_hand=_moment(fields.get("by_hand")),
        meant=None if fields.get("meant") is None else _count(fields["meant"]),
        health={
            name: MetricHealth(SampleState(health["state"]), parse_time(health["since"]))
            for name, health in fields["health"].items()
        },
        rates={
            name: Rate(
                _figure(rate["finished"]),
                parse_time(rate["at"]),
                bool(rate["busy"]),
                None if rate["per_server"] is None else _figure(rate["per_server"]),
            )
            for name, rate in fields["rates"].items()
        },
    )


def _count(value: Any, most: int | None = MOST_SERVERS) -> int:
    """Return a number of servers; ValueError for one that no decision has. What a rule asked for has no bound."""
    count = int(value)
    if count < 0 or (most is not None and count > most):
        raise ValueError("a count is out of range")
    return count


def _figure(value: Any) -> float:
    if not math.isfinite(figure := float(value)):
        raise ValueError("a figure is not finite")
    return figure


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
