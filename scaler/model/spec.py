"""The spec of a stack: groups of servers, and how to create, check and stop them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar, field
from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from pathlib import Path
from typing import Any, Literal

from scaler.errors import ExtensionError
from scaler.model.autoscaling import Policy
from scaler.model.ownership import Label, Owner
from scaler.model.roll import Pace, RollWindows
from scaler.support.values import dataclass

PLACED_TOGETHER = 10
"""Servers in one placement group of Hetzner's, at most (terraform-provider-hcloud#1170)."""


@dataclass(frozen=True)
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
    """A function of the user that the spec names. Two are equal if their names are."""

    reference: str
    """`module:function`."""
    function: InitVar[Callable[..., Any]]

    def __post_init__(self, function: Callable[..., Any]) -> None:
        # Not a field: neither equality nor the hash of a plan file may depend on where a function is in memory.
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: object) -> Any:
        """Call the function; return an iterator's items as a list. ExtensionError, with its own words, if it raises."""
        try:
            answer = self.__dict__["_function"](*arguments)
            return list(answer) if isinstance(answer, Iterator) else answer
        except (Exception, SystemExit) as error:
            raise self.failed(f"{type(error).__name__}: {error}") from error

    def failed(self, why: str) -> ExtensionError:
        """Return the error for a function that cannot be used."""
        return ExtensionError(
            f"The spec's function {self} cannot be used.", why=why, fix="Correct it, or remove it from the spec."
        )

    def __str__(self) -> str:
        return self.reference


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """When a server that its cloud calls running is ready."""

    kind: Literal["none", "tcp", "http", "command", "function"] = "none"
    port: int | None = None
    url: str | None = None
    """`{ip}`, `{private_ip}` and `{name}` are replaced, as in `command`."""
    command: tuple[str, ...] = ()
    function: Extension | None = None
    """(server) → None if the check passed, else what is wrong."""
    successes: int = 2
    """How many checks must pass in a row."""


@dataclass(frozen=True, kw_only=True)
class HealthPolicy:
    """How servers in service are checked, and when they are replaced."""

    check: Readiness
    every: timedelta = timedelta(seconds=30)
    """The time between two checks of a server that count, at least."""
    failures: int = 3
    """How many checks in a row a server fails to be unhealthy."""
    at_most: int = 50
    """How many percent of the wanted servers are replaced within an hour for this, at most."""

    def most(self, wanted: int) -> int:
        """Return how many of so many servers may be replaced within an hour: rounded down, at least one."""
        return max(1, wanted * self.at_most // 100)


class CheckResult(Enum):
    """What came of one check of a server."""

    PASSED = auto()
    FAILED = auto()
    NO_ANSWER = auto()
    """Nothing came back from the server: the trouble may be that of the machine that checks."""


@dataclass(frozen=True, kw_only=True)
class StopPolicy:
    """How a server in service is stopped before it is deleted."""

    drain: tuple[str, ...] = ()
    """A command per server; `{ip}`, `{private_ip}` and `{name}` are replaced. Empty: no drain."""
    drain_within: timedelta = timedelta(minutes=5)
    drained: tuple[str, ...] = ()
    """A check per server that ends with 0 when the server has finished; then `drain` only begins it."""
    resume: tuple[str, ...] = ()
    """A command per server that puts a draining server back to work. Empty: none is taken back."""
    on_drain_failure: Literal["remove", "keep"] = "remove"
    shutdown_within: timedelta | None = None
    """How long an ACPI shutdown may take before the power is cut; None: no shutdown."""

    @property
    def needed(self) -> bool:
        return bool(self.drain) or self.shutdown_within is not None


@dataclass(frozen=True, kw_only=True)
class NotifyTarget:
    """Where events are sent: a URL, a command or services for messages, and which events."""

    url: str | None = None
    command: tuple[str, ...] = ()
    apprise_env: str | None = None
    """The environment variable that has the services' URLs."""
    events: tuple[str, ...] = ("*",)
    """Names or patterns such as `server.*`."""


@dataclass(frozen=True, kw_only=True)
class PolicyPack:
    """A CrossGuard policy pack that every plan must pass."""

    path: Path
    """Absolute: a pack's folder, or a program that the engine starts as a policy analyzer."""
    level: Literal["mandatory", "advisory"] | None = None
    """For all its policies; None: as each of them says."""
    config: Mapping[str, object] = field(default_factory=dict)
    """Policy → its level, or its settings with an optional `enforcementLevel`, as in Pulumi's own files."""


@dataclass(frozen=True, kw_only=True)
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
    healthy: HealthPolicy | None = None
    """How servers in service are checked; None: a server that was ready once is not checked again."""
    in_service: Label | None = None
    """What a server carries exactly while it is ready and healthy; None: nothing."""
    stop: StopPolicy = StopPolicy()
    lifetime: timedelta | None = None
    """Older servers are outdated; None: age is no reason."""
    image_changes: Literal["new", "roll"] = "new"
    """`roll`: autoscaling, and `ensure` for the spec's counts, replace outdated servers; `new`: they stay."""
    roll: Pace = field(default_factory=Pace)
    """How its outdated servers are replaced."""
    roll_windows: RollWindows = field(default_factory=RollWindows)
    """When autoscaling may begin to replace some of them."""
    protect: frozenset[str] = frozenset()
    spread: bool = False
    """Whether servers are spread evenly over the locations; False: the first location with capacity gets all."""
    scale_down: Literal["newest", "oldest", "billing"] | Extension = "newest"
    """`billing`: servers whose paid hour ends soonest go first. A function: (servers, count) → servers, in order."""
    keep_paid: bool = False
    """Whether a running server that is not needed is powered off, and deleted shortly before its paid hour ends."""
    naming: Extension | None = None
    """(stack, group, taken) → the name of the next new server; None: `<stack>-<group>-<n>`."""
    autoscale: Policy | None = None
    """How the count follows the load; None: it is fixed."""

    @property
    def addresses(self) -> int:
        """How many of the account's public addresses each server takes at Hetzner."""
        return self.public_ipv4 + self.public_ipv6


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The validated spec of one stack: `stacks/<stack>.yaml` as a value."""

    project: str
    stack: str
    cloud: str
    endpoint: str | None
    """`embedded`, an API URL, or None for the vendor's own (or the vendor's environment variable)."""
    backend: str | None
    plugin: Literal["scaler", "official"] = "scaler"
    limit: int | None = None
    budget: Decimal | None = None
    """The most that the stack may cost a month at list prices, in the currency of the cloud."""
    groups: Mapping[str, Group]
    notify: tuple[NotifyTarget, ...] = ()
    env: tuple[str, ...] = ()
    """The variables with credentials that commands and policy packs of the spec get all the same."""
    policies: tuple[PolicyPack, ...] = ()
    accept_loss: Literal["ask", "always"] = "ask"
    """`ask`: a run stops when more than half of the servers are missing at once."""
    adopt: Literal["ask", "always"] = "ask"
    """`always`: where no identity of the stack is known anywhere, claim the servers that carry its names."""
    retention: timedelta = timedelta(days=7)
    """How long records of deleted servers are kept."""
    path: Path

    @property
    def owner(self) -> Owner:
        return Owner(self.project, self.stack)
