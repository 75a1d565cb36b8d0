"""A request as a cloud's API code sees it, and what it may answer.

An API states its conventions in an `Api`. A handler is a plain function from a `Call` to a `Reply`
that raises `ApiError`. It runs inside one transaction, and leaves nothing behind when it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from starlette.datastructures import QueryParams

from scaler.simulator.bodies import Kind
from scaler.simulator.faults import Effect
from scaler.simulator.profiles import CloudName, Knobs
from scaler.simulator.things import FOREVER, Thing
from scaler.simulator.world import SimulatedWorld
from scaler.support.values import dataclass

_STUCK = ("stuck_initializing", "stuck_new", "stuck_locked")
"""Faults by which what a request begins never ends."""


@dataclass(frozen=True)
class Reply:
    """An answer: a JSON value, or no body with 204."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """Answer the request with an error in the API's own shape; nothing is changed. It is no failure of ours."""

    def __init__(
        self, status: int, code: str, message: str, details: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.headers = headers or {}


@dataclass(frozen=True)
class Api:
    """One cloud's conventions."""

    cloud: CloudName
    error_body: Callable[[ApiError, str], Any]
    """The JSON of an error, given the request's id."""
    request_id: Callable[[], str]
    request_id_header: str
    codes: Mapping[int, str]
    """The usual error code of an HTTP status."""
    unauthorized: ApiError
    readonly: ApiError
    rate_limited: ApiError
    not_found: ApiError
    well_formed: Callable[[str], bool]
    """Whether a token looks like one of this cloud's."""
    fields: Mapping[str, Kind]
    """The types of the fields that requests have, by name: a field means the same everywhere."""
    wrong_type: Callable[[str], ApiError]
    """Make the error for the field of this name, which has another type."""


@dataclass
class Call:
    """A request as a handler sees it."""

    world: SimulatedWorld
    api: Api
    now: float
    """The moment that holds for all of the request."""
    knobs: Knobs
    method: str
    base_url: str
    """Without a slash at the end: `http://127.0.0.1:4711`."""
    path: str
    params: Mapping[str, Any]
    """The path's parameters."""
    query: QueryParams
    body: Any
    """The parsed JSON; None without a body."""
    effects: Sequence[Effect] = ()

    def effect(self, kind: str) -> Effect | None:
        """The fault of this kind that hits this request."""
        return next((effect for effect in self.effects if effect.kind == kind), None)

    def takes(self, seconds: float) -> float:
        """How long what the request begins takes instead of so long: more if it is `slow`, for ever if it is stuck."""
        if any(self.effect(kind) for kind in _STUCK):
            return FOREVER
        slow = self.effect("slow")
        return seconds * float(slow.get("factor", 10.0)) if slow else seconds

    @property
    def fields(self) -> dict[str, Any]:
        """The body as an object; empty without one."""
        return self.body if isinstance(self.body, dict) else {}

    def listed_at(self, kind: str) -> float:
        """The moment that a list of this kind shows."""
        stale = self.effect("stale_list")
        lag = float(stale.get("seconds", 10.0)) if stale else 0.0
        return self.now - max(lag, self.knobs.list_lag_s if kind == "server" else 0.0)

    def listed(self, kind: str) -> list[Thing]:
        """What a list of this kind shows: with the cloud's lag, and the faults `stale_list` and `list_misses`.

        `stale_list` shows the list as it was `seconds` ago. `list_misses` hides those of `ids` or `names`,
        else the `newest` so many.
        """
        things = self.world.things(self.api.cloud, kind, at=self.listed_at(kind))
        misses = self.effect("list_misses")
        if misses is None:
            return things
        ids, names = misses.get("ids", ()), misses.get("names", ())
        if not ids and not names:
            return things[: -int(misses.get("newest", 1))]
        return [thing for thing in things if thing.id not in ids and thing.name not in names]


Handler = Callable[[Call], Reply]
