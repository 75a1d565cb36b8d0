"""The run: observe → plan → preview → apply → confirm → record.

Every round carries out the first phase of a plan made from a fresh observation, confirms it, and
observes again. What a round leaves behind, planned or not, is what the next one starts from: the
same is true of a run that was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from scaler.converge.checks import check_amount, check_claims, check_counts, check_named, require_reviewed
from scaler.converge.conclude import end_unchanged, judge, settle, warn_of_trouble
from scaler.converge.confirm import on_their_way
from scaler.converge.demand import Demand, Options, Request
from scaler.converge.drains import Looked, apart_from_resumed, carry_out, draining, look_at_drains
from scaler.converge.establish import is_established
from scaler.converge.health import check_health
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge
from scaler.converge.make_plan import check, make_plan
from scaler.converge.observe import observe
from scaler.converge.ports import Ports
from scaler.converge.preview import forbidding, preview
from scaler.converge.report import result_of
from scaler.converge.rolling import order_rolls, roll_on
from scaler.converge.rolls import baking_until
from scaler.converge.rounds import converge, identify, resolve
from scaler.converge.service import put_right
from scaler.converge.standing import Standing
from scaler.converge.time_up import in_time
from scaler.converge.waiting import wait_for_drains
from scaler.model import Outcome, Result, Spec
from scaler.planning.claims import describe_unclaimed


def ensure(spec: Spec, demand: Demand, options: Options, ports: Ports, seen: Knowledge | None = None) -> Result:
    """Make exactly the demanded servers exist, or say what is in the way.

    `seen` is what was observed a moment ago; None: observe. Raises RefusedError before anything is
    changed; a run that changed something returns a Result, also when it failed.
    """
    ports.limit.end_after(options.timeout)
    request = Request(spec=spec, demand=demand, options=options, started=ports.clock.monotonic(), limit=ports.limit)
    if not options.apply:
        return _run(request, seen, ports)
    with _turn_of_rolls(request, ports) as allowed:
        return ports.records.log_run(lambda: in_time(lambda: _run(allowed, seen, ports), ports))


@contextmanager
def _turn_of_rolls(request: Request, ports: Ports) -> Iterator[Request]:
    """Keep other rolls away while the run begins some by itself; where one goes on, it begins none."""
    if request.options.roll is None or not request.options.roll.by_itself:
        # Who asks for a roll has waited for its turn.
        yield request
        return
    with ports.roll_turn() as is_free:
        if not is_free:
            ports.progress.note("another roll of this stack goes on: this run begins none")
        yield request if is_free else replace(request, options=replace(request.options, roll=None))


def _run(request: Request, seen: Knowledge | None, ports: Ports) -> Result:
    request, standing, looked = _plan(request, seen, ports)
    plan, world = standing.plan, standing.world
    must_identify = _must_identify(request, standing.knowledge)
    has_work = plan.phases or looked.acts or looked.reports or on_their_way(world) or must_identify
    if not has_work:
        # A command that finds nothing to do has nothing to go on with.
        lasting = standing.knowledge.orders.lasting_operations(world.machines.values())
        standing = replace(standing, knowledge=standing.knowledge.order(operations=lasting))
    is_idle = world.recorded and standing.knowledge.is_shared and not has_work
    is_waiting = draining(standing.knowledge) or baking_until(standing.knowledge)
    if request.options.apply and is_idle and not is_waiting:
        return end_unchanged(request, standing, ports)
    standing = _preview(request, standing, ports)
    asked = ports.clock.monotonic()
    if stopped := _stop_before_acting(request, standing, ports):
        return stopped
    # The time that a person takes to answer is none of the run's.
    thought = ports.clock.monotonic() - asked
    request.limit.leave_out(thought)
    request = replace(request, started=request.started + thought)
    if plan.phases or must_identify:
        # Fail on a missing engine or backend before any intent is recorded.
        ports.stack.prepare()
        standing = identify(request, standing, ports)
    acts = apart_from_resumed(looked.acts, plan)
    standing = replace(standing, knowledge=carry_out(standing.knowledge, acts, ports))
    # What serves no more must get no work while the run does other things.
    standing = replace(standing, knowledge=put_right(standing.knowledge, ports).knowledge)
    if not is_idle:
        standing = settle(request, converge(request, standing, ports), ports)
    standing = roll_on(request, wait_for_drains(request, standing, ports), ports)
    return judge(request, standing, ports)


def _must_identify(request: Request, knowledge: Knowledge) -> bool:
    """Return whether the run has servers to claim, or a place to record, beside its plan."""
    is_moved = request.options.claims.moves and knowledge.had_id and not is_established(knowledge)
    return bool(knowledge.claimed) or is_moved


def _plan(request: Request, seen: Knowledge | None, ports: Ports) -> tuple[Request, Standing, Looked]:
    """Observe and plan, and check all that can refuse the run; the request names its servers from then on."""
    if request.demand.counts is not None:
        check_counts(request, request.demand.counts)
    knowledge = seen or observe(
        request.spec, ports, accept_loss=request.options.accept_loss, claim=request.options.claims
    )
    for machine in knowledge.world.unclaimed:
        ports.progress.warn(f"left alone: {describe_unclaimed(machine, knowledge.world.at)}")
    if seen is None:
        # Who observed before has checked, too.
        knowledge = check_health(knowledge, ports)
    request = _go_on(request, knowledge, ports)
    request = replace(request, demand=request.demand.name_orphans(knowledge.world))
    check_named(request, knowledge.world)
    check_claims(request, knowledge.world)
    looked = look_at_drains(knowledge, ports, everything=request.options.everything)
    journal = Journal().report(looked.reports).fail(*looked.failures)
    if request.demand.by:
        unchanged = replace(request, demand=replace(request.demand, by={}))
        check_amount(request, resolve(unchanged, looked.knowledge).wanted, ports)
    known = order_rolls(request, resolve(request, looked.knowledge), ports)
    plan, knowledge = make_plan(request, known, journal, ports)
    check(request, knowledge, plan, journal)
    require_reviewed(request, knowledge, plan)
    return request, Standing(knowledge, plan, journal), looked


def _go_on(request: Request, knowledge: Knowledge, ports: Ports) -> Request:
    """Return the request for what is left of an unfinished operation of the same command, if there is one."""
    options = request.options
    begun = knowledge.orders.unfinished(options.command) if options.command and not options.anew else None
    if begun is None:
        return request
    counts = ", ".join(f"{count} of {name}" for name, count in begun.counts.items())
    ports.progress.warn(
        f"`{begun.command}` of {begun.since:%Y-%m-%d %H:%M} UTC has not finished, and this goes on with it:"
        f" {counts} wanted; --new begins afresh"
    )
    return replace(request, demand=request.demand.go_on_with(begun, knowledge.world))


def _preview(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Preview in the engine, if a person or a policy reads it: the plugin enforces the plan anyway."""
    if request.options.apply and not request.options.approve and not request.packs:
        return standing
    journal = preview(request, standing.knowledge, standing.plan, standing.journal, ports)
    return replace(standing, journal=journal)


def _stop_before_acting(request: Request, standing: Standing, ports: Ports) -> Result | None:
    """Return the result of a run that ends before it acts: forbidden by a policy, a preview, or declined."""
    options, plan = request.options, standing.plan
    if forbidding(standing.journal):
        return result_of(request, standing, Outcome.REFUSED, ports)
    if not options.apply:
        warn_of_trouble(request, standing, ports)
        return result_of(request, standing, Outcome.UNCHANGED if plan.is_empty else Outcome.PLANNED, ports)
    if options.approve and plan.phases and not options.approve(plan):
        return replace(result_of(request, standing, Outcome.PLANNED, ports), declined=True)
    if options.announce and plan.phases and not options.approve:
        options.announce(plan)
    return None
