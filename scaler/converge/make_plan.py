"""Make a plan that can be carried out: look up what it needs to know, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import replace

from scaler.clouds import Catalogue, CloudError, InvalidError, NoCapacityError, UnfitError
from scaler.converge.demand import Request
from scaler.converge.health import note_replacements
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge, describe_placement
from scaler.converge.lessons import addresses_held
from scaler.converge.ports import Ports
from scaler.converge.references import current_template, find_references
from scaler.converge.report import cost_of, servers_after
from scaler.converge.rolls import advance_rolls, forget_rolls, note_waves
from scaler.converge.schedules import schedules_of
from scaler.errors import LimitError
from scaler.model import LEAVING, Action, Group, Placement, Plan, Spec, Step, World
from scaler.model.schedule import RollSchedule
from scaler.planning.guards import (
    Quota,
    check_budget,
    check_change,
    check_deletable,
    check_expectation,
    check_plan,
    check_protection,
    check_quota,
    check_zero,
    shrinking_alone,
    without_addresses,
)
from scaler.planning.placements import placements
from scaler.planning.plan import plan
from scaler.planning.prices import Priced, unpriced
from scaler.planning.rooms import NoRoomError, fit_into_rooms
from scaler.planning.template import Current
from scaler.records.shortages import QUOTA_FOR


def make_plan(request: Request, knowledge: Knowledge, journal: Journal, ports: Ports) -> tuple[Plan, Knowledge]:
    """Plan until nothing more needs to be looked up; the plan, and what is known by then.

    It creates servers only where they can be had, and no more than the account allows. Raises
    InvalidError if a group's servers can be nowhere, and LimitError if the account's quota refuses
    a run that has nothing else to do.
    """
    spec, world = request.spec, knowledge.world
    knowledge = knowledge.advise(replacements=knowledge.orders.replacements)
    if request.options.everything:
        spec, world = _without_protection(spec), _without_marks(world)
    knowledge = forget_rolls(knowledge) if request.options.everything else advance_rolls(knowledge)
    # How servers fit beside others is worked out anew for each world.
    knowledge = replace(knowledge, advice=replace(knowledge.advice, crowded=frozenset(), waiting={}))
    made = plan(spec, world, knowledge.wanted, knowledge.advice)
    while (learned := _look_up(request, made, knowledge, journal, ports)).advice != knowledge.advice:
        knowledge = learned
        made = plan(spec, world, knowledge.wanted, knowledge.advice)
    knowledge = learned
    for name in made.short:
        _require_fit(spec.groups[name], knowledge)
    if made.phases and (request.options.approve or not request.options.apply):
        knowledge = _read_prices(knowledge, ports)
    cost = cost_of(knowledge, knowledge.world.servers.values(), servers_after(knowledge, made))
    knowledge = note_waves(knowledge, made).note_outdated(made.outdated)
    made = replace(made, cost=cost, schedules=_schedules(request, knowledge, ports))
    return made, note_replacements(knowledge, made)


def _schedules(request: Request, knowledge: Knowledge, ports: Ports) -> tuple[RollSchedule, ...]:
    order, records = request.options.roll, ports.records
    if order is None:
        return ()
    return schedules_of(order.paces.keys(), knowledge, records.boot_times(), records.removal_times())


def _without_protection(spec: Spec) -> Spec:
    """Return the spec of a stack that is to be destroyed: no server stays, protected or paid for."""
    groups = {name: replace(group, protect=frozenset(), keep_paid=False) for name, group in spec.groups.items()}
    return replace(spec, groups=groups)


def _without_marks(world: World) -> World:
    """Return the same world without the marks of `scaler protect`."""
    servers = {name: replace(server, protected=False) for name, server in world.servers.items()}
    return replace(world, servers=servers)


# ---------------------------------------------------------------------------------------------
# Guards


def check(request: Request, knowledge: Knowledge, made: Plan, journal: Journal) -> None:
    """Check all guards, before anything is changed; RefusedError."""
    everything = request.options.everything
    if everything:
        check_deletable(knowledge.world)
    check_plan(
        request.spec,
        knowledge.world,
        made,
        ignore_protection=everything,
        left_alone=_left_alone(knowledge),
    )
    check_expectation(knowledge.world, made, request.options.expect_current)
    if request.demand.counts is not None and not everything:
        check_zero(knowledge.world, made, allowed=request.options.allow_zero)
    check_sums(request, knowledge, made, journal)


def _left_alone(knowledge: Knowledge) -> frozenset[str]:
    return knowledge.advice.undrained | knowledge.advice.out_of_scope


def check_sums(request: Request, knowledge: Knowledge, made: Plan, journal: Journal) -> None:
    """Check the guards that hold in every round, for all of them together; RefusedError."""
    if not request.options.everything:
        check_protection(request.spec, knowledge.world, made, _left_alone(knowledge))
    check_change(made, request.options.max_change, journal.done)
    unknown = unpriced(knowledge.catalogue, servers_after(knowledge, made))
    check_budget(request.spec, made, made.cost, unknown)


# ---------------------------------------------------------------------------------------------
# Looking up: what changes the advice calls for another plan


def _look_up(request: Request, made: Plan, knowledge: Knowledge, journal: Journal, ports: Ports) -> Knowledge:
    learned = _learn_current(request, made, knowledge, ports)
    if learned.advice != knowledge.advice:
        return learned
    creates = [step for step in made.steps if step.action is Action.CREATE]
    if not creates:
        return knowledge
    learned = _learn_names(knowledge, ports)
    if learned.advice != knowledge.advice:
        return learned
    learned = _learn_placements(creates, learned, ports)
    if learned.advice != knowledge.advice:
        return learned
    learned = _obey_rooms(made, learned, journal)
    if learned.advice != knowledge.advice:
        return learned
    learned = _obey_addresses(made, learned, journal, ports)
    if learned.advice != knowledge.advice:
        return learned
    return _obey_quota(made, learned, journal, ports)


def _withhold(
    error: LimitError, groups: Collection[str], made: Plan, knowledge: Knowledge, journal: Journal
) -> Knowledge:
    """Create no servers of these groups; raise the error if the run has nothing else to do."""
    if not journal.reports and not {step.group for step in made.steps} - set(groups):
        raise error
    return knowledge.withhold(error, groups)


def _obey_rooms(made: Plan, knowledge: Knowledge, journal: Journal) -> Knowledge:
    """Have new servers wait until those that leave have made room; refuse what does not fit even then."""
    try:
        fit = fit_into_rooms(made, knowledge.templates, knowledge.world, knowledge.first)
    except NoRoomError as error:
        return _withhold(error, error.groups, made, knowledge, journal)
    waiting = {**knowledge.advice.waiting}
    for name, count in fit.waiting.items():
        waiting[name] = waiting.get(name, 0) + count
    return knowledge.advise(crowded=fit.crowded, waiting=waiting)


def _learn_current(request: Request, made: Plan, knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Look up what new servers would have, where a plan depends on that or somebody reads it.

    Outdated servers go first: where only some of a group go, it must be known which are.
    """
    servers = knowledge.world.servers
    rolled = {name for name, roll in knowledge.orders.rolls.items() if roll.is_rolling or roll.avoided}
    if request.options.apply and not request.options.approve:
        concerned = rolled | {
            step.group
            for step in made.steps
            if step.action in LEAVING and servers[step.server].counts and knowledge.wanted.get(step.group)
        }
    else:
        concerned = {server.group for server in servers.values()} & knowledge.wanted.keys()
    return learn_current(concerned, knowledge, ports)


