"""Reboots: at once, or as soon as a server runs."""

from __future__ import annotations

from dataclasses import replace

from scaler.clouds import (
    PASSING,
    BusyError,
    CloudError,
)
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.model import World
from scaler.model.lifecycle import Status


def due_for_reboot(world: World) -> list[str]:
    """Return the running servers for which a reboot was asked while they could not be rebooted."""
    return [name for name, server in world.servers.items() if server.reboot_asked and server.running]


def reboot_server(knowledge: Knowledge, name: str, ports: Ports) -> tuple[Knowledge, CloudError | None]:
    """Reboot one running server; the error if that was refused for good.

    After a passing trouble the reboot stays asked for, and is due at the next observation.
    """
    server = replace(knowledge.world.servers[name], reboot_asked=False)
    try:
        ports.cloud.reboot(server.id or "")
    except (BusyError, *PASSING):
        return knowledge.amend(replace(server, reboot_asked=True)), None
    except CloudError as error:
        return knowledge.amend(server.become(Status.ERRORED, knowledge.world.at, str(error))), error
    return knowledge.amend(server.become(Status.REBOOTING, knowledge.world.at)), None


def reboot_due(knowledge: Knowledge, ports: Ports) -> tuple[Knowledge, tuple[CloudError, ...]]:
    """Reboot what is due; what was refused for good."""
    refused: list[CloudError] = []
    for name in due_for_reboot(knowledge.world):
        knowledge, error = reboot_server(knowledge, name, ports)
        refused += [error] if error else []
    return knowledge, tuple(refused)
