"""Hetzner Cloud, through its official client `hcloud`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import hcloud
import requests
from hcloud.core import Meta
from hcloud.firewalls import Firewall
from hcloud.images import BoundImage
from hcloud.images import Image as ImageName
from hcloud.locations import Location
from hcloud.networks import Network
from hcloud.placement_groups import PlacementGroup
from hcloud.server_types import BoundServerType, ServerType
from hcloud.servers import BoundServer, PrivateNet, Server, ServerCreatePublicNetwork
from hcloud.ssh_keys import SSHKey

from scaler.clouds import (
    AddressQuotaError,
    AmbiguousError,
    AuthError,
    BusyError,
    Catalogue,
    CloudError,
    GoneError,
    Image,
    InvalidError,
    Limits,
    NameTakenError,
    NoCapacityError,
    Offer,
    ProtectedError,
    QuotaError,
    RateLimitedError,
    Reference,
    Room,
    TransientError,
    UnfitError,
    Work,
    amount,
    oldest_first,
)
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.governor import Budget
from scaler.clouds.hetzner_fit import check_together, check_zone, room_of_group, room_of_network
from scaler.clouds.hetzner_snapshots import HetznerSnapshots, words_of
from scaler.clouds.names import unknown
from scaler.clouds.paging import Page, read_all
from scaler.clouds.references import Named, Names, ReferenceLists, id_of
from scaler.clouds.transport import Dialect, Refusal, asking, given, is_number, number_of, open_session
from scaler.model import ImageRef, Machine, MachineRequest, Requests
from scaler.model.lifecycle import Phase
from scaler.model.ownership import GROUP, Owner
from scaler.support.clock import Clock, usable

TITLE = "Hetzner Cloud"
_PER_PAGE = 50
_DELETION_S = 30.0
_DELETION_POLL_S = 0.25
_ACTIONS_PER_REQUEST = 25
"""As Hetzner's own Go client asks for them, so that the address stays short (hcloud-go: `action_waiter.go`)."""
_COMMANDS: Mapping[Work, str] = {"delete": "delete_server", "reboot": "reboot_server"}
_CPU_STEP = timedelta(minutes=1)
_FRESH_S = 5.0
"""How old a list of what has room for some servers may be: others fill it too."""

_PHASES = {
    "initializing": Phase.BOOTING,
    "starting": Phase.BOOTING,
    "running": Phase.RUNNING,
    "off": Phase.OFF,
    "stopping": Phase.STOPPING,
    "deleting": Phase.DELETING,
    "migrating": Phase.BUSY,
    "rebuilding": Phase.BUSY,
}

_MEANINGS: Mapping[str, type[CloudError]] = {
    "unauthorized": AuthError,
    "token_readonly": AuthError,
    "forbidden": AuthError,
    "maintenance": TransientError,
    "resource_limit_exceeded": QuotaError,
    "resource_unavailable": NoCapacityError,
    "uniqueness_error": NameTakenError,
    "conflict": BusyError,
    "locked": BusyError,
    "protected": ProtectedError,
    "not_found": GoneError,
    "rate_limit_exceeded": RateLimitedError,
}


def _error_of(body: Mapping[str, Any]) -> tuple[str, str]:
    error = body["error"]
    return str(error["code"]), str(error["message"])


def meaning_of(refusal: Refusal) -> type[CloudError] | None:
    """Return what a refusal by its code means; None if only its status says it."""
    # Also said of a request that cannot be met, such as "no subnet or IP available" (terraform-provider-hcloud#792).
    if refusal.code == "service_error":
        return InvalidError if refusal.status == 422 else AmbiguousError
    # The placement group is full or cannot be met; that says nothing about the type at the location.
    if refusal.code in ("placement_error", "placement_group_member_limit_reached"):
        return InvalidError
    if refusal.code == "resource_limit_exceeded" and "primary ip" in refusal.message.lower():
        return AddressQuotaError
    return _MEANINGS.get(refusal.code)


_DIALECT = Dialect(
    title=TITLE, machines="servers", error_of=_error_of, request_id="X-Correlation-Id", meaning=meaning_of
)
# 3600 requests an hour in a bucket that refills by one a second; `reset` is when it is full again.
_BUDGET = Budget(reset_is_full=True)


