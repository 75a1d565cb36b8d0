"""Reboots: at once, or as soon as a server runs and enough others of its group serve."""

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
from scaler.errors import ScalerError
from scaler.model import Server, World
from scaler.model.lifecycle import Status
from scaler.model.orders import NamedOperation

_SHARE = 4
"""One in so many servers of a group may be on its way back from a reboot, and one in any case."""


def due_for_reboot(world: World) -> list[str]:
    """Return the servers that run and are to be rebooted now: at most a quarter of a group is away at a time.

    Those that answer no health check come first.
    """
    due: list[str] = []
    for group in dict.fromkeys(server.group for server in world.servers.values() if server.reboot_asked):
        servers = {name: server for name, server in world.servers.items() if server.group == group}
        waiting = [name for name, server in servers.items() if server.reboot_asked and _runs(server)]
        waiting.sort(key=lambda name: not servers[name].unhealthy)
        away = sum(1 for server in servers.values() if _is_away(server))
        due += waiting[: max(0, max(1, len(servers) // _SHARE) - away)]
    return due


def _runs(server: Server) -> bool:
    return server.running or server.unhealthy


def _is_away(server: Server) -> bool:
    """Return whether a server is not back in service from a reboot."""
    if server.reboot_asked and _runs(server):
        return False
    return server.status is Status.REBOOTING or _is_lost(server) or (server.running and server.in_service is False)


def _is_lost(server: Server) -> bool:
    """Return whether a server did not come back from a reboot."""
    return server.status is Status.HANGING and server.previous is Status.REBOOTING


def left_to_reboot(world: World, begun: NamedOperation) -> list[Server]:
    """Return the servers that a command began to reboot, and that are not back yet."""
    known = (world.servers[name] for name in begun.reboot if name in world.servers)
    return [
        server
        for server in known
        if server.id == begun.reboot[server.name] and (server.reboot_asked or server.status is Status.REBOOTING)
    ]


def without_concluded(knowledge: Knowledge) -> Knowledge:
    """Forget the commands whose servers have all been rebooted."""
    lasting = tuple(
        each for each in knowledge.orders.operations if not each.reboot or left_to_reboot(knowledge.world, each)
    )
    return knowledge.order(operations=lasting)


def spare_the_rest(knowledge: Knowledge) -> tuple[Knowledge, dict[str, ScalerError]]:
    """Reboot no more servers of a group in which one did not come back since the run began; an error for each."""
    errors: dict[str, ScalerError] = {}
    first, servers = knowledge.first.servers, knowledge.world.servers
    for lost in servers.values():
        if not _is_lost(lost) or (lost.name in first and _is_lost(first[lost.name])):
            continue
        for name, server in servers.items():
            if server.group == lost.group and server.reboot_asked and _runs(server) and name not in errors:
                knowledge = knowledge.amend(replace(server, reboot_asked=False))
                errors[name] = ScalerError(
                    f"{name} was not rebooted.",
                    why=f"{lost.name} did not come back from its reboot",
                    fix="Find out why, have `scaler ensure` replace it, and reboot the others again.",
                    code="reboot_stopped",
                )
    return knowledge, errors


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
