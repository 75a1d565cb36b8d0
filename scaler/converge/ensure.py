"""The run: observe → plan → preview → apply → confirm → record.

Every round carries out the first phase of a plan made from a fresh observation, confirms it, and
observes again. What a round leaves behind, planned or not, is what the next one starts from: the
same is true of a run that was killed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from scaler.clouds import AuthError
from scaler.converge.apply import apply_phase
from scaler.converge.checks import check_counts, check_named, require_reviewed
from scaler.converge.confirm import Confirmed, confirm, on_their_way, running
from scaler.converge.decide import Next, Verdict, decide_next
from scaler.converge.demand import Demand, Options, Request, stale
from scaler.converge.done import Done
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge
from scaler.converge.lessons import full_placements, learn, machines_held, passing_power_on, quota_refusal
from scaler.converge.make_plan import check, check_sums, make_plan, shortages
from scaler.converge.observe import (
    due_for_reboot,
    give_up_waiting,
    look,
    look_patiently,
    observe,
    prove_absences,
    read_stack,
    reboot_due,
    record,
    save,
)
from scaler.converge.ports import Ports
from scaler.converge.preview import forbidding, preview, preview_again
from scaler.converge.report import result_of
from scaler.converge.standing import Standing
from scaler.errors import ScalerError
from scaler.model import Action, Outcome, Result, Server, Spec, StepResult
from scaler.model.lifecycle import DEAD, Status
from scaler.planning.protection import protection_of

_ROUNDS = 12
"""Most rounds of one run: each makes progress, or learns something, or waits for another run's."""

_REPLACEMENTS = 2
"""How often one run replaces servers that hang or fail before it gives up."""


def ensure(spec: Spec, demand: Demand, options: Options, ports: Ports, seen: Knowledge | None = None) -> Result:
    """Make exactly the demanded servers exist, or say what is in the way.

    `seen` is what was observed a moment ago; None: observe. Raises RefusedError before anything is
    changed; a run that changed something returns a Result, also when it failed.
    """
    request = Request(spec=spec, demand=demand, options=options, started=ports.clock.monotonic())
    if not options.apply:
        return _run(request, seen, ports)
    return ports.records.log_run(lambda: _run(request, seen, ports))


def _run(request: Request, seen: Knowledge | None, ports: Ports) -> Result:
    options = request.options
    if request.demand.counts is not None:
        check_counts(request, request.demand.counts)
    knowledge = seen or observe(request.spec, ports, accept_loss=options.accept_loss)
    request = replace(request, demand=request.demand.name_orphans(knowledge.world))
    check_named(request, knowledge.world)
    knowledge = _resolve(request, knowledge)
    journal = Journal()
    plan, knowledge = make_plan(request, knowledge, journal, ports)
    check(request, knowledge, plan, journal)
    require_reviewed(request, knowledge, plan)
    if not plan.phases and knowledge.world.recorded and not on_their_way(knowledge.world):
        return _end_unchanged(request, Standing(knowledge, plan, journal), ports)
    if not options.apply or options.approve or request.packs:
        journal = preview(request, knowledge, plan, journal, ports)
    standing = Standing(knowledge, plan, journal)
    if forbidding(journal):
        return result_of(request, standing, Outcome.REFUSED, ports)
    if not options.apply:
        _warn_of_shortages(standing, ports)
        # Without a step there is nothing to do but wait, whatever is still to be recorded.
        is_planned = plan.phases or plan.short
        return result_of(request, standing, Outcome.PLANNED if is_planned else Outcome.UNCHANGED, ports)
    if options.approve and plan.phases and not options.approve(plan):
        return replace(result_of(request, standing, Outcome.PLANNED, ports), declined=True)
    if plan.phases:
        # Fail on a missing engine or backend before any intent is recorded.
        ports.stack.prepare()
    return _conclude(request, _converge(request, standing, ports), ports)


def _resolve(request: Request, knowledge: Knowledge) -> Knowledge:
    """Know what the demand means for the servers that there are."""
    demand, world = request.demand, knowledge.world
    wanted = demand.resolve(request.spec, world)
    if demand.counts is None:
        check_counts(request, wanted, Counter(server.group for server in world.servers.values() if server.counts))
    advice = replace(knowledge.advice, remove=demand.remove, renew=demand.renew, out_of_scope=demand.not_about(world))
    return replace(knowledge, wanted=wanted, advice=advice)


