"""Check what is asked for before anything is planned or changed: counts, named servers, reviewed plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scaler.converge.demand import Request, stale
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.converge.report import ids
from scaler.errors import RefusedError, UsageError
from scaler.model import Plan, Server, Spec, Step, World
from scaler.model.schedule import sizes_of_waves
from scaler.planning.guards import check_not_set_aside, check_replaceable, check_unprotected, check_wanted
from scaler.planning.names import natural
from scaler.support.suggestions import nearest


def check_counts(request: Request, counts: Mapping[str, int], have: Mapping[str, int] | None = None) -> None:
    """Check counts against the spec's bounds, unless everything is to be removed; LimitError."""
    if not request.options.everything:
        check_wanted(request.spec, counts, have)


def check_amount(request: Request, there: Mapping[str, int], ports: Ports) -> None:
    """Refuse to take more servers from a group than the ones `there`; RefusedError. A warning if it may go to none."""
    if request.demand.begun:
        return
    for name, by in request.demand.by.items():
        if there[name] and there[name] + by < 0:
            if request.options.allow_zero:
                ports.progress.warn(f"{-by} servers of {name} are to be removed, and there are {there[name]}")
                continue
            raise RefusedError(
                f"{-by} servers of {name} cannot be removed from {request.spec.stack}: there are {there[name]}.",
                why="the run asks for no confirmation here, and a number can be too large by mistake",
                fix="If you intend to remove all of them, add --allow-zero.",
                code="to_zero",
            )


def check_named(request: Request, world: World) -> None:
    """Servers that are named must be there, not be protected, and run if they are to be removed.

    A machine in no state may be removed however it is.
    """
    demand = request.demand
    for name in sorted(demand.remove | demand.renew, key=natural):
        server = find_server(request.spec, world, name)
        check_not_set_aside(world, server)
        check_unprotected(request.spec, world, server)
        if name in demand.renew:
            check_replaceable(request.spec, server)
        is_new = demand.begun is None and name not in world.orphans
        if name in demand.remove and not (server.running or server.unhealthy) and is_new:
            raise wrong_status(server, "stopped")


def check_claims(request: Request, world: World) -> None:
    """Servers that are to be claimed must be there; UsageError."""
    known = {*world.servers, *(server.id for server in world.servers.values())}
    for name in sorted(request.options.claim.names - known, key=natural):
        unclaimed = [machine.name for machine in world.unclaimed]
        raise UsageError(
            f"There is no server {name} with the labels of {request.spec.stack}.", fix=nearest(name, unclaimed)
        )


def find_server(spec: Spec, world: World, name: str) -> Server:
    """Return the server of a name; UsageError if there is none."""
    if name not in world.servers:
        raise UsageError(f"There is no server {name} in {spec.stack}.", fix=nearest(name, sorted(world.servers)))
    return world.servers[name]


def wrong_status(server: Server, done: str) -> UsageError:
    """Return the error for a server that must run to be stopped or rebooted, and does not."""
    return UsageError(
        f"{server.name} cannot be {done}: it is {server.status}.",
        why=server.error or "",
        fix="`scaler ensure` repairs what is not running.",
        code="wrong_status",
    )


def require_reviewed(request: Request, knowledge: Knowledge, plan: Plan) -> None:
    """Stop, unless this is the world and these are the steps that were reviewed; StalePlanError."""
    reviewed = request.options.reviewed
    if not reviewed:
        return
    stack_id = knowledge.identity.id if knowledge.identity and knowledge.had_id else "none"
    if reviewed.stack_id not in (None, stack_id):
        raise stale("it is of another stack of this name", (f"id {reviewed.stack_id} then, {stack_id} now",))
    seen = ids(knowledge.world)
    if seen != reviewed.seen:
        raise stale(
            "servers came or went",
            (
                f"{name}: {reviewed.seen.get(name, 'none')} then, {seen.get(name, 'none')} now"
                for name in sorted(seen.keys() | reviewed.seen.keys(), key=natural)
                if seen.get(name) != reviewed.seen.get(name)
            ),
        )
    waves = sizes_of_waves(plan.schedules)
    if waves != reviewed.waves:
        raise stale(
            "the roll would have other waves",
            (f"{name}: {_sizes(reviewed.waves.get(name))} then, {_sizes(waves.get(name))} now" for name in waves),
        )
    if plan.steps != reviewed.steps:
        before, now = set(map(_describe, reviewed.steps)), set(map(_describe, plan.steps))
        raise stale(
            "other steps are needed now",
            sorted(f"then: {text}" for text in before - now) + sorted(f"now: {text}" for text in now - before),
        )


def _sizes(waves: Sequence[tuple[int, int]] | None) -> str:
    return "/".join(str(size) for size, _ in waves or ()) or "none"


def _describe(step: Step) -> str:
    return f"{step.action} {step.server} ({step.reason})"
