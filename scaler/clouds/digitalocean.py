"""DigitalOcean, through its official client `pydo`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pydo
import requests
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import RequestsTransport

from scaler.clouds import (
    AuthError,
    BusyError,
    Catalogue,
    CloudError,
    GoneError,
    Image,
    InvalidError,
    Limits,
    NoCapacityError,
    Offer,
    QuotaError,
    RateLimitedError,
    Reference,
    Room,
    UnfitError,
    Work,
    amount,
    oldest_first,
)
from scaler.clouds.bundling import Body, Bundler
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.digitalocean_snapshots import DigitalOceanSnapshots
from scaler.clouds.governor import Budget
from scaler.clouds.names import unknown
from scaler.clouds.paging import Page, read_all
from scaler.clouds.references import Named, Names, ReferenceLists, id_of
from scaler.clouds.transport import (
    Dialect,
    Refusal,
    asking,
    given,
    is_number,
    number_of,
    open_session,
    text_of,
    texts_of,
)
from scaler.model import ImageRef, Machine, MachineRequest, Requests
from scaler.model.lifecycle import Phase
from scaler.model.ownership import STACK, Label, Owner, decode_tags, encode_tags
from scaler.support.clock import Clock, parse_time

TITLE = "DigitalOcean"
_PER_PAGE = 200
_NAMES_PER_CREATE = 10
_WORTH_LISTS = 25
"""From so many droplets on, two lists of the account are cheaper than to ask for each."""
_BETWEEN_LISTS_S = 2.0
_ACTIONS: Mapping[Work, str] = {"delete": "destroy", "reboot": "reboot"}
_CPU_WINDOW_S = 600
_TAG = re.compile(r"[a-zA-Z0-9_\-:]{1,255}")

Row = Mapping[str, Any]
"""A JSON object of the API."""

_PHASES = {"new": Phase.BOOTING, "active": Phase.RUNNING, "off": Phase.OFF}

_MEANINGS: Mapping[str, type[CloudError]] = {
    "unauthorized": AuthError,
    "forbidden": AuthError,
    "not_found": GoneError,
    "too_many_requests": RateLimitedError,
    "conflict": BusyError,
}

# DigitalOcean has one code for all of these, so only its message says which one it is.
_WORDS: Sequence[tuple[re.Pattern[str], type[CloudError]]] = (
    # Before "not available": "The image you specified is not available in the selected region" (api-v2#36).
    (re.compile(r"\bimage\b.*not available", re.IGNORECASE), InvalidError),
    (re.compile(r"(exceed|reached).*limit|limit (exceeded|reached)", re.IGNORECASE), QuotaError),
    (
        re.compile(r"(region|size) is not available|not available in|currently unavailable|sold out", re.IGNORECASE),
        NoCapacityError,
    ),
    (re.compile(r"pending event|(is|currently) locked", re.IGNORECASE), BusyError),
)
_ALREADY_SO = re.compile(r"already (powered |running|on\b|off\b)", re.IGNORECASE)


def _error_of(body: Row) -> tuple[str, str]:
    code, message = str(body["id"]), str(body["message"])
    return code, f"{message} (request {body['request_id']})" if body.get("request_id") else message


def meaning_of(refusal: Refusal) -> type[CloudError] | None:
    """Return what a refusal by its code and words means; None if only its status says it."""
    if refusal.status in (403, 409, 412, 422):
        for words, meaning in _WORDS:
            if words.search(refusal.message):
                return meaning
    return _MEANINGS.get(refusal.code)


_DIALECT = Dialect(title=TITLE, machines="droplets", error_of=_error_of, request_id="x-request-id", meaning=meaning_of)
# 5000 an hour and 250 a minute, both counted back from now; `reset` is when the oldest one no longer counts.
_BUDGET = Budget(reset_is_full=False, per_minute=250)


class DigitalOceanCloud:
    """One DigitalOcean account. `endpoint` has no `/v2`."""

    name = "digitalocean"

    def __init__(self, *, endpoint: str, token: str, clock: Clock, deadlines: Deadlines) -> None:
        self._clock = clock
        self._session, self._governor = open_session(_DIALECT, _BUDGET, token=token, clock=clock, deadlines=deadlines)
        self._client = _client(endpoint, token, self._session)
        self._references = ReferenceLists(self._read_references, clock)
        self._made: set[str] = set()
        """Tags that surely exist."""
        self._reboots: dict[str, int] = {}
        """By id of each droplet that was asked to reboot: the id of that action."""
        self._deleted: set[str] = set()
        """Droplets whose deletion was accepted."""
        self._told: set[int] = set()
        """Failed actions that were told of."""
        self._bundler = Bundler(self._create, most=_NAMES_PER_CREATE, clock=clock)
        self.snapshots = DigitalOceanSnapshots(self._client, _asking, self._pages, _tags)

    def list_owned(self, owner: Owner) -> list[Machine]:
        (tag,) = encode_tags({STACK: owner.stack})
        with _asking(f"list the droplets of stack {owner.stack}"):
            rows = read_all(self._pages(self._client.droplets.list, "droplets", tag_name=tag))
            return _owned(rows, owner)

    def find(self, name: str, owner: Owner) -> list[Machine]:
        with _asking(f"look up droplet {name}"):
            rows = read_all(self._pages(self._client.droplets.list, "droplets", name=name))
            # The API's own filter ignores case.
            return [machine for machine in _owned(rows, owner) if machine.name == name]

    def get(self, id: str) -> Machine:
        with _asking(f"read droplet {id}"):
            return machine_of(self._client.droplets.get(_number(id))["droplet"])

    def is_busy(self, id: str) -> bool:
        with _asking(f"read the actions of droplet {id}"):
            newest = self._client.droplet_actions.list(_number(id), per_page=1)["actions"]
            # A new action is not listed at once.
            is_late = id in self._reboots and all(action["id"] < self._reboots[id] for action in newest)
            return is_late or any(action["status"] == "in-progress" for action in newest)

    def failed(self, ids: Collection[str], work: Work) -> Mapping[str, str]:
        """Return those of the droplets whose deletion or reboot has failed, by the account's 200 newest actions."""
        newest = self._newest_actions(work)
        failed = {
            droplet: int(newest[droplet]["id"])
            for droplet in ids
            if droplet in newest and newest[droplet]["status"] == "errored"
        }
        failed = {droplet: action for droplet, action in failed.items() if action not in self._told}
        self._told |= {*failed.values()}
        return {droplet: f"its action {action} ({_ACTIONS[work]}) has errored" for droplet, action in failed.items()}

    def deleting(self, ids: Collection[str]) -> frozenset[str]:
        """Return those of the droplets whose deletion goes on, or has ended, by the account's 200 newest actions."""
        newest = self._newest_actions("delete")
        # A new action is not listed at once.
        begun = {each for each in ids if each in newest or each in self._deleted}
        return frozenset(each for each in begun if each not in newest or newest[each]["status"] != "errored")

    def _newest_actions(self, work: Work) -> dict[str, Row]:
        """Return the newest action of a kind on each droplet of the account that lately had one."""
        with _asking("read the actions on droplets"):
            rows = self._client.actions.list(per_page=_PER_PAGE)["actions"]
            newest: dict[str, Row] = {}
            for row in sorted(rows, key=lambda row: int(row["id"]), reverse=True):
                if row["resource_type"] == "droplet" and row["type"] == _ACTIONS[work]:
                    newest.setdefault(str(row["resource_id"]), {"id": int(row["id"]), "status": row["status"]})
            return newest

    def create(self, request: MachineRequest) -> Machine:
        body = _create_body(request)
        with _asking(f"create droplet {request.name}", changing=True):
            return self._bundler.create(request.name, body)

    def _create(self, names: Sequence[str], body: Body) -> Mapping[str, Machine]:
        """Send one request for droplets that differ only by name: all of them are created, or none."""
        if len(names) == 1:
            droplet = self._client.droplets.create(body={"name": names[0], **body})["droplet"]
            return {names[0]: machine_of(droplet)}
        droplets = self._client.droplets.create(body={"names": list(names), **body})["droplets"]
        return {machine.name: machine for machine in map(machine_of, droplets)}

    def delete(self, id: str) -> None:
        with _asking(f"delete droplet {id}", changing=True):
            self._client.droplets.destroy(_number(id))
        self._deleted.add(id)

    def prove_gone(self, ids: Collection[str]) -> frozenset[str]:
        """Return the droplets that two lists of the whole account lack, two seconds apart.

        For few droplets the lists are not worth it: the answer is empty then.
        """
        if len(ids) < _WORTH_LISTS:
            return frozenset()
        gone = frozenset(ids) - self._all_ids()
        self._clock.sleep(_BETWEEN_LISTS_S)
        return gone - self._all_ids()

    def _all_ids(self) -> set[str]:
        with _asking("list all droplets"):
            return {str(row["id"]) for row in read_all(self._pages(self._client.droplets.list, "droplets"))}

    def power_on(self, id: str) -> None:
        self._act(id, "power_on")

    def power_off(self, id: str) -> None:
        self._act(id, "power_off")

    def shutdown(self, id: str) -> None:
        self._act(id, "shutdown")

    def reboot(self, id: str) -> None:
        if action := self._act(id, "reboot"):
            self._reboots[id] = action

    def cpu(self, id: str) -> float | None:
        with _asking(f"read the CPU use of droplet {id}."):
            now = int(self._clock.now().timestamp())
            window = {"start": str(now - _CPU_WINDOW_S), "end": str(now)}
            answer = self._client.monitoring.get_droplet_cpu_metrics(host_id=str(_number(id)), **window)
            if modes := answer["data"]["result"]:
                return _busy_share(modes)
            if "monitoring" in self._client.droplets.get(_number(id))["droplet"]["features"]:
                return None
        raise InvalidError(
            f"{TITLE} does not measure the CPU use of droplet {id}.",
            why="it was made without monitoring",
            fix="Set monitoring: true in the group, and replace its droplets.",
        )

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        wanted = _tags(labels)
        with _asking(f"tag droplet {id}", changing=True):
            current = self._client.droplets.get(_number(id))["droplet"]["tags"]
            resources = {"resources": [{"resource_id": id, "resource_type": "droplet"}]}
            # Add first: a droplet must always have the tags that say whose it is.
            for tag in wanted:
                if tag not in current:
                    # In a URL, a tag must have the case that it was made with, perhaps by somebody else.
                    made = self._client.tags.create(body={"name": tag})["tag"]["name"]
                    self._client.tags.assign_resources(made, body=resources)
            for tag in current:
                if tag not in wanted:
                    self._client.tags.unassign_resources(tag, body=resources)

    def label_many(self, ids: Sequence[str], label: Label, *, on: bool) -> None:
        (tag,) = _tags(dict([label]))
        resources = {"resources": [{"resource_id": each, "resource_type": "droplet"} for each in ids]}
        with _asking(f"{'tag' if on else 'untag'} droplets with {tag}", changing=True):
            if not on:
                self._client.tags.unassign_resources(tag, body=resources)
                return
            if tag not in self._made:
                made = self._client.tags.create(body={"name": tag})["tag"]["name"]
                if made != tag:
                    raise InvalidError(f"The tag {tag} exists as {made}.", fix=f"Write {made} in the spec.")
                self._made.add(tag)
            self._client.tags.assign_resources(tag, body=resources)

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        with _asking(f"look up the image {image}"):
            candidates = self._candidates(image)
        for row in candidates:
            if _why_not(row, architecture, location) is None:
                return row
        raise UnfitError(
            f"The image {image} cannot be used.",
            why=str(_why_not(candidates[0], architecture, location)),
            fix="Wait until it is finished, transfer it to the region, or name another.",
        )

    def reference(self, kind: Reference, name: str) -> str:
        with _asking(f"look up the {kind.replace('_', ' ')} {name}"):
            known = self._references.names(kind, name)
        if (found := id_of(known, name)) is None:
            raise unknown(TITLE, kind.replace("_", " "), name, [named.words[0] for named in known.values()])
        return found

    def check_request(self, request: MachineRequest) -> Sequence[Room]:
        """Refuse a VPC of another region."""
        if request.vpc is not None:
            with _asking("read the VPC that the spec names"):
                vpcs = self._references.names("vpc", request.vpc)
                vpc = vpcs[request.vpc].row
                if request.location != vpc["region"]:
                    raise UnfitError(
                        f"Droplets in {request.location} cannot be in the VPC {vpc['name']}.",
                        why=f"it is in {vpc['region']}",
                        fix="Name a VPC of that region, or another region.",
                    )
        return ()

    def _read_references(self, kind: Reference) -> Names:
        match kind:
            case "ssh_key":
                rows = read_all(self._pages(self._client.ssh_keys.list, "ssh_keys"))
            case "vpc":
                rows = read_all(self._pages(self._client.vpcs.list, "vpcs"))
            case "firewall":
                rows = read_all(self._pages(self._client.firewalls.list, "firewalls"))
            case _:
                raise InvalidError(f"{TITLE} has no {kind}.", fix="Use `vpc` for a private network.")
        return {str(row["id"]): Named((str(row["name"]), str(row.get("fingerprint", ""))), row) for row in rows}

    def catalogue(self) -> Catalogue:
        with _asking("read the sizes and prices"):
            sizes = read_all(self._pages(self._client.sizes.list, "sizes", key="slug"))
            regions = read_all(self._pages(self._client.regions.list, "regions", key="slug"))
            is_open = {row["slug"]: bool(row["available"]) for row in regions}
            return Catalogue(currency="USD", offers=tuple(offer for row in sizes for offer in _offers(row, is_open)))

    def limits(self) -> Limits:
        with _asking("read the account's limits"):
            servers = int(self._client.account.get()["account"]["droplet_limit"])
            in_use = int(self._client.droplets.list(per_page=1)["meta"]["total"])
        left, reset = self._governor.left()
        return Limits(servers=servers, in_use=in_use, requests_left=left, requests_reset=reset)

    def account(self) -> str | None:
        with _asking("read whose token it is"):
            account = self._client.account.get()["account"]
            known = (account.get("team") or {}).get("uuid") or account.get("uuid")
            return text_of(known, "account.uuid") if known else None

    def rate_wait(self, requests: int) -> timedelta:
        return self._governor.rate_wait(requests)

    @property
    def requests(self) -> Requests:
        return self._governor.requests

    def close(self) -> None:
        self._session.close()

    def _act(self, id: str, action: str) -> int | None:
        """Begin an action, and return its id; None if the droplet is so already."""
        with _asking(f"{action.replace('_', ' ')} droplet {id}", changing=True):
            try:
                return int(self._client.droplet_actions.post(_number(id), body={"type": action})["action"]["id"])
            except InvalidError as error:
                if not _ALREADY_SO.search(error.why):
                    raise
        return None

    def _candidates(self, image: ImageRef) -> list[Image]:
        """Return the images that a spec names, newest first, at least one."""
        match image.kind:
            case "id" | "slug":
                rows = [self._image(image)]
            case "name":
                rows = self._named(image.value)
            case "selector":
                rows = self._tagged(_tags(_selected(image.value)))
        return sorted(map(image_of, rows), key=lambda found: (found.created, int(found.id)), reverse=True)

    def _named(self, name: str) -> list[Row]:
        snapshots = self._snapshots()
        if rows := [row for row in snapshots if row["name"] == name]:
            return rows
        raise unknown(TITLE, "snapshot", name, {str(row["name"]) for row in snapshots})

    def _tagged(self, tags: Sequence[str]) -> list[Row]:
        if rows := [row for row in self._snapshots(tag_name=tags[0]) if {*tags} <= {*row["tags"]}]:
            return rows
        existing = {str(tag) for row in self._snapshots() for tag in row["tags"]}
        raise unknown(TITLE, "snapshot with the tag", " and ".join(tags), existing)

    def _image(self, image: ImageRef) -> Row:
        try:
            found: Row = self._client.images.get(image.value)["image"]
        except InvalidError as error:
            if image.kind == "id":
                known = {str(row["id"]) for row in self._snapshots()}
            else:
                vendor_images = read_all(self._pages(self._client.images.list, "images", type="distribution"))
                known = {str(row["slug"]) for row in vendor_images if row["slug"]}
            raise unknown(TITLE, "image", image.value, known) from error
        return found

    def _snapshots(self, **filters: Any) -> list[Row]:
        rows = read_all(self._pages(self._client.images.list, "images", private=True, **filters))
        return [row for row in rows if row["type"] == "snapshot"]

    def _pages(
        self, list_function: Callable[..., Any], root: str, *, key: str = "id", **filters: Any
    ) -> Callable[[int], Page[Row]]:
        """Read one of the API's lists page by page."""

        def fetch(number: int) -> Page[Row]:
            answer = list_function(page=number, per_page=_PER_PAGE, **filters)
            more = "next" in ((answer.get("links") or {}).get("pages") or {})
            return Page([(row[key], row) for row in answer[root]], more, answer["meta"]["total"])

        return fetch


