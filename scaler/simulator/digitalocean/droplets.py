"""Droplets and what is done to them.

Every change of a droplet is an action that takes a while and holds the droplet's lock meanwhile;
one action at a time. A name may be used twice. A deleted droplet stays visible until its deletion
has ended.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from scaler.simulator.call import Call, Handler, Reply
from scaler.simulator.digitalocean.catalogue import REGIONS, SIZES, BaseImage
from scaler.simulator.digitalocean.replies import (
    CLOUD,
    NO_CONTENT,
    filter_value,
    find_image,
    find_ssh_key,
    has_tag,
    make_tag,
    not_found,
    not_served,
    page,
    refused,
    shapes,
    thing,
)
from scaler.simulator.digitalocean.shapes import Json, Shapes, features, snapshot_regions, vpc_id
from scaler.simulator.things import Thing
from scaler.support.values import dataclass

_OF_ONE = frozenset({"reboot", "rename", "resize", "rebuild", "restore", "password_reset"})
"""Actions of one droplet, not of all with a tag: godo's DropletActions has no `…ByTag` for them."""

_NOT_SERVED = frozenset({"change_kernel", "change_backup_policy"})
"""Actions that exist at DigitalOcean and not here."""

_BACKUP_POLICY: Mapping[str, tuple[object, ...]] = {
    "plan": ("daily", "weekly"),
    "weekday": ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
    "hour": (0, 4, 8, 12, 16, 20),
}
"""What the document lets a backup policy say."""

_MAY_FAIL = frozenset({"power_on", "power_off", "reboot", "power_cycle"})
MOST_NAMES = 10
USER_DATA_BYTES = 65_536

_HOSTNAME = re.compile(r"[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]")

# ---------------------------------------------------------------------------------------------
# Endpoints


def list_droplets(call: Call) -> Reply:
    """GET /v2/droplets[?tag_name=|?name=], newest first."""
    name, tag = call.query.get("name"), call.query.get("tag_name")
    if name and tag:
        raise refused("name and tag_name cannot be used together")
    if filter_value(call, "type", ("droplets", "gpus")) == "gpus":
        return page(call, "droplets", [], shapes(call).droplet)
    droplets = [
        droplet
        for droplet in reversed(call.listed("server"))
        if (not name or str(droplet.name).lower() == name.lower()) and (not tag or has_tag(droplet, tag))
    ]
    view = Shapes(call.world, call.listed_at("server"), call.base_url)
    return page(call, "droplets", droplets, lambda droplet: view.droplet(droplet.read(call.now)))


def create_droplets(call: Call) -> Reply:
    """POST /v2/droplets with `name`, or with `names` for several of a kind."""
    names = _names(call.fields)
    body = _droplet_body(call)
    _check_limit(call, len(names))
    droplets, actions = zip(*(_create(call, name, body) for name in names), strict=True)
    view = _at_acceptance(call)
    shown = [view.droplet(droplet) for droplet in droplets]
    links = [
        {"id": action.id, "rel": "create", "href": f"{call.base_url}/v2/actions/{action.id}"} for action in actions
    ]
    answer: Json = {"droplets": shown} if call.fields.get("names") else {"droplet": shown[0]}
    return Reply({**answer, "links": {"actions": links}}, 202)


def get_droplet(call: Call) -> Reply:
    """GET /v2/droplets/{id}."""
    return Reply({"droplet": shapes(call).droplet(thing(call, "server").read(call.now))})


def delete_droplet(call: Call) -> Reply:
    """DELETE /v2/droplets/{id}."""
    _destroy(call, thing(call, "server"))
    return NO_CONTENT


def delete_droplets(call: Call) -> Reply:
    """DELETE /v2/droplets?tag_name=."""
    for droplet in _tagged(call):
        if droplet.gone is None:  # else it is being deleted already
            _destroy(call, droplet)
    return NO_CONTENT


def list_droplet_snapshots(call: Call) -> Reply:
    """GET /v2/droplets/{id}/snapshots."""
    view = shapes(call)
    return page(call, "snapshots", view.snapshots_of(thing(call, "server")), view.droplet_snapshot)


def list_of_droplet(key: str) -> Handler:
    """GET /v2/droplets/{id}/<key> for what no droplet here has: kernels, backups, firewalls."""

    def handler(call: Call) -> Reply:
        thing(call, "server")
        return page(call, key, (), dict)

    return handler


def list_neighbors(call: Call) -> Reply:
    """GET /v2/droplets/{id}/neighbors: each droplet is alone on its machine. The document has no pages here."""
    thing(call, "server")
    return Reply({"droplets": []})


def list_droplet_actions(call: Call) -> Reply:
    """GET /v2/droplets/{id}/actions, newest first."""
    actions = call.world.children(thing(call, "server").id, "action")
    return page(call, "actions", list(reversed(actions)), shapes(call).action)


