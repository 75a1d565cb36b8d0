"""Take servers out of service, one step per run: drain, shut down, power off.

A run looks first at what became of drains that began before (`look_at_drains`), plans with that, and
then does what follows (`carry_out`). It begins new ones in the phase that removes their servers (`begin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from datetime import datetime

from scaler.clouds import AmbiguousError, BusyError, CloudError, GoneError, RateLimitedError, TransientError
from scaler.converge.done import Done
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.converge.record import save
from scaler.converge.service import take_off
from scaler.errors import ScalerError
from scaler.model import (
    IN_SERVICE,
    Action,
    Drain,
    DrainStage,
    DrainState,
    Plan,
    PlanPhase,
    Server,
    Step,
    StepReport,
    StepResult,
    StopPolicy,
)
from scaler.model.lifecycle import Phase, Status
from scaler.planning.drains import PROTECTED, Act, Move, after_label, first_stage, gone, next_move, refused, stop_policy
from scaler.planning.names import natural
from scaler.planning.protection import is_protected_at_cloud, is_protected_in_stack, protection_of
from scaler.planning.service import label_of
from scaler.support.values import dataclass

_AT_ONCE = 10
"""How many requests to stop servers are under way at a time."""

_RETRYABLE = (BusyError, RateLimitedError, TransientError)
"""Errors that mean the cloud did nothing: the next look sends the same request again."""


@dataclass(frozen=True)
class Looked:
    """What became of the drains that began before."""

    knowledge: Knowledge
    acts: Mapping[str, Act] = field(default_factory=dict)
    """What follows for servers, by name."""
    reports: tuple[StepReport, ...] = ()
    failures: tuple[ScalerError, ...] = ()


def draining(knowledge: Knowledge) -> dict[str, Server]:
    """Return the servers on their way out of service, but for those that are being deleted."""
    servers = knowledge.world.servers
    names = sorted((name for name, server in servers.items() if server.drain), key=natural)
    return {name: servers[name] for name in names if servers[name].status is not Status.DELETING}


def has_news(knowledge: Knowledge, ports: Ports) -> bool:
    """Return whether a run would do something for a draining server."""
    moves = _moves(knowledge, ports, everything=False).items()
    servers = knowledge.world.servers
    return any(
        move.act is not Act.WAIT or move.drain != servers[name].drain or move.drain.stage is DrainStage.ENDED
        for name, move in moves
    )


def look_at_drains(knowledge: Knowledge, ports: Ports, *, everything: bool = False) -> Looked:
    """Know what follows for each draining server; nothing is done and nothing saved yet.

    `everything`: all servers are to go, those that scaler protects, too.
    """
    looked = Looked(knowledge)
    for name, move in _moves(knowledge, ports, everything=everything).items():
        server = knowledge.world.servers[name]
        _warn(server, move.drain, ports)
        if move.act is Act.KEEP and PROTECTED in move.drain.notes and _was_drained(server):
            ports.progress.warn(f"{name} stays as its drain left it: nothing puts it back to work")
        looked = _take(looked, server, move, everything=everything)
    return looked


def _was_drained(server: Server) -> bool:
    return server.drain is not None and server.drain.stage is DrainStage.DRAINING


def _moves(knowledge: Knowledge, ports: Ports, *, everything: bool) -> dict[str, Move]:
    now = _now(ports)
    world = knowledge.world
    servers = draining(knowledge)
    policies = {name: policy_of(server, server.drain, knowledge) for name, server in servers.items() if server.drain}
    ports.drains.look([(servers[name], policy) for name, policy in policies.items()])
    return {
        name: next_move(
            server.drain,
            policies[name],
            ports.drains.find(server, policies[name]),
            world.machines[name].phase,
            now,
            is_protected=_is_protected(knowledge, server, everything=everything),
            may_return=not everything and name not in knowledge.advice.not_resumed,
        )
        for name, server in servers.items()
        if server.drain
    }


def _is_protected(knowledge: Knowledge, server: Server, *, everything: bool) -> bool:
    if everything:
        return is_protected_at_cloud(knowledge.world, server.name) or is_protected_in_stack(
            knowledge.world, server.name
        )
    return protection_of(knowledge.spec, knowledge.world, server) is not None


def policy_of(server: Server, drain: Drain, knowledge: Knowledge) -> StopPolicy:
    """Return how a server is stopped, by the spec as it is now."""
    return stop_policy(knowledge.spec.groups.get(server.group), drain.then)


def _take(looked: Looked, server: Server, move: Move, *, everything: bool) -> Looked:
    """Enter one server's move."""
    drain = move.drain
    if move.act is Act.KEEP:
        is_replaced = not everything and _has_another(looked, server, drain)
        return _kept(looked, server, drain, is_replaced=is_replaced)
    if move.act is Act.REST:
        resting = replace(server.become(Status.STOPPED, looked.knowledge.world.at), drain=None)
        return _amended(looked, resting, StepReport(_step(server, drain), StepResult.DONE))
    failed: tuple[StepReport, ...] = ()
    if server.drain and server.drain.then != drain.then:
        failed = (StepReport(_step(server, server.drain), StepResult.FAILED, "; ".join(drain.notes) or None),)
    looked = _amended(looked, replace(server, drain=drain), *failed)
    if move.act in (Act.WAIT, Act.TAKE_BACK):
        return looked
    return replace(looked, acts={**looked.acts, server.name: move.act})