def machine_of(droplet: Row) -> Machine:
    """Return what the API says of a droplet; KeyError, TypeError or ValueError if a required field is missing."""
    number, status = number_of(droplet["id"], "id"), given(droplet["status"], "status")
    features = droplet["features"] or ()
    v4, v6 = droplet["networks"]["v4"], droplet["networks"]["v6"]
    image, size = droplet["image"], droplet["size"] or {}
    return Machine(
        id=number,
        name=given(droplet["name"], "name"),
        phase=_PHASES.get(status, Phase.UNKNOWN),
        vendor_status=status,
        labels=decode_tags(texts_of(droplet["tags"], "tags")),
        type=given(droplet["size_slug"], "size_slug"),
        location=given(droplet["region"]["slug"], "region.slug"),
        image=(image["slug"] or number_of(image["id"], "image.id")) if image else None,
        created=parse_time(droplet["created_at"]),
        ipv4=_address(v4, "public"),
        ipv6=_address(v6, "public"),
        private_ip=_address(v4, "private"),
        locked=bool(droplet["locked"]),
        details={
            "urn": f"do:droplet:{number}",
            "status": status,
            "locked": bool(droplet["locked"]),
            "created_at": droplet["created_at"],
            "region": droplet["region"]["slug"],
            "size_slug": droplet["size_slug"],
            "disk": droplet.get("disk"),
            "memory": droplet.get("memory"),
            "vcpus": droplet.get("vcpus"),
            "price_hourly": float(amount(size.get("price_hourly")) or 0),
            "price_monthly": float(amount(size.get("price_monthly")) or 0),
            "ipv4_private": _address(v4, "private"),
            "ipv6_address": _address(v6, "public"),
            "vpc_uuid": droplet.get("vpc_uuid"),
            "volume_ids": list(droplet.get("volume_ids") or ()),
            "features": list(features),
            "backups": "backups" in features,
            "monitoring": "monitoring" in features,
            "ipv6": "ipv6" in features,
        },
    )


