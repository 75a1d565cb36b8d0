"""The rounds of a run: apply a phase, confirm it, learn from it, plan again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from scaler.converge.apply import apply_phase
from scaler.converge.checks import check_counts, check_named
from scaler.converge.confirm import Confirmed, confirm, on_their_way
from scaler.converge.decide import TRIES, Next, Verdict, decide_next
from scaler.converge.demand import Request, ordered, stale
from scaler.converge.done import Done
from scaler.converge.establish import establish
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge, describe_placement
from scaler.converge.lessons import (
    address_refusal,
    addresses_held,
    addresses_refused,
    full_placements,
    learn,
    machines_held,
    passing_power_on,
    quota_refusal,
    refused_waves,
)
from scaler.converge.make_plan import check_sums, make_plan
from scaler.converge.observe import obey_others, observe_again, observe_patiently, prove_absences
from scaler.converge.ports import Ports
from scaler.converge.preview import preview_again
from scaler.converge.reboots import due_for_reboot, reboot_due
from scaler.converge.recognise import yield_to_backend
from scaler.converge.record import save
from scaler.converge.rolls import beside_of
from scaler.converge.service import put_right
from scaler.converge.standing import Standing
from scaler.errors import ScalerError, StalePlanError
from scaler.model import LEAVING, Action, Plan, Server, Spec
from scaler.model.lifecycle import DEAD
from scaler.planning.absence import is_meant
from scaler.planning.names import natural
from scaler.planning.recognition import check_missing, check_unclaimed
from scaler.support.values import dataclass

_ROUNDS = 12
"""Most rounds of one run: each makes progress, or learns something, or waits for another run's."""

_REPLACEMENTS = 2
"""How often one run replaces servers that hang or fail before it gives up."""


def resolve(request: Request, knowledge: Knowledge) -> Knowledge:
    """Know what the demand means for the servers that there are."""
    demand, world = request.demand, knowledge.world
    # What the run has recorded itself by now is not what was wanted before it.
    is_again = bool(knowledge.lasting) and knowledge.lasting == knowledge.orders.wanted
    before = knowledge.before if is_again else knowledge.orders.wanted
    wanted = demand.resolve(request.spec, world, before, beside_of(knowledge, before))
    if demand.counts is None:
        there = (server for server in world.servers.values() if server.counts or server.unhealthy)
        check_counts(request, wanted, Counter(server.group for server in there))
    if not request.options.patient:
        # A tick would begin to drain them again and again.
        failed = (name for name, server in world.servers.items() if server.drain_failed)
        knowledge = knowledge.advise(undrained=frozenset(failed))
    advice = replace(
        knowledge.advice, remove=demand.remove, renew=demand.renew, out_of_scope=demand.not_about(request.spec, world)
    )
    lasting = demand.lasting(wanted, world, knowledge.orders.wanted, again=is_again)
    orders = ordered(request, knowledge.orders, wanted, world)
    return replace(knowledge.want(wanted, lasting, **orders), before=before, advice=advice)


