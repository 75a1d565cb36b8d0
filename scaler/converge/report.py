"""What a run has to tell: its result."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from scaler.converge.confirm import running
from scaler.converge.run import Run, tell_place
from scaler.model import Action, Cost, GroupReport, Outcome, Plan, Result, Server, StepReport, StepResult, World
from scaler.model.lifecycle import Status
from scaler.planning import prices


def result_of(run: Run, outcome: Outcome) -> Result:
    """What a run has to print."""
    ready = running(run.world, run.wanted)
    planned = (
        [StepReport(step, StepResult.PENDING) for step in run.plan.steps]
        if outcome in (Outcome.PLANNED, Outcome.REFUSED)
        else []
    )
    off = {name for name, server in run.world.servers.items() if server.status is Status.STOPPED}
    return Result(
        stack=run.spec.stack,
        outcome=outcome,
        groups={
            name: GroupReport(
                wanted=count,
                before=sum(1 for server in run.first.servers.values() if server.group == name and server.counts),
                ready=ready[name],
                tries=tuple(map(tell_place, run.plan.tries.get(name, ()))) if planned else (),
            )
            for name, count in run.wanted.items()
        },
        steps=tuple(run.steps or planned),
        servers=tuple(run.known[name] for name in sorted(run.known) if run.known[name].status is not Status.DELETED),
        drift=run.first.drift,
        violations=run.violations,
        cost=cost_of(
            run,
            run.first.servers.values(),
            servers_after(run, run.plan)
            if planned
            else [
                prices.existing(server) for name, server in run.world.servers.items() if name not in run.plan.paid_until
            ],
        ),
        requests=run.around.cloud.requests,
        elapsed=timedelta(seconds=run.clock.monotonic() - run.started),
        failures=tuple(run.failures),
        outdated=run.plan.outdated,
        kept={name: until for name, until in run.plan.paid_until.items() if planned or name in off},
        seen=ids(run.first),
    )


def servers_after(run: Run, made: Plan) -> list[prices.Priced]:
    """The servers that are paid for after a plan, when the hours are over that are paid already."""
    leaving = {step.server for step in made.steps if step.action is Action.DELETE} | made.paid_until.keys()
    staying = [
        prices.existing(server)
        for server in run.world.servers.values()
        if server.name not in leaving and server.status is not Status.DELETING
    ]
    return staying + [prices.coming(run.spec, step) for step in made.steps if step.action is Action.CREATE]


def cost_of(run: Run, before: Iterable[Server], after: Iterable[prices.Priced]) -> Cost | None:
    """The costs of servers before and after; None when the prices were not looked at."""
    staying = (server for server in before if not prices.is_kept(run.spec, server, run.world.at))
    return prices.cost(run.catalogue, map(prices.existing, staying), after)


def ids(world: World) -> dict[str, str]:
    """The machines of a world, name → id."""
    return {name: machine.id for name, machine in world.machines.items()}