def image_of(row: Row) -> Image:
    """Return an image; all of them are for x86."""
    return Image(
        id=number_of(row["id"], "image.id"),
        name=row["slug"] or row["name"],
        created=parse_time(row["created_at"]),
        available=row.get("status", "available") == "available",
        disk=int(row["min_disk_size"] or 0),
        architecture="x86",
        locations=frozenset(texts_of(row["regions"], "image.regions")),
    )


def _owned(rows: Sequence[Row], owner: Owner) -> list[Machine]:
    machines = map(machine_of, rows)
    return oldest_first([machine for machine in machines if owner.owns(machine.labels)])


def _busy_share(modes: Sequence[Row]) -> float | None:
    """Return the share of the time between the last two measurements in which the cores were not idle."""
    if any(len(mode["values"]) < 2 for mode in modes):
        return None
    gained = {mode["metric"]["mode"]: float(mode["values"][-1][1]) - float(mode["values"][-2][1]) for mode in modes}
    total = sum(gained.values())
    # After a reboot the counters start at 0 again.
    return None if total <= 0 or min(gained.values()) < 0 else 1 - gained["idle"] / total


def _create_body(request: MachineRequest) -> dict[str, Any]:
    """Return everything that a create request says except the name."""
    body: dict[str, Any] = {
        "region": request.location,
        "size": request.type,
        "image": int(request.image) if request.image.isdecimal() else request.image,
        "ssh_keys": [int(key) if key.isdecimal() else key for key in request.ssh_keys],
        "backups": False,
        "ipv6": request.ipv6,
        "monitoring": request.monitoring,
        "tags": _tags(request.labels),
    }
    if request.user_data is not None:
        body["user_data"] = request.user_data
    if request.vpc is not None:
        body["vpc_uuid"] = request.vpc
    return body


