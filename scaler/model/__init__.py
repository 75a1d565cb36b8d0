"""The nouns: what is wanted, what is there, what to do about it. Frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from scaler.errors import ExtensionError
from scaler.model.autoscaling import Policy
from scaler.model.lifecycle import SUPPLY, Phase, Status, check_transition
from scaler.model.ownership import Owner

# ---------------------------------------------------------------------------------------------
# What is wanted


@dataclass(frozen=True, slots=True)
class ImageRef:
    """How a spec names an image.

    `selector`: the newest available snapshot with these labels (a tag on DigitalOcean);
    `name`: a snapshot by its description (Hetzner) or name (DigitalOcean), the newest of them;
    `id`: the cloud's number; `slug`: an image of the vendor, such as `ubuntu-24.04`.
    """

    kind: Literal["selector", "name", "id", "slug"]
    value: str

    def __str__(self) -> str:
        return self.value if self.kind in ("id", "slug") else f"{self.kind} {self.value}"


@dataclass(frozen=True)
class Extension:
    """A function of the user's, as the spec names it; two are equal if their names are."""

    reference: str
    """`module:function`."""
    function: InitVar[Callable[..., Any]]

    def __post_init__(self, function: Callable[..., Any]) -> None:
        # No field: neither equality nor a plan file's hash may depend on where a function is in memory.
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: object) -> Any:
        """The function's answer, an iterator's items as a list. ExtensionError with its own words if it raises."""
        try:
            answer = self.__dict__["_function"](*arguments)
            return list(answer) if isinstance(answer, Iterator) else answer
        except (Exception, SystemExit) as error:
            raise self.failed(f"{type(error).__name__}: {error}") from error

    def failed(self, why: str) -> ExtensionError:
        """The error of a function that could not be used."""
        return ExtensionError(
            f"The spec's function {self} cannot be used.", why=why, fix="Mend it, or remove it from the spec."
        )

    def __str__(self) -> str:
        return self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """When a server that its cloud calls running is ready."""

    kind: Literal["none", "tcp", "http", "command", "function"] = "none"
    port: int | None = None
    url: str | None = None
    """`{ip}` and `{name}` are filled in, as in `command`."""
    command: tuple[str, ...] = ()
    function: Extension | None = None
    """(server) → None for a good reading, else what was wrong."""
    successes: int = 2
    """Good readings in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPolicy:
    """How a serving server is brought to rest before it is deleted."""

    drain: tuple[str, ...] = ()
    """A command per server; `{ip}` and `{name}` are filled in. Empty: none."""
    drain_within: timedelta = timedelta(minutes=5)
    on_drain_failure: Literal["remove", "keep"] = "remove"
    shutdown_within: timedelta | None = None
    """How long an ACPI shutdown may take before the power is cut; None: no shutdown."""

    @property
    def needed(self) -> bool:
        return bool(self.drain) or self.shutdown_within is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyTarget:
    """Who is told of events: a URL or a command, and of which."""

    url: str | None = None
    command: tuple[str, ...] = ()
    events: tuple[str, ...] = ("*",)
    """Names or patterns such as `server.*`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPack:
    """Rules of CrossGuard that every plan must pass."""

    path: Path
    """Absolute: a pack's folder, or a program that the engine starts as a policy analyzer."""
    level: Literal["mandatory", "advisory"] | None = None
    """For all its policies; None: as each of them says."""
    config: Mapping[str, object] = field(default_factory=dict)
    """Policy → its level, or its settings with perhaps an `enforcementLevel`: what Pulumi's own files have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A set of interchangeable servers."""

    name: str
    count: int
    min: int = 0
    max: int | None = None
    image: ImageRef
    types: tuple[str, ...]
    locations: tuple[str, ...]
    ssh_keys: tuple[str, ...] = ()
    user_data: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    firewalls: tuple[str, ...] = ()
    placement_group: str | None = None
    public_ipv4: bool = True
    public_ipv6: bool = True
    vpc: str | None = None
    monitoring: bool = False
    ipv6: bool = False
    ready: Readiness = Readiness()
    start_within: timedelta = timedelta(minutes=10)
    stop: StopPolicy = StopPolicy()
    protect: frozenset[str] = frozenset()
    spread: bool = False
    """Over the locations, evenly; False: the first location that has capacity gets all."""
    scale_down: Literal["newest", "oldest", "billing"] | Extension = "newest"
    """`billing`: those whose paid hour ends soonest go first. A function: (servers, count) → servers, in this order."""
    keep_paid: bool = False
    """A running server that is not needed is powered off, and deleted only shortly before its paid hour is over."""
    naming: Extension | None = None
    """(stack, group, taken) → the name of the next new server; None: `<stack>-<group>-<n>`."""
    autoscale: Policy | None = None
    """How the count follows the load; None: it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One stack's spec, validated: `stacks/<stack>.yaml` as a value."""

    project: str
    stack: str
    cloud: str
    endpoint: str | None
    """`embedded`, an API URL, or None for the vendor's own (or the vendor's environment variable)."""
    backend: str | None
    plugin: Literal["scaler", "official"] = "scaler"
    limit: int | None = None
    budget: Decimal | None = None
    """The most that the stack may cost a month by list prices, in the cloud's currency."""
    groups: Mapping[str, Group]
    notify: tuple[NotifyTarget, ...] = ()
    policies: tuple[PolicyPack, ...] = ()
    retention: timedelta = timedelta(days=7)
    """How long records of deleted servers are kept."""
    path: Path

    @property
    def owner(self) -> Owner:
        return Owner(self.project, self.stack)


