"""Record: save what is known in the state file, and what is there in the stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import read_stack, take_in
from scaler.converge.ports import Ports
from scaler.model import Machine, Server, Step


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
