"""From the steps of a plan to one operation of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scaler.converge.run import Run
from scaler.model import Action, Change, Declared, Permits, PlanPhase, Step
from scaler.planning.template import existing_server, new_server


def change_of(run: Run, phase: PlanPhase, steps: Sequence[Step]) -> Change:
    """What the engine is asked to do for these steps, so that the stack holds what the phase declares."""
    creates = {step.server: step for step in steps if step.action is Action.CREATE}
    adopted = {step.server: step.id or "" for step in steps if step.action is Action.ADOPT}
    updated = frozenset(step.server for step in steps if step.action is Action.UPDATE)
    declared = []
    for name in phase.declared:
        if name in creates:
            request = new_server(run.spec, creates[name], run.templates.of(creates[name]))
            declared.append(Declared(name, creates[name].group, request, exists=False))
        elif name in run.world.machines:
            machine = run.world.machines[name]
            request = existing_server(run.spec, machine)
            if name not in updated:
                request = replace(request, labels=machine.labels)
            declared.append(Declared(name, run.world.servers[name].group, request, exists=name not in adopted))
    return Change(
        declared=tuple(declared),
        permits=Permits(
            create=frozenset(creates),
            adopt=adopted,
            update=updated,
            delete={step.server: step.id or "" for step in steps if step.action is Action.DELETE},
            forget={step.server: step.id or "" for step in steps if step.action is Action.FORGET},
        ),
        outputs={server.name: run.known[server.name] for server in declared if server.name in run.known},
        expected=frozenset(machine.id for machine in run.world.machines.values()),
        refresh=bool(run.world.vanished) or _relabelled(run),
    )


def _relabelled(run: Run) -> bool:
    """Whether the engine's idea of some server's labels is not the cloud's."""
    return any(
        dict(entry.labels) != dict(run.world.machines[name].labels)
        for name, entry in run.world.entries.items()
        if name in run.world.machines
    )