def identify(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Make the stack's id durable before a server carries it; plan again where another run was quicker."""
    if request.options.everything:
        # Whatever it does, it creates nothing.
        return standing
    before = standing.knowledge.identity
    knowledge = establish(standing.knowledge, standing.plan.steps, ports)
    standing = replace(standing, knowledge=knowledge)
    if before and knowledge.identity and knowledge.identity.id == before.id:
        return standing
    seen = observe_patiently(knowledge, ports, request.deadline)
    return _plan_again(request, replace(standing, knowledge=seen), ports)


@dataclass(frozen=True)
class Ended:
    """Where the rounds of a run ended."""

    standing: Standing
    late: tuple[str, ...] = ()
    """The servers that were still on their way when the time was up."""


def converge(request: Request, standing: Standing, ports: Ports) -> Ended:
    """Apply and confirm until there is nothing left to do, or nothing more to try.

    Once something was changed, whatever ends the rounds is a failure in the journal.
    """
    rounds = 0
    while rounds < _ROUNDS:
        if standing.journal.reports and request.limit.is_over:
            return Ended(standing, tuple(on_their_way(standing.world)))
        try:
            standing, verdict = _apply(request, standing, ports)
            rounds += verdict.next is not Next.WAIT
            if verdict.next is Next.END or (verdict.next in (Next.CONFIRM, Next.STOP) and not request.options.wait):
                return Ended(standing)
            standing, confirmed = _wait(request, standing, verdict, ports)
            if confirmed.error:
                raise confirmed.error
            if verdict.next is Next.STOP or confirmed.late:
                return Ended(standing, confirmed.late)
            standing = _note_undeleted(standing)
            if standing.journal.count("undeleted") > TRIES:
                return Ended(standing)
            standing = _plan_again(request, standing, ports)
        except ScalerError as error:
            if not standing.journal.reports:
                raise
            return Ended(replace(standing, journal=standing.journal.fail(error)))
        if not standing.plan.phases and not on_their_way(standing.world):
            return Ended(standing)
        if verdict.next is Next.CONFIRM and (dying := _dying(standing)):
            standing = replace(standing, journal=standing.journal.tally("replace"))
            if standing.journal.count("replace") > _REPLACEMENTS:
                hanging = _keeps_hanging(request.spec, standing.world.servers[dying[0]])
                return Ended(replace(standing, journal=standing.journal.fail(hanging)))
    return Ended(standing)


def _apply(request: Request, standing: Standing, ports: Ports) -> tuple[Standing, Verdict]:
    """Carry out the plan's first phase; what it taught, and how the run goes on."""
    plan = standing.plan
    if not plan.phases:
        return standing, Verdict(next=Next.CONFIRM)
    journal = preview_again(request, standing.knowledge, plan, standing.journal, ports)
    done = apply_phase(plan.phases[0], request, standing.knowledge, ports)
    journal = journal.report(done.reports).fail(*done.failures)
    if passing_power_on(done):
        journal = journal.tally("power_on")
    verdict = decide_next(
        _apart_from_waves(done, plan), journal, is_late=request.limit.is_over, is_patient=request.options.patient
    )
    if done.moved and request.options.reviewed:
        save(done.knowledge, ports)
        raise stale("servers came or went while it was applied", ())
    if done.error and not journal.reports:
        raise done.error
    knowledge = learn(done, plan, journal)
    _remember_shortages(done, ports)
    if verdict.trouble:
        journal = journal.tally(verdict.trouble)
    if verdict.failure:
        journal = journal.fail(verdict.failure)
    if verdict.note:
        ports.progress.note(verdict.note)
    if verdict.pause_s:
        ports.clock.sleep(request.limit.cut(verdict.pause_s))
    if done.moved:
        knowledge = yield_to_backend(obey_others(knowledge, ports), ports.place)
    return Standing(knowledge, plan, journal), verdict


def _apart_from_waves(done: Done, plan: Plan) -> Done:
    """Return what was done without the refusals that end a roll: the run goes on, and removes its wave."""
    ended = {name for group in refused_waves(done, plan) for name in plan.rolled[group]}
    return replace(done, refusals={name: error for name, error in done.refusals.items() if name not in ended})


def _remember_shortages(done: Done, ports: Ports) -> None:
    """Have the next runs know what this one met, and say it."""
    now = ports.clock.now()
    full = full_placements(done)
    for place, why in full.items():
        ports.progress.note(f"passing over {describe_placement(place)}: {why}")
    if full:
        ports.shortages.note_full(full, now)
    if quota_refusal(done):
        ports.shortages.note_quota(machines_held(done.knowledge), now)
    if address_refusal(done):
        ports.shortages.note_addresses(addresses_held(done.knowledge) + addresses_refused(done) - 1, now)


def _wait(request: Request, standing: Standing, verdict: Verdict, ports: Ports) -> tuple[Standing, Confirmed]:
    """Confirm what was done; where nothing was, only observe again."""
    if verdict.next in (Next.CONFIRM, Next.STOP):
        return confirm_round(request, standing, ports)
    seen = observe_patiently(standing.knowledge, ports, request.deadline)
    return replace(standing, knowledge=seen), Confirmed(seen)


def confirm_round(request: Request, standing: Standing, ports: Ports) -> tuple[Standing, Confirmed]:
    """Wait for what is on its way; reboot what is due for it, and label what is in service as it gets ready."""
    refused: list[Exception] = []
    steps = standing.journal.steps

    def look_and_do(knowledge: Knowledge) -> Knowledge:
        return do_what_is_due(observe_again(knowledge, ports))

    def do_what_is_due(knowledge: Knowledge) -> Knowledge:
        return put_right(reboot_what_is_due(knowledge), ports).knowledge

    def reboot_what_is_due(knowledge: Knowledge) -> Knowledge:
        if not due_for_reboot(knowledge.world):
            return knowledge
        knowledge, errors = reboot_due(knowledge, ports)
        refused.extend(errors)
        # Save at once: the run after a kill must not reboot a second time.
        save(knowledge, ports, steps)
        return knowledge

    ports.progress.phase("confirming")
    seen = do_what_is_due(observe_patiently(standing.knowledge, ports, request.deadline))
    confirmed = confirm(look_and_do, seen, clock=ports.clock, deadline=request.deadline, progress=ports.progress)
    journal = standing.journal.fail(*refused, *confirmed.knowledge.not_rebooted.values())
    knowledge = replace(confirmed.knowledge, not_rebooted={})
    return replace(standing, knowledge=knowledge, journal=journal), replace(confirmed, knowledge=knowledge)


def _note_undeleted(standing: Standing) -> Standing:
    """Count a round in which deletions failed, so that they are asked for again; say so when it was often enough."""
    failed = standing.knowledge.undeleted
    if not failed:
        return standing
    journal = standing.journal.tally("undeleted")
    if journal.count("undeleted") > TRIES:
        journal = journal.fail(*failed.values())
    return replace(standing, knowledge=replace(standing.knowledge, undeleted={}), journal=journal)


def _plan_again(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Plan for the world as it is now."""
    # A plan needs to know which machines are gone.
    knowledge, journal = standing.knowledge, standing.journal
    if request.options.patient:
        knowledge = prove_absences(knowledge, ports)
    _check_loss(request, knowledge, journal)
    if not request.options.claims.leave_others:
        check_unclaimed(request.spec, knowledge.world.unclaimed, knowledge.world.at)
    if knowledge.is_overruled and request.options.yields:
        raise StalePlanError(
            f"Somebody else asked for something of {request.spec.stack} meanwhile.",
            why="its wanted counts, its pause or its protection changed after this was decided",
            fix="Decide again; a watch does so by itself.",
        )
    if request.demand.as_wanted:
        knowledge = resolve(request, knowledge)
    elif not journal.reports:
        # Nothing was done, since others were quicker: what is relative is so to what they left.
        if knowledge.is_overruled:
            check_named(request, knowledge.world)
        knowledge = resolve(request, knowledge)
    elif knowledge.is_overruled:
        knowledge = knowledge.want(
            knowledge.wanted,
            knowledge.lasting,
            **ordered(request, knowledge.orders, knowledge.wanted, knowledge.world),
        )
    knowledge = replace(knowledge, is_overruled=False)
    plan, knowledge = make_plan(request, knowledge, journal, ports)
    check_sums(request, knowledge, plan, journal)
    return Standing(knowledge, plan, journal)


def _check_loss(request: Request, knowledge: Knowledge, journal: Journal) -> None:
    """Refuse to replace most of the stack's servers, when they went missing after the run began."""
    deleted = {step.id for step in journal.steps if step.action in LEAVING}
    deleted |= {server.id for server in knowledge.first.servers.values() if is_meant(server, knowledge.first.at)}
    there = {machine.id: name for name, machine in knowledge.first.machines.items() if machine.id not in deleted}
    missing = sorted((name for known, name in there.items() if known in knowledge.gone), key=natural)
    check_missing(request.spec, missing, len(there), is_proven=True, accept_loss=request.options.accept_loss)


def _dying(standing: Standing) -> list[str]:
    """Return the dead servers that the plan replaces."""
    servers = standing.world.servers
    deletes = (step.server for step in standing.plan.steps if step.action is Action.DELETE)
    return [name for name in deletes if servers[name].status in DEAD]


def _keeps_hanging(spec: Spec, server: Server) -> ScalerError:
    return ScalerError(
        f"Servers of {spec.stack} keep hanging; {_REPLACEMENTS} rounds of replacing them did not help.",
        why=f"{server.name}: {server.error}",
        fix="Check that the image boots, and groups.*.start_within.",
        code="keeps_hanging",
    )
