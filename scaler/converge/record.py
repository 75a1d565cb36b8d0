"""Record: save what is known in the state file, and what is there in the stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import read_stack, take_in
from scaler.converge.ports import Ports
from scaler.model import Machine, Server, Step
from scaler.model.lifecycle import UNSETTLED, Status
from scaler.planning.reach import UNREACHABLE, excuse


def save(knowledge: Knowledge, ports: Ports, steps: Sequence[Step] = ()) -> None:
    """Replace the records in the state file."""
    ports.records.save(knowledge.orders, knowledge.records, steps, knowledge.identity)


def record(
    knowledge: Knowledge, ports: Ports, conclude: Callable[[Knowledge], Knowledge] = lambda seen: seen
) -> Knowledge:
    """Save what is there in the stack, from a list that is read under its lock.

    `conclude` may change the orders by what is there.
    """
    ports.progress.phase("recording")
    seen = [read_stack(knowledge, ports)]

    def describe(machines: Sequence[Machine]) -> dict[str, Server]:
        seen.append(conclude(take_in(seen[-1], machines, ports)))
        return dict(seen[-1].world.servers)

    ports.stack.record(describe, knowledge.identity, lambda: seen[-1].orders)
    return read_stack(seen[-1], ports)


def give_up_waiting(knowledge: Knowledge, names: Sequence[str], ports: Ports) -> Knowledge:
    """Return the run's time is up: what still starts or stops is `hanging` from now on.

    Not what is being deleted: as `hanging` it would count again once its cloud calls it running.
    Nor what runs, and could only not be rebooted; nor what the vendor works on, what cannot be reached from here,
    or what was accepted and the cloud still denies.
    """
    world, machines = knowledge.world, knowledge.world.machines
    excused = excuse(knowledge.spec, machines, world.servers, names, ports.readiness.probe)
    spared = excused.unreachable | excused.undecided
    for name in sorted(excused.unreachable):
        ports.progress.warn(f"{name} {UNREACHABLE} ({ports.readiness.trouble(world.servers[name]) or 'no answer'})")
    for name in names:
        server = knowledge.records[name]
        machine = machines.get(name)
        if name in spared or (machine and (machine.phase in UNSETTLED or not machine.seen)):
            continue
        if server.status in (Status.DELETING, Status.RUNNING):
            continue
        error = f"still {server.status} when the run's time was up"
        knowledge = knowledge.note(server.become(Status.HANGING, knowledge.world.at, error))
    return knowledge
