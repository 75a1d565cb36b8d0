"""What differs between the vendors on the wire, so that one suite can speak to both."""

from __future__ import annotations

import json
from typing import Any, Literal

TOKEN = "t0ken" + "x" * 59
ENVIRON = {"HCLOUD_TOKEN": TOKEN, "DIGITALOCEAN_TOKEN": TOKEN}


class Hetzner:
    name: Literal["hetzner"] = "hetzner"
    base = "/v1"
    machines = "/v1/servers"
    type = "cx23"
    location = "fsn1"
    ok_delete: tuple[int, Any] = (200, {"action": {"id": 1, "command": "delete_server", "status": "success"}})
    ok_action: tuple[int, Any] = (201, {"action": {"id": 1, "command": "x", "status": "running"}})

    @staticmethod
    def error(code: str, message: str = "the vendor's words") -> dict[str, Any]:
        return {"error": {"code": code, "message": message, "details": None}}

    @staticmethod
    def machine(id: int, name: str, labels: dict[str, str], **more: Any) -> dict[str, Any]:
        location = {"id": 1, "name": "fsn1", "network_zone": "eu-central"}
        machine = {
            "id": id,
            "name": name,
            "status": "running",
            "created": f"2026-11-23T17:{id % 60:02d}:05Z",
            "public_net": {
                "ipv4": {"id": 1, "ip": "203.0.113.7", "blocked": False, "dns_ptr": ""},
                "ipv6": {"id": 2, "ip": "2001:db8:78::/64", "blocked": False, "dns_ptr": []},
                "floating_ips": [],
                "firewalls": [{"id": 38, "status": "applied"}],
            },
            "private_net": [{"network": 47, "ip": "10.0.0.2", "alias_ips": [], "mac_address": "86:00"}],
            "server_type": {"id": 114, "name": "cx23", "architecture": "x86", "prices": [], "locations": []},
            "location": location,
            "image": {"id": 343, "type": "snapshot", "name": None, "description": "golden"},
            "locked": False,
            "backup_window": "22-02",
            "protection": {"delete": False, "rebuild": False},
            "labels": labels,
            "volumes": [7],
            "primary_disk_size": 40,
            "placement_group": {"id": 897, "name": "pg", "type": "spread", "labels": {}, "servers": [id]},
        }
        return machine | more

    @classmethod
    def created(cls, machine: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        action = {"id": 1, "command": "create_server", "status": "running"}
        return 201, {"server": machine, "action": action, "next_actions": [], "root_password": None}

    @staticmethod
    def read(machine: dict[str, Any]) -> dict[str, Any]:
        return {"server": machine}

    @staticmethod
    def page(
        machines: list[dict[str, Any]], *, page: int = 1, pages: int = 1, total: int | None = None
    ) -> dict[str, Any]:
        following = page + 1 if page < pages else None
        entries = len(machines) if total is None else total
        pagination = {
            "page": page,
            "per_page": 50,
            "previous_page": page - 1 or None,
            "next_page": following,
            "last_page": pages,
            "total_entries": entries,
        }
        return {"servers": machines, "meta": {"pagination": pagination}}


class DigitalOcean:
    name: Literal["digitalocean"] = "digitalocean"
    base = ""
    machines = "/v2/droplets"
    type = "s-1vcpu-1gb"
    location = "fra1"
    ok_delete: tuple[int, Any] = (204, None)
    ok_action: tuple[int, Any] = (201, {"action": {"id": 1, "status": "in-progress", "type": "x"}})

    @staticmethod
    def error(code: str, message: str = "the vendor's words") -> dict[str, Any]:
        return {"id": code, "message": message, "request_id": "7f3a"}

    @staticmethod
    def machine(id: int, name: str, labels: dict[str, str], **more: Any) -> dict[str, Any]:
        tags = ["scaler" if key == "managed-by" else f"{key}:{value}" for key, value in labels.items()]
        networks = {
            "v4": [
                {"ip_address": "10.10.0.3", "type": "private"},
                {"ip_address": "203.0.113.7", "type": "public"},
            ],
            "v6": [],
        }
        machine = {
            "id": id,
            "name": name,
            "memory": 1024,
            "vcpus": 1,
            "disk": 25,
            "locked": False,
            "status": "active",
            "created_at": f"2026-11-23T17:{id % 60:02d}:05Z",
            "features": ["droplet_agent", "private_networking"],
            "image": {"id": 343, "name": "golden", "slug": None},
            "volume_ids": [],
            "size": {"slug": "s-1vcpu-1gb", "price_monthly": 6.0, "price_hourly": 0.00893},
            "size_slug": "s-1vcpu-1gb",
            "networks": networks,
            "region": {"slug": "fra1"},
            "tags": tags,
            "vpc_uuid": "760e09ef",
        }
        return machine | more

    @classmethod
    def created(cls, machine: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 202, {"droplet": machine, "links": {"actions": []}}

    @staticmethod
    def read(machine: dict[str, Any]) -> dict[str, Any]:
        return {"droplet": machine}

    @staticmethod
    def page(
        machines: list[dict[str, Any]], *, page: int = 1, pages: int = 1, total: int | None = None
    ) -> dict[str, Any]:
        links = {"pages": {"next": f"http://127.0.0.1/v2/droplets?page={page + 1}"}} if page < pages else {}
        return {"droplets": machines, "links": links, "meta": {"total": len(machines) if total is None else total}}


Vendor = type[Hetzner] | type[DigitalOcean]
VENDORS: list[Vendor] = [Hetzner, DigitalOcean]


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value))
