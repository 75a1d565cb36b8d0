"""From the steps of a plan to one operation of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.converge.knowledge import Knowledge
from scaler.model import Action, Change, Declared, Permits, PlanPhase, Step
from scaler.model.ownership import without_label
from scaler.planning.protection import is_protected_in_stack
from scaler.planning.service import label_of
from scaler.planning.template import existing_server, new_server


def change_of(knowledge: Knowledge, phase: PlanPhase, steps: Sequence[Step]) -> Change:
    """Return what the engine is asked to do for these steps, so that the stack holds what the phase declares."""
    world = knowledge.world
    permits = _permits(steps)
    creates = {step.server: step for step in steps if step.action is Action.CREATE}
    declared = tuple(server for name in phase.declared if (server := _declared(knowledge, name, creates, permits)))
    return Change(
        declared=declared,
        permits=permits,
        outputs={
            server.name: knowledge.records[server.name] for server in declared if server.name in knowledge.records
        },
        identity=knowledge.identity,
        orders=knowledge.orders,
        known_serial=knowledge.stack.orders.serial if knowledge.stack.orders else 0,
        known_protected=frozenset(name for name, server in world.servers.items() if server.protected),
        # What is denied without proof may be there, or not.
        expected=frozenset(machine.id for machine in world.machines.values() if machine.id not in knowledge.denied),
        unclaimed=frozenset(machine.id for machine in world.unclaimed),
        # A refresh would forget what is denied without proof.
        refresh=not knowledge.denied and (bool(world.vanished) or _is_relabelled(knowledge)),
    )


def _permits(steps: Sequence[Step]) -> Permits:
    def ids(action: Action) -> dict[str, str]:
        return {step.server: step.id or "" for step in steps if step.action is action}

    return Permits(
        create=frozenset(ids(Action.CREATE)),
        adopt=ids(Action.ADOPT),
        update=frozenset(ids(Action.UPDATE)),
        delete=ids(Action.DELETE),
        forget=ids(Action.FORGET),
    )


def _declared(knowledge: Knowledge, name: str, creates: Mapping[str, Step], permits: Permits) -> Declared | None:
    """Return a server as it is declared to the engine; None if it is neither there nor to be created."""
    if name in creates:
        step = creates[name]
        request = new_server(knowledge.spec, step, knowledge.templates.of(step), knowledge.world.owner)
        return Declared(name, step.group, request, exists=False)
    machine = knowledge.world.machines.get(name)
    if machine is None:
        return None
    group = knowledge.world.servers[name].group
    request = existing_server(knowledge.spec, machine, group, knowledge.world.owner)
    is_updated = name in permits.update
    if not is_updated:
        request = replace(request, labels=machine.labels)
    exists = name not in permits.adopt
    # A label may have changed since: `in_service` does, and people change theirs.
    return Declared(
        name,
        group,
        request,
        exists=exists,
        keeps_labels=exists and not is_updated,
        protected=exists and is_protected_in_stack(knowledge.world, name),
    )


def _is_relabelled(knowledge: Knowledge) -> bool:
    """Return whether the engine's idea of some server's labels is not the cloud's, `in_service` apart."""
    world = knowledge.world
    return any(
        _lasting_labels(knowledge, name, entry.labels) != _lasting_labels(knowledge, name, world.machines[name].labels)
        for name, entry in world.entries.items()
        if name in world.machines
    )


def _lasting_labels(knowledge: Knowledge, name: str, labels: Mapping[str, str]) -> dict[str, str]:
    label = label_of(knowledge.spec, knowledge.world.servers[name])
    return without_label(labels, label) if label else dict(labels)
