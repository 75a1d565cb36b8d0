"""Things as Hetzner's API shows them (2026-10: without `datacenter`)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from scaler.simulator.clock import timestamp
from scaler.simulator.hetzner.catalogue import (
    IMAGE_GB_MONTHLY,
    IMAGES,
    IPV4_HOURLY,
    IPV4_MONTHLY,
    LOCATIONS,
    SERVER_TYPES,
    TRAFFIC,
    VAT,
    Location,
    ServerType,
    SystemImage,
)
from scaler.simulator.hetzner.labels import Selector, parse_selector
from scaler.simulator.things import Thing, address
from scaler.simulator.world import SimulatedWorld

Json = dict[str, Any]
ANNOUNCED_BEFORE_S = 90 * 86_400

LOAD_BALANCER_TYPES: tuple[Json, ...] = tuple(
    {
        "id": number,
        "name": f"lb{number}1",
        "description": f"LB{number}1",
        "max_connections": connections,
        "max_services": services,
        "max_targets": targets,
        "max_assigned_certificates": certificates,
        "deprecated": None,
        "prices": [],
    }
    for number, connections, services, targets, certificates in (
        (1, 10_000, 5, 25, 10),
        (2, 20_000, 15, 75, 25),
        (3, 40_000, 30, 150, 50),
    )
)
"""By Hetzner's page on load balancers; what they cost is not here."""