def _has_another(looked: Looked, server: Server, drain: Drain) -> bool:
    """Return whether another server may go in place of one that was protected meanwhile, and was not named."""
    if PROTECTED not in drain.notes or drain.for_good:
        return False
    knowledge = looked.knowledge
    others = [
        other
        for other in knowledge.world.servers.values()
        if other.group == server.group
        and other.counts
        and other.name not in knowledge.advice.undrained
        and not protection_of(knowledge.spec, knowledge.world, other)
    ]
    kept = [
        report for report in looked.reports if report.step.group == server.group and PROTECTED in (report.error or "")
    ]
    return len(others) > len(kept)


def _kept(looked: Looked, server: Server, drain: Drain, *, is_replaced: bool) -> Looked:
    """Let a server serve on, which the run had chosen: it cannot reach its count then, unless another goes."""
    why = "; ".join(drain.notes)
    cause, code = (PROTECTED, "protected") if PROTECTED in drain.notes else ("its drain failed", "drain_failed")
    fix = (
        f"`scaler remove {server.name}` drains it again."
        if code == "drain_failed"
        else "`scaler unprotect` lets it go."
    )
    error = ScalerError(f"{server.name} was kept, because {cause}.", why=why, fix=fix, code=code)
    machine = looked.knowledge.world.machines[server.name]
    status = Status.STOPPED if machine.phase is Phase.OFF else Status.RUNNING
    failed = None if PROTECTED in drain.notes else why
    back = replace(server.become(status, looked.knowledge.world.at), drain=None, drain_failed=failed)
    looked = _amended(looked, back, StepReport(_step(server, drain), StepResult.FAILED, why or None))
    if is_replaced:
        return looked
    learned = looked.knowledge.advise(undrained=frozenset({server.name}))
    return replace(looked, knowledge=learned, failures=(*looked.failures, error))


def _warn(server: Server, drain: Drain, ports: Ports) -> None:
    """Warn of what went wrong since the server's last record."""
    known = len(server.drain.notes) if server.drain else 0
    for note in drain.notes[known:]:
        ports.progress.warn(f"{server.name}: {note}")


def _amended(looked: Looked, server: Server, *reports: StepReport) -> Looked:
    return replace(looked, knowledge=looked.knowledge.amend(server), reports=(*looked.reports, *reports))


