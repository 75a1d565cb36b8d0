"""The control plane `/_sim`: what tests and people do to the world from outside, over HTTP.

GET    /_sim/state            profile, clock, counts, faults, what exists
GET    /_sim/log?after=ID     the requests; DELETE forgets them
POST   /_sim/reset            a new world
POST   /_sim/clock            {"advance_s": 60} or {"speed": 10}
POST   /_sim/profile          {"profile": "instant", "knobs": {"boot_s": 8}}
GET, POST, DELETE /_sim/faults[/ID]      rules, see `faults.Rule`
POST   /_sim/{cloud}/{edit}   a method of `SimulatedWorld` (`EDITS`), its arguments as a JSON object:
                              /_sim/hetzner/vanish {"id": 4000003}
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scaler.simulator.bodies import Kind, amount, number, several, text, wrong_field
from scaler.simulator.clock import timestamp
from scaler.simulator.digitalocean import catalogue as digitalocean
from scaler.simulator.faults import FaultReport, Rule, check_known
from scaler.simulator.hetzner import catalogue as hetzner
from scaler.simulator.profiles import CLOUDS
from scaler.simulator.things import Thing
from scaler.simulator.world import SimulatedWorld

EDITS: Mapping[str, Callable[..., Any]] = {
    "add_server": SimulatedWorld.add_server,
    "vanish": SimulatedWorld.vanish,
    "power_off": SimulatedWorld.power_off,
    "cpu": SimulatedWorld.set_cpu,
    "set_status": SimulatedWorld.set_status,
    "relabel": SimulatedWorld.relabel,
    "rename": SimulatedWorld.rename,
    "resize": SimulatedWorld.resize,
    "add_snapshot": SimulatedWorld.add_snapshot,
    "remove_snapshot": SimulatedWorld.remove_snapshot,
    "quota": SimulatedWorld.set_quota,
    "capacity": SimulatedWorld.set_capacity,
    "deprecate": SimulatedWorld.deprecate,
    "tokens": SimulatedWorld.set_tokens,
    "rate_limit": SimulatedWorld.set_rate_limit,
}

_SOLD: Mapping[str, tuple[Collection[str], Collection[str]]] = {
    "hetzner": (hetzner.SERVER_TYPES, hetzner.LOCATIONS),
    "digitalocean": (digitalocean.SIZES, digitalocean.REGIONS),
}
"""Each cloud's types and places."""

_FIELDS: Mapping[str, Kind] = {
    "architecture": text,
    "description": text,
    "disk": number,
    "id": number,
    "image": number,
    "left": number,
    "name": text,
    "ready_in": amount,
    "regions": several(text),
    "size_gb": amount,
    "source": number,
    "status": text,
}
"""The types of what edits take; null is fine where an edit has a default."""

MOST_SECONDS, MOST_SPEED = 10 * 366 * 86400, 100_000
"""How far the clock goes at once, and how fast: no moment is one that no calendar has."""

Action = Callable[[SimulatedWorld, Request, dict[str, Any]], Any]


def _endpoint(action: Action) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers with what `action` returns, or with 400 and why not."""

    async def endpoint(request: Request) -> Response:
        try:
            arguments = json.loads(await request.body() or b"{}")
            if not isinstance(arguments, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004 - one error for all of it
            return JSONResponse(action(request.app.state.world, request, arguments) or {})
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return endpoint


def _state(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    with world.transaction() as now:
        return {
            "now": timestamp(now),
            "profile": world.profile,
            "knobs": {cloud: asdict(world.knobs(cloud)) for cloud in CLOUDS},
            "servers": {cloud: [_server(thing, now) for thing in world.servers(cloud)] for cloud in CLOUDS},
            "snapshots": {cloud: [_thing(thing) for thing in world.things(cloud, "snapshot")] for cloud in CLOUDS},
            "faults": [_fault(report) for report in world.faults()],
            "requests": len(world.log()),
        }


def _thing(thing: Thing) -> dict[str, Any]:
    return {"id": thing.id, "name": thing.name, "created": timestamp(thing.created), **thing.body}


def _server(thing: Thing, now: float) -> dict[str, Any]:
    kept = {key: value for key, value in _thing(thing).items() if key not in ("timeline", "busy_until", "user_data")}
    return {**kept, "status": thing.status(now), "locked": thing.locked(now)}


def _fault(report: FaultReport) -> dict[str, Any]:
    return {"id": report.id, **report.rule.to_json(), "seen": report.seen, "fired": report.fired}


def _log(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    entries = world.log(after=int(request.query_params.get("after", 0)))
    return {"log": [{**asdict(entry), "body": _without_user_data(entry.body)} for entry in entries]}


def _without_user_data(body: str | None) -> str | None:
    """Return a request's body as any local process may read it: user data may hold secrets, here as at a vendor."""
    if body is None or "user_data" not in body:
        return body
    try:
        content = json.loads(body)
    except ValueError:
        return None
    if isinstance(content, dict) and isinstance(content.get("user_data"), str):
        content["user_data"] = f"{len(content['user_data'])} characters"
        return json.dumps(content)
    return body if isinstance(content, dict) else None


