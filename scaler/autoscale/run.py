"""One look at the load and the servers, one decision per group, and what follows from it.

A watch loop and a cron job do exactly this, so their decisions are the same: what one decision
must know of the earlier ones is in the stack's records.

Every end leaves records from which the next run goes on. The memory is saved last: a run that is
killed after it changed the count leaves a count that the memory does not know, which the next run
takes for a change by hand, and does not revert at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from scaler.autoscale.bounds import Prices, budget, per_month, quota
from scaler.autoscale.decide import Bound, Ceiling, Decision, History, Sample, Supply, decide_stack
from scaler.autoscale.explain import decision_document
from scaler.autoscale.memory import Memory, Remembered
from scaler.autoscale.metrics import Fleet, Sources
from scaler.clouds import Catalogue
from scaler.converge.confirm import confirm, on_their_way
from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.converge.observe import PASSING, Observer
from scaler.converge.ports import Surroundings
from scaler.errors import UsageError
from scaler.model import Outcome, Requests, Result, Server, Spec, World
from scaler.model.lifecycle import DEAD, Status
from scaler.planning.prices import is_kept

Samples = Mapping[str, Mapping[str, Sample]]
"""By group and metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaled:
    """What came of one look at the load."""

    stack: str
    at: datetime
    decisions: Mapping[str, Decision]
    servers: Sequence[Server]
    """As they were when it was decided."""
    result: Result | None
    """What the decisions led to; None: there was nothing to do."""
    requests: Requests
    """Sent to the cloud for all of it."""
    budget_left: tuple[float, str] | None = None
    """What the budget leaves of a whole month, and its currency; None: there is none, or no prices."""

    @property
    def outcome(self) -> Outcome:
        return self.result.outcome if self.result else Outcome.UNCHANGED


def require_policy(spec: Spec) -> None:
    """UsageError if no group of the stack follows its load."""
    if not any(group.autoscale for group in spec.groups.values()):
        raise UsageError(
            f"No group of {spec.stack} has an autoscale block.",
            fix=f"Add one to a group in {spec.path}; the page docs/reference/autoscale.md describes it.",
            code="no_policy",
        )


def read_samples(spec: Spec, sources: Sources, fleet: Fleet | None = None) -> Samples:
    """All metrics of all groups, read at the same time; `fleet` is for those that the cloud measures."""
    groups = {name: group.autoscale for name, group in spec.groups.items() if group.autoscale}
    metrics = {(name, key): one for name, policy in groups.items() for key, one in policy.metrics.items()}
    read = sources.read(metrics, fleet)
    return {name: {key: read[name, key] for key in policy.metrics} for name, policy in groups.items()}


def autoscale(
    spec: Spec,
    samples: Samples,
    memory: Memory,
    around: Surroundings,
    *,
    now: datetime,
    options: Options,
    ceilings: Mapping[str, Sequence[Ceiling]] | None = None,
    prices: Prices | None = None,
    read: Iterable[Requests] = (),
) -> Autoscaled:
    """Decide, and ensure what was decided; with `options.apply` off, only show what would be done.

    `now` is the moment of the decision. `ceilings` are mosts from outside. `prices` are kept by who
    does this again and again; `read` is what reading the samples took. Raises what `ensure` raises.
    """
    # To the second, as the records have it: what is decided on is what a later run will read.
    now = now.replace(microsecond=0)
    sent = around.cloud.requests
    remembered = memory.load()
    recorded = around.records.wanted()
    world, observer = _observe(spec, around)
    supplies = _supplies(spec, world, recorded, remembered.histories)
    catalogue = (prices or Prices(around.clock)).of(around.cloud) if spec.budget is not None else None

    def decide(bounds: Sequence[Bound] = ()) -> dict[str, Decision]:
        return decide_stack(spec, samples, supplies, remembered.histories, now, ceilings, bounds)

    decisions = decide()
    if any(decision.count > decision.supply.supply for decision in decisions.values()):
        decisions = decide(_bounds(spec, world, supplies, catalogue, around))
    counts = {name: supply.current for name, supply in supplies.items()}
    wanted = {**counts, **{name: decision.count for name, decision in decisions.items()}}
    result: Result | None = None
    if not options.apply:
        if wanted != counts or _needs_work(spec, world, wanted):
            result = ensure(spec, Demand(wanted), options, around)
    else:
        logged = _log(decisions, remembered, around)
        try:
            if not recorded.keys() >= spec.groups.keys() or wanted != counts or _needs_work(spec, world, wanted):
                result = ensure(spec, Demand(wanted), options, around)
            else:
                around.records.save(counts, observer.known, ())
        finally:
            _remember(decisions, remembered, logged, memory, around)
    return Autoscaled(
        stack=spec.stack,
        at=now,
        decisions=decisions,
        servers=tuple(world.servers[name] for name in sorted(world.servers)),
        result=result,
        requests=_sum([_since(sent, around.cloud.requests), *read]),
        budget_left=_budget_left(spec, catalogue, world, result),
    )


