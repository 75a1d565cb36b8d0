"""What can be ordered, as a request names it and as lists show it: server types, locations, prices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.hetzner.catalogue import ISOS, LOCATIONS, SERVER_TYPES, Location, ServerType
from scaler.simulator.hetzner.replies import (
    ARCHITECTURES,
    filter_values,
    in_order,
    invalid,
    missing,
    page,
    shapes,
    unfit,
)
from scaler.simulator.hetzner.shapes import Json


def list_catalogue(key: str, rows: Callable[[Call], list[Json]]) -> Handler:
    """A list of the catalogue, by `name`."""

    def handler(call: Call) -> Reply:
        name = call.query.get("name")
        found = [row for row in rows(call) if name is None or row["name"] == name]
        return page(call, key, in_order(call, found, ("id", "name")), lambda row: row)

    return handler


def get_catalogue(key: str, rows: Callable[[Call], list[Json]]) -> Handler:
    """One row of the catalogue, by its id."""

    def handler(call: Call) -> Reply:
        found = next((row for row in rows(call) if row["id"] == call.params["id"]), None)
        if found is None:
            raise missing(key, call.params["id"])
        return Reply({key: found})

    return handler


def server_types(call: Call) -> list[Json]:
    """All server types."""
    view = shapes(call)
    return [view.server_type(kind) for kind in SERVER_TYPES.values() if view.is_listed(kind)]


def server_types_by_id(call: Call) -> list[Json]:
    """All server types: by its id, a withdrawn one is answered for ever (terraform-provider-hcloud 1.68.0's tests)."""
    view = shapes(call)
    return [view.server_type(kind) for kind in SERVER_TYPES.values()]


def isos(call: Call) -> list[Json]:
    """All ISOs, or those of the architectures that are asked for."""
    wanted = filter_values(call, "architecture", ARCHITECTURES)
    return [dict(iso) for iso in ISOS if not wanted or iso["architecture"] in wanted]


def find_iso(call: Call, wanted: Any) -> Json:
    """The ISO with a name or an id, as text; 404."""
    for iso in ISOS:
        if str(wanted) in (iso["name"], str(iso["id"])):
            return dict(iso)
    raise missing("iso", wanted)


def locations(call: Call) -> list[Json]:
    """All locations."""
    return [shapes(call).location(location) for location in LOCATIONS.values()]


def pricing(call: Call) -> Reply:
    """All prices."""
    return Reply({"pricing": shapes(call).pricing()})


def datacenters(call: Call) -> Reply:
    """Removed by Hetzner on 2026-10-01."""
    details = {"announcement": "https://docs.hetzner.cloud/changelog#2026-10-01-datacenters-removed"}
    raise ApiError(410, "deprecated_api_endpoint", "the datacenters endpoint has been removed", details)


def list_nothing(key: str) -> Handler:
    """The list of a kind that the embedded cloud has none of."""
    return lambda call: page(call, key, [], dict)


# ---------------------------------------------------------------------------------------------
# What a request names


def find_server_type(call: Call, wanted: Any) -> ServerType:
    """The type with a name or an id that can still be ordered; 422."""
    found = next((kind for kind in SERVER_TYPES.values() if wanted in (kind.name, kind.id, str(kind.id))), None)
    if found is None:
        raise invalid("server_type", f"server type '{wanted}' not found")
    deprecation = shapes(call).deprecation(found)
    if deprecation and datetime.fromisoformat(deprecation["unavailable_after"]).timestamp() <= call.now:
        raise invalid("server_type", f"server type '{found.name}' is deprecated")
    return found


def location_asked_for(call: Call, wanted: Any, kind: ServerType) -> str:
    """The location asked for, or the first one that has the type now."""
    if wanted is None:
        has_room = (place for place in kind.locations if call.world.has_capacity("hetzner", kind.name, place))
        return next(has_room, kind.locations[0])
    found = find_location(wanted)
    if found is None:
        raise unfit(f"location '{wanted}' not found")
    if found.name not in kind.locations:
        raise unfit("unsupported location for server type")
    return found.name


def find_location(wanted: Any) -> Location | None:
    """The location with a name or an id."""
    return next((place for place in LOCATIONS.values() if wanted in (place.name, place.id, str(place.id))), None)
