"""What is asked of a run, and how it may behave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import timedelta
from typing import Any, Literal

from scaler.errors import StalePlanError, UsageError
from scaler.model import Plan, PolicyPack, Server, Spec, Step, World
from scaler.model.orders import BY_DESTROY, NamedOperation, Orders, Pause
from scaler.model.roll import Pace, pace_problem
from scaler.planning.claims import Claim
from scaler.planning.names import natural
from scaler.records.json_fields import Fields
from scaler.records.roll_codec import given_from_json, pace_from_json
from scaler.support.time_limit import TimeLimit
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
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
    announce: Callable[[Plan], None] | None = None
    """Gets the plan of a run that was approved beforehand, before it is carried out."""
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
    command: str | None = None
    """A command whose repeat goes on with what it began, such as `increase 2`; equal commands have equal texts."""
    anew: bool = False
    """Whether `command` begins afresh, whatever it began before."""
    resumes: bool = False
    """Whether the run ends the pause of autoscaling that `destroy` set."""
    roll: RollOrder | None = None
    """What to do about rolls; None: only what has begun is finished, wave by wave."""
    yields: bool = False
    """Whether the run stops when somebody else asks for something meanwhile."""

    @property
    def claims(self) -> Claim:
        """What to do about unclaimed servers: a run that removes everything leaves them, and goes on."""
        return replace(self.claim, leave_others=self.claim.leave_others or self.everything)


@dataclass(frozen=True, kw_only=True)
class RollOrder:
    """What a run is to do about rolls."""

    paces: Mapping[str, Pace]
    """By group: how fast a new roll goes. Other groups are not rolled."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What of the pace was given for this run: it wins over the pace of a roll that goes on, too."""
    do: Literal["roll", "back", "abandon"] = "roll"
    by_itself: bool = False
    """Whether nobody asked for it: then no target is begun again that failed or was abandoned."""
    closed: Mapping[str, str] = field(default_factory=dict)
    """Groups of which no wave may begin now → why."""


def order_by_hand(
    spec: Spec, groups: Iterable[str], given: Mapping[str, Any], do: Literal["roll", "back", "abandon"]
) -> RollOrder:
    """Return the order to roll groups at the spec's pace with what was given for this run; None: not given.

    UsageError if a roll would never go on.
    """
    known = {name: value for name, value in given.items() if value is not None}
    paces = {group: pace_with(spec.groups[group].roll, group, known) for group in groups}
    return RollOrder(paces=paces, given=known, do=do)


def pace_with(pace: Pace, group: str, given: Mapping[str, Any]) -> Pace:
    """Return a pace with what was given for a run. UsageError if a roll would never go on."""
    for name, value in given.items():
        if value < (timedelta(0) if name == "bake" else 0):
            raise UsageError(f"{name} must be 0 or more.", fix="Leave it out, or give 0 or more.")
    pace = replace(pace, **given)
    if problem := pace_problem(pace):
        raise UsageError(f"The roll of {group} {problem}.", fix="Allow a surge of 1, or 1 unavailable.")
    return pace


def order_by_itself(spec: Spec, closed: Mapping[str, str] | None = None) -> RollOrder | None:
    """Return the order for the groups whose `image_changes` is `roll`; None if there are none."""
    paces = {name: group.roll for name, group in spec.groups.items() if group.image_changes == "roll"}
    return RollOrder(paces=paces, by_itself=True, closed=closed or {}) if paces else None


def order_of_plan(roll: Mapping[str, Any] | None) -> RollOrder | None:
    """Return what a plan file says about rolls; None: nothing. UsageError if that cannot be read."""
    if roll is None:
        return None
    try:
        paces = {name: pace_from_json(Fields(pace)) for name, pace in roll["paces"].items()}
        do = {"roll": "roll", "back": "back"}[roll["do"]]
        given = given_from_json(Fields(roll.get("given", {})))
        return RollOrder(paces=paces, given=given, do=do, by_itself=roll["by_itself"])  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            "What the plan does about rolls cannot be read.",
            why=str(error),
            fix="Make a new plan with `scaler roll --preview --out FILE`.",
            code="plan_invalid",
        ) from error


@dataclass(frozen=True)
class Reviewed:
    """A plan that was looked at before, and the machines that it was made for."""

    steps: tuple[Step, ...]
    seen: Mapping[str, str]
    """Name → id."""
    stack_id: str | None = None
    """None: the stack had no id when the plan was made."""
    waves: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    """By group: size of each wave of its roll, and how many servers go ahead of it."""