def _tags(labels: Mapping[str, str]) -> list[str]:
    tags = encode_tags(labels)
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise InvalidError(
                f"{tag!r} cannot be a tag at {TITLE}.",
                why="a tag has 1 to 255 letters, digits, `_`, `-` and `:`",
                fix="Change the label in the spec.",
            )
    return tags


def _selected(selector: str) -> dict[str, str]:
    """Return the labels of a selector: `key=value` or `key`, separated by commas."""
    pairs = (term.strip().partition("=") for term in selector.split(","))
    return {key.strip(): value.lstrip("=").strip() for key, _, value in pairs}


def _why_not(image: Image, architecture: str, location: str) -> str | None:
    """Return why an image cannot be used here, or None if it can."""
    if not image.available:
        return f"{image.id} {image.name} is not available yet"
    if architecture != image.architecture:
        return f"{image.id} {image.name} is made for {image.architecture}, not {architecture}"
    if image.locations is not None and location not in image.locations:
        return f"{image.id} {image.name} is in {', '.join(sorted(image.locations)) or 'no region'}, not in {location}"
    return None


def _offers(row: Row, is_open: Mapping[str, bool]) -> Iterator[Offer]:
    """Return the offers of a size for every region; its own list leaves out regions without capacity now."""
    for region in {**is_open, **dict.fromkeys(row["regions"], False)}:
        yield Offer(
            type=row["slug"],
            location=region,
            available=bool(row["available"]) and region in row["regions"] and is_open.get(region, False),
            # No droplet is free.
            per_hour=amount(row["price_hourly"]) or None,
            per_month=amount(row["price_monthly"]) or None,
            disk=int(row["disk"]),
            architecture="x86",
        )


def _address(networks: Sequence[Row], kind: str) -> str | None:
    return next((row["ip_address"] for row in networks if row["type"] == kind), None)


def _client(endpoint: str, token: str, session: requests.Session) -> pydo.Client:
    return pydo.Client(
        token,
        endpoint=endpoint,
        transport=RequestsTransport(session=session, session_owner=False),
        # The session sets the token: the client's own policy refuses an endpoint on loopback.
        authentication_policy=SansIOHTTPPolicy(),
        retry_total=0,
    )


def _asking(what: str, *, changing: bool = False) -> AbstractContextManager[None]:
    return asking(TITLE, what, changing=changing, also=AzureError)


def _number(id: str) -> int:
    if not is_number(id):
        raise GoneError(f"There is no droplet {id}.", why=f"ids at {TITLE} are numbers")
    return int(id)
