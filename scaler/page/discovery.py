"""The servers as targets for Prometheus, by its HTTP service discovery.

Format: https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scaler.model import Server
from scaler.model.lifecycle import IN_SERVICE, Status

DEFAULT_PORT = 9100
"""The port of Prometheus' node exporter."""

_SCRAPED = IN_SERVICE | {Status.REBOOTING, Status.STOPPING}
"""Servers that were ready and are not gone: a draining one still says what it does."""


def targets(stack: str, servers: Iterable[Server], *, port: int, private: bool) -> Iterator[dict[str, object]]:
    """Yield one group of targets for each server that has been ready and has an address."""
    for server in servers:
        address = server.private_ip if private else server.ipv4 or server.ipv6
        if server.status in _SCRAPED and address:
            host = f"[{address}]" if ":" in address else address
            yield {"targets": [f"{host}:{port}"], "labels": _labels(stack, server)}


def _labels(stack: str, server: Server) -> dict[str, str]:
    facts = {
        "stack": stack,
        "group": server.group,
        "server": server.name,
        "status": str(server.status),
        "type": server.type or "",
        "location": server.location or "",
    }
    return {f"__meta_scaler_{name}": value for name, value in facts.items()}