def _step(server: Server, drain: Drain) -> Step:
    """Return the step by which a server's way out of service began."""
    return Step(
        action=Action.POWER_OFF if drain.then == "power_off" else Action.DELETE,
        server=server.name,
        group=server.group,
        reason=drain.reason,
        id=server.id,
        type=server.type,
        location=server.location,
    )


# ---------------------------------------------------------------------------------------------
# Doing what follows


def apart_from_resumed(acts: Mapping[str, Act], plan: Plan) -> dict[str, Act]:
    """Return what follows for servers, but for those that the plan takes back."""
    resumed = {step.server for step in plan.steps if step.action is Action.RESUME}
    return {name: act for name, act in acts.items() if name not in resumed}


def carry_out(knowledge: Knowledge, acts: Mapping[str, Act], ports: Ports) -> Knowledge:
    """Do what follows for servers, and save what came of it."""
    acts = {name: act for name, act in acts.items() if name in knowledge.records}
    if not acts:
        return knowledge
    knowledge, acts = _take_off(knowledge, acts, ports)
    knowledge = _start(knowledge, [name for name, act in acts.items() if act is Act.START_DRAIN], ports)
    requests = {Act.SHUT_DOWN: ports.cloud.shutdown, Act.POWER_OFF: ports.cloud.power_off}
    asked = {name: requests[act] for name, act in acts.items() if act in requests}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = pool.map(lambda name: _answer(asked[name], knowledge.records[name]), asked)
        for name, answer in zip(asked, list(answers), strict=True):
            server = knowledge.records[name]
            if server.drain:
                drain = _after_request(server.drain, answer, _now(ports))
                _warn(server, drain, ports)
                knowledge = knowledge.amend(replace(server, drain=drain))
    save(knowledge, ports)
    return knowledge


def _take_off(knowledge: Knowledge, acts: Mapping[str, Act], ports: Ports) -> tuple[Knowledge, Mapping[str, Act]]:
    """Take the `in_service` label off where that comes first; what follows for those that are surely without it."""
    labelled = [name for name, act in acts.items() if act is Act.TAKE_OFF]
    acts = {name: act for name, act in acts.items() if act is not Act.TAKE_OFF}
    if not labelled:
        return knowledge, acts
    switched = take_off(knowledge, labelled, ports)
    knowledge, begun = switched.knowledge, []
    for name in labelled:
        server = knowledge.records[name]
        if name in switched.refused or server.drain is None:
            ports.progress.warn(f"{name} stays in service for now: {switched.refused.get(name)}")
            continue
        policy = policy_of(server, server.drain, knowledge)
        move = after_label(server.drain, policy, knowledge.world.machines[name].phase, _now(ports))
        begun.append(replace(server, drain=move.drain))
        acts[name] = move.act
    # As in `begin`: their files first, where another machine's run began this.
    ports.drains.announce([server for server in begun if _runs_here(server, knowledge)])
    for server in begun:
        knowledge = knowledge.amend(server)
    save(knowledge, ports)
    return knowledge, acts


def forget_ended(knowledge: Knowledge, ports: Ports) -> None:
    """End and forget the drains of servers that drain no more, once that is saved: their results are needed before."""
    ports.drains.keep_only({server.id for server in draining(knowledge).values() if server.id})


def _start(knowledge: Knowledge, names: Iterable[str], ports: Ports) -> Knowledge:
    """Start drains; with `drained`, the command that begins one must have ended with 0, now or at a later tick."""
    starting = [
        (server, policy_of(server, server.drain, knowledge))
        for server in map(knowledge.records.__getitem__, names)
        if server.drain
    ]
    if not starting:
        return knowledge
    found = ports.drains.start(starting)
    for server, _ in starting:
        begun = found.get(server.name)
        if begun and begun.state is DrainState.FAILED:
            ports.progress.warn(f"{server.name}: the drain command {begun.why}; it is tried again")
        elif begun and server.drain:
            knowledge = knowledge.amend(replace(server, drain=replace(server.drain, asked=True)))
    return knowledge