# ---------------------------------------------------------------------------------------------
# What is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A server as its cloud tells of it."""

    id: str
    name: str
    phase: Phase
    vendor_status: str
    labels: Mapping[str, str]
    type: str
    location: str
    image: str | None
    """The image's id, or its name or slug when it is one of the vendor's."""
    created: datetime
    ipv4: str | None = None
    ipv6: str | None = None
    locked: bool = False
    details: Mapping[str, object] = field(default_factory=dict)
    """What only the plugin needs, under the API's own field names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRequest:
    """Everything a create request says."""

    name: str
    type: str
    location: str
    image: str
    """An image's id as digits, or a vendor's name or slug."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ssh_keys: tuple[str, ...] = ()
    user_data: str | None = None
    networks: tuple[str, ...] = ()
    firewalls: tuple[str, ...] = ()
    placement_group: str | None = None
    public_ipv4: bool = True
    public_ipv6: bool = True
    vpc: str | None = None
    monitoring: bool = False
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """A server's list price, net, addresses included."""

    currency: str
    per_hour: Decimal
    per_month: Decimal | None = None
    """Where the month's bill ends; None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server's record: what the state file and the stack's outputs say of it."""

    name: str
    group: str
    id: str | None
    status: Status
    since: datetime
    previous: Status | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    type: str | None = None
    location: str | None = None
    image: str | None = None
    created: datetime | None = None
    error: str | None = None
    protected: bool = False
    """Never chosen for scale-down, by `scaler protect`."""
    reboot_asked: bool = False
    """A reboot is due as soon as it runs."""
    price: Price | None = None
    """As it was when a run last read the prices; None: none did since the server is there."""

    def become(self, status: Status, at: datetime, error: str | None = None) -> Server:
        """The record in its next status; the only way to change one. IllegalTransitionError."""
        check_transition(self.name, self.status, status)
        if status is self.status:
            return replace(self, error=error)
        return replace(self, status=status, since=at, previous=self.status, error=error)

    @property
    def counts(self) -> bool:
        """Whether it counts as supply."""
        return self.status in SUPPLY

    @property
    def running(self) -> bool:
        """Whether it is ready."""
        return self.status is Status.RUNNING

    @property
    def finished(self) -> bool:
        """Whether it is no more."""
        return self.status is Status.DELETED


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One server resource in the engine's state."""

    name: str
    group: str
    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """The stack as the engine last saved it."""

    entries: Mapping[str, StackEntry] = field(default_factory=dict)
    """By resource name."""
    outputs: Mapping[str, Server] = field(default_factory=dict)
    """The servers that the stack's outputs tell of, by name."""
    pending: tuple[str, ...] = ()
    """Names of resources whose operation the engine began and never finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One look at everything: the cloud's list, the engine's state, and our records of them."""

    at: datetime
    machines: Mapping[str, Machine]
    """All that carry our labels, by the name of their record."""
    entries: Mapping[str, StackEntry]
    """The server resources of the engine's state, by name."""
    servers: Mapping[str, Server]
    """What we now know of each machine, by the same names as `machines`."""
    past: Mapping[str, Server] = field(default_factory=dict)
    """Records without a machine: deleted ones, and refused ones with their error."""
    drift: tuple[str, ...] = ()
    """What was found other than recorded, one sentence each."""
    relabelled: frozenset[str] = frozenset()
    """Ids of machines of the stack that exist and no longer carry our labels."""
    recorded: bool = True
    """Whether the stack's outputs and resources say exactly this."""

    @property
    def orphans(self) -> frozenset[str]:
        """Names of our machines that are in no state."""
        return frozenset(self.machines) - frozenset(
            name for name, entry in self.entries.items() if name in self.machines and self.machines[name].id == entry.id
        )

    @property
    def vanished(self) -> frozenset[str]:
        """Names of resources whose machine is gone."""
        ids = {machine.id for machine in self.machines.values()}
        return frozenset(name for name, entry in self.entries.items() if entry.id not in ids)