def learn_current(groups: Set[str], knowledge: Knowledge, ports: Ports, *, is_required: bool = False) -> Knowledge:
    """Look up what new servers of these groups would have, if it is not known.

    Go on without what cannot be read; with `is_required`, CloudError.
    """
    for name in sorted(groups - knowledge.advice.current.keys()):
        group, current = knowledge.spec.groups[name], Current()
        try:
            knowledge, catalogue = _read_catalogue(knowledge, ports)
            current = current_template(group, ports.cloud, catalogue)
        except CloudError as error:
            if is_required:
                raise
            ports.progress.note(f"which servers of {name} are outdated is not known: {error}")
        knowledge = knowledge.advise(current={**knowledge.advice.current, name: current})
    return knowledge


def _learn_names(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Read the names that others' machines have, where no two can have one; a refused create would tell of one only."""
    names: Callable[[], Collection[str]] | None = getattr(ports.cloud, "names", None)
    if knowledge.are_names_read or names is None:
        return knowledge
    knowledge = replace(knowledge, are_names_read=True)
    try:
        taken = frozenset(names())
    except CloudError as error:
        ports.progress.note(f"the names of the account's servers cannot be read: {error}")
        return knowledge
    # Those of our own are free again when the servers are deleted.
    return knowledge.advise(taken=taken - {machine.name for machine in knowledge.world.machines.values()})


def _learn_placements(creates: Sequence[Step], knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Look up what the names in the spec mean, for every placement that servers are to be created at."""
    knowledge, catalogue = _read_catalogue(knowledge, ports)
    found = find_references(knowledge.spec, creates, ports.cloud, catalogue, knowledge.templates, ports.clock.now())
    for name, kind, location in found.templates.by_placement.keys() - knowledge.templates.by_placement.keys():
        offer = catalogue.offer(kind, location)
        if offer and offer.deprecated_after:
            ports.progress.warn(f"{kind} can be ordered in {location} until {offer.deprecated_after:%Y-%m-%d} only")
        priced = Priced(kind, location, ipv4=knowledge.spec.groups[name].public_ipv4)
        for unknown in unpriced(catalogue, [priced] if offer else []):
            ports.progress.warn(f"the cloud names no price for {unknown}: the cost does not count it")
    for (name, place), unfit in found.unfit.items():
        ports.progress.note(f"{name} passes over {describe_placement(place)}: {unfit}")
    learned = replace(
        pass_over(found.unavailable, knowledge, ports) if found.unavailable else knowledge, templates=found.templates
    )
    if not found.unfit:
        return learned
    learned = replace(learned, passed_over={**learned.passed_over, **found.unfit})
    return learned.advise(unfit=frozenset(found.unfit))


def pass_over(places: Mapping[Placement, CloudError | str], knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Try no more servers at these placements, and say so."""
    for place, why in places.items():
        ports.progress.note(f"passing over {describe_placement(place)}: {why}")
    return knowledge.pass_over(places)


def _read_catalogue(knowledge: Knowledge, ports: Ports) -> tuple[Knowledge, Catalogue]:
    """Read the cloud's catalogue, once; what had no capacity a moment ago is not tried again."""
    if knowledge.catalogue is not None:
        return knowledge, knowledge.catalogue
    catalogue = ports.cloud.catalogue()
    full = ports.shortages.full(ports.clock.now())
    learned = replace(knowledge, catalogue=catalogue)
    if full:
        learned = pass_over({place: f"there was none at {at:%H:%M} UTC" for place, at in full.items()}, learned, ports)
    return learned, catalogue


def _read_prices(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Read the prices for whoever reads the plan; it can be carried out without them."""
    try:
        return _read_catalogue(knowledge, ports)[0]
    except CloudError as error:
        ports.progress.note(f"the prices cannot be read: {error}")
        return knowledge


# ---------------------------------------------------------------------------------------------
# Quota


def _obey_quota(made: Plan, knowledge: Knowledge, journal: Journal, ports: Ports) -> Knowledge:
    """Refuse what the account does not allow; what other groups only lose goes on without it."""
    knowledge = _read_quota(knowledge, ports)
    if knowledge.quota is None:
        return knowledge
    if knowledge.advice.most != knowledge.quota.most:
        # Another plan may fit: what is only paid for makes room.
        return knowledge.advise(most=knowledge.quota.most)
    try:
        check_quota(knowledge.world, made, knowledge.quota)
    except LimitError as error:
        if not journal.reports and not shrinking_alone(made):
            raise
        return knowledge.withhold(error, knowledge.spec.groups)
    return knowledge


def _obey_addresses(made: Plan, knowledge: Knowledge, journal: Journal, ports: Ports) -> Knowledge:
    """Refuse the servers that would take more public addresses than the account allowed within the hour."""
    met = ports.shortages.addresses(ports.clock.now())
    if met is None:
        return knowledge
    most, at = met
    refused = without_addresses(knowledge.spec, made, most - addresses_held(knowledge))
    if not refused:
        return knowledge
    error = LimitError(
        f"{', '.join(sorted(refused))}: the account allows no more public addresses.",
        why=f"it refused more at {at:%H:%M} UTC, and is not asked again before {at + QUOTA_FOR:%H:%M}",
        fix=f"Have the account's limit of primary IPs raised and remove {ports.shortages.name}, or ask for fewer.",
        code="quota",
    )
    return _withhold(error, refused, made, knowledge, journal)


def learn_quota(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Have the next plan know how many machines the account allows."""
    knowledge = _read_quota(knowledge, ports)
    return knowledge.advise(most=knowledge.quota.most) if knowledge.quota else knowledge


def _read_quota(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Learn once what the account lets this stack have: as the cloud says, or as it was met within the hour."""
    if knowledge.is_quota_read:
        return knowledge
    return replace(knowledge, quota=_quota(knowledge, ports), is_quota_read=True)


def _quota(knowledge: Knowledge, ports: Ports) -> Quota | None:
    met = ports.shortages.quota(ports.clock.now())
    if met:
        most, at = met
        return Quota(
            most,
            why=f"it refused more at {at:%H:%M} UTC, and is not asked again before {at + QUOTA_FOR:%H:%M}",
            fix=f"Have the account's limit raised and remove {ports.shortages.name}, or ask for fewer.",
        )
    try:
        limits = ports.cloud.limits()
    except CloudError as error:
        ports.progress.note(f"the account's limit cannot be read: {error}")
        return None
    if limits.servers is None:
        return None
    others = max(0, (limits.in_use or 0) - len(knowledge.world.machines))
    return Quota(
        limits.servers - others,
        why=f"the account's limit is {limits.servers}, and {others} of its servers are not of this stack",
        fix="Have the account's limit raised, or ask for fewer.",
    )


# ---------------------------------------------------------------------------------------------
# Shortages


def _require_fit(group: Group, knowledge: Knowledge) -> None:
    """Raise InvalidError if there is no placement at which servers of the group can be."""
    errors = [knowledge.passed_over.get((group.name, place)) for place in placements(group)]
    invalid = {str(error): error for error in errors if isinstance(error, InvalidError)}
    if not all(isinstance(error, InvalidError) for error in errors):
        return
    if len(invalid) == 1:
        raise next(iter(invalid.values()))
    raise UnfitError(
        f"There is no type and location at which servers of {group.name} can be.",
        why="; ".join(invalid),
        fix=f"Change groups.{group.name}.type, location or image in {knowledge.spec.path}.",
    )


def shortages(made: Plan, knowledge: Knowledge) -> tuple[NoCapacityError, ...]:
    """Return the errors for servers that there is no capacity for, one per group."""
    return tuple(
        _shortage(name, count, knowledge) for name, count in made.short.items() if name not in knowledge.advice.withheld
    )


def _shortage(name: str, count: int, knowledge: Knowledge) -> NoCapacityError:
    tried = (
        f"{describe_placement(place)}: {knowledge.passed_over.get((name, place), 'not tried')}"
        for place in placements(knowledge.spec.groups[name])
    )
    return NoCapacityError(
        f"There is no capacity for {count} more of {name}.",
        why="; ".join(tried),
        fix=f"Name more types or locations in groups.{name}, or try again in a few minutes.",
    )