class Shapes:
    """Makes the JSON of one answer. Everything shown together is looked up once."""

    def __init__(self, world: SimulatedWorld, now: float) -> None:
        self._world = world
        self._now = now
        self._types: dict[str, Json] = {}

    # -----------------------------------------------------------------------------------------
    # The catalogue

    @staticmethod
    def location(location: Location) -> Json:
        """A location."""
        return asdict(location)

    def server_type(self, kind: ServerType) -> Json:
        """A server type with its prices and whether it can be ordered now."""
        if kind.name not in self._types:
            self._types[kind.name] = self._make_server_type(kind)
        return self._types[kind.name]

    def _make_server_type(self, kind: ServerType) -> Json:
        deprecation = self.deprecation(kind)
        return {
            "id": kind.id,
            "name": kind.name,
            "description": kind.name.upper(),
            "category": kind.category,
            "cores": kind.cores,
            "memory": float(kind.memory),
            "disk": kind.disk,
            "storage_type": "local",
            "cpu_type": "dedicated" if kind.dedicated else "shared",
            "architecture": kind.architecture,
            "deprecated": deprecation is not None,
            "deprecation": deprecation,
            "prices": [_server_price(kind, location) for location in kind.locations],
            "locations": [
                {
                    "id": LOCATIONS[location].id,
                    "name": location,
                    "available": deprecation is None and self._world.has_capacity("hetzner", kind.name, location),
                    "recommended": not kind.dedicated,
                    "deprecation": deprecation,
                }
                for location in kind.locations
            ],
        }

    def deprecation(self, kind: ServerType) -> Json | None:
        """When a type was or will be withdrawn, if it is."""
        since = self._world.deprecated_since("hetzner", kind.name)
        if since is None and kind.withdrawn:
            since = datetime.fromisoformat(kind.withdrawn).astimezone(UTC).timestamp()
        if since is None:
            return None
        return {"announced": timestamp(since - ANNOUNCED_BEFORE_S), "unavailable_after": timestamp(since)}

    def is_listed(self, kind: ServerType) -> bool:
        """Whether a type is in lists: a withdrawn one is not, after a while."""
        deprecation = self.deprecation(kind)
        if deprecation is None:
            return True
        withdrawn = datetime.fromisoformat(deprecation["unavailable_after"]).timestamp()
        return withdrawn + self._world.knobs("hetzner").withdrawn_listed_s > self._now

    def pricing(self) -> Json:
        """All prices."""
        none = _price(Decimal(0))
        return {
            "currency": "EUR",
            "vat_rate": f"{VAT * 100:.2f}",
            "image": {"price_per_gb_month": _price(IMAGE_GB_MONTHLY)},
            "floating_ips": [],
            "primary_ips": [
                {
                    "type": "ipv4",
                    "prices": [
                        {
                            "location": location,
                            "price_hourly": _price(IPV4_HOURLY),
                            "price_monthly": _price(IPV4_MONTHLY),
                        }
                        for location in LOCATIONS
                    ],
                },
                {
                    "type": "ipv6",
                    "prices": [
                        {"location": location, "price_hourly": none, "price_monthly": none} for location in LOCATIONS
                    ],
                },
            ],
            "server_backup": {"percentage": "20.00"},
            "volume": {"price_per_gb_month": _price(Decimal("0.0440"))},
            "server_types": [
                {
                    "id": kind.id,
                    "name": kind.name,
                    "prices": [_server_price(kind, location) for location in kind.locations],
                }
                for kind in SERVER_TYPES.values()
                if self.is_listed(kind)
            ],
            "load_balancer_types": [],
        }

    # -----------------------------------------------------------------------------------------
    # Images

    @cached_property
    def _snapshots(self) -> dict[int, Thing]:
        return {thing.id: thing for thing in self._world.things("hetzner", "snapshot")}

    def image(self, id: int | None) -> Json | None:
        """An image by its id; None once it is deleted, as servers then show it."""
        if id is None:
            return None
        if id in IMAGES:
            return self.system_image(IMAGES[id])
        return self.snapshot(self._snapshots[id]) if id in self._snapshots else None

    @staticmethod
    def system_image(image: SystemImage) -> Json:
        """An image of Hetzner's."""
        return {
            "id": image.id,
            "type": "system",
            "status": "available",
            "name": image.name,
            "description": image.description,
            "image_size": None,
            "disk_size": image.disk,
            "created": image.created,
            "created_from": None,
            "bound_to": None,
            "os_flavor": image.flavor,
            "os_version": image.version,
            "architecture": image.architecture,
            "rapid_deploy": True,
            "protection": {"delete": False},
            "deprecated": image.deprecated,
            "deleted": None,
            "labels": {},
        }

    def snapshot(self, thing: Thing) -> Json:
        """A snapshot or backup: it has a description and no name."""
        body = thing.body
        available = body["available_at"] <= self._now
        return {
            "id": thing.id,
            "type": body.get("type", "snapshot"),
            "status": "available" if available else "creating",
            "name": None,
            "description": thing.name,
            "image_size": body["size_gb"] if available else None,
            "disk_size": body["disk"],
            "created": timestamp(thing.created),
            "created_from": {"id": body["source"], "name": body.get("source_name", "")} if body["source"] else None,
            "bound_to": body.get("bound_to"),
            "os_flavor": "ubuntu",
            "os_version": "24.04",
            "architecture": body["architecture"],
            "rapid_deploy": False,
            "protection": {"delete": bool(body.get("protected"))},
            "deprecated": None,
            "deleted": None,
            "labels": body["labels"],
        }

    # -----------------------------------------------------------------------------------------
    # Servers and their actions

    def server(self, thing: Thing) -> Json:
        """A server."""
        body = thing.body
        kind = SERVER_TYPES[body["type"]]
        protected = bool(body.get("protected"))
        group = body.get("placement_group")
        return {
            "id": thing.id,
            "name": thing.name,
            "status": thing.status(self._now),
            "created": timestamp(thing.created),
            "public_net": self._public_net(body),
            "private_net": self._private_net(body),
            "server_type": self.server_type(kind),
            "location": asdict(LOCATIONS[body["location"]]),
            "image": self.image(body["image"]),
            "iso": body.get("iso"),
            "rescue_enabled": bool(body.get("rescue")),
            "locked": thing.locked(self._now),
            "backup_window": body.get("backup_window"),
            "outgoing_traffic": None,
            "ingoing_traffic": None,
            "included_traffic": TRAFFIC,
            "protection": {"delete": protected, "rebuild": protected},
            "labels": body["labels"],
            "volumes": [],
            "load_balancers": [],
            "primary_disk_size": body.get("disk", kind.disk),
            "placement_group": self.placement_group(self._groups[group]) if group in self._groups else None,
        }

    def _public_net(self, body: Json) -> Json:
        ipv4, ipv6 = body.get("ipv4"), body.get("ipv6")
        return {
            "ipv4": ipv4 and {**ipv4, "blocked": False, "dns_ptr": self._pointers(ipv4, "ipv4")[0]["dns_ptr"]},
            "ipv6": ipv6 and {**ipv6, "blocked": False, "dns_ptr": self._pointers(ipv6, "ipv6")},
            "floating_ips": [],
            "firewalls": [
                {"id": number, "status": "pending" if body.get("applied_at", 0.0) > self._now else "applied"}
                for number in self._firewalls_of(body)
            ],
        }

    @cached_property
    def _selectors(self) -> list[tuple[int, Selector]]:
        """The label selectors that firewalls are applied to, with the firewall's id."""
        firewalls = self._world.things("hetzner", "firewall")
        return [
            (firewall.id, parse_selector(text)) for firewall in firewalls for text in firewall.body.get("selectors", ())
        ]

    def _firewalls_of(self, body: Json) -> list[int]:
        """The firewalls of a server: its own, and those that are applied to labels that it carries."""
        by_label = (number for number, matches in self._selectors if matches(body["labels"]))
        return list(dict.fromkeys((*body.get("firewalls", ()), *by_label)))

    def _private_net(self, body: Json) -> list[Json]:
        """The networks whose `attach_to_network` has ended."""
        return [
            {key: value for key, value in net.items() if key != "attached_at"}
            for net in body.get("private_net", ())
            if net.get("attached_at", 0.0) <= self._now
        ]

    def action(self, thing: Thing) -> Json:
        """An action, as far as it has come."""
        body, now = thing.body, self._now
        finishes = body["finishes"]
        running = finishes > now
        length = finishes - thing.created
        error = body["error"]
        return {
            "id": thing.id,
            "command": thing.name,
            "status": "running" if running else "error" if error else "success",
            "progress": min(99, int(100 * (now - thing.created) / length)) if running and length else 100,
            "started": timestamp(thing.created),
            "finished": None if running else timestamp(finishes),
            "resources": body["resources"],
            "error": None if running else error,
        }

    # -----------------------------------------------------------------------------------------
    # The rest

    @cached_property
    def _servers(self) -> list[Thing]:
        return self._world.things("hetzner", "server")

    @cached_property
    def _groups(self) -> dict[int, Thing]:
        return {thing.id: thing for thing in self._world.things("hetzner", "placement_group")}

    def placement_group(self, thing: Thing) -> Json:
        """A placement group with its servers."""
        members = [server.id for server in self._servers if server.body.get("placement_group") == thing.id]
        return {**self._labelled(thing), "type": thing.body["type"], "servers": members}

    def ssh_key(self, thing: Thing) -> Json:
        """An SSH key."""
        body = thing.body
        return {**self._labelled(thing), "fingerprint": body["fingerprint"], "public_key": body["public_key"]}

    def firewall(self, thing: Thing) -> Json:
        """A firewall with the servers that it is applied to."""
        members = [server.id for server in self._servers if thing.id in server.body.get("firewalls", ())]
        applied = [_applied_to(member) for member in members]
        for text in thing.body.get("selectors", ()):
            matches = parse_selector(text)
            matching = [_applied_to(server.id) for server in self._servers if matches(server.body["labels"])]
            selector = {"label_selector": {"selector": text}, "applied_to_resources": matching}
            applied.append({"type": "label_selector", **selector})
        return {**self._labelled(thing), "rules": thing.body["rules"], "applied_to": applied}

    def network(self, thing: Thing) -> Json:
        """A network with the servers in it."""
        members = [
            server.id
            for server in self._servers
            if any(net["network"] == thing.id for net in server.body.get("private_net", ()))
        ]
        return {
            **self._labelled(thing),
            "ip_range": thing.body["ip_range"],
            "subnets": thing.body["subnets"],
            "routes": thing.body.get("routes", []),
            "servers": members,
            "load_balancers": [],
            "protection": {"delete": bool(thing.body.get("protected"))},
            "expose_routes_to_vswitch": thing.body.get("expose_routes_to_vswitch", False),
        }

    def targets_of(self, balancer: Thing) -> list[Thing]:
        """The servers that a load balancer sends requests to, each once."""
        chosen = [server for target in balancer.body["targets"] for server in self._selected(target)]
        return list({server.id: server for server in chosen}.values())

    def _selected(self, target: Json) -> list[Thing]:
        if target["type"] == "server":
            return [server for server in self._servers if server.id == target["server"]]
        matches = parse_selector(target["selector"])
        return [server for server in self._servers if matches(server.body["labels"])]

    def load_balancer(self, thing: Thing) -> Json:
        """A load balancer with the servers that its targets are now."""
        body = thing.body
        ip = address("hetzner", thing.id)
        return {
            **self._labelled(thing),
            "public_net": {
                "enabled": True,
                "ipv4": {"ip": ip, "dns_ptr": _dns_name(ip)},
                "ipv6": {"ip": "::1", "dns_ptr": None},
            },
            "private_net": [],
            "location": asdict(LOCATIONS[body["location"]]),
            "load_balancer_type": next(dict(kind) for kind in LOAD_BALANCER_TYPES if kind["name"] == body["type"]),
            "protection": {"delete": False},
            "services": body["services"],
            "targets": [self._target(target, body["services"]) for target in body["targets"]],
            "algorithm": {"type": body["algorithm"]},
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
            "included_traffic": TRAFFIC,
        }

    def _target(self, target: Json, services: list[Json]) -> Json:
        """A target; a server is healthy while it runs."""
        members = [
            {
                "type": "server",
                "server": {"id": server.id},
                "use_private_ip": target["use_private_ip"],
                "health_status": [
                    {
                        "listen_port": service["listen_port"],
                        "status": "healthy" if server.status(self._now) == "running" else "unhealthy",
                    }
                    for service in services
                ],
            }
            for server in self._selected(target)
        ]
        if target["type"] == "server":
            return (
                members[0] if members else {"type": "server", "server": {"id": target["server"]}, "health_status": []}
            )
        return {
            "type": "label_selector",
            "label_selector": {"selector": target["selector"]},
            "use_private_ip": target["use_private_ip"],
            "targets": members,
        }

    @cached_property
    def _primary_ips(self) -> dict[int, Thing]:
        return {thing.id: thing for thing in self._world.things("hetzner", "primary_ip")}

    def _pointers(self, address: Json, version: str) -> list[Json]:
        """The names that an address (`id`, `ip`) is resolved to; an IPv4 address always has one."""
        primary = self._primary_ips.get(address["id"])
        set_by_owner: list[Json] = primary.body.get("pointers", []) if primary else []
        if version == "ipv4" and not set_by_owner:
            return [{"ip": address["ip"], "dns_ptr": _dns_name(address["ip"])}]
        return set_by_owner

    def primary_ip(self, thing: Thing) -> Json:
        """A primary IP."""
        body = thing.body
        return {
            **self._labelled(thing),
            "ip": body["ip"],
            "type": body["type"],
            "assignee_id": thing.parent,
            "assignee_type": "unassigned" if thing.parent is None else "server",
            "auto_delete": body["auto_delete"],
            "blocked": False,
            "dns_ptr": self._pointers({"id": thing.id, "ip": body["ip"]}, body["type"]),
            "protection": {"delete": bool(thing.body.get("protected"))},
            "location": asdict(LOCATIONS[body["location"]]),
        }

    @staticmethod
    def _labelled(thing: Thing) -> Json:
        return {
            "id": thing.id,
            "name": thing.name,
            "created": timestamp(thing.created),
            "labels": thing.body.get("labels", {}),
        }


def _applied_to(server: int) -> Json:
    return {"type": "server", "server": {"id": server}}


def _price(net: Decimal) -> Json:
    return {"net": f"{net:.10f}", "gross": f"{net * (1 + VAT):.16f}"}


def _server_price(kind: ServerType, location: str) -> Json:
    return {
        "location": location,
        "price_hourly": _price(kind.hourly),
        "price_monthly": _price(kind.monthly),
        "included_traffic": TRAFFIC,
        "price_per_tb_traffic": _price(Decimal("1.0")),
    }


def _dns_name(ip: str) -> str:
    return f"static.{'.'.join(reversed(ip.split('.')))}.clients.your-server.de"