# ---------------------------------------------------------------------------------------------
# The rounds


@dataclass(frozen=True, slots=True)
class Ended:
    """Where the rounds of a run ended."""

    standing: Standing
    late: tuple[str, ...] = ()
    """The servers that were still on their way when the time was up."""


def _converge(request: Request, standing: Standing, ports: Ports) -> Ended:
    """Apply and confirm until there is nothing left to do, or nothing more to try.

    Once something was changed, whatever ends the rounds is a failure in the journal.
    """
    rounds = 0
    while rounds < _ROUNDS:
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
    verdict = decide_next(done, journal, is_late=ports.clock.monotonic() >= request.deadline)
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
        ports.clock.sleep(verdict.pause_s)
    if done.moved:
        knowledge = read_stack(knowledge, ports)
    return Standing(knowledge, plan, journal), verdict


def _remember_shortages(done: Done, ports: Ports) -> None:
    """Have the next runs know what this one met, and say it."""
    now = ports.clock.now()
    full = full_placements(done)
    for (kind, location), why in full.items():
        ports.progress.note(f"passing over {kind} in {location}: {why}")
    if full:
        ports.shortages.note_full(full, now)
    if quota_refusal(done):
        ports.shortages.note_quota(machines_held(done.knowledge), now)


def _wait(request: Request, standing: Standing, verdict: Verdict, ports: Ports) -> tuple[Standing, Confirmed]:
    """Confirm what was done; where nothing was, only observe again."""
    if verdict.next in (Next.CONFIRM, Next.STOP):
        return _confirm(request, standing, ports)
    seen = look_patiently(standing.knowledge, ports, request.deadline)
    return replace(standing, knowledge=seen), Confirmed(seen)


def _confirm(request: Request, standing: Standing, ports: Ports) -> tuple[Standing, Confirmed]:
    """Wait for what is on its way, and reboot what is due for it."""
    refused: list[Exception] = []
    steps = standing.journal.steps

    def look_and_reboot(knowledge: Knowledge) -> Knowledge:
        return reboot_what_is_due(look(knowledge, ports))

    def reboot_what_is_due(knowledge: Knowledge) -> Knowledge:
        if not due_for_reboot(knowledge.world):
            return knowledge
        knowledge, errors = reboot_due(knowledge, ports)
        refused.extend(errors)
        # Save at once: the run after a kill must not reboot a second time.
        save(knowledge, ports, steps)
        return knowledge

    ports.progress.phase("confirming")
    seen = reboot_what_is_due(look_patiently(standing.knowledge, ports, request.deadline))
    confirmed = confirm(look_and_reboot, seen, clock=ports.clock, deadline=request.deadline, progress=ports.progress)
    journal = standing.journal.fail(*refused)
    return replace(standing, knowledge=confirmed.knowledge, journal=journal), confirmed


