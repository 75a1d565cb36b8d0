"""What health checks mean: who is unhealthy, who is replaced now, and who is held back. Pure.

A check can be wrong about all servers. So no more than `at_most` of a group are replaced within an hour, only one where
none of them passes, and none where nothing can be reached from here. One that is held back keeps its place; whoever
may go does so when its successor is ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.model import (
    IN_SERVICE,
    CheckReport,
    CheckResult,
    Group,
    Health,
    HealthPolicy,
    Held,
    Readiness,
    Replacement,
    Server,
    Spec,
    World,
)
from scaler.model.lifecycle import Phase, Status
from scaler.planning.names import natural
from scaler.support.values import dataclass

REMEMBERED = timedelta(hours=1)
"""For so long a replacement counts towards `at_most`."""

UNCHECKED = "none of its servers can be checked from here: the network or this machine may be the trouble"

_MAY_BE_WRONG = "the check, the network or this machine may be wrong"


# ---------------------------------------------------------------------------------------------
# Checking


def due(spec: Spec, world: World) -> list[tuple[Readiness, Server]]:
    """Return the servers to check now, each with how: all of a group in service as soon as one of them is due."""
    asked: list[tuple[Readiness, Server]] = []
    for group in spec.groups.values():
        if group.healthy is None:
            continue
        members = _in_service(group.name, world)
        if any(_is_due(group.healthy, server, world.at) for server in members):
            asked += [(group.healthy.check, server) for server in members]
    return asked


def judge(spec: Spec, world: World, reports: Mapping[str, CheckReport]) -> tuple[dict[str, Server], dict[str, str]]:
    """Return the records of the servers about which their checks tell something, and the groups that tell nothing.

    The groups each with why: if nothing comes back from any server of a group, the trouble is this machine's.
    """
    judged: dict[str, Server] = {}
    unchecked: dict[str, str] = {}
    for group in spec.groups.values():
        members = [server for server in _in_service(group.name, world) if server.name in reports]
        if group.healthy is None or not members:
            continue
        if all(reports[server.name].result is CheckResult.NO_ANSWER for server in members):
            unchecked[group.name] = f"{UNCHECKED} ({reports[members[0].name].problem})"
            continue
        for server in members:
            if _is_due(group.healthy, server, world.at):
                judged[server.name] = _judged(group.healthy, server, reports[server.name], world.at)
    return judged, unchecked


def _in_service(group: str, world: World) -> list[Server]:
    """Return the servers of a group that were ready once, and neither drain nor are changed by somebody else."""
    return [
        server
        for name, server in sorted(world.servers.items(), key=lambda item: natural(item[0]))
        if server.group == group
        and server.status in IN_SERVICE
        and server.drain is None
        and not server.set_aside
        and world.machines[name].seen
        and world.machines[name].phase is Phase.RUNNING
    ]


def _is_due(policy: HealthPolicy, server: Server, now: datetime) -> bool:
    return server.health is None or now - server.health.checked >= policy.every


def _judged(policy: HealthPolicy, server: Server, report: CheckReport, now: datetime) -> Server:
    if report.result is CheckResult.PASSED:
        return replace(server.become(Status.RUNNING, now), health=Health(checked=now))
    # Counted no further than it matters: each change is saved for other machines too.
    failures = min((server.health.failures if server.health else 0) + 1, policy.failures)
    health = Health(checked=now, failures=failures, problem=report.problem)
    if failures < policy.failures or server.status is Status.UNHEALTHY:
        return replace(server, health=health)
    error = f"{report.problem} ({failures} checks in a row failed)" if failures > 1 else report.problem
    return replace(server.become(Status.UNHEALTHY, now, error), health=health)


def doubtful(spec: Spec, world: World) -> frozenset[str]:
    """Return the unhealthy servers beyond `at_most` of their group: about so many at once, the check may be wrong.

    The longest unhealthy are not among them.
    """
    found: set[str] = set()
    for group in spec.groups.values():
        members = _in_service(group.name, world)
        if group.healthy is None:
            continue
        unhealthy = sorted((server for server in members if server.unhealthy), key=lambda server: server.since)
        most = _most(group.healthy, len(members), any(map(_passes, members)))
        found |= {server.name for server in unhealthy[most:]}
    return frozenset(found)


def _most(policy: HealthPolicy, count: int, any_passes: bool) -> int:
    """Return how many of `count` servers may be replaced within an hour.

    Where none passes, the check or what all of them need is likely to be the trouble: the successor of one tells.
    """
    return policy.most(count) if any_passes else 1


def _passes(server: Server) -> bool:
    """Return whether a server passed its last check; a new one that was not checked yet proves nothing."""
    return server.running and server.health is not None and server.health.failures == 0


# ---------------------------------------------------------------------------------------------
# Choosing


@dataclass(frozen=True)
class Choice:
    """What becomes of the unhealthy servers of a group."""

    going: tuple[Server, ...] = ()
    """They are replaced, and count no more."""
    held: tuple[Server, ...] = ()
    """They keep their place."""
    why: str = ""
    """Why they do."""
    lacking: tuple[Server, ...] = ()
    """Those of `going` that have no successor yet."""

    @property
    def report(self) -> Held | None:
        """What is said of those that are held back; None if none is."""
        return Held(servers=tuple(server.name for server in self.held), why=self.why) if self.held else None


@dataclass(frozen=True, kw_only=True)
class ChoiceFacts:
    """What a choice among the unhealthy servers of a group depends on."""

    now: datetime
    wanted: int
    supply: Sequence[Server]
    """The other servers that count."""
    replacements: Sequence[Replacement] = ()
    leaving: Collection[str] = ()
    """Ids of the group's servers that are on their way out."""
    staying: Collection[str] = ()
    """Names of servers that are protected, or whose drain failed."""
    unchecked: str | None = None
    """Why none of the group can be checked from here."""
    room: int | None = None
    """How many servers may be created in place of unhealthy ones; None: any number."""


