"""What the next decision must know of the earlier ones, beside the state file.

`<stack>.autoscale.json` is replaced whole. It can be lost or damaged: decisions are then careful,
nothing shrinks before a stabilisation window has passed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scaler.autoscale.decide import Health, History, Rate, State
from scaler.errors import StateError
from scaler.support.clock import format_time, parse_time
from scaler.support.files import make_folder, replace_file

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """All groups' histories, and what was logged of each last."""

    histories: Mapping[str, History]
    logged: Mapping[str, str]
    """By group: what tells one decision from another, so that the log has each once."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one stack."""

    path: Path
    warn: Callable[[str], None]

    @classmethod
    def of(cls, state_dir: Path, stack: str, warn: Callable[[str], None]) -> Memory:
        """The memory in a state folder."""
        return cls(state_dir / f"{stack}.autoscale.json", warn)

    def load(self) -> Remembered:
        """What is remembered; nothing, after a warning, if the file is damaged or of a newer scaler."""
        try:
            document = json.loads(self.path.read_bytes())
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
                fix="make it readable for this user, or name another folder with --state-dir",
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.warn(f"{self.path.name} is damaged and begun anew: {type(error).__name__}")
            return Remembered({}, {})

    def save(self, remembered: Remembered) -> None:
        """Replace the file's content in one step; StateError if that cannot be done."""
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
                fix="make room and the folder writable, or name another with --state-dir",
            ) from error


def _fields(history: History) -> dict[str, Any]:
    return {
        "count": history.count,
        "raised": _told(history.raised),
        "lowered": _told(history.lowered),
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
        asked=tuple((parse_time(moment), int(count)) for moment, count in fields["asked"]),
        count=None if fields["count"] is None else int(fields["count"]),
        raised=_moment(fields["raised"]),
        lowered=_moment(fields["lowered"]),
        health={
            name: Health(State(health["state"]), parse_time(health["since"]))
            for name, health in fields["health"].items()
        },
        rates={
            name: Rate(
                float(rate["finished"]),
                parse_time(rate["at"]),
                bool(rate["busy"]),
                None if rate["per_server"] is None else float(rate["per_server"]),
            )
            for name, rate in fields["rates"].items()
        },
    )


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
