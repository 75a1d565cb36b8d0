"""Roll: replace outdated servers, wave after wave, each planned, applied, confirmed and recorded like a run.

The roll's record says how far it is. A run that is killed leaves it, and the next one goes on with what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from scaler.clouds import InvalidError
from scaler.converge.conclude import LEFT, settle
from scaler.converge.demand import Demand, Request, RollOrder, pace_with
from scaler.converge.knowledge import Knowledge
from scaler.converge.make_plan import check_sums, learn_current, learn_quota, make_plan
from scaler.converge.observe import obey_others, observe_patiently
from scaler.converge.ports import Ports
from scaler.converge.record import save
from scaler.converge.rolls import advance_rolls, ordered_rolls, scene_of
from scaler.converge.rounds import converge, resolve
from scaler.converge.schedules import Leeway, leeway_of
from scaler.converge.standing import Standing
from scaler.converge.waiting import wait_for_drains
from scaler.errors import LimitError, RefusedError, ScalerError, UsageError
from scaler.model import ImageRef
from scaler.model.roll import Pace, Roll, RollState
from scaler.planning.roll import Scene, back, begin, by_itself, is_current, open_wave
from scaler.planning.schedule import surge_with
from scaler.support.durations import format_duration


def order_rolls(request: Request, knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Begin the rolls that the run asks for, or go on with them, and open the next wave; RefusedError, LimitError."""
    order = request.options.roll
    if order is None:
        return knowledge
    is_asked = order.do == "roll" and not order.by_itself
    knowledge = learn_current(order.paces.keys(), advance_rolls(knowledge), ports, is_required=is_asked)
    rolls = dict(knowledge.orders.rolls)
    for name, pace in order.paces.items():
        roll = _ordered(order, name, pace, knowledge, ports)
        if roll is not None:
            rolls[name] = roll
    if order.do == "abandon":
        return ordered_rolls(knowledge, rolls)
    _check_change(request, knowledge, rolls)
    _check_time(request, rolls)
    return _open(request, _with_quota(ordered_rolls(knowledge, rolls), ports), ports)


def has_news_of_rolls(order: RollOrder | None, knowledge: Knowledge, ports: Ports) -> bool:
    """Return whether a run would change something about rolls: begin or end one, open a wave, or conclude it."""
    before, knowledge = knowledge.orders.rolls, advance_rolls(knowledge)
    rolls = dict(knowledge.orders.rolls)
    if order is not None:
        knowledge = learn_current(order.paces.keys(), knowledge, ports)
        for name, pace in order.paces.items():
            if roll := by_itself(rolls.get(name), scene_of(knowledge, name), pace):
                rolls[name] = roll
        rolls.update(_opened(order, _with_quota(ordered_rolls(knowledge, rolls), ports)))
    return rolls != before