class HetznerCloud:
    """One Hetzner Cloud project. `endpoint` ends in `/v1`."""

    name = "hetzner"

    def __init__(self, *, endpoint: str, token: str, clock: Clock, deadlines: Deadlines) -> None:
        self._clock = clock
        self._session, self._governor = open_session(_DIALECT, _BUDGET, token=token, clock=clock, deadlines=deadlines)
        self._limit = deadlines.limit
        self._client = _client(endpoint, token, self._session)
        self._references = ReferenceLists(self._read_references, clock)
        self._zones: dict[str, str] = {}
        """By location: its network zone."""
        self._cores: dict[str, int | None] = {}
        """By id of each server that was listed: Hetzner measures CPU use per core."""
        self._deletions: dict[str, int] = {}
        """By id of each server whose deletion was accepted: the id of the action that deletes it."""
        self.snapshots = HetznerSnapshots(self._client, _asking, _pages)
        self._reboots: dict[str, int] = {}
        """The same of reboots."""
        self._told: set[int] = set()
        """Failed actions that were told of."""

    def list_owned(self, owner: Owner) -> list[Machine]:
        with _asking(f"list the servers of stack {owner.stack}"):
            return self._owned(owner)

    def find(self, name: str, owner: Owner) -> list[Machine]:
        with _asking(f"look up server {name}"):
            return [machine for machine in self._owned(owner, name=name) if machine.name == name]

    def names(self) -> frozenset[str]:
        """Return the names of all servers of the project, whoever owns them: no two servers can have one name."""
        with _asking("list the names of all servers"):
            return frozenset(read_all(self._names_page))

    def _names_page(self, number: int) -> Page[str]:
        # Of others' servers nothing but the name is read: they need not be such as scaler creates.
        answer = self._client.request("GET", "/servers", params={"page": number, "per_page": _PER_PAGE})
        pagination = answer["meta"]["pagination"]
        rows = [(row["id"], str(row["name"])) for row in answer["servers"]]
        return Page(rows, pagination["next_page"] is not None, pagination["total_entries"])

    def get(self, id: str) -> Machine:
        with _asking(f"read server {id}"):
            return machine_of(self._client.servers.get_by_id(_number(id)))

    def create(self, request: MachineRequest) -> Machine:
        networks = [Network(id=_digits("network", network)) for network in request.networks]
        firewalls = [Firewall(id=_digits("firewall", firewall)) for firewall in request.firewalls]
        placement_group = request.placement_group and PlacementGroup(
            id=_digits("placement group", request.placement_group)
        )
        with _asking(f"create server {request.name}", changing=True):
            response = self._client.servers.create(
                name=request.name,
                server_type=ServerType(name=request.type),
                location=Location(name=request.location),
                image=_image_name(request.image),
                labels=dict(request.labels),
                ssh_keys=[_key_name(key) for key in request.ssh_keys],
                user_data=request.user_data,
                networks=networks,
                firewalls=firewalls,
                placement_group=placement_group or None,
                public_net=ServerCreatePublicNetwork(enable_ipv4=request.public_ipv4, enable_ipv6=request.public_ipv6),
            )
            return machine_of(response.server)

    def delete(self, id: str) -> None:
        with _asking(f"delete server {id}", changing=True):
            self._deletions[id] = self._client.servers.delete(Server(id=_number(id))).id

    def prove_gone(self, ids: Collection[str]) -> frozenset[str]:
        """Wait until deletions that this client asked for have ended; return the servers that are gone.

        Only then are name, addresses, places and quota free again. One request asks for 25 of their actions.
        """
        asked = {self._deletions[server]: server for server in ids if server in self._deletions}
        running, gone = set(asked), set[str]()
        end, pause = self._clock.monotonic() + self._limit.cut(_DELETION_S), _DELETION_POLL_S
        while running:
            actions = self._actions(sorted(running))
            running -= {number for number, action in actions.items() if action["status"] != "running"}
            gone |= {asked[number] for number, action in actions.items() if action["status"] == "success"}
            if not running or self._clock.monotonic() >= end:
                break
            self._clock.sleep(pause)
            pause = min(2 * pause, _DELETION_POLL_S * 8)
        return frozenset(gone)

    def failed(self, ids: Collection[str], work: Work) -> Mapping[str, str]:
        """Return those of the servers whose deletion or reboot has failed, with the cloud's words.

        One request asks for 25 actions that this client began; of servers on which another one did, as many are
        asked each for its newest action.
        """
        with _asking(f"read whether it failed to {work} servers"):
            return self._failed(ids, work)

    def _failed(self, ids: Collection[str], work: Work) -> Mapping[str, str]:
        begun = self._deletions if work == "delete" else self._reboots
        known = {server: begun[server] for server in ids if server in begun}
        actions = self._actions(sorted(known.values()))
        found: dict[str, Mapping[str, Any]] = {
            server: actions[number] for server, number in known.items() if number in actions
        }
        for server in sorted(set(ids) - known.keys())[:_ACTIONS_PER_REQUEST]:
            newest = self._newest_action(server)
            if newest and newest["command"] == _COMMANDS[work]:
                found[server] = newest
        failed = {
            server: action
            for server, action in found.items()
            if action["status"] == "error" and action["id"] not in self._told
        }
        self._told |= {action["id"] for action in failed.values()}
        return {server: words_of(action.get("error")) for server, action in failed.items()}

    def _newest_action(self, server: str) -> Mapping[str, Any] | None:
        with suppress(CloudError), _asking(f"read the newest action of server {server}"):
            parameters = {"sort": "id:desc", "per_page": 1}
            rows = self._client.request("GET", f"/servers/{_number(server)}/actions", params=parameters)["actions"]
            return rows[0] if rows else None
        return None

    def _actions(self, numbers: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """Return actions by their ids; what the cloud does not tell now is left out."""
        actions: dict[int, Mapping[str, Any]] = {}
        for start in range(0, len(numbers), _ACTIONS_PER_REQUEST):
            some = numbers[start : start + _ACTIONS_PER_REQUEST]
            # A question that fails says nothing: what was asked for was accepted all the same.
            with suppress(CloudError), _asking("read the actions on servers"):
                # The client's own list of actions has no parameter for ids.
                rows = self._client.request("GET", "/actions", params={"id": some})["actions"]
                actions |= {int(row["id"]): {**row, "status": str(row["status"])} for row in rows if row["id"] in some}
        return actions

    def power_on(self, id: str) -> None:
        with _asking(f"power on server {id}", changing=True):
            self._client.servers.power_on(Server(id=_number(id)))

    def power_off(self, id: str) -> None:
        with _asking(f"power off server {id}", changing=True):
            self._client.servers.power_off(Server(id=_number(id)))

    def shutdown(self, id: str) -> None:
        with _asking(f"shut down server {id}", changing=True):
            self._client.servers.shutdown(Server(id=_number(id)))

    def reboot(self, id: str) -> None:
        with _asking(f"reboot server {id}", changing=True):
            self._reboots[id] = self._client.servers.reboot(Server(id=_number(id))).id

    def cpu(self, id: str) -> float | None:
        with _asking(f"read the CPU use of server {id}"):
            number, now = _number(id), self._clock.now()
            cores = self._cores.get(id) or _cores(self._client.servers.get_by_id(number))
            answer = self._client.servers.get_metrics(
                Server(id=number), "cpu", now - 5 * _CPU_STEP, now, _CPU_STEP.total_seconds()
            )
            values = answer.metrics.time_series["cpu"]["values"]
            return float(values[-1][1]) / (100 * cores) if values else None

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        with _asking(f"label server {id}", changing=True):
            self._client.servers.update(Server(id=_number(id)), labels=dict(labels))

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        del location  # every image can be used everywhere
        with _asking(f"look up the image {image}"):
            match image.kind:
                case "id":
                    return _usable(self._image_by_id(image, architecture), image, architecture)
                case "slug":
                    return self._vendor_image(image, architecture)
                case "selector":
                    candidates = self._snapshots(label_selector=image.value)
                case "name":
                    candidates = [row for row in self._snapshots() if row.description == image.value]
            return self._newest(candidates, image, architecture)

    def reference(self, kind: Reference, name: str) -> str:
        with _asking(f"look up the {kind.replace('_', ' ')} {name}"):
            known = self._references.names(kind, name)
        if (found := id_of(known, name)) is None:
            raise unknown(
                TITLE, kind.replace("_", " "), name, [word for named in known.values() for word in named.words]
            )
        return found

    def check_request(self, request: MachineRequest) -> Sequence[Room]:
        """Refuse networks that the server cannot be in; the rooms of its networks and its placement group."""
        rooms = []
        with _asking("read the networks and placement groups that the spec names"):
            networks = [self._row("network", network) for network in request.networks]
            zone = self._zone(request.location) if networks else ""
            if request.placement_group:
                rooms.append(room_of_group(self._row("placement_group", request.placement_group)))
            check_together(networks, request.firewalls)
            for network in networks:
                check_zone(network, request.location, zone)
                rooms.append(room_of_network(network, zone))
        return rooms

    def _row(self, kind: Reference, id: str) -> Any:
        """Return what a list that was read just now says of a thing."""
        known = self._references.names(kind, id, _FRESH_S)
        if id not in known:
            raise unknown(TITLE, kind.replace("_", " "), id, known)
        return known[id].row

    def _zone(self, location: str) -> str:
        if not self._zones:
            rows = read_all(_pages(self._client.locations.get_list))
            self._zones = {str(row.name): str(row.network_zone) for row in rows}
        return self._zones.get(location, "")

    def catalogue(self) -> Catalogue:
        with _asking("read the server types and prices"):
            pricing = self._client.request("GET", "/pricing")["pricing"]
            types = read_all(_pages(self._client.server_types.get_list))
            hourly, monthly = _ipv4_prices(pricing)
            return Catalogue(
                currency=pricing["currency"],
                offers=tuple(offer for row in types for offer in _offers(row)),
                ipv4_per_hour=hourly,
                ipv4_per_month=monthly,
                # Since 2026-06-15, until it gets another type; lists have the price of new ones alone.
                keeps_prices=True,
            )

    def limits(self) -> Limits:
        left, reset = self._governor.left()
        return Limits(requests_left=left, requests_reset=reset)

    def rate_wait(self, requests: int) -> timedelta:
        return self._governor.rate_wait(requests)

    @property
    def requests(self) -> Requests:
        return self._governor.requests

    def close(self) -> None:
        self._session.close()

    def _owned(self, owner: Owner, name: str | None = None) -> list[Machine]:
        selector = ",".join([*(f"{key}={value}" for key, value in owner.labels.items()), GROUP])
        rows = read_all(_pages(self._client.servers.get_list, label_selector=selector, name=name))
        machines = [machine for machine in map(machine_of, rows) if owner.owns(machine.labels)]
        self._cores.update((str(row.id), row.server_type.cores) for row in rows if row.server_type)
        return oldest_first(machines)

    def _read_references(self, kind: Reference) -> Names:
        rows = read_all(self._reference_pages(kind))
        return {number_of(row.id, f"{kind}.id"): Named((str(row.name),), row) for row in rows}

    def _reference_pages(self, kind: Reference) -> Callable[[int], Page[Any]]:
        match kind:
            case "ssh_key":
                return _pages(self._client.ssh_keys.get_list)
            case "network":
                return _pages(self._client.networks.get_list)
            case "firewall":
                return _pages(self._client.firewalls.get_list)
            case "placement_group":
                return _pages(self._client.placement_groups.get_list)
            case _:
                raise InvalidError(f"{TITLE} has no {kind}.", fix="Use `networks` instead.")

    def _snapshots(self, **filters: Any) -> list[BoundImage]:
        return read_all(_pages(self._client.images.get_list, type=["snapshot"], **filters))

    def _image_by_id(self, image: ImageRef, architecture: str) -> BoundImage:
        try:
            return self._client.images.get_by_id(_number(image.value))
        except (InvalidError, GoneError) as error:
            rows = self._snapshots()
            fitting = [str(row.id) for row in rows if row.architecture == architecture]
            kind = "image" if fitting or not rows else f"{architecture} image"
            raise unknown(TITLE, kind, image.value, fitting) from error

    def _vendor_image(self, image: ImageRef, architecture: str) -> Image:
        rows = read_all(_pages(self._client.images.get_list, name=image.value, include_deprecated=True))
        for row in rows:
            if row.architecture == architecture:
                return _usable(row, image, architecture)
        if rows:
            return _usable(rows[0], image, architecture)
        names = {row.name for row in read_all(_pages(self._client.images.get_list, type=["system", "app"])) if row.name}
        raise unknown(TITLE, "image", image.value, names)

    def _newest(self, candidates: Sequence[BoundImage], image: ImageRef, architecture: str) -> Image:
        """Return the newest image that can be used; InvalidError says what is wrong with the newest, or what exists."""
        newest_first = sorted(candidates, key=lambda row: usable(given(row.created, "image.created")), reverse=True)
        for row in newest_first:
            if row.status == "available" and row.architecture == architecture:
                return image_of(row)
        if newest_first:
            return _usable(newest_first[0], image, architecture)
        existing = self._snapshots()
        if image.kind == "name":
            raise unknown(TITLE, "snapshot", image.value, {str(row.description) for row in existing})
        labels = {f"{key}={value}" for row in existing for key, value in (row.labels or {}).items()}
        raise unknown(TITLE, "snapshot with the labels", image.value, labels)


def machine_of(server: BoundServer) -> Machine:
    """Return what the API says of a server; ValueError or AttributeError if a required field is missing."""
    network = _ipv6_network(server)
    # The address that the server configures for itself, and that the official plugin shows.
    ipv6 = str(ipaddress.ip_network(network).network_address + 1) if network else None
    status = given(server.status, "server.status")
    server_type = given(given(server.server_type, "server.server_type").name, "server_type.name")
    location = given(given(server.location, "server.location").name, "location.name")
    return Machine(
        id=number_of(server.id, "server.id"),
        name=given(server.name, "server.name"),
        phase=_PHASES.get(status, Phase.UNKNOWN),
        vendor_status=status,
        labels=given(server.labels, "server.labels"),
        type=server_type,
        location=location,
        image=_image_of(server),
        created=usable(given(server.created, "server.created")),
        ipv4=_ipv4(server),
        ipv6=ipv6,
        private_ip=next((net.ip for net in server.private_net or () if net.ip), None),
        locked=bool(server.locked),
        protected=bool(dict(server.protection or {}).get("delete")),
        details={
            "server_type": server_type,
            "location": location,
            "ipv6_network": network,
            "ipv6_address": ipv6,
            "primary_disk_size": server.primary_disk_size,
            "backup_window": server.backup_window,
            "placement_group_id": server.placement_group.id if server.placement_group else None,
            "firewall_ids": _firewall_ids(server),
            "volume_ids": [volume.id for volume in server.volumes or ()],
            "private_net": [_private_net(net) for net in server.private_net or ()],
            "protection": dict(server.protection or {}),
            "rescue_enabled": bool(server.rescue_enabled),
            "included_traffic": server.included_traffic,
        },
    )


def _ipv4(server: BoundServer) -> str | None:
    public = server.public_net
    return public.ipv4.ip if public and public.ipv4 else None


def _ipv6_network(server: BoundServer) -> str | None:
    public = server.public_net
    return public.ipv6.ip if public and public.ipv6 else None


def _firewall_ids(server: BoundServer) -> list[int | None]:
    public = server.public_net
    return [row.firewall.id for row in (public.firewalls if public else None) or ()]


def _image_of(server: BoundServer) -> str | None:
    """Return the name of a vendor's image, else the id; None if the image was deleted."""
    return (server.image.name or number_of(server.image.id, "image.id")) if server.image else None


def _cores(server: BoundServer) -> int:
    return int(given(given(server.server_type, "server.server_type").cores, "server_type.cores"))


def _private_net(net: PrivateNet) -> dict[str, object]:
    return {"network": net.network.id, "ip": net.ip, "alias_ips": net.alias_ips, "mac_address": net.mac_address}


def image_of(row: BoundImage) -> Image:
    """Return an image; a snapshot's name is its description."""
    return Image(
        id=number_of(row.id, "image.id"),
        name=given(row.name or row.description, "image.description"),
        created=usable(given(row.created, "image.created")),
        available=row.status == "available",
        disk=int(given(row.disk_size, "image.disk_size")),
        architecture=given(row.architecture, "image.architecture"),
    )


def _usable(row: BoundImage, image: ImageRef, architecture: str) -> Image:
    found = image_of(row)
    if not found.available:
        raise InvalidError(
            f"The image {image} cannot be used yet.",
            why=f"{found.id} {found.name} is {row.status}",
            fix="Wait until the snapshot is finished, or name another.",
        )
    if found.architecture != architecture:
        raise UnfitError(
            f"The image {image} does not run on {architecture} servers.",
            why=f"{found.id} {found.name} is made for {found.architecture}",
            fix="Name server types of the same architecture as the image.",
        )
    return found


def _offers(row: BoundServerType) -> Iterable[Offer]:
    name = given(row.name, "server_type.name")
    prices = {price["location"]: price for price in given(row.prices, "server_type.prices")}
    for place in given(row.locations, "server_type.locations"):
        location = given(place.location.name, "server_type.locations.name")
        if location in prices:
            yield Offer(
                type=name,
                location=location,
                available=bool(place.available),
                # No server is free here.
                per_hour=amount(prices[location]["price_hourly"]["net"]) or None,
                per_month=amount(prices[location]["price_monthly"]["net"]) or None,
                disk=int(given(row.disk, "server_type.disk")),
                architecture=given(row.architecture, "server_type.architecture"),
                deprecated_after=place.deprecation.unavailable_after if place.deprecation else None,
            )


def _ipv4_prices(pricing: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return the hourly and monthly price of a primary IPv4: the highest, though today it is the same everywhere."""
    prices = [price for row in pricing["primary_ips"] if row["type"] == "ipv4" for price in row["prices"]]
    return _highest(prices, "price_hourly"), _highest(prices, "price_monthly")


def _highest(prices: Sequence[Mapping[str, Any]], key: str) -> Decimal | None:
    amounts = [amount(price[key]["net"]) for price in prices]
    known = [price for price in amounts if price is not None]
    return max(known, default=Decimal(0)) if len(known) == len(amounts) else None


def _client(endpoint: str, token: str, session: requests.Session) -> hcloud.Client:
    client = hcloud.Client(token=token, api_endpoint=endpoint, application_name="scaler")
    # The client has no parameter for its session; every request must be sent by ours.
    client._client._session = session
    return client


def _pages(list_function: Callable[..., tuple[Sequence[Any], Meta]], **filters: Any) -> Callable[[int], Page[Any]]:
    """Read one of the client's lists page by page."""

    def fetch(number: int) -> Page[Any]:
        rows, meta = list_function(page=number, per_page=_PER_PAGE, **filters)
        pagination = given(meta.pagination, "meta.pagination")
        return Page([(row.id, row) for row in rows], pagination.next_page is not None, pagination.total_entries)

    return fetch


def _asking(what: str, *, changing: bool = False) -> AbstractContextManager[None]:
    return asking(TITLE, what, changing=changing, also=hcloud.HCloudException)


def _number(id: str) -> int:
    if not is_number(id):
        raise GoneError(f"There is no {id}.", why="ids at Hetzner Cloud are numbers")
    return int(id)


def _digits(kind: str, id: str) -> int:
    if not is_number(id):
        raise InvalidError(f"{id} is no {kind}'s id.", why="ids at Hetzner Cloud are numbers", fix="Give a number.")
    return int(id)


def _image_name(name: str) -> ImageName:
    return ImageName(id=int(name)) if name.isdecimal() else ImageName(name=name)


def _key_name(name: str) -> SSHKey:
    return SSHKey(id=int(name)) if name.isdecimal() else SSHKey(name=name)
