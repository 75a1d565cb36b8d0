"""What exists in the embedded cloud, as values."""

from __future__ import annotations

import json
import math
from dataclasses import field, replace
from itertools import pairwise
from typing import Any

from scaler.simulator.profiles import CloudName
from scaler.support.values import dataclass

FOREVER = math.inf
IDLE = 0.01
"""The load of a machine of which nothing else was said."""


@dataclass
class Thing:
    """Anything with an id: a server, a droplet, an image, a key, an action. `body` is its kind's own business.

    Machines (`kind` is `server` at both clouds) have in their body a `timeline`, pairs of a moment and the
    status that begins then, and `busy_until`, when the action that holds the lock is over.
    """

    cloud: CloudName
    kind: str
    name: str | None
    body: dict[str, Any]
    created: float = 0.0
    gone: float | None = None
    """From when on nobody sees it; None: it is here to stay."""
    parent: int | None = None
    """The machine that it belongs to."""
    id: int = field(default=0)

    def exists(self, now: float) -> bool:
        """Whether it was there at a moment."""
        return self.created <= now and (self.gone is None or self.gone > now)

    def status(self, now: float) -> str:
        """The machine's status at a moment."""
        current = ""
        for moment, status in self.body["timeline"]:
            if moment > now:
                break
            current = status
        return current or self.body["timeline"][0][1]

    def cpu(self, now: float) -> float:
        """The machine's load at a moment: the share of all its cores, while it runs."""
        shares = [share for moment, share in self.body.get("cpu", ()) if moment <= now]
        return float(shares[-1]) if shares else IDLE

    def busy_s(self, start: float, end: float) -> float:
        """How many seconds of a time the machine was busy, of as many as the time has."""
        inner = [moment for moment, _ in self.body.get("cpu", ()) if start < moment < end]
        edges = [start, *inner, end]
        return sum(((after - before) * self.cpu(before) for before, after in pairwise(edges)), 0.0)

    def running_since(self, now: float) -> float | None:
        """From when on the machine has been running; None if it does not."""
        since: float | None = None
        for moment, status in self.body["timeline"]:
            if moment > now:
                break
            since = (moment if since is None else since) if status in ("running", "active") else None
        return since

    def locked(self, now: float) -> bool:
        """Whether an action runs on the machine."""
        return float(self.body.get("busy_until", 0.0)) > now

    def remember(self, until: float, *fields: str) -> None:
        """Keep what the name and these fields of the body are now, for reads that lag until a moment."""
        self.body.pop("earlier", None)
        self.body["earlier"] = {"until": until, "name": self.name, **{key: self.body[key] for key in fields}}

    def change_at(self, moment: float, **changes: Any) -> None:
        """Take another `name`, or other values of fields of the body, from a moment on: when an action has ended."""
        self.body["coming"] = [*self.body.get("coming", ()), [moment, changes]]

    def coming(self, key: str) -> Any:
        """The value that a field of the body has when all that is under way has ended."""
        values = [changes[key] for _, changes in self.body.get("coming", ()) if key in changes]
        return values[-1] if values else self.body.get(key)

    def at(self, moment: float) -> Thing:
        """The thing with the changes that have come by a moment."""
        changes = self.body.get("coming", ())
        come = {key: value for when, values in changes if when <= moment for key, value in values.items()}
        if not come:
            return self
        left = [[when, values] for when, values in changes if when > moment]
        return replace(self, name=come.pop("name", self.name), body={**self.body, **come, "coming": left})

    def read(self, now: float) -> Thing:
        """The thing as reads show it now: a change may come later."""
        earlier = self.body.get("earlier")
        if earlier is None or earlier["until"] <= now:
            return self
        return replace(self, name=earlier["name"], body={**self.body, **earlier})

    def become(self, now: float, *steps: tuple[float, str]) -> None:
        """Forget what was to come, and take these statuses at these moments instead."""
        past = [step for step in self.body["timeline"] if step[0] <= now]
        self.body["timeline"] = [*past, *map(list, steps)]


@dataclass(frozen=True)
class LoggedRequest:
    """A request as the log has it. Headers, and so the token, are never kept."""

    id: int
    at: float
    cloud: str
    method: str
    path: str
    query: str
    body: str | None
    status: int | None
    """None: no answer was sent."""
    agent: str
    effects: tuple[str, ...]
    """The faults that hit it."""

    @property
    def names(self) -> list[str]:
        """The machines that a create request asks for: at DigitalOcean one may have several."""
        body = json.loads(self.body or "")
        return body.get("names") or [body["name"]]


def address(cloud: CloudName, id: int) -> str:
    """A public IPv4 address. All of 127/8 is loopback: whoever probes it never leaves the machine."""
    low = id % (1 << 22)
    return f"127.{(128 if cloud == 'hetzner' else 64) + (low >> 16)}.{low >> 8 & 255}.{low & 255}"
