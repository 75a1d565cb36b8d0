"""What a run knows: one frozen value, which each stage takes and gives back renewed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from scaler.clouds import Catalogue, CloudError
from scaler.model import Machine, Owner, Placement, Server, Spec, StackState, World
from scaler.model.identity import Identity
from scaler.model.orders import Orders
from scaler.planning.advice import Advice
from scaler.planning.deadlines import Deadline
from scaler.planning.guards import Quota
from scaler.planning.template import Templates
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """The world, the records, and what the run looked up or learned on its way."""

    spec: Spec
    stack: StackState
    """What the engine saved last."""
    world: World
    """As observed last."""
    first: World
    """As observed first."""
    records: Mapping[str, Server]
    """By name, finished ones included."""
    identity: Identity | None = None
    """What the stack is, and where; recorded with everything else. With a new id, if nothing was recorded."""
    had_id: bool = False
    """Whether the stack had its id when the run began."""
    claimed: tuple[Machine, ...] = ()
    """Machines that the run was told to claim and that lack the stack's id, with the labels that they are to get."""
    orders: Orders = field(default_factory=Orders)
    """What is asked of the stack; recorded with everything else."""
    is_overruled: bool = False
    """Whether somebody else changed the orders since the run began."""
    was_ahead: bool = False
    """Whether records were dated in the future when they were read, and a notice told of it."""
    gone: frozenset[str] = frozenset()
    """Ids of machines whose absence is proven."""
    denied: Mapping[str, float] = field(default_factory=dict)
    """By id: when the cloud first denied a machine whose absence is not proven yet, by `clock.monotonic`."""
    deadlines: Mapping[str, Deadline] = field(default_factory=dict)
    """By group, where its boots so far teach one."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """By group: what the run plans for; empty until the demand was resolved."""
    before: Mapping[str, int] = field(default_factory=dict)
    """By group: what was wanted before the demand was resolved."""
    lasting: Mapping[str, int] = field(default_factory=dict)
    """By group: what the run records as wanted. More than it plans for, where it leaves wanted servers as they are."""
    catalogue: Catalogue | None = None
    """What the cloud sells; None: not read yet. Once it is read, records carry their price."""
    templates: Templates = field(default_factory=Templates)
    """What the spec's names mean at the cloud, as far as they were looked up."""
    quota: Quota | None = None
    """What the account allows this stack; None: no limit is known."""
    is_quota_read: bool = False
    are_names_read: bool = False
    """Whether `advice.taken` has the names that all machines of the account had a moment ago."""
    undeleted: Mapping[str, CloudError] = field(default_factory=dict)
    """By server: why a deletion that the cloud accepted has failed, since the run last decided."""
    not_rebooted: Mapping[str, CloudError] = field(default_factory=dict)
    """By server: why a reboot that the cloud accepted has failed, since the run last reported it."""
    failed_rolls: frozenset[str] = frozenset()
    """Groups whose roll failed during this run."""
    advice: Advice = field(default_factory=Advice)
    """What refusals taught, for the next plan."""
    passed_over: Mapping[tuple[str, Placement], CloudError | str] = field(default_factory=dict)
    """Why servers of a group are not tried at a placement."""
    shortfalls: tuple[Exception, ...] = ()
    """Why no more servers of some groups are created although they are wanted."""

    @property
    def owner(self) -> Owner:
        """Whose the stack's machines are."""
        return self.spec.owner.with_id(self.identity.id) if self.identity else self.spec.owner

    @property
    def is_shared(self) -> bool:
        """Return whether the stack has the orders as they are, or has never been saved."""
        return self.orders == self.stack.orders or not self.stack.is_known

    def order(self, **changes: Any) -> Knowledge:
        """Change what is asked of the stack."""
        return replace(self, orders=self.orders.changed(self.stack.orders, **changes))

    def want(self, counts: Mapping[str, int], lasting: Mapping[str, int] | None = None, **orders: Any) -> Knowledge:
        """Plan for these counts, record them or the `lasting` ones as wanted, and change other orders with them."""
        recorded = dict(counts if lasting is None else lasting)
        return replace(self.order(wanted=recorded, **orders), wanted=counts, lasting=recorded)

    def amend(self, server: Server) -> Knowledge:
        """Replace one server's record, and what the world says of it, between two observations."""
        world = replace(self.world, servers={**self.world.servers, server.name: server})
        return replace(self, world=world, records={**self.records, server.name: server})

    def note(self, *servers: Server) -> Knowledge:
        """Replace records; the world stays as it was observed."""
        return replace(self, records={**self.records, **{server.name: server for server in servers}})

    def note_outdated(self, outdated: Mapping[str, str]) -> Knowledge:
        """Record of each server in what it is outdated; where a group's image is not known, what is known stays."""
        known = {name for name, current in self.advice.current.items() if current.images}
        changed = {
            name: replace(server, outdated=why)
            for name, server in self.world.servers.items()
            if (why := outdated.get(name) or (None if server.group in known else server.outdated)) != server.outdated
        }
        if not changed:
            return self
        world = replace(self.world, servers={**self.world.servers, **changed})
        return replace(self, world=world, records={**self.records, **changed})

    def advise(self, **lessons: Any) -> Knowledge:
        """Add to the advice: sets are united, other values replaced."""
        known: dict[str, Any] = {
            name: getattr(self.advice, name) | value if isinstance(value, frozenset) else value
            for name, value in lessons.items()
        }
        return replace(self, advice=replace(self.advice, **known))

    def pass_over(self, places: Mapping[Placement, CloudError | str]) -> Knowledge:
        """Try no more servers of any group at these placements."""
        why = {(group, place): reason for place, reason in places.items() for group in self.spec.groups}
        learned = self.advise(exhausted=frozenset(places))
        return replace(learned, passed_over={**why, **self.passed_over})

    def withhold(self, why: Exception, groups: Iterable[str]) -> Knowledge:
        """Create no more servers of these groups."""
        return replace(self.advise(withheld=frozenset(groups)), shortfalls=(*self.shortfalls, why))


def describe_placement(place: Placement) -> str:
    """Return a placement in words, such as `cx23 in fsn1`."""
    kind, location = place
    return f"{kind} in {location}"
