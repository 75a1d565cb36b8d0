"""What Hetzner's endpoints share: refusals, pages, filters, and finding what a request names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from scaler.simulator.bodies import digits
from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.labels import parse_selector, problem
from scaler.simulator.hetzner.shapes import Json, Shapes
from scaler.simulator.things import Thing

PER_PAGE, MOST_PER_PAGE = 25, 50
ARCHITECTURES = ("x86", "arm")


_HOSTNAME = re.compile(
    r"(?=.{1,253}$)([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)


def invalid(field: str, message: str) -> ApiError:
    """422 `invalid_input` for one field."""
    details = {"fields": [{"name": field, "messages": [message]}]}
    return ApiError(422, "invalid_input", f"invalid input in field '{field}'", details)


def unfit(message: str) -> ApiError:
    """422 `invalid_input` in words, and no field (autobase-tech/autobase#1403, terraform-provider-hcloud#493)."""
    return ApiError(422, "invalid_input", message, {})


def missing(kind: str, id: object) -> ApiError:
    """404 for a kind and the id or name that was asked for."""
    return ApiError(404, "not_found", f"{kind.replace('_', ' ')} with ID '{id}' not found")


def taken(kind: str, field: str = "name") -> ApiError:
    """409 `uniqueness_error`."""
    details = {"fields": [{"name": field}]}
    return ApiError(409, "uniqueness_error", f"{kind.replace('_', ' ')} {field} is already used", details)


def shapes(call: Call) -> Shapes:
    """The shapes of things as they are now."""
    return Shapes(call.world, call.now)


# ---------------------------------------------------------------------------------------------
# Pages and filters


def page(call: Call, key: str, rows: Sequence[Any], render: Callable[[Any], Json]) -> Reply:
    """One page of a list, with its `meta` and `Link`."""
    page, per_page = _number(call, "page", 1), min(_number(call, "per_page", PER_PAGE), MOST_PER_PAGE)
    last = max(1, -(-len(rows) // per_page))
    shown = [render(row) for row in rows[(page - 1) * per_page : page * per_page]]
    meta = {
        "page": page,
        "per_page": per_page,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(rows),
    }
    links = [("prev", meta["previous_page"]), ("next", meta["next_page"]), ("last", last)]
    link = ", ".join(f'<{_url(call, number)}>; rel="{name}"' for name, number in links if number)
    return Reply({key: shown, "meta": {"pagination": meta}}, headers={"Link": link})


def _url(call: Call, page: int) -> str:
    others = [(key, value) for key, value in call.query.multi_items() if key != "page"]
    return f"{call.base_url}{call.path}?{urlencode([*others, ('page', page)])}"


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    number = digits(text)
    if not number:
        raise invalid(name, "must be a positive integer")
    return number


def filter_values(call: Call, name: str, known: Sequence[str]) -> list[str]:
    """The values of a filter that has only these; 422 for another."""
    wanted = call.query.getlist(name)
    if unknown := [value for value in wanted if value not in known]:
        raise invalid(name, f"must be one of {', '.join(known)}, not '{unknown[0]}'")
    return wanted


def selected(call: Call, things: Iterable[Thing]) -> list[Thing]:
    """Those that `name` and `label_selector` ask for."""
    try:
        chosen = parse_selector(call.query.get("label_selector", ""))
    except ValueError as error:
        raise invalid("label_selector", str(error)) from error
    name = call.query.get("name")
    return [thing for thing in things if (name is None or thing.name == name) and chosen(thing.body.get("labels", {}))]


def in_order(call: Call, rows: Iterable[Json], fields: Iterable[str] = ("id", "name", "created")) -> list[Json]:
    """In the order that `sort` asks for; by id without it. The first criterion counts most."""
    ordered = sorted(rows, key=lambda row: int(row["id"]))
    for criterion in reversed(call.query.getlist("sort")):
        field, _, direction = criterion.partition(":")
        if field not in fields or direction not in ("", "asc", "desc"):
            raise invalid("sort", f"cannot sort by '{criterion}'")
        ordered.sort(key=_sort_key(field), reverse=direction == "desc")
    return ordered


def _sort_key(field: str) -> Callable[[Json], tuple[Any, ...]]:
    """By a field; what was created in the same second, by id."""
    return lambda row: (row[field] is None, row[field] or 0, row["id"] if field == "created" else 0)


def things_in_order(call: Call, things: list[Thing]) -> list[Thing]:
    """The same for things, before they are rendered."""
    keys = {thing.id: thing for thing in things}
    rows = [{"id": thing.id, "name": thing.name, "created": thing.created} for thing in things]
    return [keys[row["id"]] for row in in_order(call, rows)]


# ---------------------------------------------------------------------------------------------
# What a request names


def get(call: Call, kind: str, id: Any = None) -> Thing:
    """The thing that the path (or `id`) names."""
    wanted = call.params["id"] if id is None else id
    found = call.world.get("hetzner", kind, wanted) if isinstance(wanted, int) else None
    if found is None:
        raise missing("image" if kind == "snapshot" else kind, wanted)
    return found


def reference(call: Call, kind: str, wanted: Any) -> Thing:
    """A thing that a create request names by id or name."""
    found = call.world.get("hetzner", kind, wanted) if isinstance(wanted, int) else None
    named = call.world.find("hetzner", kind, str(wanted))
    if found is None and not named:
        raise missing(kind, wanted)
    return found or named[0]


def new_name(call: Call, kind: str) -> str:
    """The name that the request gives to a new or renamed thing: valid, and unique in its kind."""
    name = call.fields.get("name")
    if not isinstance(name, str) or not name:
        raise invalid("name", "Missing data for required field.")
    if kind == "server" and not _HOSTNAME.fullmatch(name):
        raise invalid("name", "Name must be a valid hostname.")
    if any(thing.name == name for thing in call.world.held("hetzner", kind)):
        raise taken(kind)
    return name


def labels_asked_for(call: Call) -> dict[str, str]:
    """The labels that the request states, checked."""
    labels = call.fields.get("labels") or {}
    if wrong := problem(labels):
        raise invalid("labels", wrong)
    return dict(labels)
