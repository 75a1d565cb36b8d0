"""Reboots: at once, or as soon as a server runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from scaler.clouds import (
    PASSING,
    BusyError,
    CloudError,
)
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.converge.service import PASSING_OR_LOST, take_off
from scaler.model import World
from scaler.model.lifecycle import Status


def due_for_reboot(world: World) -> list[str]:
    """Return the running servers for which a reboot was asked while they could not be rebooted."""
    return [name for name, server in world.servers.items() if server.reboot_asked and server.running]


def reboot_servers(
    knowledge: Knowledge, names: Collection[str], ports: Ports
) -> tuple[Knowledge, dict[str, CloudError]]:
    """Reboot running servers, each when its `in_service` label is off; what was refused for good, by server.

    After a passing trouble a reboot stays asked for, and is due at the next observation.
    """
    switched = take_off(knowledge, names, ports)
    knowledge, refused = switched.knowledge, {}
    for name in names:
        error = switched.refused.get(name)
        if error is None:
            knowledge, error = _reboot(knowledge, name, ports)
        elif isinstance(error, PASSING_OR_LOST):
            knowledge, error = knowledge.amend(replace(knowledge.world.servers[name], reboot_asked=True)), None
        else:
            # It serves on, and nobody asks again for what is refused.
            knowledge = knowledge.amend(replace(knowledge.world.servers[name], reboot_asked=False))
        if error:
            refused[name] = error
    return knowledge, refused


def _reboot(knowledge: Knowledge, name: str, ports: Ports) -> tuple[Knowledge, CloudError | None]:
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
    due = due_for_reboot(knowledge.world)
    knowledge, refused = reboot_servers(knowledge, due, ports) if due else (knowledge, {})
    return knowledge, tuple(refused.values())
