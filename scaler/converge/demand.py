"""What is asked of a run, and how it may behave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from scaler.errors import StalePlanError
from scaler.model import Plan, PolicyPack, Spec, Step, World
from scaler.planning.claims import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run behaves."""

    timeout: timedelta = timedelta(minutes=15)
    wait: bool = True
    """False: do not confirm; the next run does."""
    patient: bool = True
    """Whether it also waits for what may take long or is not its own: drains, the vendor's work on a server."""
    apply: bool = True
    """False: stop before anything is changed."""
    approve: Callable[[Plan], bool] | None = None
    """Asks a person, who has seen the engine's own preview by then; None: approved beforehand."""
    expect_current: int | None = None
    max_change: int | None = None
    """Most servers that the run may create and delete together."""
    allow_zero: bool = True
    """Whether counts may take the whole stack from some servers to none."""
    accept_loss: bool = False
    """Whether to go on although servers are missing that the records have."""
    claim: Claim = field(default_factory=Claim)
    """What to do about unclaimed servers."""
    everything: bool = False
    """Remove all, protected servers too: what `destroy` means."""
    reviewed: Reviewed | None = None
    """Do exactly this plan, or nothing."""

    @property
    def claims(self) -> Claim:
        """What to do about unclaimed servers: a run that removes everything leaves them, and goes on."""
        return replace(self.claim, leave_others=self.claim.leave_others or self.everything)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A plan that was looked at before, and the machines that it was made for."""

    steps: tuple[Step, ...]
    seen: Mapping[str, str]
    """Name → id."""
    stack_id: str | None = None
    """None: the stack had no id when the plan was made."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted: absolute counts, or a change to what is there; and of which servers it is made."""

    counts: Mapping[str, int] | None = None
    """Wanted servers of every group of the spec; None: as many as there are."""
    by: Mapping[str, int] = field(default_factory=dict)
    """Added to the count of these groups; the result is never below nought."""
    remove: frozenset[str] = frozenset()
    """Servers to remove, each lowering its group's count by one."""
    renew: frozenset[str] = frozenset()
    """Servers to replace: each goes when a new one is ready."""
    remove_orphans: bool = False
    """Also remove every machine that is in no state."""

    def name_orphans(self, world: World) -> Demand:
        """Return the same demand with the orphans of this world among the servers to remove."""
        return replace(self, remove=self.remove | world.orphans_left) if self.remove_orphans else self

    def resolve(self, spec: Spec, world: World) -> dict[str, int]:
        """Return the wanted count of every group; a server to replace counts, unless it drains already."""
        servers = world.servers.values()
        there = Counter(
            server.group for server in servers if server.counts or (server.name in self.renew and server.drain is None)
        )
        leaving = Counter(server.group for server in servers if server.counts and server.name in self.remove)
        return {
            name: max(
                0, (there[name] if self.counts is None else self.counts[name]) + self.by.get(name, 0) - leaving[name]
            )
            for name in spec.groups
        }

    def not_about(self, world: World) -> frozenset[str]:
        """Servers to leave as they are: those that do not count, when the demand is about others by name."""
        if self.counts is not None or self.by:
            return frozenset()
        named = self.remove | self.renew
        return frozenset(
            name for name, server in world.servers.items() if not (server.counts or server.drain or name in named)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run's task: what is wanted of which stack, how, and until when."""

    spec: Spec
    demand: Demand
    options: Options
    started: float
    """By `clock.monotonic`."""

    @property
    def deadline(self) -> float:
        """When the run's time is up, by `clock.monotonic`."""
        return self.started + self.options.timeout.total_seconds()

    @property
    def packs(self) -> tuple[PolicyPack, ...]:
        """Return the policy packs that judge this run: all of the spec's, unless everything is to be removed."""
        return () if self.options.everything else self.spec.policies


def stale(what: str, moved: Iterable[str]) -> StalePlanError:
    """Return the error for a reviewed plan that is not to be carried out any more."""
    return StalePlanError(
        f"The plan is out of date: {what}. Nothing was changed.",
        why="; ".join(moved),
        fix="Make a new one with `scaler preview --out`.",
    )
