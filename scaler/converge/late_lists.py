"""What a cloud's list does not show yet: machines that were just created, and the end of those just deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from scaler.clouds import CloudError, GoneError
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.model import Machine, Server
from scaler.model.lifecycle import Phase, Status
from scaler.planning.absence import GRACE
from scaler.planning.names import natural

_ASKED_AT_ONCE = 32
"""Requests for single machines at a time; the cloud's budget is kept elsewhere."""

_PAUSE_S = 1.0

_CLOCKS_DIFFER = timedelta(minutes=10)
"""The clock of the machine that recorded something may be behind by so much."""


def with_deletions(knowledge: Knowledge, machines: Sequence[Machine], ports: Ports) -> list[Machine]:
    """Return the machines, locked those whose deletion the cloud accepted and that a list shows as before.

    The engine's state still holds them where it was killed before it saved, and then only the cloud knows whether a
    deletion that was recorded has been sent.
    """
    held = {entry.id for entry in knowledge.stack.entries.values()}
    deleted = {server.id for server in knowledge.records.values() if server.status is Status.DELETING} & held
    doubtful = [each.id for each in machines if each.id in deleted and _looks_idle(each)]
    if not doubtful:
        return list(machines)
    going = _going(doubtful, ports)
    return [replace(machine, locked=True) if machine.id in going else machine for machine in machines]


def _looks_idle(machine: Machine) -> bool:
    return machine.seen and not machine.locked and machine.phase is not Phase.DELETING


def _going(ids: Sequence[str], ports: Ports) -> Collection[str]:
    """Return those of the machines that are being deleted, or are deleted; none where the cloud does not answer."""
    ask: Callable[[Collection[str]], Collection[str]] | None = getattr(ports.cloud, "deleting", None)
    try:
        return ask(ids) if ask else _deleted_by_address(ids, ports)
    except CloudError:
        # The next observation asks again.
        return ()


def _deleted_by_address(ids: Sequence[str], ports: Ports) -> Collection[str]:
    """Ask for each machine by its own address, side by side."""

    def is_going(id: str) -> bool:
        try:
            return not _looks_idle(ports.cloud.get(id))
        except GoneError:
            return True

    with ThreadPoolExecutor(max_workers=min(len(ids), _ASKED_AT_ONCE)) as pool:
        return {each for each, going in zip(ids, pool.map(is_going, ids), strict=True) if going}


def await_creations(
    records: Mapping[str, Server],
    knowledge: Knowledge,
    look: Callable[[Knowledge], Knowledge],
    ports: Ports,
    *,
    until: float,
) -> Knowledge:
    """Look again, until `until` (of `clock.monotonic`), for machines whose create requests may have been accepted.

    A run that was killed has left `records` of them without an id; a list that lags does not show them yet.
    """
    asked = {name: record for name, record in records.items() if _is_asked(record, knowledge)}
    while missing := {name: record for name, record in asked.items() if name not in knowledge.world.servers}:
        left_s = until - ports.clock.monotonic()
        if left_s <= 0:
            return knowledge
        ports.progress.note(
            f"{', '.join(sorted(missing, key=natural))} may have been created by a run that was killed: looking again"
            f" for {left_s:.0f} s, since a cloud's lists can lag"
        )
        ports.clock.sleep(min(_PAUSE_S, left_s))
        knowledge = look(knowledge.note(*missing.values()))
    return knowledge


def _is_asked(record: Server, knowledge: Knowledge) -> bool:
    is_young = knowledge.world.at - record.since < GRACE + _CLOCKS_DIFFER
    return record.id is None and record.status is Status.NEW and is_young
