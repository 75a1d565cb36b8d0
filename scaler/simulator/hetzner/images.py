"""Images: Hetzner's own and snapshots."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scaler.simulator.bodies import digits
from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act, settle
from scaler.simulator.hetzner.catalogue import IMAGES, ServerType
from scaler.simulator.hetzner.labels import Selector, parse_selector
from scaler.simulator.hetzner.replies import (
    ARCHITECTURES,
    filter_values,
    get,
    in_order,
    invalid,
    labels_asked_for,
    missing,
    page,
    shapes,
)
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing

_FILTERS = {
    "type": ("system", "app", "snapshot", "backup", "temporary"),
    "status": ("available", "creating", "unavailable"),
    "architecture": ARCHITECTURES,
    "include_deprecated": ("true", "false", "True", "False"),
}


def list_images(call: Call) -> Reply:
    """Images by `type`, `status`, `architecture`, `name`, `label_selector`, `include_deprecated`."""
    query, view = call.query, shapes(call)
    for name, known in _FILTERS.items():
        filter_values(call, name, known)
    chosen = _selector(call)
    rows = [view.snapshot(thing) for thing in call.listed("snapshot")]
    rows += [view.system_image(image) for image in IMAGES.values()]
    rows = [row for row in rows if chosen(row["labels"])]
    if query.get("include_deprecated", "").lower() != "true":
        rows = [row for row in rows if not _deprecated(row, call.now)]
    for field in ("type", "status", "architecture", "name"):
        if wanted := query.getlist(field):
            rows = [row for row in rows if row[field] in wanted]
    return page(call, "images", in_order(call, rows), lambda row: row)


def _deprecated(row: Json, now: float) -> bool:
    moment = row["deprecated"]
    return moment is not None and datetime.fromisoformat(moment).astimezone(UTC).timestamp() <= now


def _selector(call: Call) -> Selector:
    try:
        return parse_selector(call.query.get("label_selector", ""))
    except ValueError as error:
        raise invalid("label_selector", str(error)) from error


def get_image(call: Call) -> Reply:
    """One image."""
    found = shapes(call).image(call.params["id"])
    if found is None:
        raise missing("image", call.params["id"])
    return Reply({"image": found})


def update_image(call: Call) -> Reply:
    """Change a snapshot's description or labels, or make a snapshot of a backup."""
    snapshot = get(call, "snapshot")
    if call.fields.get("type") not in (None, "snapshot"):
        raise invalid("type", "must be snapshot")
    if call.fields.get("type") is not None:
        snapshot.body |= {"type": "snapshot", "bound_to": None}
    snapshot.name = call.fields.get("description") or snapshot.name
    if call.fields.get("labels") is not None:
        snapshot.body["labels"] = labels_asked_for(call)
    call.world.save(snapshot)
    return Reply({"image": shapes(call).snapshot(snapshot)})


def delete_image(call: Call) -> Reply:
    """Delete a snapshot."""
    snapshot = get(call, "snapshot")
    if snapshot.body.get("protected"):
        raise ApiError(423, "protected", "image deletion is protected")
    call.world.remove(snapshot)
    return Reply(status=204)


def protect_image(call: Call) -> Reply:
    """Protect a snapshot against deletion."""
    snapshot = get(call, "snapshot")
    snapshot.body["protected"] = bool(call.fields.get("delete"))
    action = act(call, "change_protection", 0.0, others=[{"id": snapshot.id, "type": "image"}])
    settle(call, action, snapshot)
    return Reply({"action": shapes(call).action(action)}, 201)


def remove_backups(call: Call, server: Thing, *, at: float | None = None) -> None:
    """Delete the backups of a server: each is bound to it."""
    for backup in call.world.things("hetzner", "snapshot"):
        if backup.body.get("bound_to") == server.id:
            call.world.remove(backup, at=at)


# ---------------------------------------------------------------------------------------------
# What a request names


def usable_image(call: Call, wanted: Any, kind: ServerType) -> tuple[int, bool]:
    """The image's id, and whether it is a snapshot, of an image that fits the type."""
    shape = _find_image(call, wanted, kind.architecture)
    if shape is None:
        raise invalid("image", f"image '{wanted}' not found")
    if shape["architecture"] != kind.architecture:
        raise invalid("image", "image architecture is not compatible with server type architecture")
    if shape["disk_size"] > kind.disk:
        raise invalid("image", "image disk is bigger than server type disk")
    if shape["status"] != "available":
        raise ApiError(412, "resource_unavailable", "image is not available")
    return int(shape["id"]), shape["type"] != "system"


def _find_image(call: Call, wanted: Any, architecture: str) -> Json | None:
    view = shapes(call)
    number = digits(wanted) if isinstance(wanted, str) else wanted
    if number is not None:
        return view.image(number)
    named = [image for image in IMAGES.values() if image.name == wanted]
    fitting = next((image for image in named if image.architecture == architecture), named[0] if named else None)
    return view.system_image(fitting) if fitting else None