def _bounds(
    spec: Spec, world: World, supplies: Mapping[str, Supply], catalogue: Catalogue | None, around: Surroundings
) -> Sequence[Bound]:
    """What keeps the stack from growing, besides its limit."""
    found = [
        budget(spec, catalogue, world.servers.values(), supplies) if catalogue else None,
        quota(around.cloud, around.shortages, len(world.machines), around.clock.now()),
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


def _sum(parts: Sequence[Requests]) -> Requests:
    return Requests(
        total=sum(part.total for part in parts),
        create=sum(part.create for part in parts),
        list=sum(part.list for part in parts),
        retried=sum(part.retried for part in parts),
    )


def _since(before: Requests, now: Requests) -> Requests:
    return Requests(
        total=now.total - before.total,
        create=now.create - before.create,
        list=now.list - before.list,
        retried=now.retried - before.retried,
    )


# ---------------------------------------------------------------------------------------------
# What is there


def _observe(spec: Spec, around: Surroundings) -> tuple[World, Observer]:
    """Look; for as long as it takes to check whether servers are ready, and no longer."""
    observer = Observer(spec, around)
    world = observer.begin(mend=True)
    checks = [
        spec.groups[server.group].ready.successes
        for server in world.servers.values()
        if server.status in (Status.STARTING, Status.REBOOTING)
        and server.group in spec.groups
        and spec.groups[server.group].ready.kind != "none"
    ]
    if checks:
        confirm(
            observer.look,
            world,
            clock=around.clock,
            deadline=around.clock.monotonic() + max(checks) + 2,
            progress=around.progress,
            passing=PASSING,
        )
    return observer.world, observer


def _supplies(
    spec: Spec, world: World, recorded: Mapping[str, int], histories: Mapping[str, History]
) -> dict[str, Supply]:
    counting = Counter(server.group for server in world.servers.values() if server.counts)
    ready = Counter(server.group for server in world.servers.values() if server.status is Status.RUNNING)
    return {
        name: Supply(_current(name, counting[name], recorded, histories, group.count), counting[name], ready[name])
        for name, group in spec.groups.items()
    }


def _current(
    name: str, counting: int, recorded: Mapping[str, int], histories: Mapping[str, History], count: int
) -> int:
    """The count that is wanted now: as recorded, else as we remember, else what is there, else the spec's.

    Never the spec's where there are servers: a lost file must not remove any.
    """
    if name in recorded:
        return recorded[name]
    remembered = histories.get(name)
    if remembered and remembered.count is not None:
        return remembered.count
    return counting or count


def _needs_work(spec: Spec, world: World, wanted: Mapping[str, int]) -> bool:
    """Whether `ensure` would do anything now that is worth an engine's start.

    Servers that time alone makes ready are left alone; when the last of them is, that is recorded.
    """
    counting = Counter(server.group for server in world.servers.values() if server.counts)
    if any(counting[name] != count for name, count in wanted.items()):
        return True
    off = (server for server in world.servers.values() if server.status in (*DEAD, Status.STOPPED))
    if any(not is_kept(spec, server, world.at) for server in off):
        return True
    if world.orphans or world.vanished or any(server.group not in spec.groups for server in world.servers.values()):
        return True
    return not world.recorded and not on_their_way(world)


# ---------------------------------------------------------------------------------------------
# The records


def _log(decisions: Mapping[str, Decision], remembered: Remembered, around: Surroundings) -> dict[str, str]:
    """Log every decision that is not the one before over again; what tells them apart."""
    logged = {}
    for name, decision in decisions.items():
        for notice in decision.notices:
            around.progress.warn(f"{name}: {notice}")
            around.records.noticed(name, notice)
        logged[name] = _gist(decision)
        if decision.change or decision.notices or remembered.logged.get(name) != logged[name]:
            around.records.decided(name, decision.reason, decision_document(decision))
    return logged


def _gist(decision: Decision) -> str:
    """The decision without what changes all the time: the log is for servers too, and is no metric's history."""
    asked, current = decision.asked, decision.supply.current
    way = "more" if asked > current else "fewer" if asked < current else "the same"
    return f"{decision.count}, asked for {way}, by {', '.join(cap.name for cap in decision.caps) or 'nothing'}"


def _remember(
    decisions: Mapping[str, Decision],
    remembered: Remembered,
    logged: Mapping[str, str],
    memory: Memory,
    around: Surroundings,
) -> None:
    """A decision that is on record as wanted was carried out, whatever came of it."""
    wanted = around.records.wanted()
    histories = {
        name: decision.carried_out if wanted.get(name) == decision.count else decision.history
        for name, decision in decisions.items()
    }
    memory.save(Remembered({**remembered.histories, **histories}, {**remembered.logged, **logged}))