# ---------------------------------------------------------------------------------------------
# What to do


Placement = tuple[str, str]
"""A server type at a location."""


class Action(StrEnum):
    CREATE = "create"
    ADOPT = "adopt"
    POWER_ON = "power_on"
    POWER_OFF = "power_off"
    UPDATE = "update"
    REBOOT = "reboot"
    REPLACE = "replace"
    DELETE = "delete"
    FORGET = "forget"


LEAVING = frozenset({Action.DELETE, Action.POWER_OFF})
"""What takes a server out of service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do to one server, and why."""

    action: Action
    server: str
    group: str
    reason: str
    id: str | None = None
    """The machine's id, for every action but `create`."""
    type: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPhase:
    """Steps that one engine operation carries out together."""

    steps: tuple[Step, ...]
    declared: tuple[str, ...]
    """The names that the program declares: what the stack holds afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, to which server, and why. At most two phases, confirmed one after the other."""

    stack: str
    wanted: Mapping[str, int]
    before: Mapping[str, int]
    """Supply per group before."""
    ready: Mapping[str, int] = field(default_factory=dict)
    """Of the servers that are there, those that run, per group."""
    phases: tuple[PlanPhase, ...] = ()
    drift: tuple[str, ...] = ()
    """What was found other than recorded, one sentence each."""
    tries: Mapping[str, tuple[Placement, ...]] = field(default_factory=dict)
    """Where new servers are tried, in this order, by group."""
    cost: Cost | None = None
    """None when the prices were not looked at."""
    short: Mapping[str, int] = field(default_factory=dict)
    """Servers that are missing and for which nothing is left to try, by group."""
    outdated: Mapping[str, str] = field(default_factory=dict)
    """Servers that are not as a new one would be, and in what; they stay until they are replaced."""
    kept: Mapping[str, datetime] = field(default_factory=dict)
    """Servers that are off, or will be, and stay for the rest of their paid hour: until when."""

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for phase in self.phases for step in phase.steps)

    def count(self, action: Action) -> int:
        """How many steps there are of a kind."""
        return sum(1 for step in self.steps if step.action is action)

    def machines_after(self, world: World) -> int:
        """How many machines this world has when the plan is carried out."""
        return len(world.machines) + self.count(Action.CREATE) - self.count(Action.DELETE)