def _answer(request: Callable[[str], None], server: Server) -> CloudError | None:
    try:
        request(server.id or "")
    except CloudError as error:
        return error
    return None


def _after_request(drain: Drain, answer: CloudError | None, now: datetime) -> Drain:
    """Return the record after a stage's request was sent, and answered like this."""
    if isinstance(answer, GoneError):
        return gone(drain)
    if isinstance(answer, _RETRYABLE):
        return drain
    if answer is None or isinstance(answer, AmbiguousError):
        # The cloud may have accepted it: wait for the stage's time-out.
        return replace(drain, asked=True)
    return refused(drain, str(answer), now)


# ---------------------------------------------------------------------------------------------
# Beginning


def split(phase: PlanPhase, knowledge: Knowledge) -> tuple[PlanPhase, dict[str, Step]]:
    """Return what can be done at once, and the steps whose servers must stop first."""
    stopping = {step.server: step for step in phase.steps if _must_stop(step, knowledge)}
    at_once = tuple(step for step in phase.steps if step.server not in stopping)
    # Those that stop first stay declared.
    return PlanPhase(steps=at_once, declared=tuple(sorted({*phase.declared, *stopping}, key=natural))), stopping


def begin(
    phase: PlanPhase, stopping: Mapping[str, Step], knowledge: Knowledge, ports: Ports, *, everything: bool
) -> Done:
    """Begin to take these servers out of service; each is reported as pending. `everything`: all are to go."""
    now = _now(ports)
    leaving = [_begun(step, knowledge.world.servers[name], knowledge, now) for name, step in stopping.items()]
    # The drains' files first, then the records: a run killed in between or right after leaves a drain to start.
    ports.drains.announce([server for server in leaving if _runs_here(server, knowledge)])
    for server in leaving:
        knowledge = knowledge.amend(server)
        ports.progress.server(server.name, Status.STOPPING, stopping[server.name].reason)
    save(knowledge, ports, phase.steps)
    looked = look_at_drains(knowledge, ports, everything=everything)
    return Done(
        knowledge=carry_out(looked.knowledge, looked.acts, ports),
        reports=(*(StepReport(step, StepResult.PENDING) for step in stopping.values()), *looked.reports),
        failures=looked.failures,
    )


def _begun(step: Step, server: Server, knowledge: Knowledge, now: datetime) -> Server:
    """Return a server's record with which its way out of service begins."""
    advice = knowledge.advice
    drain = Drain(
        since=now,
        until=now,
        then="power_off" if step.action is Action.POWER_OFF else "delete",
        for_good=server.unhealthy or server.name in advice.remove | advice.renew,
        reason=step.reason,
    )
    is_labelled = label_of(knowledge.spec, server) is not None
    drain = first_stage(drain, policy_of(server, drain, knowledge), now, is_labelled=is_labelled)
    return replace(server.become(Status.STOPPING, knowledge.world.at), drain=drain, drain_failed=None)


def _runs_here(server: Server, knowledge: Knowledge) -> bool:
    """Return whether a server's drain is a process of this machine."""
    drain = server.drain
    return drain is not None and drain.stage is DrainStage.DRAINING and not policy_of(server, drain, knowledge).drained


def _must_stop(step: Step, knowledge: Knowledge) -> bool:
    """Return whether a server is to be powered off, or serves, or may, and its group says how it stops."""
    if step.action is not Action.DELETE:
        return step.action is Action.POWER_OFF
    server = knowledge.world.servers[step.server]
    is_serving = server.status in (*IN_SERVICE, Status.REBOOTING) and server.drain is None
    is_sent_work = label_of(knowledge.spec, server) is not None
    return is_serving and (is_sent_work or stop_policy(knowledge.spec.groups.get(server.group), "delete").needed)


def _now(ports: Ports) -> datetime:
    """Return the time in whole seconds, as in the records."""
    return ports.clock.now().replace(microsecond=0)
