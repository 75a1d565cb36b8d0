"""What DigitalOcean's endpoints share: refusals, pages, and finding what a request names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from scaler.simulator.bodies import digits
from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.digitalocean.catalogue import BASE_IMAGES, BaseImage
from scaler.simulator.digitalocean.shapes import Json, Shapes
from scaler.simulator.profiles import CloudName
from scaler.simulator.things import Thing

CLOUD: CloudName = "digitalocean"
PER_PAGE = 20
MOST_PER_PAGE = 200
NO_CONTENT = Reply(status=204)

_TAG = re.compile(r"[a-zA-Z0-9_\-:]{1,255}")
_Item = TypeVar("_Item")


def shapes(call: Call) -> Shapes:
    """The shapes of things as they are now."""
    return Shapes(call.world, call.now, call.base_url)


def refused(message: str) -> ApiError:
    """422: there is no finer code, so clients match the words."""
    return ApiError(422, "unprocessable_entity", message)


def not_found() -> ApiError:
    """404."""
    return ApiError(404, "not_found", "The resource you requested could not be found.")


def not_served() -> ApiError:
    """501: it exists at DigitalOcean and not here."""
    return ApiError(501, "not_implemented", "the embedded cloud does not serve this part of the API")


# ---------------------------------------------------------------------------------------------
# Pages


def page(call: Call, key: str, items: Sequence[_Item], shape: Callable[[_Item], Json]) -> Reply:
    """The page of a list that the request asks for."""
    number = _positive(call, "page", 1)
    per_page = min(_positive(call, "per_page", PER_PAGE), MOST_PER_PAGE)
    shown = items[(number - 1) * per_page : number * per_page]
    return Reply(
        {
            key: [shape(item) for item in shown],
            "links": _links(call, number, per_page, len(items)),
            "meta": {"total": len(items)},
        }
    )


def filter_value(call: Call, name: str, known: Sequence[str]) -> str:
    """The value of a filter that has only these; empty without one, and 422 for another."""
    value = call.query.get(name) or ""
    if value and value not in known:
        raise refused(f"{name} must be one of {', '.join(known)}")
    return value


def _positive(call: Call, name: str, default: int) -> int:
    text = call.query.get(name) or str(default)
    number = digits(text)
    if not number:
        raise refused(f"{name} must be a positive integer")
    return number


def _links(call: Call, number: int, per_page: int, total: int) -> Json:
    """Absolute addresses on the host that was asked; godo takes the page's number from `prev`."""
    last = max(1, -(-total // per_page))
    pages: dict[str, int] = {}
    if number > 1:
        pages |= {"first": 1, "prev": number - 1}
    if number < last:
        pages |= {"next": number + 1, "last": last}
    kept = [pair for pair in call.query.multi_items() if pair[0] not in ("page", "per_page")]
    addresses = {
        name: f"{call.base_url}{call.path}?{urlencode([*kept, ('page', target), ('per_page', per_page)])}"
        for name, target in pages.items()
    }
    return {"pages": addresses} if addresses else {}


# ---------------------------------------------------------------------------------------------
# What a request names


def thing(call: Call, kind: str) -> Thing:
    """The thing with the path's `id`; 404."""
    found = call.world.get(CLOUD, kind, call.params["id"])
    if found is None:
        raise not_found()
    return found


def find_image(call: Call, key: object) -> BaseImage | Thing | None:
    """The image with an id (a number, or its digits) or a slug."""
    text = str(key)
    for image in BASE_IMAGES:
        if text in (image.slug, str(image.id)):
            return image
    return call.world.get(CLOUD, "snapshot", digits(text) or 0)


def find_ssh_key(call: Call, key: object) -> Thing | None:
    """The SSH key with an id or a fingerprint."""
    keys = call.world.things(CLOUD, "ssh_key")
    return next((thing for thing in keys if str(key) in (str(thing.id), thing.body["fingerprint"])), None)


def tag_names(call: Call) -> list[str]:
    """All tags, those that nothing carries and those that were put on from outside included."""
    carriers = [*call.world.servers(CLOUD), *call.world.things(CLOUD, "snapshot")]
    carried = {name for thing in carriers for name in thing.body["tags"]}
    return sorted({str(thing.name) for thing in call.world.things(CLOUD, "tag")} | carried)


def find_tag(call: Call, name: str) -> str | None:
    """A tag in the spelling that it was made with: case does not distinguish tags."""
    return next((tag for tag in tag_names(call) if tag.lower() == name.lower()), None)


def make_tag(call: Call, name: object) -> str:
    """The tag of this name, made if there is none."""
    if not isinstance(name, str) or not _TAG.fullmatch(name):
        raise refused("Tag name must contain only letters, numbers, colons, dashes and underscores, 255 at most")
    if call.world.find(CLOUD, "tag", name):
        return name
    spelling = find_tag(call, name) or name
    if not call.world.find(CLOUD, "tag", spelling):
        call.world.add(CLOUD, "tag", spelling, {})
    return spelling


def has_tag(thing: Thing, name: str) -> bool:
    """Whether a thing carries a tag, in whatever spelling."""
    return name.lower() in (tag.lower() for tag in thing.body["tags"])
