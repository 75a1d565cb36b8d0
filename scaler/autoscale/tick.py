"""One tick: observe the servers, decide each group's count from the samples, and carry it out.

A watch loop and a cron job run the same ticks and decide the same, because what a decision needs
to know of earlier ones is in the stack's records.

The next tick can start from any end of this one. The memory is saved before the count is changed, with
the count that is meant, and after it: so a tick after a kill knows whether the count is autoscaling's own.
A count that the memory does not know was changed by something else, and is not reverted at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime

from scaler.autoscale.bounds import Prices, addresses, budget, per_month, placement_groups, quota, room
from scaler.autoscale.decide import decide_stack
from scaler.autoscale.decision import Bound, Ceiling, Decision, History, Sample, Supply
from scaler.autoscale.describe import decision_document
from scaler.autoscale.memory import Memory, Remembered
from scaler.autoscale.metrics import Fleet, Key, Sources
from scaler.autoscale.rolling import roll_order
from scaler.clouds import Catalogue
from scaler.converge.confirm import on_their_way
from scaler.converge.demand import Demand, Options
from scaler.converge.drains import forget_ended, has_news
from scaler.converge.ensure import ensure
from scaler.converge.health import check_health
from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import observe, take_in
from scaler.converge.ports import Ports
from scaler.converge.record import save
from scaler.converge.rolling import has_news_of_rolls
from scaler.converge.rolls import beside_of
from scaler.errors import UsageError
from scaler.model import Held, Outcome, Requests, Result, Server, Spec, World
from scaler.model.autoscaling import Metric
from scaler.model.lifecycle import DEAD, Phase, Status
from scaler.model.orders import Pause
from scaler.planning.advice import Advice
from scaler.planning.plan import plan
from scaler.planning.prices import is_kept
from scaler.planning.service import wrongly_labelled
from scaler.support.clock import future_notice
from scaler.support.values import dataclass

Samples = Mapping[str, Mapping[str, Sample]]
"""By group and metric."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The outcome of one tick."""

    stack: str
    at: datetime
    decisions: Mapping[str, Decision]
    servers: Sequence[Server]
    """As observed before the decision."""
    result: Result | None
    """The result of the run that carried the decisions out; None if there was nothing to do."""
    requests: Requests
    """All requests to the cloud, including those of metrics."""
    pause: Pause | None = None
    """The pause in which nothing was carried out."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """The unhealthy servers that are not replaced now, by group."""
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """Groups of which no server's health can be checked from here → why."""
    budget_left: tuple[float, str] | None = None
    """What is left of the monthly budget, and its currency; None without a budget or without prices."""

    @property
    def outcome(self) -> Outcome:
        return self.result.outcome if self.result else Outcome.UNCHANGED


def scales(spec: Spec) -> bool:
    """Return whether a group of the stack has an `autoscale` block."""
    return any(group.autoscale for group in spec.groups.values())


def require_policy(spec: Spec) -> None:
    """Raise UsageError if no group of the stack has an `autoscale` block."""
    if not scales(spec):
        raise UsageError(
            f"No group of {spec.stack} has an autoscale block.",
            fix=f"Add one to a group in {spec.path}; the page docs/reference/autoscale.md describes it.",
            code="no_policy",
        )


def read_samples(spec: Spec, sources: Sources, fleet: Fleet | None = None) -> Samples:
    """Read all metrics of all groups at the same time. Metrics that the cloud measures need `fleet`."""
    metrics = metrics_of(spec)
    read = sources.read(metrics, fleet, spec.env)
    groups = dict.fromkeys(group.name for group in spec.groups.values() if group.autoscale)
    return {group: {name: read[owner, name] for owner, name in metrics if owner == group} for group in groups}


def metrics_of(spec: Spec) -> dict[Key, Metric]:
    """Return all metrics of all groups, by group and name."""
    groups = {name: group.autoscale for name, group in spec.groups.items() if group.autoscale}
    return {(name, key): metric for name, policy in groups.items() for key, metric in policy.metrics.items()}


