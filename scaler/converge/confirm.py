"""Confirm: observe again and again until what was asked for is there, and what was removed is not.

It runs outside the engine and holds no lock while machines boot. One observation is one list call, for
all servers together; a passing trouble of the cloud ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from scaler.clouds import PASSING
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Progress
from scaler.errors import ScalerError
from scaler.model import World
from scaler.model.lifecycle import DEAD, UNSETTLED, Status
from scaler.planning.names import natural
from scaler.support.clock import Clock
from scaler.support.values import dataclass

_QUICK_LOOKS_S = 20.0
"""Servers that start within this time are seen within a second; longer pauses after that save requests."""


@dataclass(frozen=True)
class Confirmed:
    """What came of waiting."""

    knowledge: Knowledge
    late: tuple[str, ...] = ()
    """The servers that were still on their way when the time was up."""
    error: ScalerError | None = None
    """What ended the waiting before its time."""


def confirm(
    look: Callable[[Knowledge], Knowledge], knowledge: Knowledge, *, clock: Clock, deadline: float, progress: Progress
) -> Confirmed:
    """Look until no server is on its way any more, or until `deadline` (of `clock.monotonic`).

    A server that turned `hanging` or `errored` is not waited for: the caller decides about it. An
    error of `look` that is one of `PASSING` says that the cloud did not answer, and the waiting goes
    on; any other ends it.
    """
    started = clock.monotonic()
    concerned: set[str] = set()
    while True:
        waiting = on_their_way(knowledge.world)
        concerned.update(waiting)
        _show(knowledge.world, concerned, progress)
        now = clock.monotonic()
        if not waiting or now >= deadline:
            return Confirmed(knowledge, tuple(waiting))
        clock.sleep(min(_pause(now - started), deadline - now))
        try:
            knowledge = look(knowledge)
        except PASSING as error:
            progress.note(f"the cloud did not answer, still waiting: {error}")
        except ScalerError as error:
            return Confirmed(knowledge, error=error)


def on_their_way(world: World) -> list[str]:
    """Return the servers that time alone brings to an end, and those that run and are to be rebooted."""
    moving = (Status.NEW, Status.STARTING, Status.REBOOTING, Status.STOPPING, Status.DELETING)
    return [
        name
        for name, server in world.servers.items()
        if not server.set_aside
        # What drains goes on by the steps of runs, which wait for it apart from this.
        and (server.drain is None or server.status is Status.DELETING)
        and (
            server.status in moving
            or ((server.running or server.unhealthy) and server.reboot_asked)
            # One that is off can be powered on when the vendor has finished its work on it.
            or (server.status is Status.STOPPED and world.machines[name].phase in UNSETTLED)
        )
    ]


def _pause(waited_s: float) -> float:
    return 1.0 if waited_s < _QUICK_LOOKS_S else 2.0


def _show(world: World, concerned: Collection[str], progress: Progress) -> None:
    for name in sorted(concerned, key=natural):
        # A duplicate takes the plain name over when the one that had it is gone.
        server = world.servers.get(name) or world.past.get(name)
        if server:
            progress.server(name, server.status, server.error or "")
    leaving = (*DEAD, Status.DELETING, Status.STOPPING, Status.STOPPED)
    staying = [server for server in world.servers.values() if server.status not in leaving]
    ready = sum(1 for server in staying if server.status is Status.RUNNING)
    progress.waiting(ready, len(staying))


def running(world: World, groups: Iterable[str]) -> dict[str, int]:
    """Return ready servers per group."""
    return {
        group: sum(1 for server in world.servers.values() if server.group == group and server.running)
        for group in groups
    }