def act_on_droplet(call: Call) -> Reply:
    """POST /v2/droplets/{id}/actions."""
    action = _act(call, thing(call, "server"))
    return Reply({"action": _at_acceptance(call).action(action)}, 201)


def act_on_droplets(call: Call) -> Reply:
    """POST /v2/droplets/actions?tag_name=."""
    if call.fields.get("type") in _OF_ONE:
        raise refused(f"{call.fields['type']} is not a valid action type")
    actions = [_act(call, droplet) for droplet in _tagged(call) if droplet.gone is None]
    view = _at_acceptance(call)
    return Reply({"actions": [view.action(action) for action in actions]}, 201)


def get_droplet_action(call: Call) -> Reply:
    """GET /v2/droplets/{id}/actions/{action}."""
    droplet = thing(call, "server")
    action = _visible_action(call, call.params["action"])
    if action.parent != droplet.id:
        raise not_found()
    return Reply({"action": shapes(call).action(action)})


def list_actions(call: Call) -> Reply:
    """GET /v2/actions, newest first."""
    return page(call, "actions", list(reversed(call.world.things(CLOUD, "action"))), shapes(call).action)


def get_action(call: Call) -> Reply:
    """GET /v2/actions/{id}: also those of things that are gone."""
    return Reply({"action": shapes(call).action(_visible_action(call, call.params["id"]))})


def _at_acceptance(call: Call) -> Shapes:
    """Things as they were the moment before now: an accepted change is under way, however quick it is."""
    return Shapes(call.world, math.nextafter(call.now, 0), call.base_url)


def _tagged(call: Call) -> list[Thing]:
    tag = call.query.get("tag_name")
    if not tag:
        raise refused("tag_name is required")
    return [droplet for droplet in call.world.servers(CLOUD) if has_tag(droplet, tag)]


def _visible_action(call: Call, id: int) -> Thing:
    action = call.world.get(CLOUD, "action", id)
    if action is None or action.created + call.knobs.action_lag_s > call.now:
        raise not_found()
    return action


# ---------------------------------------------------------------------------------------------
# Creating


def _names(fields: Mapping[str, Any]) -> list[str]:
    if fields.get("names") and fields.get("name") is not None:
        # The document's request is one with a name, or one with names.
        raise refused("name and names cannot be used together")
    names = fields.get("names") or [fields.get("name")]
    if not isinstance(names, list):
        raise refused("names must be a list")
    if len(names) > MOST_NAMES:
        raise refused(f"You may only create {MOST_NAMES} Droplets at a time")
    return [_hostname(name) for name in names]


def _hostname(name: object) -> str:
    if not isinstance(name, str) or len(name) > 255 or not _HOSTNAME.fullmatch(name):
        raise refused("Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)")
    return name


def _droplet_body(call: Call) -> Json:
    """What a create request says of its droplets, checked."""
    fields = call.fields
    if fields.get("volumes"):
        # There are none here, and a droplet without what it was to have is no answer.
        raise refused("You specified an invalid volume for Droplet creation.")
    image = _usable_image(call, fields.get("image"))
    region = fields.get("region") or _image_regions(image)[0]
    if region not in REGIONS:
        raise refused("You specified an invalid region for Droplet creation.")
    size = SIZES.get(str(fields.get("size")))
    if size is None:
        raise refused("You specified an invalid size for Droplet creation.")
    if call.world.deprecated_since(CLOUD, size.slug) is not None:
        raise refused("Size is not available in this region.")
    if region not in _image_regions(image):
        raise refused(
            "The image you specified is not available in the selected region, you can transfer it to the region first."
        )
    if _min_disk(image) > size.disk:
        raise refused("You cannot create a Droplet with a smaller disk than the image needs.")
    return {
        "type": size.slug,
        "location": region,
        "image": image.id,
        "disk": size.disk,
        "labels": {},
        "tags": list(dict.fromkeys(make_tag(call, tag) for tag in fields.get("tags") or ())),
        "features": _features(fields),
        "public": fields.get("public_networking") is not False,
        "vpc": _vpc(call, fields.get("vpc_uuid"), region),
        "ssh_keys": _ssh_keys(call, fields.get("ssh_keys") or ()),
        "user_data": _user_data(fields.get("user_data")),
    }


def _usable_image(call: Call, key: object) -> BaseImage | Thing:
    image = find_image(call, key)
    if image is None or (isinstance(image, Thing) and image.body["available_at"] > call.now):
        raise refused("You specified an invalid image for Droplet creation.")
    return image


def _image_regions(image: BaseImage | Thing) -> list[str]:
    return snapshot_regions(image) if isinstance(image, Thing) else sorted(REGIONS)


