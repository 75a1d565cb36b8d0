"""Things as DigitalOcean's API shows them."""

from __future__ import annotations

import uuid
from functools import cached_property
from itertools import product
from typing import Any

from scaler.simulator.clock import timestamp
from scaler.simulator.digitalocean.catalogue import (
    BASE_IMAGES,
    FOUNDED,
    REGION_FEATURES,
    REGIONS,
    SIZES,
    BaseImage,
)
from scaler.simulator.things import Thing, address
from scaler.simulator.world import SimulatedWorld

Json = dict[str, Any]

PROJECT_ID = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679"
"""The account has one project, its default one."""


def vpc_id(region: str) -> str:
    """The UUID of a region's default VPC: the same in every world."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"default-{region}.vpc.example"))


class Shapes:
    """Makes the JSON of one answer. Everything shown together is looked up once."""

    def __init__(self, world: SimulatedWorld, now: float, root: str) -> None:
        """`root` is where the API was asked, for absolute addresses: `http://127.0.0.1:4711`."""
        self._world = world
        self._now = now
        self._root = root

    # -----------------------------------------------------------------------------------------
    # The catalogue

    @cached_property
    def _sold(self) -> frozenset[tuple[str, str]]:
        """The pairs of size and region that can be ordered now."""
        sizes = [slug for slug in SIZES if self._world.deprecated_since("digitalocean", slug) is None]
        return frozenset(
            pair for pair in product(sizes, REGIONS) if self._world.has_capacity("digitalocean", pair[0], pair[1])
        )

    @cached_property
    def _sizes(self) -> dict[str, Json]:
        return {slug: self._make_size(slug) for slug in SIZES}

    @cached_property
    def _regions(self) -> dict[str, Json]:
        return {slug: self._make_region(slug) for slug in REGIONS}

    def size(self, slug: str) -> Json:
        """A size, with its prices and the regions that have room for it."""
        return self._sizes[slug]

    def region(self, slug: str) -> Json:
        """A region, with the sizes that it has room for."""
        return self._regions[slug]

    def _make_size(self, slug: str) -> Json:
        size = SIZES[slug]
        regions = sorted(region for sold, region in self._sold if sold == slug)
        return {
            "slug": size.slug,
            "memory": size.memory,
            "vcpus": size.vcpus,
            "disk": size.disk,
            "transfer": size.transfer,
            "price_monthly": size.price_monthly,
            "price_hourly": size.price_hourly,
            "regions": regions,
            "available": bool(regions),
            "description": size.description,
            "disk_info": _disk_info(size.disk),
        }

    def _make_region(self, slug: str) -> Json:
        sizes = sorted(size for size, sold in self._sold if sold == slug)
        return {
            "slug": slug,
            "name": REGIONS[slug],
            "sizes": sizes,
            "features": list(REGION_FEATURES),
            "available": bool(sizes),
        }

    # -----------------------------------------------------------------------------------------
    # Images

    def image(self, image: BaseImage | Thing) -> Json:
        """An image as `/v2/images` shows it, a snapshot included: with an integer id."""
        return _base_image(image) if isinstance(image, BaseImage) else self._snapshot_image(image)

    def _snapshot_image(self, thing: Thing) -> Json:
        body = thing.body
        return {
            "id": thing.id,
            "name": thing.name,
            "distribution": body.get("distribution", "Ubuntu"),
            "slug": None,
            "public": False,
            "regions": snapshot_regions(thing),
            "created_at": timestamp(thing.created),
            "min_disk_size": body["disk"],
            "type": "snapshot",
            "size_gigabytes": body["size_gb"],
            "description": body.get("description", ""),
            "tags": body["tags"],
            "status": "available" if body["available_at"] <= self._now else "pending",
            "error_message": "",
        }

    def snapshot(self, thing: Thing) -> Json:
        """The same snapshot as `/v2/snapshots` shows it: with its id as text."""
        body = thing.body
        return {
            "id": str(thing.id),
            "name": thing.name,
            "created_at": timestamp(thing.created),
            "regions": snapshot_regions(thing),
            "min_disk_size": body["disk"],
            "size_gigabytes": body["size_gb"],
            "resource_id": str(body["source"] or 0),
            "resource_type": "droplet",
            "tags": body["tags"],
        }

    def snapshots_of(self, droplet: Thing) -> list[Thing]:
        """The finished snapshots of a droplet."""
        snapshots = [each for each in self._snapshots.values() if each.body["source"] == droplet.id]
        return [each for each in snapshots if each.body["available_at"] <= self._now]

    def droplet_snapshot(self, thing: Thing) -> Json:
        """The same snapshot among those of its droplet: neither of the two above."""
        kept = ("id", "name", "created_at", "regions", "min_disk_size", "type", "size_gigabytes")
        shown = self._snapshot_image(thing)
        return {key: shown[key] for key in kept}

    @cached_property
    def _snapshots(self) -> dict[int, Thing]:
        return {thing.id: thing for thing in self._world.things("digitalocean", "snapshot")}

    def _image_of_droplet(self, id: int | None) -> Json:
        base = next((image for image in BASE_IMAGES if image.id == id), None)
        snapshot = self._snapshots.get(id or 0)
        if base is None and snapshot is None and id is not None:
            # Clients crash on a droplet without an image, so a deleted one is still shown.
            return {**_base_image(BASE_IMAGES[0]), "id": id, "slug": None, "public": False, "status": "deleted"}
        return self.image(snapshot or base or BASE_IMAGES[0])

    # -----------------------------------------------------------------------------------------
    # Droplets and actions

    def droplet(self, thing: Thing) -> Json:
        """A droplet."""
        body = thing.body
        size = SIZES[body["type"]]
        disk = body.get("disk", size.disk)
        return {
            "id": thing.id,
            "name": thing.name,
            "memory": size.memory,
            "vcpus": size.vcpus,
            "disk": disk,
            "disk_info": _disk_info(disk),
            "locked": thing.status(self._now) == "new",  # not during other actions
            "status": thing.status(self._now),
            "kernel": None,
            "created_at": timestamp(thing.created),
            "features": features(thing),
            "backup_ids": [],
            "next_backup_window": None,
            "snapshot_ids": [each.id for each in self.snapshots_of(thing)],
            "image": self._image_of_droplet(body["image"]),
            "volume_ids": [],
            "size": self.size(size.slug),
            "size_slug": size.slug,
            "networks": self._networks(thing),
            "region": self.region(body["location"]),
            "tags": body["tags"],
            "vpc_uuid": body.get("vpc", vpc_id(body["location"])),
        }

    def _networks(self, thing: Thing) -> Json:
        """Empty until the droplet has started for the first time."""
        if thing.status(self._now) == "new":
            return {"v4": [], "v6": []}
        private = f"10.{thing.id >> 16 & 255}.{thing.id >> 8 & 255}.{thing.id & 255}"
        v6 = {
            "ip_address": f"2001:db8::{thing.id >> 16:x}:{thing.id & 65535:x}",
            "netmask": 64,
            "gateway": "2001:db8::1",
            "type": "public",
        }
        public = _ipv4(address("digitalocean", thing.id), "255.192.0.0", "127.64.0.1", "public")
        return {
            "v4": [
                _ipv4(private, "255.0.0.0", "10.0.0.1", "private"),
                *([public] if thing.body.get("public", True) else []),
            ],
            "v6": [v6] if "ipv6" in features(thing) else [],
        }

    def action(self, thing: Thing) -> Json:
        """An action, as far as it has come."""
        body = thing.body
        running = body["finishes"] > self._now
        return {
            "id": thing.id,
            "status": "in-progress" if running else "errored" if body["error"] else "completed",
            "type": thing.name,
            "started_at": timestamp(thing.created),
            "completed_at": None if running else timestamp(body["finishes"]),
            "resource_id": thing.parent,
            "resource_type": body["resource_type"],
            "region": self.region(body["region"]),
            "region_slug": body["region"],
        }

    # -----------------------------------------------------------------------------------------
    # The rest

    def tag(self, name: str) -> Json:
        """A tag and how many things carry it."""
        droplets = [thing.id for thing in self._world.servers("digitalocean") if name in thing.body["tags"]]
        images = [thing.id for thing in self._snapshots.values() if name in thing.body["tags"]]
        newest = {"last_tagged_uri": f"{self._root}/v2/droplets/{droplets[-1]}"} if droplets else {}
        return {
            "name": name,
            "resources": {
                "count": len(droplets) + len(images),
                **newest,
                "droplets": {"count": len(droplets), **newest},
                "images": {"count": len(images)},
                "volumes": {"count": 0},
                "volume_snapshots": {"count": 0},
                "databases": {"count": 0},
            },
        }

    def ssh_key(self, thing: Thing) -> Json:
        """An SSH key."""
        body = thing.body
        return {
            "id": thing.id,
            "name": thing.name,
            "fingerprint": body["fingerprint"],
            "public_key": body["public_key"],
        }

    def account(self) -> Json:
        """The account and its limits."""
        return {
            "droplet_limit": self._world.quota("digitalocean", "droplets"),
            "floating_ip_limit": 3,
            "reserved_ip_limit": 3,
            "volume_limit": 100,
            "email": "ops@example.com",
            "name": "Embedded Cloud",
            "uuid": "b6fc89dbf6d9156cace5f3c78dc9851d957381ef",
            "email_verified": True,
            "status": "active",
            "status_message": "",
            "team": {"uuid": "5df3e3004a17e242b7c20ca6c9fc25b701a47ece", "name": "Embedded Cloud"},
        }

    def project(self) -> Json:
        """The default project."""
        return {
            "id": PROJECT_ID,
            "owner_uuid": "99525febec065ca37b2ffe4f852fd2b2581895e7",
            "owner_id": 258992,
            "name": "embedded",
            "description": "The default project",
            "purpose": "Operational / Developer tooling",
            "environment": "Development",
            "is_default": True,
            "created_at": FOUNDED,
            "updated_at": FOUNDED,
        }

    def project_resource(self, thing: Thing) -> Json:
        """A droplet's place in the project."""
        return {
            "urn": f"do:droplet:{thing.id}",
            "assigned_at": timestamp(thing.created),
            "links": {"self": f"{self._root}/v2/droplets/{thing.id}"},
            "status": "ok",
        }

    def vpc_member(self, thing: Thing) -> Json:
        """A droplet as a member of its VPC."""
        return {"urn": f"do:droplet:{thing.id}", "name": thing.name, "created_at": timestamp(thing.created)}

    def default_vpc(self, region: str) -> Json:
        """The VPC that a region has from the start."""
        number = list(REGIONS).index(region)
        return _vpc(vpc_id(region), f"default-{region}", region, f"10.{100 + number}.0.0/16", FOUNDED, default=True)

    def vpc(self, thing: Thing) -> Json:
        """A VPC that somebody made."""
        body = thing.body
        created = timestamp(thing.created)
        return {
            **_vpc(body["uuid"], str(thing.name), body["region"], body["ip_range"], created, default=False),
            "description": body["description"],
        }

    def targets_of(self, balancer: Thing) -> list[Thing]:
        """The droplets that a load balancer sends requests to."""
        tag, ids = balancer.body["tag"], balancer.body["droplet_ids"]
        droplets = self._world.things("digitalocean", "server")
        return [droplet for droplet in droplets if (tag in droplet.body["tags"] if tag else droplet.id in ids)]

    def load_balancer(self, thing: Thing) -> Json:
        """A load balancer with the droplets that it sends requests to now."""
        body = thing.body
        return {
            "id": body["uuid"],
            "name": thing.name,
            "ip": address("digitalocean", thing.id),
            "ipv6": "",
            "size_unit": 1,
            "size": "lb-small",
            "type": "REGIONAL",
            "algorithm": "round_robin",
            "status": "active",
            "created_at": timestamp(thing.created),
            "forwarding_rules": body["forwarding_rules"],
            "health_check": {
                "protocol": "http",
                "port": 80,
                "path": "/",
                "check_interval_seconds": 10,
                "response_timeout_seconds": 5,
                "healthy_threshold": 5,
                "unhealthy_threshold": 3,
            },
            "sticky_sessions": {"type": "none"},
            "region": self.region(body["region"]),
            "tag": body["tag"],
            "droplet_ids": [droplet.id for droplet in self.targets_of(thing)],
            "redirect_http_to_https": False,
            "enable_proxy_protocol": False,
            "enable_backend_keepalive": False,
            "vpc_uuid": vpc_id(body["region"]),
            "disable_lets_encrypt_dns_records": False,
            "project_id": PROJECT_ID,
            "http_idle_timeout_seconds": 60,
        }

    def reserved_ip(self, thing: Thing) -> Json:
        """A reserved address and the droplet that it leads to."""
        droplet = self._world.get("digitalocean", "server", thing.parent) if thing.parent else None
        return {
            "ip": thing.name,
            "region": self.region(thing.body["region"]),
            "droplet": droplet and self.droplet(droplet),
            "locked": False,
            "project_id": PROJECT_ID,
        }