@dataclass(frozen=True)
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
    as_wanted: bool = False
    """As many as were asked for last, of the groups that somebody asked for."""
    remove_orphans: bool = False
    """Also remove every machine that is in no state."""
    begun: NamedOperation | None = None
    """What the same command began before, and did not finish: the run goes on with that."""

    def go_on_with(self, operation: NamedOperation, world: World) -> Demand:
        """Return the demand for what is left of an operation: a later server of the same name is another one."""
        return Demand(remove=_left(operation.remove, world), renew=_left(operation.renew, world), begun=operation)

    def operation(self, command: str, wanted: Mapping[str, int], world: World) -> NamedOperation:
        """Return what this demand means in this world, for the records."""
        if self.begun:
            return self.begun
        there = sorted((self.remove | self.renew) & world.servers.keys(), key=natural)
        named = {name: world.servers[name] for name in there}
        groups = {*self.by, *(server.group for server in named.values())}
        return NamedOperation(
            command=command,
            since=world.at,
            counts={name: count for name, count in wanted.items() if name in groups},
            remove={name: server.id or "" for name, server in named.items() if name in self.remove},
            renew={name: server.id or "" for name, server in named.items() if name in self.renew},
        )

    def name_orphans(self, world: World) -> Demand:
        """Return the same demand with the orphans of this world among the servers to remove."""
        return replace(self, remove=self.remove | world.orphans_left) if self.remove_orphans else self

    def resolve(
        self,
        spec: Spec,
        world: World,
        recorded: Mapping[str, int] | None = None,
        beside: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        """Return the wanted count of every group; a server to replace counts, unless it drains already.

        `recorded`: the counts that were wanted before. `beside`: how many servers are there for rolls alone. An
        unhealthy server counts as well, but where it has a successor already, they count as one.
        """
        servers = world.servers.values()
        there = Counter(
            server.group for server in servers if server.counts or (server.name in self.renew and server.drain is None)
        )
        unhealthy = Counter(server.group for server in servers if server.unhealthy and server.name not in self.renew)
        for name, count in unhealthy.items():
            most = recorded.get(name) if recorded else None
            there[name] += count if most is None else max(0, min(count, most - there[name]))
        there.subtract(beside or {})
        if self.as_wanted:
            return {name: (recorded or {}).get(name, there[name]) for name in spec.groups}
        leaving = Counter(
            server.group for server in servers if (server.counts or server.unhealthy) and server.name in self.remove
        )
        if self.begun:
            return {name: self.begun.counts.get(name, there[name]) for name in spec.groups}
        return {
            name: max(
                0, (there[name] if self.counts is None else self.counts[name]) + self.by.get(name, 0) - leaving[name]
            )
            for name in spec.groups
        }

    def lasting(
        self, resolved: Mapping[str, int], world: World, recorded: Mapping[str, int], *, again: bool = False
    ) -> dict[str, int]:
        """Return the counts to record: `resolved`, and the servers beside them that stay wanted.

        `again`: whether `recorded` was returned by this before, so that those that leave are not in it any more.

        A demand about named servers, or about some groups, leaves the others as they are: also those that are wanted
        and hang, are off or are missing. Without this, the next run would remove them and create none instead.
        """
        if self.counts is not None or self.as_wanted:
            return dict(resolved)
        named = frozenset() if again or self.begun else self.remove - world.orphans
        leaving = Counter(world.servers[name].group for name in named if name in world.servers)
        return {
            name: count if name in self.relative else max(count, recorded.get(name, 0) - leaving[name])
            for name, count in resolved.items()
        }

    @property
    def relative(self) -> frozenset[str]:
        """The groups whose count changes by a number, and not by servers with a name."""
        if self.begun:
            return frozenset() if self.begun.remove or self.begun.renew else frozenset(self.begun.counts)
        return frozenset(self.by)

    def not_about(self, spec: Spec, world: World) -> frozenset[str]:
        """Servers to leave as they are, when the demand is not about the whole stack.

        Those of groups that the spec does not have; and those that do not count, of groups that it is not about.
        """
        if self.counts is not None:
            return frozenset()
        if self.as_wanted:
            return frozenset(name for name, server in world.servers.items() if server.group not in spec.groups)
        named, about = self.remove | self.renew, spec.groups.keys() & self.relative

        def is_about(server: Server) -> bool:
            is_there = server.counts or server.unhealthy
            return bool(server.drain) or (server.group in spec.groups and is_there) or server.group in about

        return frozenset(name for name, server in world.servers.items() if name not in named and not is_about(server))


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run's task: what is wanted of which stack, how, and until when."""

    spec: Spec
    demand: Demand
    options: Options
    started: float
    """By `clock.monotonic`."""
    limit: TimeLimit
    """The run's time."""

    @property
    def deadline(self) -> float:
        """When the run's time is up, by `clock.monotonic`."""
        return self.limit.end

    @property
    def packs(self) -> tuple[PolicyPack, ...]:
        """Return the policy packs that judge this run: all of the spec's, unless everything is to be removed."""
        return () if self.options.everything else self.spec.policies


def ordered(request: Request, orders: Orders, wanted: Mapping[str, int], world: World) -> dict[str, Any]:
    """Return the changes of the orders that a run makes with its counts: its operation, and a pause."""
    options = request.options
    changes: dict[str, Any] = {}
    if options.command:
        operation = request.demand.operation(options.command, wanted, world)
        changes["operations"] = orders.with_operation(operation)
    if options.everything:
        changes["pause"] = orders.active_pause(world.at) or Pause(since=world.at, by=BY_DESTROY)
    elif options.resumes and orders.pause and orders.pause.by == BY_DESTROY:
        changes["pause"] = None
    return changes


def _left(servers: Mapping[str, str], world: World) -> frozenset[str]:
    return frozenset(
        name for name, known in servers.items() if name in world.servers and world.servers[name].id == known
    )


def stale(what: str, moved: Iterable[str]) -> StalePlanError:
    """Return the error for a reviewed plan that is not to be carried out any more."""
    return StalePlanError(
        f"The plan is out of date: {what}. Nothing was changed.",
        why="; ".join(moved),
        fix="Make a new one with `scaler preview --out`.",
    )