def _clear_log(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> None:
    world.clear_log()


def _reset(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> None:
    check_known("the reset", arguments, ())
    world.reset()


def _clock(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    check_known("the clock", arguments, ("advance_s", "speed"))
    speed, seconds = (float(arguments.get(key, default)) for key, default in (("speed", 1), ("advance_s", 0)))
    if not 0 <= speed <= MOST_SPEED or not 0 <= seconds <= MOST_SECONDS:
        raise ValueError(f"time goes forward: advance_s is at most {MOST_SECONDS}, and speed at most {MOST_SPEED}")
    if "speed" in arguments:
        world.set_speed(speed)
    world.advance(seconds)
    return {"now": timestamp(world.now)}


def _profile(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> None:
    check_known("the profile", arguments, ("profile", "knobs"))
    world.set_profile(arguments.get("profile", world.profile), **arguments.get("knobs", {}))


def _faults(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"faults": [_fault(report) for report in world.faults()]}


def _add_fault(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"id": world.add_rule(Rule.from_json(arguments))}


def _clear_faults(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> None:
    world.clear_faults(request.path_params.get("id"))


def _edit(world: SimulatedWorld, request: Request, arguments: dict[str, Any]) -> dict[str, Any] | None:
    cloud, name = request.path_params["cloud"], request.path_params["edit"]
    if cloud not in CLOUDS or name not in EDITS:
        raise LookupError(f"no {cloud}/{name}: clouds are {', '.join(CLOUDS)}, edits are {', '.join(EDITS)}")
    _check_catalogue(cloud, arguments)
    result = EDITS[name](world, cloud, **arguments)
    return {"id": result.id} if isinstance(result, Thing) else None


def _check_catalogue(cloud: str, arguments: Mapping[str, Any]) -> None:
    """Refuse what lists could not show: a type or a place that the cloud does not have, and what has a wrong type."""
    if wrong := wrong_field(arguments, _FIELDS):
        raise ValueError(f"{wrong} has the wrong type")
    types, places = _SOLD[cloud]
    for key, known in (("type", types), ("location", places)):
        if arguments.get(key) not in (None, "*", *known):
            raise ValueError(f"{cloud} has no {key} {arguments[key]!r}")
    labels, tags = arguments.get("labels") or {}, arguments.get("tags") or []
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("labels must be an object of strings")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("tags must be a list of strings")


routes = [
    Route("/_sim/state", _endpoint(_state), methods=["GET"]),
    Route("/_sim/log", _endpoint(_log), methods=["GET"]),
    Route("/_sim/log", _endpoint(_clear_log), methods=["DELETE"]),
    Route("/_sim/reset", _endpoint(_reset), methods=["POST"]),
    Route("/_sim/clock", _endpoint(_clock), methods=["POST"]),
    Route("/_sim/profile", _endpoint(_profile), methods=["POST"]),
    Route("/_sim/faults", _endpoint(_faults), methods=["GET"]),
    Route("/_sim/faults", _endpoint(_add_fault), methods=["POST"]),
    Route("/_sim/faults", _endpoint(_clear_faults), methods=["DELETE"]),
    Route("/_sim/faults/{id:int}", _endpoint(_clear_faults), methods=["DELETE"]),
    Route("/_sim/{cloud}/{edit}", _endpoint(_edit), methods=["POST"]),
]
