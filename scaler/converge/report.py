"""Build the result of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

from scaler.converge.confirm import running
from scaler.converge.demand import Request
from scaler.converge.knowledge import Knowledge, describe_placement
from scaler.converge.ports import Ports
from scaler.converge.rolls import baking
from scaler.converge.standing import Standing
from scaler.model import (
    Action,
    Cost,
    GroupReport,
    Outcome,
    Plan,
    RateWait,
    Result,
    Server,
    StepReport,
    StepResult,
    World,
)
from scaler.model.lifecycle import Status
from scaler.planning import prices
from scaler.planning.names import in_order

_REQUESTS_A_STEP = 1.15
"""Each step's own request, and its share of the lists that confirm it."""
_WORTH_TELLING = timedelta(seconds=5)


def result_of(request: Request, standing: Standing, outcome: Outcome, ports: Ports) -> Result:
    """Build the `Result` of a run that ends like this."""
    knowledge, plan, journal = standing.knowledge, standing.plan, standing.journal
    is_planned = outcome in (Outcome.PLANNED, Outcome.REFUSED)
    planned = tuple(StepReport(step, StepResult.PENDING) for step in plan.steps) if is_planned else ()
    off = {name for name, server in knowledge.world.servers.items() if server.status is Status.STOPPED}
    return Result(
        stack=request.spec.stack,
        outcome=outcome,
        groups=_groups(standing, show_tries=bool(planned)),
        steps=journal.reports or planned,
        servers=tuple(server for server in in_order(knowledge.records.values()) if server.status is not Status.DELETED),
        drift=knowledge.first.drift,
        violations=journal.violations,
        cost=cost_of(
            knowledge,
            knowledge.first.servers.values(),
            servers_after(knowledge, plan) if planned else _paid_now(knowledge, plan),
        ),
        requests=ports.cloud.requests,
        rate_wait=_rate_wait(plan, ports) if planned else None,
        elapsed=timedelta(seconds=ports.clock.monotonic() - request.started),
        failures=standing.failures,
        held=plan.held,
        unchecked=knowledge.advice.unchecked,
        outdated=plan.outdated,
        schedules=plan.schedules if is_planned or not request.options.apply else (),
        baking=baking(knowledge),
        renamed=plan.renamed,
        kept={name: until for name, until in plan.paid_until.items() if planned or name in off},
        stack_id=knowledge.identity.id if knowledge.identity and knowledge.had_id else None,
        seen=ids(knowledge.first),
    )


def _groups(standing: Standing, *, show_tries: bool) -> dict[str, GroupReport]:
    knowledge = standing.knowledge
    ready = running(knowledge.world, knowledge.wanted)
    before = knowledge.first.servers.values()
    return {
        name: GroupReport(
            wanted=count,
            before=sum(1 for server in before if server.group == name and server.counts),
            ready=ready[name],
            tries=tuple(map(describe_placement, standing.plan.tries.get(name, ()))) if show_tries else (),
        )
        for name, count in knowledge.wanted.items()
    }


def _rate_wait(plan: Plan, ports: Ports) -> RateWait | None:
    """Return how long the cloud's rate limit makes a plan take; None if it does not hold it up."""
    wait_for: Callable[[int], timedelta] | None = getattr(ports.cloud, "rate_wait", None)
    if wait_for is None:
        return None
    requests = math.ceil(_REQUESTS_A_STEP * sum(1 for step in plan.steps if step.action is not Action.FORGET))
    wait = wait_for(requests)
    return RateWait(requests, wait) if wait >= _WORTH_TELLING else None


def _paid_now(knowledge: Knowledge, plan: Plan) -> list[prices.Priced]:
    return [prices.existing(server) for name, server in knowledge.world.servers.items() if name not in plan.paid_until]


def servers_after(knowledge: Knowledge, plan: Plan) -> list[prices.Priced]:
    """Return the servers that are paid for after a plan, when the hours are over that are paid already."""
    leaving = {step.server for step in plan.steps if step.action is Action.DELETE} | plan.paid_until.keys()
    staying = [
        prices.existing(server)
        for server in knowledge.world.servers.values()
        if server.name not in leaving and server.status is not Status.DELETING
    ]
    return staying + [prices.coming(knowledge.spec, step) for step in plan.steps if step.action is Action.CREATE]


def cost_of(knowledge: Knowledge, before: Iterable[Server], after: Iterable[prices.Priced]) -> Cost | None:
    """Return the costs of servers before and after; None when the prices were not read."""
    at = knowledge.world.at
    staying = (server for server in before if not prices.is_kept(knowledge.spec, server, at))
    return prices.cost(knowledge.catalogue, map(prices.existing, staying), after)


def ids(world: World) -> dict[str, str]:
    """Return the machines of a world, name → id."""
    return {name: machine.id for name, machine in world.machines.items()}
