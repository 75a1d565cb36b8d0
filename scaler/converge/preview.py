"""Preview: before anything is changed, the engine must show the plan's operations, and the policies allow them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from scaler.converge.change import change_of
from scaler.converge.demand import Request
from scaler.converge.journal import Journal, PolicyKey
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.errors import EngineError, RefusedError
from scaler.model import Action, Plan, Step, Violation

_ENGINE_WORDS = {
    Action.CREATE: "create",
    Action.ADOPT: "create",
    Action.UPDATE: "update",
    Action.DELETE: "delete",
}
"""A step's action as the engine's preview names it."""


def preview(request: Request, knowledge: Knowledge, plan: Plan, journal: Journal, ports: Ports) -> Journal:
    """Preview a plan in the engine; the journal gets what the policies say.

    Raises EngineError when the engine would do something else than the plan says.
    """
    if not plan.phases:
        return journal
    ports.progress.phase("previewing")
    shown = ports.stack.preview(change_of(knowledge, plan.phases[-1], plan.steps), request.packs)
    journal = replace(
        journal, violations=shown.violations, judged=journal.judged | frozenset(map(_policy_key, plan.steps))
    )
    for violation in shown.violations if request.options.apply else ():
        if not violation.forbids:
            ports.progress.warn(f"policy: {violation}")
    if not forbidding(journal):
        _require_agreement(planned_operations(plan, knowledge), dict(shown.operations))
    return journal


def preview_again(request: Request, knowledge: Knowledge, plan: Plan, journal: Journal, ports: Ports) -> Journal:
    """Have the policies judge a plan made on the way, such as for another location; RefusedError if one forbids it."""
    if not request.packs or journal.judged >= set(map(_policy_key, plan.steps)):
        return journal
    journal = preview(request, knowledge, plan, journal, ports)
    if forbidden := forbidding(journal):
        raise RefusedError(
            f"A policy refuses what {request.spec.stack} needs now.",
            why="; ".join(map(str, forbidden)),
            fix="Change the spec or the policy.",
            code="policy",
        )
    return journal


def forbidding(journal: Journal) -> list[Violation]:
    """Return the violations that forbid the plan that was previewed last."""
    return [violation for violation in journal.violations if violation.forbids]


def planned_operations(plan: Plan, knowledge: Knowledge) -> dict[str, str]:
    """Return what the engine's preview should show of a plan, by server."""
    declared = set(plan.phases[-1].declared)
    # Reversed: what is adopted first and changed later is new to the engine.
    return {
        step.server: _ENGINE_WORDS[step.action]
        for step in reversed(plan.steps)
        if step.action in _ENGINE_WORDS
        and (step.server in declared) != (step.action is Action.DELETE)
        and (step.action is not Action.DELETE or step.server in knowledge.world.entries)
    }


def _require_agreement(planned: Mapping[str, str], shown: Mapping[str, str]) -> None:
    if shown == planned:
        return
    odd = {name: f"{planned.get(name)} planned, {shown.get(name)} shown" for name in shown.keys() ^ planned.keys()}
    raise EngineError(
        "The engine would do something else than the plan says; nothing was changed.",
        why="; ".join(f"{name}: {text}" for name, text in sorted(odd.items())) or f"{shown} for {planned}",
        fix="Run `scaler refresh`, and try again.",
    )


def _policy_key(step: Step) -> PolicyKey:
    return step.action, step.server, step.type, step.location