# ---------------------------------------------------------------------------------------------
# What the engine is asked to do


@dataclass(frozen=True, slots=True)
class Declared:
    """A server that the program declares: its resource name, its group, and its inputs."""

    name: str
    group: str
    request: MachineRequest
    exists: bool
    """Whether the stack holds it already: then only its labels may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permits:
    """What the plan names. The plugin refuses everything else."""

    create: frozenset[str] = frozenset()
    """Names of servers to be created."""
    adopt: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the existing machine that becomes this resource."""
    update: frozenset[str] = frozenset()
    """Names whose labels may change."""
    delete: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the machine that may be deleted."""
    forget: Mapping[str, str] = field(default_factory=dict)
    """Name → id of a machine that is gone or not ours any more: dropped from the stack, without a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One engine operation: what to declare, what that may do, and the world that it was planned for."""

    declared: tuple[Declared, ...]
    permits: Permits
    outputs: Mapping[str, Server]
    expected: frozenset[str]
    """Ids of our machines: if the list under the stack's lock has others, nothing is done."""
    refresh: bool = False
    """Whether the engine must first look at what it holds: when a machine has vanished or was relabelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A policy that a plan does not pass."""

    policy: str
    pack: str
    level: Literal["mandatory", "advisory"]
    server: str | None
    """None: the stack as a whole."""
    message: str

    @property
    def forbids(self) -> bool:
        """Whether the plan must not be carried out."""
        return self.level == "mandatory"

    def __str__(self) -> str:
        return f"{self.server}: {self.message} ({self.policy})" if self.server else f"{self.message} ({self.policy})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The engine's own view of a change."""

    operations: Mapping[str, str]
    """Operation by server name, `same` left out."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of a change."""

    moved: bool = False
    """The world was not the expected one; nothing was done."""
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Name → id of machines that the cloud accepted or that were adopted."""
    deleted: Mapping[str, str] = field(default_factory=dict)
    """Name → id of machines whose removal was accepted, or that were gone."""
    errors: Mapping[str, Exception] = field(default_factory=dict)
    """What the cloud refused, by name."""
    failure: str | None = None
    """The engine's own words if it failed."""


# ---------------------------------------------------------------------------------------------
# What came of it


class Outcome(StrEnum):
    CONVERGED = "converged"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    REFUSED = "refused"
    PLANNED = "planned"
    UNCHANGED = "unchanged"


class StepResult(StrEnum):
    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step and what came of it."""

    step: Step
    result: StepResult
    error: str | None = None


@dataclass(frozen=True, slots=True)
class GroupReport:
    """A group's numbers: wanted, supply before, ready now."""

    wanted: int
    before: int
    ready: int
    tries: tuple[str, ...] = ()
    """Where new servers are tried, in this order, such as `cx23 in fsn1`; empty when none is needed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """List prices, net; a month as the vendor caps it."""

    currency: str
    per_hour_before: float
    per_hour_after: float
    per_month_after: float
    per_month_before: float


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests sent to the cloud during the run."""

    total: int = 0
    create: int = 0
    list: int = 0
    retried: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run's result, as every command prints it (`contract.md` §4)."""

    stack: str
    outcome: Outcome
    groups: Mapping[str, GroupReport]
    steps: tuple[StepReport, ...] = ()
    servers: tuple[Server, ...] = ()
    drift: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    """What policies say of the plan."""
    cost: Cost | None = None
    requests: Requests = Requests()
    elapsed: timedelta = timedelta(0)
    failures: tuple[Exception, ...] = ()
    """What went wrong, whatever it was about; the steps tell their own errors."""
    outdated: Mapping[str, str] = field(default_factory=dict)
    """Servers that are not as a new one would be, and in what."""
    kept: Mapping[str, datetime] = field(default_factory=dict)
    """Servers that are off and paid for, and until when they can be taken back."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """The machines that the run began with, name → id; for plan files, not for printing."""
    declined: bool = False
    """A person was asked, and said no: nothing was changed."""
