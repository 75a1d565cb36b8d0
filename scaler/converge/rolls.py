"""Rolls between two plans: what became of their waves in the world, and what a plan does for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.converge.knowledge import Knowledge
from scaler.errors import ScalerError
from scaler.model import LEAVING, Plan
from scaler.model.roll import Roll, RollState
from scaler.planning.protection import protection_of
from scaler.planning.roll import Scene, advance, baked_at, beside, note_replaced
from scaler.planning.template import Current

_LOOK = timedelta(seconds=10)
"""Between two observations while servers bake: one of them may turn unhealthy."""


def scene_of(knowledge: Knowledge, name: str) -> Scene:
    """Return a group of the spec as its roll sees it."""
    world, spec = knowledge.world, knowledge.spec
    servers = world.servers.values()
    return Scene(
        group=spec.groups[name],
        world=world,
        current=knowledge.advice.current.get(name, Current()),
        protected=frozenset(
            server.name for server in servers if server.group == name and protection_of(spec, world, server)
        ),
    )


def advance_rolls(knowledge: Knowledge) -> Knowledge:
    """Know what became of the open waves; the next plan follows from that."""
    before = knowledge.orders.rolls
    rolls = {
        name: advance(roll, scene_of(knowledge, name), knowledge.wanted.get(name, 0))
        for name, roll in before.items()
        if name in knowledge.spec.groups
    }
    failed = {name for name, roll in rolls.items() if roll.state is RollState.FAILED and before[name].is_rolling}
    return ordered_rolls(replace(knowledge, failed_rolls=knowledge.failed_rolls | failed), rolls)


def fail_waves(knowledge: Knowledge, refused: Mapping[str, Exception]) -> Knowledge:
    """Know that rolls failed since the cloud refuses, by group, a new server of their open wave for good."""
    rolls = {
        name: replace(knowledge.orders.rolls[name], state=RollState.FAILED, size=0, error=str(error))
        for name, error in refused.items()
    }
    failed = replace(knowledge, failed_rolls=knowledge.failed_rolls | rolls.keys())
    return ordered_rolls(failed, {**knowledge.orders.rolls, **rolls})


def beside_of(knowledge: Knowledge, recorded: Mapping[str, int]) -> dict[str, int]:
    """Return by group how many servers are there for its roll alone: who asks for one more does not mean them."""
    return {
        name: beside(roll, scene_of(knowledge, name), recorded.get(name))
        for name, roll in knowledge.orders.rolls.items()
        if name in knowledge.spec.groups
    }


def forget_rolls(knowledge: Knowledge) -> Knowledge:
    """Forget all rolls: everything is to be removed."""
    return ordered_rolls(knowledge, {})


def ordered_rolls(knowledge: Knowledge, rolls: Mapping[str, Roll]) -> Knowledge:
    """Return what is known with these rolls, for the records and for the next plan."""
    if rolls != knowledge.orders.rolls:
        knowledge = knowledge.order(rolls=rolls)
    return knowledge.advise(rolls=rolls)


def note_waves(knowledge: Knowledge, made: Plan) -> Knowledge:
    """Note which servers a plan creates for waves and which it takes out of service, before it is carried out."""
    rolls = {
        name: note_replaced(
            roll,
            scene_of(knowledge, name),
            [step.server for step in made.steps if step.action in LEAVING and step.group == name],
            made.rolled.get(name, ()),
        )
        if roll.is_rolling
        else roll
        for name, roll in knowledge.orders.rolls.items()
    }
    return ordered_rolls(knowledge, rolls)


def baking(knowledge: Knowledge) -> dict[str, datetime]:
    """Return the groups whose open wave waits only until its servers have baked, each with when that may be."""
    return {
        name: until
        for name, roll in knowledge.orders.rolls.items()
        if name in knowledge.spec.groups and (until := baked_at(roll, scene_of(knowledge, name)))
    }


def baking_until(knowledge: Knowledge) -> datetime | None:
    """Return when the ready servers of an open wave may have baked; None if no wave waits for that alone."""
    return min(baking(knowledge).values(), default=None)


def pause_while_baking(until: datetime, now: datetime) -> timedelta:
    """Return after which time to observe again."""
    return max(min(until - now, _LOOK), timedelta(seconds=1))


def failures_of(knowledge: Knowledge) -> tuple[ScalerError, ...]:
    """Return the errors for rolls that failed during this run."""
    return tuple(_failure(name, knowledge.orders.rolls[name]) for name in sorted(knowledge.failed_rolls))


def _failure(name: str, roll: Roll) -> ScalerError:
    new = len(roll.accepted)
    return ScalerError(
        f"The roll of {name} stopped at wave {roll.waves}: {new} {'server is' if new == 1 else 'servers are'} new,"
        " the others stay.",
        why=roll.error,
        fix=f"Make another image and run `scaler roll --group {name}`, or `scaler roll --group {name} --rollback`.",
        code="roll_failed",
    )
