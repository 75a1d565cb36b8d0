"""What a stack's spec says: groups of servers, and how to make, check and stop them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from scaler.errors import ExtensionError
from scaler.model.autoscaling import Policy
from scaler.model.ownership import Owner


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