def _plan_again(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Plan for the world as it is now."""
    # A plan needs to know which machines are gone.
    knowledge, journal = prove_absences(standing.knowledge, ports), standing.journal
    if not journal.reports:
        # Nothing was done, since others were quicker: what is relative is so to what they left.
        knowledge = _resolve(request, knowledge)
    plan, knowledge = make_plan(request, knowledge, journal, ports)
    check_sums(request, plan, journal)
    return Standing(knowledge, plan, journal)


def _dying(standing: Standing) -> list[str]:
    """The dead servers that the plan replaces."""
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


# ---------------------------------------------------------------------------------------------
# The end


def _end_unchanged(request: Request, standing: Standing, ports: Ports) -> Result:
    """End a run that has nothing to do: all is as wanted, or cannot be."""
    reached = _is_reached(standing)
    if reached:
        standing = replace(standing, knowledge=_forget_refusals(standing.knowledge))
    else:
        standing = _note_shortages(standing)
        _warn(request.spec, standing, ports)
    if request.options.apply:
        save(standing.knowledge, ports)
    return result_of(request, standing, Outcome.UNCHANGED if reached else Outcome.FAILED, ports)


def _conclude(request: Request, ended: Ended, ports: Ports) -> Result:
    """Record what is there, and judge what was reached."""
    standing = ended.standing
    standing = replace(standing, knowledge=give_up_waiting(standing.knowledge, ended.late, ports))
    standing = _record(standing, ports)
    if request.options.wait and not ended.late and not standing.failures and on_their_way(standing.world):
        # Rebooted just now, or listed as it was before the look that called it ready.
        standing = _confirm_anew(request, standing, ports)
    standing = _note_shortages(standing)
    reached = _is_reached(standing)
    if reached:
        standing = replace(standing, knowledge=_forget_refusals(standing.knowledge))
    standing = _save_or_note(standing, ports)
    if reached and not standing.failures:
        return result_of(request, standing, Outcome.CONVERGED, ports)
    _raise_if_only_refused(standing)
    _warn(request.spec, standing, ports)
    return result_of(request, standing, Outcome.FAILED if standing.failures else Outcome.UNCONFIRMED, ports)


def _confirm_anew(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Wait for what the record step saw on its way, and record it once more."""
    try:
        standing, confirmed = _confirm(request, standing, ports)
    except ScalerError as error:
        return replace(standing, journal=standing.journal.fail(error))
    if confirmed.error:
        return replace(standing, journal=standing.journal.fail(confirmed.error))
    return _record(replace(standing, knowledge=give_up_waiting(standing.knowledge, confirmed.late, ports)), ports)


def _record(standing: Standing, ports: Ports) -> Standing:
    """Save what is there in the stack; if the engine cannot, the state file at least says it."""
    try:
        return replace(standing, knowledge=record(standing.knowledge, ports))
    except ScalerError as error:
        return replace(standing, journal=standing.journal.fail(error))


def _save_or_note(standing: Standing, ports: Ports) -> Standing:
    """Save the records; when that fails after something was changed, the result must still tell of it."""
    try:
        save(standing.knowledge, ports, standing.journal.steps)
    except ScalerError as error:
        if not standing.journal.reports:
            raise
        return replace(standing, journal=standing.journal.fail(error))
    return standing


def _note_shortages(standing: Standing) -> Standing:
    """What is missing because there was no capacity is a failure of the run, whatever else was done."""
    if standing.knowledge.advice.withheld:
        return standing
    return replace(standing, journal=standing.journal.fail(*shortages(standing.plan, standing.knowledge)))


def _warn_of_shortages(standing: Standing, ports: Ports) -> None:
    for error in shortages(standing.plan, standing.knowledge):
        ports.progress.warn(str(error))


def _raise_if_only_refused(standing: Standing) -> None:
    """If no step was done and one failed with `AuthError`, raise it (exit 77)."""
    if any(report.result is StepResult.DONE for report in standing.journal.reports):
        return
    for failure in standing.failures:
        if isinstance(failure, AuthError):
            raise failure


def _warn(spec: Spec, standing: Standing, ports: Ports) -> None:
    """Warn of what went wrong, and of servers that are not as they should be and may not be touched."""
    for failure in standing.failures:
        ports.progress.warn(str(failure))
    for server in standing.world.servers.values():
        if not server.counts and protection_of(spec, standing.world, server):
            ports.progress.warn(f"{server.name} is {server.status} and protected: nothing was done about it")


def _is_reached(standing: Standing) -> bool:
    """Whether exactly the wanted servers exist, every one is ready, and none lacks a place for its successor.

    Beside them there may be servers that are off, for as long as they are paid for.
    """
    knowledge, plan = standing.knowledge, standing.plan
    ready = running(knowledge.world, knowledge.wanted)
    left_alone = {name for name, server in knowledge.world.servers.items() if server.set_aside}
    left_alone |= knowledge.advice.out_of_scope | plan.paid_until.keys()
    concerned = knowledge.world.servers.keys() - left_alone
    exact = all(ready[group] == count for group, count in knowledge.wanted.items())
    return exact and len(concerned) == sum(ready.values()) and not plan.short


def _forget_refusals(knowledge: Knowledge) -> Knowledge:
    """Forget what was refused on the way: it is history once the wanted count is there."""
    records = {name: server for name, server in knowledge.records.items() if not _is_refused(server)}
    return replace(knowledge, records=records)


def _is_refused(server: Server) -> bool:
    return server.status is Status.ERRORED and server.id is None
