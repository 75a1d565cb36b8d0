"""The order of a plan's steps: at most two phases, grow then shrink. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from scaler.model import Action, PlanPhase, Step, World
from scaler.planning.names import natural

_WAITED_FOR = frozenset({Action.CREATE, Action.ADOPT, Action.POWER_ON, Action.RESUME})
"""What is confirmed before a server is taken out of service in exchange."""


def phases_of(
    world: World,
    grow: Sequence[Step],
    shrink: Sequence[Step],
    *,
    most: int | None,
    too_many_dead: bool,
    crowded: Collection[str] = (),
) -> tuple[PlanPhase, ...]:
    """Return the phases: grow, then shrink.

    An orphan is adopted in the first and changed or removed in the second: the engine can only
    change what it holds. `most` is how many machines there may be at any moment. When growing first
    would exceed it, or there are `too_many_dead`, the servers to create come last. So do those of
    `crowded` groups, whose servers that leave go first.
    """
    adopted = {step.server for step in grow if step.action is Action.ADOPT}

    def is_late(step: Step) -> bool:
        return step.server in adopted and step.action in (Action.UPDATE, Action.DELETE)

    late, first = _split(grow, is_late)
    second = [*shrink, *late]
    creates, others = _split(first, _is_create)
    if not any(step.action in _WAITED_FOR for step in first):
        return _declare(world.entries, [*first, *second])
    if most is not None and len(world.machines) + len(creates) > most:
        waiting, at_once = _split([*first, *second], lambda step: _is_create(step) or is_late(step))
        return _declare(world.entries, at_once, waiting)
    if crowded:
        waiting, at_once = _split(first, lambda step: _is_create(step) and step.group in crowded)
        leaving, staying = _split(second, lambda step: step.group in crowded and not is_late(step))
        return _declare(world.entries, [*at_once, *leaving], [*waiting, *staying])
    if too_many_dead:
        # Where the dead cannot be deleted, attempts to replace them must not make ever more of them.
        return _declare(world.entries, others, [*creates, *second])
    return _declare(world.entries, first, second)


def _is_create(step: Step) -> bool:
    return step.action is Action.CREATE


def _split(steps: Iterable[Step], condition: Callable[[Step], bool]) -> tuple[list[Step], list[Step]]:
    """Return the steps that meet the condition, and the others."""
    met: list[Step] = []
    others: list[Step] = []
    for step in steps:
        (met if condition(step) else others).append(step)
    return met, others


def _declare(held: Collection[str], *ordered: Sequence[Step]) -> tuple[PlanPhase, ...]:
    """Make a phase of each sequence that has steps, with the names that the stack holds after it."""
    phases = []
    declared = frozenset(held)
    for steps in filter(None, ordered):
        declared = _held_after(declared, steps)
        phases.append(PlanPhase(steps=tuple(steps), declared=tuple(sorted(declared, key=natural))))
    return tuple(phases)


def _held_after(held: frozenset[str], steps: Iterable[Step]) -> frozenset[str]:
    """Return the names in the stack after these steps; the name of a vanished server may be created again."""
    gone = frozenset(step.server for step in steps if step.action in (Action.DELETE, Action.FORGET))
    new = frozenset(step.server for step in steps if step.action in (Action.CREATE, Action.ADOPT))
    return (held - gone) | new