def features(thing: Thing) -> list[str]:
    """What a droplet was made with; the agent and the private network come with every one."""
    return list(thing.body.get("features", ("droplet_agent", "private_networking")))


def snapshot_regions(thing: Thing) -> list[str]:
    """Where a snapshot can be used."""
    regions = thing.body["regions"]
    return sorted(REGIONS) if regions is None else list(regions)


def _base_image(image: BaseImage) -> Json:
    return {
        "id": image.id,
        "name": image.name,
        "distribution": image.distribution,
        "slug": image.slug,
        "public": True,
        "regions": sorted(REGIONS),
        "created_at": image.created,
        "min_disk_size": image.min_disk,
        "type": "base",
        "size_gigabytes": image.size_gigabytes,
        "description": f"{image.distribution} {image.name}",
        "tags": [],
        "status": "available",
        "error_message": "",
    }


def _vpc(id: str, name: str, region: str, ip_range: str, created: str, *, default: bool) -> Json:
    return {
        "id": id,
        "urn": f"do:vpc:{id}",
        "name": name,
        "description": "",
        "region": region,
        "ip_range": ip_range,
        "default": default,
        "created_at": created,
    }


def _ipv4(ip: str, netmask: str, gateway: str, type: str) -> Json:
    return {"ip_address": ip, "netmask": netmask, "gateway": gateway, "type": type}


def _disk_info(disk: int) -> list[Json]:
    return [{"type": "local", "size": {"amount": disk, "unit": "gib"}}]
