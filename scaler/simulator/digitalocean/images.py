"""Images and snapshots: one thing, shown in two ways."""

from __future__ import annotations

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.digitalocean.catalogue import BASE_IMAGES, DISTRIBUTIONS, REGIONS, BaseImage
from scaler.simulator.digitalocean.replies import (
    CLOUD,
    NO_CONTENT,
    filter_value,
    find_image,
    has_tag,
    not_found,
    not_served,
    page,
    refused,
    shapes,
    thing,
)
from scaler.simulator.things import Thing


def list_images(call: Call) -> Reply:
    """GET /v2/images[?type=distribution|application][&private=true][&tag_name=], own snapshots first."""
    snapshots = list(reversed(call.listed("snapshot")))
    if tag := call.query.get("tag_name"):
        return page(call, "images", [each for each in snapshots if has_tag(each, tag)], shapes(call).image)
    images: list[BaseImage | Thing] = [*snapshots, *BASE_IMAGES]
    if filter_value(call, "private", ("true", "false", "True", "False")).lower() == "true":
        images = [*snapshots]
    elif kind := filter_value(call, "type", ("distribution", "application")):
        images = [*BASE_IMAGES] if kind == "distribution" else []
    return page(call, "images", images, shapes(call).image)


def get_image(call: Call) -> Reply:
    """GET /v2/images/{id or slug}."""
    return Reply({"image": shapes(call).image(_image(call))})


def rename_image(call: Call) -> Reply:
    """PUT /v2/images/{id}."""
    snapshot = _own(_image(call))
    for field in ("description", "distribution"):
        if call.fields.get(field) is not None:
            snapshot.body[field] = call.fields[field]
    if snapshot.body.get("distribution") not in (None, *DISTRIBUTIONS):
        raise refused("distribution is not one of those that images have")
    snapshot.name = call.fields.get("name") or snapshot.name
    call.world.save(snapshot)
    return Reply({"image": shapes(call).image(snapshot)})


def delete_image(call: Call) -> Reply:
    """DELETE /v2/images/{id}."""
    call.world.remove(_own(_image(call)))
    return NO_CONTENT


def act_on_image(call: Call) -> Reply:
    """POST /v2/images/{id}/actions {"type":"transfer","region"}: the region can use it when the action has ended."""
    snapshot = _own(thing(call, "snapshot"))
    region = call.fields.get("region")
    if call.fields.get("type") == "convert":
        raise not_served()
    if call.fields.get("type") != "transfer":
        raise refused(f"{call.fields.get('type')} is not a valid action type")
    if region not in REGIONS:
        raise refused("You specified an invalid region for Image transfer.")
    finishes = call.now + call.takes(call.knobs.snapshot_s_per_gb * snapshot.body["disk"])
    fails = call.effect("action_error") is not None
    if not fails:
        regions = snapshot.coming("regions")
        snapshot.change_at(finishes, regions=sorted({*(REGIONS if regions is None else regions), region}))
        call.world.save(snapshot)
    outcome = {"finishes": finishes, "error": fails, "resource_type": "image", "region": region}
    action = call.world.add(CLOUD, "action", "transfer", outcome, parent=snapshot.id)
    return Reply({"action": shapes(call).action(action)}, 201)


def list_image_actions(call: Call) -> Reply:
    """GET /v2/images/{id}/actions, newest first."""
    actions = call.world.children(thing(call, "snapshot").id, "action")
    return page(call, "actions", list(reversed(actions)), shapes(call).action)


def get_image_action(call: Call) -> Reply:
    """GET /v2/images/{id}/actions/{action}."""
    action = call.world.get(CLOUD, "action", call.params["action"])
    if action is None or action.parent != thing(call, "snapshot").id:
        raise not_found()
    return Reply({"action": shapes(call).action(action)})


def list_snapshots(call: Call) -> Reply:
    """GET /v2/snapshots[?resource_type=droplet|volume]: those that are finished, newest first."""
    snapshots = [each for each in reversed(call.listed("snapshot")) if each.body["available_at"] <= call.now]
    if (filter_value(call, "resource_type", ("droplet", "volume")) or "droplet") != "droplet":
        snapshots = []
    return page(call, "snapshots", snapshots, shapes(call).snapshot)


def get_snapshot(call: Call) -> Reply:
    """GET /v2/snapshots/{id}."""
    return Reply({"snapshot": shapes(call).snapshot(thing(call, "snapshot"))})


def delete_snapshot(call: Call) -> Reply:
    """DELETE /v2/snapshots/{id}."""
    call.world.remove(thing(call, "snapshot"))
    return NO_CONTENT


def _image(call: Call) -> BaseImage | Thing:
    image = find_image(call, call.params["key"])
    if image is None:
        raise not_found()
    return image


def _own(image: BaseImage | Thing) -> Thing:
    if isinstance(image, BaseImage):
        raise ApiError(403, "forbidden", "You do not have access for the attempted action.")
    return image
