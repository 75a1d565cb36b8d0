"""Switch one server off and on again, for what a snapshot of it needs."""

from __future__ import annotations

from datetime import timedelta

from scaler.clouds import PASSING, BusyError
from scaler.converge.confirm import confirm
from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import observe_again
from scaler.converge.ports import Ports
from scaler.converge.record import save
from scaler.converge.service import put_right_at_last, take_off
from scaler.errors import ScalerError
from scaler.model import Server
from scaler.model.lifecycle import Phase, Status

_SHUTDOWN = timedelta(seconds=60)
"""How long a shutdown may take where the spec says nothing of it, and how long to try to power on at least."""

_POLL_S = 1.0


def power_off(knowledge: Knowledge, server: Server, ports: Ports, deadline: float) -> Knowledge:
    """Shut a server down, cut its power where it does not obey, and record that it is off.

    ScalerError if it is not off by `deadline` (of `clock.monotonic`).
    """
    ports.progress.phase(f"powering {server.name} off")
    known = server.id or ""
    if ports.cloud.get(known).phase is not Phase.OFF:
        knowledge = take_off(knowledge, [server.name], ports).knowledge
        group = knowledge.spec.groups.get(server.group)
        within = (group.stop.shutdown_within if group else None) or _SHUTDOWN
        ports.require_turn()
        ports.cloud.shutdown(known)
        if not _is_off(known, ports.clock.monotonic() + within.total_seconds(), ports):
            ports.cloud.power_off(known)
            if not _is_off(known, deadline, ports):
                raise ScalerError(f"{server.name} is not off yet.", fix="Run the command again.", code="not_off")
    knowledge = observe_again(knowledge, ports)
    save(knowledge, ports)
    return knowledge


def power_on(knowledge: Knowledge, name: str, ports: Ports, deadline: float) -> tuple[Knowledge, list[ScalerError]]:
    """Power a server on if it is off, wait until it is ready, and label it as in service."""
    server = knowledge.world.servers.get(name)
    end = max(deadline, ports.clock.monotonic() + _SHUTDOWN.total_seconds())
    if server and knowledge.world.machines[name].phase is Phase.OFF:
        knowledge = knowledge.amend(server.become(Status.STARTING, knowledge.world.at))
        save(knowledge, ports)
        _ask_to_power_on(server, ports, end)
    ports.progress.phase("confirming")
    confirmed = confirm(
        lambda seen: observe_again(seen, ports), knowledge, clock=ports.clock, deadline=end, progress=ports.progress
    )
    knowledge, errors = put_right_at_last(confirmed.knowledge, ports, patient=True)
    server = knowledge.world.servers.get(name)
    if confirmed.error:
        errors.append(confirmed.error)
    elif not (server and (server.running or server.unhealthy)):
        errors.append(ScalerError(f"{name} is not ready again.", fix="`scaler ensure` repairs what is not running."))
    return knowledge, errors


def _ask_to_power_on(server: Server, ports: Ports, end: float) -> None:
    """Ask until the cloud obeys: it may still be busy with the server."""
    while True:
        try:
            return ports.cloud.power_on(server.id or "")
        except BusyError as error:
            if ports.clock.monotonic() >= end:
                raise
            ports.progress.note(f"{server.name} cannot be powered on yet: {error}")
        ports.clock.sleep(_POLL_S)


def _is_off(server: str, deadline: float, ports: Ports) -> bool:
    """Wait until a server is off, and nothing is done to it any more; False once the time is up."""
    while True:
        try:
            machine = ports.cloud.get(server)
            if machine.phase is Phase.OFF and not machine.locked:
                return True
        except PASSING as error:
            ports.progress.note(f"the cloud did not answer, still waiting: {error}")
        if ports.clock.monotonic() >= deadline:
            return False
        ports.clock.sleep(_POLL_S)