def roll_on(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Carry out wave after wave, each in the time of a run, until the rolls are over or something is in the way."""
    order = request.options.roll
    options = replace(request.options, approve=None, announce=None, reviewed=None, expect_current=None)
    if order is None or order.do == "abandon" or not options.patient:
        # A tick opens one wave, and later ones go on with it.
        return standing
    # What was asked for is recorded by now; others may ask for more meanwhile.
    request = replace(request, demand=Demand(as_wanted=True), options=options)
    # Each wave replaces a server at least, and those that are added meanwhile are replaced too.
    left = 3 * len(standing.world.machines) + 10
    while options.wait and (left := left - 1) and not standing.failures and not standing.journal.count(LEFT):
        request.limit.restart()
        try:
            knowledge = obey_others(observe_patiently(standing.knowledge, ports, request.deadline), ports)
            knowledge = _open(request, advance_rolls(resolve(request, knowledge)), ports)
            if knowledge.orders.rolls == standing.knowledge.orders.rolls:
                return standing
            journal = replace(standing.journal, tallies={})
            plan, knowledge = make_plan(request, knowledge, journal, ports)
            check_sums(request, knowledge, plan, journal)
            save(knowledge, ports, plan.steps)
            standing = settle(request, converge(request, Standing(knowledge, plan, journal), ports), ports)
        except ScalerError as error:
            return replace(standing, journal=standing.journal.fail(error))
        standing = wait_for_drains(request, standing, ports)
    return standing


# ---------------------------------------------------------------------------------------------
# Beginning


def _ordered(order: RollOrder, name: str, pace: Pace, knowledge: Knowledge, ports: Ports) -> Roll | None:
    """Return the roll of a group as it is asked for; None if there is nothing to do."""
    roll, scene = knowledge.orders.rolls.get(name), scene_of(knowledge, name)
    if order.do == "abandon":
        return replace(roll, state=RollState.ABANDONED, size=0) if roll and roll.is_rolling else roll
    if order.do == "back":
        return _back(order, name, roll, scene, ports)
    if order.by_itself:
        return _by_itself(name, roll, scene, pace, ports)
    if roll and roll.is_rolling:
        return _continued(order, name, roll, scene, ports)
    return begin(scene, pace) or roll


def _by_itself(name: str, roll: Roll | None, scene: Scene, pace: Pace, ports: Ports) -> Roll | None:
    """Go on with the roll of a group, or begin one if its template is none that went wrong before."""
    ordered = by_itself(roll, scene, pace)
    if ordered and ordered.refused and ordered.refused.images == scene.current.images:
        ports.progress.note(f"{name} is not rolled again by itself: {ordered.error or 'its last roll was taken back'}")
    return ordered


def _continued(order: RollOrder, name: str, roll: Roll, scene: Scene, ports: Ports) -> Roll:
    """Go on with a roll that has begun, unless the spec says something else by now."""
    if roll.undoes:
        raise RefusedError(
            f"{name} is being rolled back.",
            why=f"that began at {roll.since:%Y-%m-%d %H:%M} UTC",
            fix="Finish it with --rollback, or end it with --abandon.",
            code="rolling_back",
        )
    if not is_current(roll, scene.group):
        raise RefusedError(
            f"The spec of {name} changed since its roll began.",
            why=f"the roll of {roll.since:%Y-%m-%d %H:%M} UTC makes other servers than the spec describes now",
            fix=f"Run `scaler roll --group {name} --abandon`, and roll again.",
            code="roll_outdated",
        )
    ports.progress.note(f"going on with the roll of {name} that began at {roll.since:%Y-%m-%d %H:%M} UTC")
    return _paced(order, name, roll)


def _paced(order: RollOrder, name: str, roll: Roll) -> Roll:
    """Return a roll that goes on, as fast as it was begun or as was given for this run."""
    return replace(roll, pace=pace_with(roll.pace, name, order.given))


def _back(order: RollOrder, name: str, roll: Roll | None, scene: Scene, ports: Ports) -> Roll:
    if roll and roll.undoes and roll.state in (RollState.ROLLING, RollState.DONE):
        # A repeat, perhaps after a kill, goes on with it or finds it done.
        return _paced(order, name, roll) if roll.is_rolling else roll
    returned = back(roll, scene, order.paces[name]) if roll and not roll.undoes else None
    if roll is None or returned is None:
        raise RefusedError(
            f"There is nothing of {name} to roll back.",
            why="its last roll replaced no server that is still there" if roll else "it was never rolled",
            fix="`scaler roll --preview` shows what is outdated; put the image of before into the spec to roll to it.",
            code="nothing_to_roll_back",
        )
    if not is_current(roll, scene.group):
        raise RefusedError(
            f"{name} cannot be rolled back.",
            why="its spec changed since the roll, and only the image of before is known",
            fix="Take the change of the spec back, or roll forward.",
            code="roll_outdated",
        )
    if roll.good and roll.good.isdigit():
        _require_image(name, roll.good, scene, ports)
    return returned


def _require_image(name: str, image: str, scene: Scene, ports: Ports) -> None:
    """RefusedError if the snapshot to go back to was deleted."""
    catalogue, group = ports.cloud.catalogue(), scene.group
    offers = [offer for kind in group.types for at in group.locations if (offer := catalogue.offer(kind, at))]
    try:
        for offer in offers[:1]:
            ports.cloud.find_image(ImageRef("id", image), offer.architecture, offer.location)
    except InvalidError as error:
        raise RefusedError(
            f"{name} cannot be rolled back: its image of before, {image}, does not exist any more.",
            why=str(error),
            fix="Make an image again, and roll forward.",
            code="image_gone",
        ) from error


# ---------------------------------------------------------------------------------------------
# Waves


def _open(request: Request, knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Open the next wave of the first roll that has one left, if none is open; LimitError if it has no room."""
    order, before = request.options.roll, knowledge.orders.rolls
    if order is None:
        return knowledge
    rolls = _opened(order, knowledge)
    for name, roll in rolls.items():
        if roll.size:
            left = len(scene_of(knowledge, name).old(roll))
            ports.progress.note(f"{name}: wave {roll.waves}, {roll.size} of {left} to replace")
        elif roll.held and not order.by_itself:
            raise _no_room(name, roll.held)
        elif roll.held and roll != before.get(name):
            ports.progress.note(f"{name}: no wave of its roll begins: {roll.held}")
    return ordered_rolls(knowledge, {**before, **rolls})


def _with_quota(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Know what the account allows, where a wave may begin: a roll that it leaves no room for must not begin one."""
    is_needed = any(roll.is_rolling and not roll.size for roll in knowledge.orders.rolls.values())
    return learn_quota(knowledge, ports) if is_needed else knowledge


def _opened(order: RollOrder, knowledge: Knowledge) -> dict[str, Roll]:
    """Return the rolls of an order, up to the first with an open wave; those that must begin none say why."""
    rolls: dict[str, Roll] = {}
    for name in order.paces:
        roll = knowledge.orders.rolls.get(name)
        if roll is None or not roll.is_rolling or not is_current(roll, knowledge.spec.groups[name]):
            continue
        scene, leeway = scene_of(knowledge, name), leeway_of(knowledge, name)
        opened = open_wave(roll, scene, knowledge.wanted.get(name, 0), leeway.room)
        if opened.waves > roll.waves:
            why = order.closed.get(name) or (leeway.why if leeway.is_too_dear else "")
        else:
            why = _lacks_room(roll, scene, leeway)
        rolls[name] = replace(roll, held=why) if why else opened
        if rolls[name].size:
            break
    return rolls


def _lacks_room(roll: Roll, scene: Scene, leeway: Leeway) -> str:
    """Say that no wave can have a server, beside the wanted ones or instead of one; empty if one can."""
    is_busy = bool(roll.size) or scene.is_leaving
    if is_busy or not scene.old(roll) or surge_with(roll.pace, leeway.room) + roll.pace.unavailable:
        return ""
    return leeway.why


def _no_room(name: str, why: str) -> LimitError:
    return LimitError(
        f"There is no room to roll {name}.",
        why=why,
        fix="Raise the limit or the budget; for a surge, `--unavailable 1` does without one.",
        code="no_room_to_roll",
    )


def _check_time(request: Request, rolls: Mapping[str, Roll]) -> None:
    """UsageError where no wave can end within the time of one."""
    order, timeout = request.options.roll, request.options.timeout
    if order is None or order.by_itself or not request.options.apply:
        return
    for name in order.paces:
        roll = rolls.get(name)
        if roll and roll.is_rolling and roll.pace.bake >= timeout:
            bake, most = format_duration(roll.pace.bake), format_duration(timeout)
            raise UsageError(
                f"No wave of {name} can end in time: its servers bake for {bake}, and --timeout is {most}.",
                why="--timeout is the time of one wave, boots and removals included",
                fix="Give more with --timeout, or bake less with --bake.",
            )


def _check_change(request: Request, knowledge: Knowledge, rolls: dict[str, Roll]) -> None:
    """LimitError where the whole roll creates and deletes more than the run may."""
    most, order = request.options.max_change, request.options.roll
    if most is None or order is None:
        return
    old = sum(len(scene_of(knowledge, name).old(rolls[name])) for name in order.paces if name in rolls)
    if 2 * old > most:
        raise LimitError(
            f"The roll would create and delete {2 * old} servers together.",
            why=f"--max-change is {most}",
            fix="Allow more, or roll fewer groups.",
            code="above_max_change",
        )
