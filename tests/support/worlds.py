"""Servers, machines and worlds for tests of decisions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from scaler.converge.knowledge import Knowledge
from scaler.model import Machine, Server, Spec, StackEntry, StackState, World
from scaler.model.lifecycle import Phase, Status
from scaler.planning.template import fingerprint
from tests.support.fakes import LOCATIONS, START, TYPES


def server(
    name: str = "prod-worker-1", status: Status = Status.RUNNING, *, group_name: str = "worker", age_s: float = 0
) -> Server:
    return Server(
        name=name,
        group=group_name,
        id=f"id-{name}",
        status=status,
        since=START,
        created=START - timedelta(seconds=age_s),
        type=TYPES[0],
        location=LOCATIONS[0],
    )


def machine(made_for: Spec, made_of: Server) -> Machine:
    template = fingerprint(made_for.groups[made_of.group]) if made_of.group in made_for.groups else "old"
    return Machine(
        id=made_of.id or "none",
        name=made_of.name,
        phase=Phase.RUNNING,
        vendor_status="running",
        labels=made_for.owner.group_labels(made_of.group, template),
        type=TYPES[0],
        location=LOCATIONS[0],
        image="100",
        created=START,
    )


def world(made_for: Spec, *servers: Server, orphans: Iterable[str] = (), vanished: Iterable[str] = ()) -> World:
    machines = {item.name: machine(made_for, item) for item in servers}
    entries = {
        name: StackEntry(name, item.labels["scaler-group"], item.id, item.labels)
        for name, item in machines.items()
        if name not in set(orphans)
    }
    gone = {name: StackEntry(name, "worker", f"gone-{name}", {}) for name in vanished}
    return World(
        at=START,
        owner=made_for.owner,
        machines=machines,
        entries={**entries, **gone},
        servers={item.name: item for item in servers},
    )


def known(made_for: Spec, *servers: Server) -> Knowledge:
    """What a run knows that observed these servers, and has learned nothing yet."""
    observed = world(made_for, *servers)
    return Knowledge(
        spec=made_for,
        stack=StackState(entries=observed.entries),
        world=observed,
        first=observed,
        records=dict(observed.servers),
    )


def numbered(*statuses: Status) -> list[Server]:
    return [server(f"prod-worker-{number}", status) for number, status in enumerate(statuses, 1)]
