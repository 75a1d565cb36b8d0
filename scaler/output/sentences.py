"""The sentences that the text and the Markdown of a result have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from scaler.model import Action, Cost, DrainStage, Held, Outcome, RateWait, Result, Server, StepReport, StepResult
from scaler.model.identity import Identity
from scaler.model.lifecycle import Status
from scaler.model.orders import Orders
from scaler.model.roll import Roll, RollState
from scaler.model.schedule import RollSchedule
from scaler.output.folding import by_reason, names_or_ranges
from scaler.output.words import format_count, format_elapsed
from scaler.planning.names import in_order
from scaler.planning.prices import recorded_cost
from scaler.records.state import State

SIGNS = {
    Action.CREATE: "+",
    Action.ADOPT: "~",
    Action.POWER_ON: "~",
    Action.POWER_OFF: "~",
    Action.UPDATE: "~",
    Action.REBOOT: "~",
    Action.REPLACE: "~",
    Action.RESUME: "~",
    Action.DELETE: "-",
    Action.FORGET: "-",
}
"""What a step does to the number of servers: `+` adds one, `-` removes one, `~` changes one."""


def headline(result: Result) -> str:
    """Return the result in one sentence, in the past tense."""
    ready = sum(report.ready for report in result.groups.values())
    wanted = sum(report.wanted for report in result.groups.values())
    numbers = f"{ready} of {wanted} ready ({_changes(result)}) in {format_elapsed(result.elapsed)}"
    match result.outcome:
        case Outcome.UNCHANGED:
            if ready < wanted or result.baking:
                return f"{result.stack}: {ready} of {wanted} ready. Nothing to do but wait."
            if not result.groups:
                return f"{result.stack}: nothing to do."
            return f"{result.stack} already has {format_count(ready, 'ready server')}. Nothing to do."
        case Outcome.UNCONFIRMED:
            return f"{result.stack}: {numbers}. Not confirmed: {_unconfirmed(result)}."
        case Outcome.FAILED:
            return f"{result.stack}: failed with {numbers}."
        case Outcome.REFUSED:
            return f"{result.stack}: refused; nothing was changed."
        case Outcome.PLANNED:
            return plan_summary(result)
        case Outcome.CONVERGED:
            return f"{result.stack}: {numbers}."


def _changes(result: Result) -> str:
    """Return the steps that were done, such as `+2, -0`; `~` only if there is one."""
    signs = _count_signs(report for report in result.steps if report.result == StepResult.DONE)
    return ", ".join(f"{sign}{signs[sign]}" for sign in "+~-" if sign != "~" or signs[sign])


def _unconfirmed(result: Result) -> str:
    late = {
        server.name: drain_words(server) or str(server.status)
        for server in result.servers
        if server.status not in (Status.RUNNING, Status.DELETED)
    }
    waiting = [f"{names} {words}" for names, words in by_reason(late).items()]
    waiting += [f"the health of {group}" for group in result.unchecked]
    waiting += [
        f"the new servers of {group} bake until {until:%H:%M:%S} UTC"
        for group, until in result.baking.items()
        if group not in result.unchecked
    ]
    return ", ".join(waiting) or "no server was observed"


def drain_words(server: Server) -> str | None:
    """Return how far a server is on its way out of service, such as `draining until 22:10 UTC`; None if it is not."""
    if server.drain is None and server.drain_failed:
        return f"kept, since its drain failed ({server.drain_failed}); ensure or stop tries again"
    if server.drain is None or server.status is Status.DELETING:
        return None
    if server.drain.stage is DrainStage.UNLABELLING:
        return "its in_service label is taken off"
    stage = server.drain.stage.replace("_", " ")
    return "drained" if server.drain.stage is DrainStage.ENDED else f"{stage} until {server.drain.until:%H:%M} UTC"


def service_word(server: Server) -> str:
    """Return whether a server carries its group's `in_service` label; `-` where its group has none."""
    return "-" if server.in_service is None else "yes" if server.in_service else "no"


