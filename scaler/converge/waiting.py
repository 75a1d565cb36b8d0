"""Wait for draining servers without the run's lock, and go on with the run when something has become of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from scaler.converge.conclude import LEFT, settle
from scaler.converge.confirm import on_their_way, running
from scaler.converge.demand import Request
from scaler.converge.drains import apart_from_resumed, carry_out, draining, look_at_drains, policy_of
from scaler.converge.health import check_health
from scaler.converge.knowledge import Knowledge
from scaler.converge.make_plan import check_sums, make_plan
from scaler.converge.observe import observe
from scaler.converge.ports import Ports
from scaler.converge.record import save
from scaler.converge.rolls import baking_until, pause_while_baking
from scaler.converge.rounds import converge, identify, resolve
from scaler.converge.standing import Standing
from scaler.errors import LockedError, ScalerError
from scaler.model import Action, DrainStage, DrainState, Server
from scaler.model.orders import newest
from scaler.planning.drains import pause_until_news

_POLL_S = 0.5
"""Between two looks at the files of the drains' processes, which cost no request."""

_AGAIN = timedelta(seconds=10)
"""Before a drain command is tried again that only begins a drain, and failed."""

_NEWS = frozenset({DrainState.DONE, DrainState.FAILED, DrainState.LOST})


def wait_for_drains(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Take draining servers further until they are gone, the time is up, or another run wants something else."""
    request = _continued(request)
    started = ports.clock.monotonic()
    is_shown = False
    while _may_wait(request, standing, ports):
        try:
            if not is_shown:
                what = "draining servers" if _open(standing) else "new servers to prove themselves"
                ports.progress.phase(f"waiting for {what}")
            _wait_unlocked(request, standing, started, ports)
            before = standing.journal
            if request.demand.as_wanted:
                seen = _seen_again(request, standing, ports)
                standing = replace(seen, knowledge=resolve(request, seen.knowledge))
            elif _is_superseded(standing, ports):
                ports.progress.warn("another command changed what is wanted: this one waits no longer")
                return _left(_seen_again(request, standing, ports))
            else:
                standing = _seen_again(request, standing, ports)
            standing = _go_on(request, standing, ports)
            is_shown = standing.journal == before
        except LockedError as error:
            ports.progress.warn(f"{error} This command waits no longer for the draining servers.")
            return _left(standing)
        except ScalerError as error:
            return replace(standing, journal=standing.journal.fail(error))
    return standing


def _left(standing: Standing) -> Standing:
    return replace(standing, journal=standing.journal.tally(LEFT))


def _continued(request: Request) -> Request:
    """Return the request without what was asked before anything was changed."""
    options = replace(request.options, approve=None, announce=None, reviewed=None, expect_current=None)
    return replace(request, options=options)


def _may_wait(request: Request, standing: Standing, ports: Ports) -> bool:
    options = request.options
    is_early = ports.clock.monotonic() < request.deadline
    return options.wait and options.patient and is_early and bool(_open(standing) or baking_until(standing.knowledge))


def _open(standing: Standing) -> dict[str, Server]:
    """Return the draining servers, but for those whose deletion was tried, and failed."""
    tried = {step.server for step in standing.plan.steps if step.action is Action.DELETE}
    found = draining(standing.knowledge).items()
    return {
        name: server
        for name, server in found
        if server.drain and not (server.drain.stage is DrainStage.ENDED and name in tried)
    }


def _wait_unlocked(request: Request, standing: Standing, started: float, ports: Ports) -> None:
    """Wait until a drain has a result, or a stage's time is up."""
    clock = ports.clock
    knowledge, servers = standing.knowledge, _open(standing)
    ready = sum(running(knowledge.world, knowledge.wanted).values())
    drains = [server.drain for server in servers.values() if server.drain]
    pauses = [pause_until_news(drains, clock.now(), timedelta(seconds=clock.monotonic() - started))] if drains else []
    if until_baked := baking_until(knowledge):
        pauses.append(pause_while_baking(until_baked, clock.now()))
    pause = min(pauses)
    if any(_is_to_begin(server, knowledge) for server in servers.values()):
        pause = min(pause, _AGAIN)
    until = min(request.deadline, clock.monotonic() + pause.total_seconds())
    with ports.unlocked():
        while (left := until - clock.monotonic()) > 0 and not _has_result(servers, knowledge, ports):
            ports.progress.waiting(ready, sum(knowledge.wanted.values()))
            clock.sleep(min(_POLL_S, left))


def _is_to_begin(server: Server, knowledge: Knowledge) -> bool:
    drain = server.drain
    return drain is not None and not drain.asked and bool(policy_of(server, drain, knowledge).drained)


def _has_result(servers: dict[str, Server], knowledge: Knowledge, ports: Ports) -> bool:
    asked = [
        (server, policy_of(server, server.drain, knowledge))
        for server in servers.values()
        if server.drain and server.drain.stage is DrainStage.DRAINING and not _is_to_begin(server, knowledge)
    ]
    ports.drains.look(asked)
    return any(ports.drains.find(server, policy).state in _NEWS for server, policy in asked)


def _is_superseded(standing: Standing, ports: Ports) -> bool:
    wanted = newest(ports.stack.read().orders, ports.records.orders()).wanted
    return bool(wanted) and dict(wanted) != dict(standing.knowledge.lasting)


def _seen_again(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Observe as a new run does, since others may have changed anything; keep what this run learned."""
    seen = observe(request.spec, ports, accept_loss=request.options.accept_loss, is_shown=False)
    knowledge = replace(
        standing.knowledge,
        stack=seen.stack,
        world=seen.world,
        records=seen.records,
        orders=seen.orders,
        identity=seen.identity,
        had_id=seen.had_id,
        claimed=seen.claimed,
        gone=seen.gone,
        denied=seen.denied,
    )
    return replace(standing, knowledge=check_health(knowledge, ports))


def _go_on(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Take each draining server one step further, and carry out what follows."""
    looked = look_at_drains(standing.knowledge, ports, everything=request.options.everything)
    journal = standing.journal.report(looked.reports).fail(*looked.failures)
    plan, knowledge = make_plan(request, looked.knowledge, journal, ports)
    # Another server may go than the one that began to drain.
    check_sums(request, knowledge, plan, journal)
    acts = apart_from_resumed(looked.acts, plan)
    standing = Standing(carry_out(knowledge, acts, ports), plan, journal)
    if plan.phases:
        standing = identify(request, standing, ports)
    plan, knowledge = standing.plan, standing.knowledge
    if plan.phases or on_their_way(knowledge.world) or looked.reports:
        return settle(request, converge(request, standing, ports), ports)
    save(knowledge, ports, journal.steps)
    return standing