def run_tick(
    spec: Spec,
    samples: Samples,
    memory: Memory,
    ports: Ports,
    *,
    now: datetime,
    options: Options,
    ceilings: Mapping[str, Sequence[Ceiling]] | None = None,
    prices: Prices | None = None,
    read: Iterable[Requests] = (),
) -> Tick:
    """Decide, and ensure the decided counts. Without `options.apply`, only show what would change.

    `now` is the time of the decision. `ceilings` are further limits, by group. A watch passes the same
    `prices` to each tick, so that they are not read every time. `read` counts the requests that reading
    the samples took. Raises what `ensure` raises.
    """
    # Whole seconds, as in the records, so that a later tick reads exactly what was decided on.
    now = now.replace(microsecond=0)
    sent = ports.cloud.requests
    stored = memory.load()
    seen = _look(spec, options, ports)
    remembered = _none_after(now, stored, seen, ports)
    catalogue = (prices or Prices(ports.clock)).of(ports.cloud, ports.place) if spec.budget is not None else None
    decided = _decide(spec, samples, seen, remembered, ports, now, ceilings, catalogue)
    options = replace(options, allow_zero=_may_empty(spec, seen.world), roll=roll_order(spec, now))
    pause = seen.orders.active_pause(now)
    result: Result | None = None
    if pause:
        if options.apply:
            _wait(decided, memory, ports)
    elif options.apply:
        result = _carry_out(decided, memory, options, ports)
    elif decided.is_change or _needs_work(seen.world, decided) or _has_rolls(decided, seen, options, ports):
        result = ensure(spec, Demand(decided.wanted), options, ports, seen)
    world = seen.world
    return Tick(
        stack=spec.stack,
        at=now,
        decisions=decided.decisions,
        servers=tuple(world.servers[name] for name in sorted(world.servers)),
        result=result,
        requests=_total([_difference(sent, ports.cloud.requests), *read]),
        pause=pause,
        held=result.held if result else _held(decided),
        unchecked=decided.advice.unchecked,
        budget_left=_budget_left(spec, catalogue, world, result),
    )


# ---------------------------------------------------------------------------------------------
# Deciding


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """What a tick saw and decided."""

    seen: Knowledge
    advice: Advice
    remembered: Remembered
    decisions: Mapping[str, Decision]
    counts: Mapping[str, int]
    """The wanted count of each group before."""
    wanted: Mapping[str, int]

    @property
    def is_change(self) -> bool:
        return self.wanted != self.counts

    @property
    def is_recorded(self) -> bool:
        """Whether the records have these counts, of all groups."""
        return not self.is_change and self.seen.orders.wanted.keys() >= self.seen.spec.groups.keys()

    @property
    def is_open(self) -> bool:
        """Whether all that could be done is for servers that are missing and not proven to be gone."""
        return bool(self.seen.denied) and not self.is_change


def _decide(
    spec: Spec,
    samples: Samples,
    seen: Knowledge,
    remembered: Remembered,
    ports: Ports,
    now: datetime,
    ceilings: Mapping[str, Sequence[Ceiling]] | None,
    catalogue: Catalogue | None,
) -> _Decided:
    """Decide the counts; what bounds growth is looked up only if a group is to grow."""
    supplies = _supplies(spec, seen, remembered.histories)

    def decide(bounds: Sequence[Bound] = ()) -> dict[str, Decision]:
        return decide_stack(spec, samples, supplies, remembered.histories, now, ceilings, bounds)

    decisions = decide()
    if any(decision.count > decision.supply.supply for decision in decisions.values()):
        decisions = decide(_bounds(spec, seen.world, supplies, catalogue, ports))
    counts = {name: supply.current for name, supply in supplies.items()}
    wanted = {**counts, **{name: decision.count for name, decision in decisions.items()}}
    return _Decided(
        seen=seen,
        advice=replace(seen.advice, replacements=seen.orders.replacements, rolls=seen.orders.rolls),
        remembered=remembered,
        decisions=decisions,
        counts=counts,
        wanted=_not_fewer(wanted, counts) if seen.denied else wanted,
    )


# ---------------------------------------------------------------------------------------------
# Carrying out


def _wait(decided: _Decided, memory: Memory, ports: Ports) -> None:
    """Ask for nothing while the stack is paused; the load is remembered for the time after the pause."""
    save(decided.seen, ports)
    histories = {name: decision.history for name, decision in decided.decisions.items()}
    memory.save(replace(decided.remembered, histories={**decided.remembered.histories, **histories}))


def _carry_out(decided: _Decided, memory: Memory, options: Options, ports: Ports) -> Result | None:
    """Ensure the counts, or only record what was seen where there is nothing to do."""
    remembered, decisions = decided.remembered, decided.decisions
    logged = _log(decisions, remembered, ports)
    try:
        if any(decision.change for decision in decisions.values()):
            meant = {name: decision.meant for name, decision in decisions.items()}
            memory.save(replace(remembered, histories={**remembered.histories, **meant}))
        if _is_busy(decided, decided.seen, options, ports):
            return _ensure(decided, decided.seen, options, ports)
        seen = _finish_checks(decided.seen, ports)
        if _is_busy(decided, seen, options, ports):
            return _ensure(decided, seen, options, ports)
        save(_without_old_pause(seen).want(decided.counts), ports)
        forget_ended(seen, ports)
        return None
    finally:
        _remember(decisions, remembered, logged, memory, ports)