def choose(group: Group | None, unhealthy: Iterable[Server], here: ChoiceFacts) -> Choice:
    """Choose which unhealthy servers are replaced: those that were chosen before, then the longest unhealthy."""
    begun = {replacement.id for replacement in here.replacements}
    ranked = sorted(unhealthy, key=lambda server: (server.id not in begun, server.since, natural(server.name)))
    if group is None or group.healthy is None:
        return Choice(held=tuple(ranked), why="the spec does not say any more how to check it")
    held = {server.name: "protected, or its drain failed" for server in ranked if server.name in here.staying}
    held |= _beyond_share(group.healthy, [server for server in ranked if server.name not in held], begun, here)
    successors = max(0, len(here.supply) + len(ranked) - here.wanted)
    held |= _beyond_room([server for server in ranked if server.name not in held], successors, here)
    going = tuple(server for server in ranked if server.name not in held)
    return Choice(
        going=going,
        held=tuple(server for server in ranked if server.name in held),
        why="; ".join(dict.fromkeys(held.values())),
        lacking=going[successors:],
    )


def _beyond_share(
    policy: HealthPolicy, able: Sequence[Server], begun: Collection[str], here: ChoiceFacts
) -> dict[str, str]:
    """Return the servers whose replacement `at_most` does not allow now, each with the reason."""
    any_passes = any(map(_passes, here.supply))
    most = _most(policy, here.wanted, any_passes)
    there = {*here.leaving, *(server.id or "" for server in able)}
    used = len(counting(here.replacements, here.now, there))
    new = [server.name for server in able if server.id not in begun]
    rule = f"healthy.at_most allows {most} of {here.wanted}"
    if not any_passes:
        rule = f"while no server of the group passes, only {most} goes"
    why = f"{rule} within an hour, since {_MAY_BE_WRONG}"
    return dict.fromkeys(new[max(0, most - used) :], why)


def _beyond_room(chosen: Sequence[Server], successors: int, here: ChoiceFacts) -> dict[str, str]:
    """Return the servers for which no successor can be created, each with the reason."""
    new = 0 if here.unchecked else here.room
    if new is None:
        return {}
    why = here.unchecked or "there is no room for a new server beside it"
    return {server.name: why for server in chosen[successors + new :]}


def counting(replacements: Iterable[Replacement], now: datetime, there: Collection[str]) -> list[Replacement]:
    """Return the replacements that were decided within the last hour, or whose server, by id, is still `there`."""
    return [each for each in replacements if now - each.since < REMEMBERED or each.id in there]
