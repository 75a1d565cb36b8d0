"""Whose trouble it is that servers do not get ready: theirs, or that of the machine that checks them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from scaler.model import CheckResult, Machine, Readiness, Server, Spec
from scaler.model.lifecycle import Phase, Status
from scaler.support.values import dataclass

Probe = Callable[[Readiness, Sequence[Server]], Mapping[str, CheckResult]]
"""Check each of these servers once, now; the results by name. None at all: they go on, and a later call has them."""

UNREACHABLE = "cannot be reached from here, and no other server of its group can: it is not replaced for that"

_WAITED_FOR = (Status.STARTING, Status.REBOOTING)
_CHECKED = (*_WAITED_FOR, Status.RUNNING)


@dataclass(frozen=True)
class Excused:
    """Late servers that are not given up."""

    unreachable: frozenset[str] = frozenset()
    """No server of their group can be reached from here: that is the trouble of this machine."""
    passing: frozenset[str] = frozenset()
    """They pass their check now, and have to pass it some more times to be ready."""
    undecided: frozenset[str] = frozenset()
    """The checks that tell have not ended yet."""

    @property
    def names(self) -> frozenset[str]:
        return self.unreachable | self.passing | self.undecided


def excuse(
    spec: Spec, machines: Mapping[str, Machine], servers: Mapping[str, Server], late: Collection[str], probe: Probe
) -> Excused:
    """Return which of the `late` servers are not to be given up.

    Only servers that their cloud calls running count: one that does not boot is late by itself.
    """
    running = {name: server for name, server in servers.items() if machines[name].phase is Phase.RUNNING}
    waited_for = [running[name] for name in late if name in running and running[name].status in _WAITED_FOR]
    unreachable: set[str] = set()
    passing: set[str] = set()
    undecided: set[str] = set()
    for name in sorted({server.group for server in waited_for} & spec.groups.keys()):
        how = spec.groups[name].ready
        if how.kind == "none":
            continue
        members = [server for server in running.values() if server.group == name and not server.set_aside]
        asked = [server for server in members if server.status in _CHECKED]
        results = probe(how, asked)
        candidates = {server.name for server in waited_for} & {server.name for server in asked}
        if not results:
            undecided |= candidates
            continue
        if set(results.values()) == {CheckResult.NO_ANSWER}:
            unreachable |= candidates
        passing |= {server for server in candidates if results[server] is CheckResult.PASSED}
    return Excused(frozenset(unreachable), frozenset(passing), frozenset(undecided))