def _is_busy(decided: _Decided, seen: Knowledge, options: Options, ports: Ports) -> bool:
    """Return whether a run is to do something about what is seen now."""
    if decided.is_open:
        return False
    is_busy = not decided.is_recorded or _needs_work(seen.world, decided) or has_news(seen, ports)
    return is_busy or _has_rolls(decided, seen, options, ports)


def _has_rolls(decided: _Decided, seen: Knowledge, options: Options, ports: Ports) -> bool:
    return has_news_of_rolls(options.roll, replace(seen, wanted=decided.wanted), ports)


def _ensure(decided: _Decided, seen: Knowledge, options: Options, ports: Ports) -> Result:
    demand, options = Demand(decided.wanted), replace(options, yields=True)
    return ensure(seen.spec, demand, options, ports, _without_old_pause(seen))


def _may_empty(spec: Spec, world: World) -> bool:
    """Return whether no load is reason enough to remove all servers: not where the spec lost their group."""
    return all(server.group in spec.groups for server in world.servers.values() if server.counts)


def _not_fewer(wanted: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    """Return the wanted counts where servers are missing and not proven to be gone: nothing is removed meanwhile."""
    return {name: max(count, counts.get(name, 0)) for name, count in wanted.items()}


def _without_old_pause(seen: Knowledge) -> Knowledge:
    """Return the same without a pause whose time has passed."""
    return seen.order(pause=None) if seen.orders.pause else seen


def _bounds(
    spec: Spec, world: World, supplies: Mapping[str, Supply], catalogue: Catalogue | None, ports: Ports
) -> Sequence[Bound]:
    """Return the budget, the room in placement groups and under the limit, and the account's quota as bounds."""
    found = [
        budget(spec, catalogue, world.servers.values(), supplies) if catalogue else None,
        placement_groups(spec),
        room(spec, world.servers.values()),
        addresses(spec, ports.shortages, ports.clock.now()),
        quota(ports.cloud, ports.shortages, len(world.machines), ports.clock.now()),
    ]
    return [bound for bound in found if bound]


def _budget_left(
    spec: Spec, catalogue: Catalogue | None, world: World, result: Result | None
) -> tuple[float, str] | None:
    if spec.budget is None or catalogue is None:
        return None
    servers = (server for server in world.servers.values() if server.counts)
    spent = result.cost.per_month_after if result and result.cost else float(per_month(catalogue, servers))
    return round(float(spec.budget) - spent, 2), catalogue.currency


def _total(parts: Sequence[Requests]) -> Requests:
    return Requests(
        total=sum(part.total for part in parts),
        create=sum(part.create for part in parts),
        list=sum(part.list for part in parts),
        retried=sum(part.retried for part in parts),
    )


def _difference(before: Requests, now: Requests) -> Requests:
    return Requests(
        total=now.total - before.total,
        create=now.create - before.create,
        list=now.list - before.list,
        retried=now.retried - before.retried,
    )


# ---------------------------------------------------------------------------------------------
# Observation


def _look(spec: Spec, options: Options, ports: Ports) -> Knowledge:
    """Observe the servers and check their health; the checks of readiness begin, and are not waited for."""

    def look() -> Knowledge:
        # Only what is recorded can be decided later.
        return check_health(observe(spec, ports, rebuild=options.apply, patient=not options.apply), ports)

    return ports.records.log_look(look) if options.apply else look()


def _finish_checks(seen: Knowledge, ports: Ports) -> Knowledge:
    """Let checks of readiness that go well come to their end, where a tick has nothing else to do; asks no cloud."""
    world, groups = seen.world, seen.spec.groups
    asked = [
        (groups[server.group].ready, server)
        for name, server in world.servers.items()
        if server.status in (Status.STARTING, Status.REBOOTING)
        and server.group in groups
        and groups[server.group].ready.kind != "none"
        and world.machines[name].phase is Phase.RUNNING
        and not world.machines[name].locked
    ]
    if not asked or not ports.readiness.finish(asked):
        return seen
    return take_in(seen, [machine for machine in world.machines.values() if machine.seen], ports)


def _none_after(now: datetime, stored: Remembered, seen: Knowledge, ports: Ports) -> Remembered:
    """Return the memory without times in the future; tell of them, unless the observation told of the records' own."""
    # By the clock: another process may have saved it while this one waited for the lock, after its own `now`.
    notice = future_notice(stored.moments, ports.clock.now())
    if notice and not seen.was_ahead:
        ports.progress.warn(notice)
    return stored.none_after(now)


def _supplies(spec: Spec, seen: Knowledge, histories: Mapping[str, History]) -> dict[str, Supply]:
    world, recorded = seen.world, seen.orders.wanted
    counting = Counter(server.group for server in world.servers.values() if server.counts)
    # What is there for a roll alone serves no load that was counted on.
    counting.subtract(beside_of(seen, recorded))
    ready = Counter(server.group for server in world.servers.values() if server.status is Status.RUNNING)
    unhealthy = Counter(server.group for server in world.servers.values() if server.unhealthy)
    supplies = {}
    for name, group in spec.groups.items():
        current = _current(name, counting[name] + unhealthy[name], recorded, histories, group.count)
        # An unhealthy server has its place until it has a successor: growth must not wait for it to get ready.
        held = max(0, min(unhealthy[name], current - counting[name]))
        supplies[name] = Supply(current, counting[name] + held, ready[name] + held)
    return supplies


def _current(
    name: str, counting: int, recorded: Mapping[str, int], histories: Mapping[str, History], count: int
) -> int:
    """Return the wanted count: as recorded, else as remembered, else the number of servers, else the spec's.

    The spec's count is not used while there are servers, because a lost file must not remove any.
    """
    if name in recorded:
        return recorded[name]
    remembered = histories.get(name)
    if remembered and remembered.count is not None:
        return remembered.count
    return counting or count


def _held(decided: _Decided) -> Mapping[str, Held]:
    """Return the unhealthy servers that are not replaced now, by group."""
    world = decided.seen.world
    if not any(server.unhealthy for server in world.servers.values()):
        return {}
    return plan(decided.seen.spec, world, decided.wanted, decided.advice).held


def _needs_work(world: World, decided: _Decided) -> bool:
    """Return whether a run of `ensure` would change anything about a world.

    Servers that are starting need no run. When the last of them is ready, a run records that.
    """
    spec = decided.seen.spec
    counting = Counter(server.group for server in world.servers.values() if server.counts)
    unhealthy = {server.group for server in world.servers.values() if server.unhealthy}
    rolled = {name for name, roll in decided.seen.orders.rolls.items() if roll.is_rolling}
    # What was kept because its drain failed stays until a person orders otherwise.
    kept = Counter(server.group for server in world.servers.values() if server.counts and server.drain_failed)
    if any(
        not counting[name] - kept[name] <= count <= counting[name]
        for name, count in decided.wanted.items()
        if name not in unhealthy | rolled
    ):
        return True
    # Unhealthy servers may be held back, or wait for their successors; those of a roll's wave are beside the others.
    if (unhealthy or rolled) and plan(spec, world, decided.wanted, decided.advice).phases:
        return True
    if wrongly_labelled(spec, world):
        return True
    # What drains needs a run only when something became of it.
    servers = [server for server in world.servers.values() if server.drain is None]
    off = (server for server in servers if server.status in (*DEAD, Status.STOPPED))
    if any(not is_kept(spec, server, world.at) for server in off):
        return True
    if world.orphans or world.vanished or any(server.group not in spec.groups for server in world.servers.values()):
        return True
    return not world.recorded and not on_their_way(world)


# ---------------------------------------------------------------------------------------------
# Records


def _log(decisions: Mapping[str, Decision], remembered: Remembered, ports: Ports) -> dict[str, str]:
    """Log each decision that differs from the last logged one. Return the key of each, by group."""
    logged = {}
    for name, decision in decisions.items():
        for notice in decision.notices:
            ports.progress.warn(f"{name}: {notice}")
            ports.records.log_metric(name, notice)
        logged[name] = _log_key(decision)
        if decision.change or decision.notices or remembered.logged.get(name) != logged[name]:
            ports.records.log_decision(name, decision.reason, decision_document(decision))
    return logged


def _log_key(decision: Decision) -> str:
    """Return what two decisions are compared by, without the values that change on every tick."""
    asked, current = decision.asked, decision.supply.current
    direction = "more" if asked > current else "fewer" if asked < current else "the same"
    return f"{decision.count}, asked for {direction}, by {', '.join(cap.name for cap in decision.caps) or 'nothing'}"


def _remember(
    decisions: Mapping[str, Decision],
    remembered: Remembered,
    logged: Mapping[str, str],
    memory: Memory,
    ports: Ports,
) -> None:
    """Save the histories. A decision was carried out if the records have its count as wanted, whatever failed after."""
    orders = ports.records.orders()
    wanted = orders.wanted if orders else {}
    histories = {
        name: decision.carried_out if wanted.get(name) == decision.count else decision.history
        for name, decision in decisions.items()
    }
    memory.save(Remembered({**remembered.histories, **histories}, {**remembered.logged, **logged}))