def protection_word(server: Server, named: Collection[str]) -> str:
    """Return what keeps a server from being removed; empty if nothing does. `named` are those of the spec."""
    ours = server.protected or server.name in named
    return " and ".join(word for word, is_on in (("yes", ours), ("at the cloud", server.delete_protection)) if is_on)


def plan_summary(result: Result) -> str:
    """Return how many servers the steps add, change and remove."""
    signs = _count_signs(result.steps)
    return f"Plan: {signs['+']} to add, {signs['~']} to change, {signs['-']} to remove."


def _count_signs(reports: Iterable[StepReport]) -> Counter[str]:
    return Counter(SIGNS[report.step.action] for report in reports)


def action_words(action: Action) -> str:
    """Return an action's name as words, such as `power on`."""
    return action.value.replace("_", " ")


def remarks(result: Result) -> list[str]:
    """Return a sentence for each renamed group, and each server that drifted, is outdated, held, or off and paid."""
    drift = [f"drift: {sentence}" for sentence in result.drift]
    outdated = [f"outdated: {names} ({why})" for names, why in by_reason(result.outdated).items()]
    kept = [
        f"kept: {names}, off and paid for until {until:%H:%M} UTC" for names, until in by_reason(result.kept).items()
    ]
    renamed = [
        f"renamed: {old} is not in the spec any more, and {new} looks like its new name;"
        f" the servers of {old} are replaced by new ones"
        for old, new in result.renamed.items()
    ]
    rolls = [sentence for schedule in result.schedules for sentence in schedule_words(schedule)]
    rate_wait = [rate_wait_words(result.rate_wait)] if result.rate_wait else []
    return drift + health_remarks(result.unchecked, result.held) + renamed + outdated + rolls + kept + rate_wait


def rate_wait_words(rate_wait: RateWait) -> str:
    """Return how long the cloud's rate limit holds a plan up."""
    return (
        f"rate limit: this needs about {rate_wait.requests} requests, and the account's limit lets them through in "
        f"{format_elapsed(rate_wait.wait)} at the earliest"
    )


def health_remarks(unchecked: Mapping[str, str], held: Mapping[str, Held]) -> list[str]:
    """Return a sentence for each group whose servers cannot be checked, or are unhealthy and stay for now."""
    return [
        *(f"not checked: {group}: {why}" for group, why in unchecked.items()),
        *(
            f"held: {names_or_ranges(each.servers)} of {group}, unhealthy and not replaced now: {each.why}"
            for group, each in held.items()
        ),
    ]


def cost_planned(cost: Cost) -> str:
    """Return what a plan costs, in one line."""
    delta = cost.per_hour_after - cost.per_hour_before
    return (
        f"Cost: {cost.currency} {delta:+.4f}/h, then {cost.currency} {cost.per_hour_after:.4f}/h, "
        f"and at most {cost.currency} {cost.per_month_after:.2f}/month (now {cost.per_month_before:.2f}); "
        "list prices, net."
    )


def cost_recorded(servers: Iterable[Server]) -> list[str]:
    """Return what the recorded servers cost, in one line; no line if there is nothing to pay."""
    cost = recorded_cost(servers)
    if not cost.known:
        return [f"Cost: not known for {format_count(cost.unknown, 'server')}."] if cost.unknown else []
    unknown = f" Not known for {format_count(cost.unknown, 'more server')}." if cost.unknown else ""
    return [
        f"Cost: {format_count(cost.known, 'server')}, {cost.currency} {cost.per_hour:.4f}/h, "
        f"and at most {cost.currency} {cost.per_month:.2f}/month; list prices, net.{unknown}"
    ]