def _min_disk(image: BaseImage | Thing) -> int:
    return int(image.body["disk"]) if isinstance(image, Thing) else image.min_disk


def _features(fields: Mapping[str, Any]) -> list[str]:
    """Exactly what was asked for: clients read their settings back from these words."""
    _check_backup_policy(fields.get("backup_policy") or {})
    asked = {name for name in ("backups", "ipv6", "monitoring") if fields.get(name)}
    agent = set() if fields.get("with_droplet_agent") is False else {"droplet_agent"}
    return sorted(asked | agent | {"private_networking"})


def _check_backup_policy(policy: Mapping[str, Any]) -> None:
    for name, values in _BACKUP_POLICY.items():
        if policy.get(name) is not None and policy[name] not in values:
            raise refused(f"backup_policy: {name} must be one of {', '.join(map(str, values))}")


def _ssh_keys(call: Call, keys: Sequence[object]) -> list[int]:
    found = [find_ssh_key(call, key) for key in keys]
    if unknown := [str(key) for key, thing in zip(keys, found, strict=True) if thing is None]:
        raise refused(f"{', '.join(unknown)} are invalid key identifiers for Droplet creation.")
    return [thing.id for thing in found if thing]


def _vpc(call: Call, uuid: str | None, region: str) -> str:
    made = {each.body["uuid"] for each in call.world.things(CLOUD, "vpc") if each.body["region"] == region}
    if uuid and uuid not in {vpc_id(region), *made}:
        raise refused("Failed to resolve VPC")
    return uuid or vpc_id(region)


def _user_data(text: str | None) -> str | None:
    if text and len(text.encode()) > USER_DATA_BYTES:
        raise refused("User data is too long (maximum is 64 KiB)")
    return text


def _check_limit(call: Call, more: int) -> None:
    if call.world.count(CLOUD, "server") + more > call.world.quota(CLOUD, "droplets"):
        raise refused("creating this/these droplet(s) will exceed your droplet limit")


def _create(call: Call, name: str, body: Json) -> tuple[Thing, Thing]:
    """A new droplet and the action that starts it."""
    if not call.world.take_capacity(CLOUD, body["type"], body["location"]):
        raise refused("Region is not available")
    droplet = call.world.add(CLOUD, "server", name, {**body, "timeline": [[call.now, "new"]]})
    from_snapshot = call.world.get(CLOUD, "snapshot", body["image"]) is not None
    seconds = call.knobs.boot_of(name, from_snapshot=from_snapshot)
    action = _begin(call, droplet, "create", Work(seconds, becomes="active"))
    if action.body["error"]:
        _leave_failed(call, droplet, action.body["finishes"])
    return droplet, action


def _leave_failed(call: Call, droplet: Thing, at: float) -> None:
    """What remains of a creation that fails: a droplet that is off, or with `keep: false` none."""
    fault = call.effect("action_error")
    droplet.become(call.now, (at, "off"))
    call.world.save(droplet)
    if fault and not fault.get("keep", True):
        call.world.remove(droplet, at=at)


# ---------------------------------------------------------------------------------------------
# Actions


@dataclass(frozen=True)
class Work:
    """What an action does. Its effects come when it has ended, and not at all if it fails."""

    seconds: float
    becomes: str | None = None
    """The status that it ends in; None: the same."""
    fails: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The droplet's `name`, and fields of its body, when it has ended."""


def _act(call: Call, droplet: Thing) -> Thing:
    """Start the action that the request asks for."""
    kind = str(call.fields.get("type"))
    if kind in _NOT_SERVED:
        raise not_served()
    if kind not in WORK:
        raise refused(f"{kind} is not a valid action type")
    check_unlocked(call, droplet)
    if call.effect("action_error"):
        return _begin(call, droplet, kind, Work(call.knobs.power_s, fails=True))
    return _begin(call, droplet, kind, WORK[kind](call, droplet))


def _begin(call: Call, droplet: Thing, type: str, work: Work) -> Thing:
    """Lock the droplet for the time that the work takes, and write down how it ends."""
    share = call.knobs.failing_creates if type == "create" else call.knobs.failing_actions if type in _MAY_FAIL else 0.0
    fails = work.fails or call.effect("action_error") is not None or call.world.chance(share)
    finishes = call.now + call.takes(work.seconds)
    if work.becomes and not fails:
        droplet.become(call.now, (finishes, work.becomes))
    if work.changes and not fails:
        droplet.change_at(finishes, **work.changes)
    droplet.body["busy_until"] = finishes
    call.world.save(droplet)
    outcome = {
        "finishes": finishes,
        "error": fails,
        "resource_type": "droplet",
        "region": droplet.body["location"],
    }
    return call.world.add(CLOUD, "action", type, outcome, parent=droplet.id)