def schedule_words(schedule: RollSchedule) -> list[str]:
    """Return the schedule of a roll, one sentence each for its waves, its time and its cost."""
    name = schedule.group
    if not schedule.waves:
        return [f"roll of {name}: no wave begins: {schedule.held}"] if schedule.held else []
    sizes = [wave.size for wave in schedule.waves]
    runs = [(size, len(list(same))) for size, same in groupby(sizes)]
    shown = ", then ".join(f"{size}" if times == 1 else f"{times} times {size}" for size, times in runs)
    lines = [
        f"roll of {name}: {format_count(schedule.outdated, 'server')} in {format_count(len(sizes), 'wave')} ({shown});"
        f" at most {schedule.most} servers at once, and never fewer than {schedule.fewest} of {name} in service"
    ]
    if schedule.limited:
        lines.append(f"roll of {name}: no larger surge, since {schedule.limited}")
    if schedule.held:
        lines.append(f"roll of {name}: no wave begins now: {schedule.held}")
    removal = (
        "how long a removal takes is not known yet"
        if schedule.removal is None
        else (f"removal {format_elapsed(schedule.removal)}")
    )
    if schedule.takes is None or schedule.boot is None:
        lines.append(f"roll of {name}: how long it takes is not known before a server of it has booted")
    else:
        lines.append(
            f"roll of {name}: about {format_elapsed(schedule.takes)}; each wave boot {format_elapsed(schedule.boot)},"
            f" bake {format_elapsed(schedule.bake)}, {removal}"
        )
    if cost := schedule.cost:
        extra = "not known" if cost.extra is None else f"at most {cost.currency} {cost.extra:.2f}"
        lines.append(
            f"roll of {name}: {extra} for the servers beside the others; a month then costs"
            f" {cost.currency} {cost.per_month_after:.2f} (now {cost.per_month_before:.2f}); list prices, net"
        )
        lines += [
            f"roll of {name}: a new {each.type} in {each.location} costs {cost.currency} {each.per_month_after:.2f} a"
            f" month, and {format_count(each.servers, 'server')} of now {each.per_month_before:.2f} each"
            for each in cost.repriced
        ]
    return lines


def roll_words(group: str, roll: Roll) -> str | None:
    """Return how far a group's roll is, or why it is not begun again; None if it is done."""
    if roll.is_rolling:
        what = "being rolled back" if roll.undoes else "being rolled"
        held = f"; no wave begins: {roll.held}" if roll.held else ""
        return f"{group} is {what}: wave {roll.waves}, {format_count(len(roll.accepted), 'new server')} so far{held}"
    if roll.state is RollState.DONE:
        return None
    why = f" ({roll.error})" if roll.error else ""
    return (
        f"the roll of {group} was {'stopped' if roll.state is RollState.FAILED else 'abandoned'} at wave"
        f" {roll.waves}{why}: it begins again when the spec or its image changes, or with `scaler roll --group {group}`"
    )


def order_words(orders: Orders, now: datetime) -> list[str]:
    """Return a sentence for the pause of autoscaling, each roll that is not done, and each unfinished command."""
    pause = orders.active_pause(now)
    rolls = (roll_words(name, roll) for name, roll in orders.rolls.items())
    return [
        *([str(pause)] if pause else []),
        *(words for words in rolls if words),
        *(f"`{each.command}` has not finished: repeat it to go on with it" for each in orders.operations),
    ]


def server_remarks(servers: Iterable[Server]) -> list[str]:
    """Return a sentence for each server that is outdated or on its way out of service."""
    known = list(servers)
    outdated = [f"{server.name} is outdated: {server.outdated}" for server in known if server.outdated]
    return outdated + [f"{server.name}: {words}" for server in known if (words := drain_words(server))]


def identity_words(identity: Identity) -> str:
    """Return what a stack is and where its servers were recorded, in one line."""
    where = f"{identity.cloud} at {identity.endpoint}" if identity.endpoint else identity.cloud
    account = f" · account {identity.account}" if identity.account else ""
    return f"id {identity.id or 'not given yet'} · project {identity.project} · {where}{account}"


def lost_stack_words(name: str, state: State) -> str:
    """Return that a stack has servers and no spec, in one line."""
    count = format_count(sum(1 for server in state.servers if server.id and not server.finished), "server")
    return f"{name} has {count} in its records and no spec stacks/{name}.yaml"


def count_ready(servers: Sequence[Server]) -> int:
    """Return how many servers are ready."""
    return sum(server.running for server in servers)


def without_deleted(servers: Iterable[Server]) -> list[Server]:
    """Return servers in natural order without the records of deleted ones, which only the documents show."""
    return [server for server in in_order(servers) if server.status != Status.DELETED]