def _destroy(call: Call, droplet: Thing) -> None:
    check_unlocked(call, droplet)
    action = _begin(call, droplet, "destroy", Work(call.knobs.visible_after_delete_s))
    if action.body["error"]:
        return
    for address in call.world.children(droplet.id, "reserved_ip"):
        address.parent = None
        call.world.save(address)
    call.world.remove(droplet, at=action.body["finishes"])


def check_unlocked(call: Call, droplet: Thing) -> None:
    if droplet.locked(call.now):
        raise refused("Droplet already has a pending event.")


def _power_on(call: Call, droplet: Thing) -> Work:
    if droplet.status(call.now) == "active":
        raise refused("Droplet is already powered on.")
    return Work(call.knobs.power_s, becomes="active")


def _power_off(call: Call, droplet: Thing) -> Work:
    _check_running(call, droplet)
    return Work(call.knobs.power_s, becomes="off")


def _shutdown(call: Call, droplet: Thing) -> Work:
    _check_running(call, droplet)
    return Work(call.knobs.shutdown_s, becomes="off", fails=call.effect("shutdown_ignored") is not None)


def _reboot(call: Call, droplet: Thing) -> Work:
    _check_running(call, droplet)
    return Work(call.knobs.power_s)


def _check_running(call: Call, droplet: Thing) -> None:
    if droplet.status(call.now) == "off":
        raise refused("Droplet is already powered off.")


def _power_cycle(call: Call, droplet: Thing) -> Work:
    return Work(call.knobs.power_s, becomes="active")


def _rename(call: Call, droplet: Thing) -> Work:
    return Work(call.knobs.power_s, changes={"name": _hostname(call.fields.get("name"))})


def _resize(call: Call, droplet: Thing) -> Work:
    size = SIZES.get(str(call.fields.get("size")))
    if size is None:
        raise refused("You specified an invalid size for Droplet resize.")
    if droplet.status(call.now) != "off":
        raise refused("Droplet must be powered off before it can be resized.")
    disk = droplet.body.get("disk", SIZES[droplet.body["type"]].disk)
    if size.disk < disk:
        raise refused("This size is not available because it has a smaller disk.")
    if call.world.deprecated_since(CLOUD, size.slug) is not None:
        raise refused("Size is not available in this region.")
    if not call.world.take_capacity(CLOUD, size.slug, droplet.body["location"]):
        raise refused("Region is not available")
    changes = {"type": size.slug, "disk": size.disk if call.fields.get("disk") else disk}
    return Work(call.knobs.power_s, changes=changes)


def _rebuild(call: Call, droplet: Thing) -> Work:
    image = _usable_image(call, call.fields.get("image"))
    if droplet.body["location"] not in _image_regions(image):
        raise refused("The image you specified is not available in the selected region.")
    if _min_disk(image) > droplet.body.get("disk", SIZES[droplet.body["type"]].disk):
        raise refused("You cannot rebuild a Droplet with a smaller disk than the image needs.")
    return Work(call.knobs.boot_s, becomes="active", changes={"image": image.id})


def _snapshot(call: Call, droplet: Thing) -> Work:
    disk = droplet.body.get("disk", SIZES[droplet.body["type"]].disk)
    seconds = call.knobs.snapshot_s_per_gb * disk
    name = call.fields.get("name") or f"{droplet.name}-{int(call.now)}"
    call.world.add_snapshot(
        CLOUD, name, disk=disk, regions=[droplet.body["location"]], ready_in=call.takes(seconds), source=droplet.id
    )
    return Work(seconds)


def _password_reset(call: Call, droplet: Thing) -> Work:
    return Work(call.knobs.power_s)


def _switch(feature: str, *, on: bool) -> Callable[[Call, Thing], Work]:
    def switch(call: Call, droplet: Thing) -> Work:
        others = {name for name in features(droplet) if name != feature}
        wanted = sorted(others | ({feature} if on else set()))
        return Work(call.knobs.power_s, changes={"features": wanted})

    return switch


WORK: Mapping[str, Callable[[Call, Thing], Work]] = {
    "power_on": _power_on,
    "power_off": _power_off,
    "shutdown": _shutdown,
    "reboot": _reboot,
    "power_cycle": _power_cycle,
    "rename": _rename,
    "resize": _resize,
    "rebuild": _rebuild,
    "restore": _rebuild,
    "snapshot": _snapshot,
    "password_reset": _password_reset,
    "enable_backups": _switch("backups", on=True),
    "disable_backups": _switch("backups", on=False),
    "enable_ipv6": _switch("ipv6", on=True),
    "enable_private_networking": _switch("private_networking", on=True),
}
