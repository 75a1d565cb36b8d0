"""A cloud, a stack and records in memory: below them nothing is real, above them everything is.

The cloud's machines are a dict whose conditions follow from a clock; nothing happens by itself.
The stack does what the engine and the plugin do together: it compares the world under its lock,
enforces the permits, and saves its checkpoint only at an operation's end.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from scaler.clouds import (
    AddressQuotaError,
    AmbiguousError,
    Catalogue,
    CloudError,
    GoneError,
    Image,
    InvalidError,
    Limits,
    NameTakenError,
    NoCapacityError,
    Offer,
    ProtectedError,
    QuotaError,
    Reference,
    Room,
    TransientError,
    oldest_first,
)
from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.converge.ports import Ports
from scaler.errors import EngineError, StateError
from scaler.model import (
    Applied,
    Change,
    CheckReport,
    CheckResult,
    Declared,
    DrainFinding,
    DrainState,
    Group,
    ImageRef,
    Machine,
    MachineRequest,
    PolicyPack,
    Preview,
    Readiness,
    Requests,
    Result,
    Server,
    Spec,
    StackEntry,
    StackState,
    Step,
    StopPolicy,
)
from scaler.model.events import Event, EventName
from scaler.model.identity import Identity, Place
from scaler.model.lifecycle import Phase
from scaler.model.orders import Orders
from scaler.model.ownership import Owner
from scaler.records.boots import removal_times
from scaler.records.shortages import Shortages
from scaler.records.transitions import pause_events, roll_events, transitions
from scaler.support.time_limit import TimeLimit

T = TypeVar("T")

START = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)

TYPES = ("cx23", "cpx22")
LOCATIONS = ("fsn1", "nbg1")

_IMAGES = {("selector", "role=worker"), ("name", "golden")}
"""How a spec can name the newest image of the fake cloud."""


def group(name: str = "worker", count: int = 3, **fields: object) -> Group:
    known: dict[str, object] = {
        "image": ImageRef("selector", "role=worker"),
        "types": TYPES,
        "locations": LOCATIONS,
    } | fields
    return Group(name=name, count=count, **known)  # type: ignore[arg-type]


def spec(*groups: Group, limit: int | None = None) -> Spec:
    return Spec(
        project="scaler",
        stack="prod",
        cloud="hetzner",
        endpoint=None,
        backend=None,
        limit=limit,
        groups={item.name: item for item in groups or (group(),)},
        path=Path("stacks/prod.yaml"),
    )


class Killed(BaseException):
    """The process is no more; no handler of its own runs."""


class Fuse:
    """Counts the moments between two things that outlast the process, and kills it at one of them."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise Killed


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.ahead = timedelta(0)
        """How far the time of day is ahead of the cloud's; negative: behind."""
        self.on_tick: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return START + self.ahead + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.on_tick()


@dataclass
class Box:
    """A machine of the fake cloud."""

    id: str
    name: str
    labels: dict[str, str]
    type: str
    location: str
    image: str
    created: float
    ready: float | None
    """When it runs, by the clock; None: never."""
    off: bool = False
    gone: float | None = None
    """When an accepted delete is through."""
    protected: bool = False
    """Whether a delete is refused."""
    placement_group: str | None = None
    addresses: int = 0
    """How many public ones it has."""
    work: Phase | None = None
    """What the vendor reports instead of how the machine is, while it works on it."""


@dataclass
class FakeCloud:
    """`scaler.clouds.Cloud` over a dict of machines."""

    clock: FakeClock
    fuse: Fuse = field(default_factory=Fuse)
    name: str = "hetzner"
    unique_names: bool = True
    boot_s: float = 8.0
    delete_s: float = 3.0
    tells_deleting: bool = True
    """Whether a machine that is being deleted says so; DigitalOcean's go on running."""
    denied: dict[str, float] = field(default_factory=dict)
    """By id: until when lists and addresses both deny a machine, by the clock."""
    deny_new_s: float = 0.0
    """How long lists and addresses deny a machine that was created just now."""
    list_lag_s: float = 0.0
    """How long a new machine is missing from lists."""
    account_id: str | None = None
    """Hetzner's is not told."""
    quota: int | None = None
    months: dict[str, Decimal] = field(default_factory=dict)
    """What servers of some types cost a month."""
    tells_quota: bool = False
    """Whether the account's quota can be read; Hetzner's cannot."""
    most_addresses: int | None = None
    """How many public addresses the account may have."""
    most_together: int = 10
    """How many machines a placement group holds."""
    full: set[tuple[str, str]] = field(default_factory=set)
    """Types at locations that have no capacity."""
    shown_full: set[tuple[str, str]] = field(default_factory=set)
    """Those of which the catalogue says so."""
    unsold: set[tuple[str, str]] = field(default_factory=set)
    """Types at locations that the catalogue does not have."""
    things: tuple[str, ...] = ("deploy",)
    """Names of the keys, networks and other things that a spec can name."""
    disk: int = 20
    """What the image needs, in GB."""
    snapshots: list[str] = field(default_factory=lambda: ["100"])
    """The images by id, the newest last; a spec's selector and name find that one."""
    broken: set[str] = field(default_factory=set)
    """Images whose machines never boot."""
    hang: int = 0
    """How many of the next machines never boot."""
    boxes: dict[str, Box] = field(default_factory=dict)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    """The next answers of an operation, instead of carrying it out."""
    lost_answers: int = 0
    """How many of the next creates are carried out without an answer."""
    load: dict[str, float] = field(default_factory=dict)
    """How busy machines are, by id; those that are not named were not measured yet."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Every request: the operation, and the machine or name that it was about."""
    on_list: Callable[[list[Machine]], None] = lambda answer: None
    on_change: Callable[[], None] = lambda: None
    _serial: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    """Callers may have several threads, as at a real cloud."""

    # -- by hand -------------------------------------------------------------------------------

    def add(self, name: str, labels: Mapping[str, str], *, ready: bool = True, age_s: float = 3600.0) -> Box:
        now = self.clock.monotonic()
        with self._lock:
            self._serial += 1
            box = Box(
                id=str(self._serial),
                name=name,
                labels=dict(labels),
                type=TYPES[0],
                location=LOCATIONS[0],
                image="100",
                created=now - age_s,
                ready=now - age_s if ready else now + self.boot_s,
            )
            self.boxes[box.id] = box
        return box

    def named(self, name: str) -> Box:
        return next(box for box in self.boxes.values() if box.name == name)

    def remove(self, name: str) -> None:
        del self.boxes[self.named(name).id]

    def ready(self, owner: Owner) -> list[str]:
        """Names of the owner's machines that serve."""
        self._pass()
        return sorted(
            box.name
            for box in self.boxes.values()
            if owner.owns(box.labels) and self._phase(box) is Phase.RUNNING and box.gone is None
        )

    def owned(self, owner: Owner) -> list[str]:
        """Names of all machines of the owner, one for each."""
        self._pass()
        return sorted(box.name for box in self.boxes.values() if owner.owns(box.labels))

    def changes(self) -> list[tuple[str, str]]:
        """The requests that meant to change something."""
        return [call for call in self.calls if call[0] not in ("list", "get", "find", "names")]

    # -- the protocol --------------------------------------------------------------------------

    def list_owned(self, owner: Owner) -> list[Machine]:
        self._asked("list", "")
        young = self.clock.monotonic() - self.list_lag_s
        answer = oldest_first(
            [
                self._machine(box)
                for box in list(self.boxes.values())
                if owner.owns(box.labels)
                and (self.list_lag_s == 0 or box.created <= young)
                and not self._is_denied(box.id)
            ]
        )
        self.on_list(answer)
        return answer

    def names(self) -> frozenset[str]:
        self._asked("names", "")
        shown = [box.name for box in list(self.boxes.values()) if not self._is_denied(box.id)]
        return frozenset(shown if self.unique_names else ())

    def get(self, id: str) -> Machine:
        self._asked("get", id)
        if self._is_denied(id):
            raise GoneError(f"there is no server {id}", why="not_found")
        return self._machine(self._box(id))

    def find(self, name: str, owner: Owner) -> list[Machine]:
        self._asked("find", name)
        found = [box for box in list(self.boxes.values()) if box.name == name and owner.owns(box.labels)]
        return oldest_first([self._machine(box) for box in found])

    def create(self, request: MachineRequest) -> Machine:
        self.fuse.burn()
        self._asked("create", request.name)
        with self._lock:
            self._refuse(request)
            box = self.add(request.name, request.labels, ready=False, age_s=0.0)
            box.type, box.location, box.image = request.type, request.location, request.image
            box.placement_group, box.addresses = request.placement_group, request.addresses
        if self.deny_new_s:
            self.denied[box.id] = self.clock.monotonic() + self.deny_new_s
        if self.hang > 0 or request.image in self.broken:
            self.hang = max(0, self.hang - 1)
            box.ready = None
        self.on_change()
        self.fuse.burn()
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise AmbiguousError("no answer", why="connection reset")
        return self._machine(box)

    def delete(self, id: str) -> None:
        self.fuse.burn()
        self._asked("delete", id)
        box = self._box(id)
        if box.protected:
            raise ProtectedError(f"{box.name} is protected", why="protected")
        if box.gone is None:
            box.gone = self.clock.monotonic() + self.delete_s
        self.on_change()
        self.fuse.burn()

    def power_on(self, id: str) -> None:
        self.fuse.burn()
        self._asked("power_on", id)
        box = self._box(id)
        if box.off:
            box.off, box.ready = False, self.clock.monotonic() + self.boot_s
        self.fuse.burn()

    def power_off(self, id: str) -> None:
        self.fuse.burn()
        self._asked("power_off", id)
        self._box(id).off = True
        self.fuse.burn()

    def shutdown(self, id: str) -> None:
        self.fuse.burn()
        self._asked("shutdown", id)
        self._box(id).off = True
        self.fuse.burn()

    def reboot(self, id: str) -> None:
        self._asked("reboot", id)
        self._box(id).ready = self.clock.monotonic() + self.boot_s

    def cpu(self, id: str) -> float | None:
        self._asked("cpu", id)
        self._box(id)
        return self.load.get(id)

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        self.fuse.burn()
        self._asked("set_labels", id)
        self._box(id).labels = dict(labels)
        self.fuse.burn()

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        if (image.kind, image.value) not in _IMAGES | {("id", snapshot) for snapshot in self.snapshots}:
            raise InvalidError(f"there is no image {image.value}", why="not_found", fix="there is golden (100)")
        if architecture != "x86":
            raise InvalidError(f"golden is for x86, not for {architecture}", why="not_found")
        found = image.value if image.kind == "id" else self.snapshots[-1]
        return Image(id=found, name="golden", created=START, available=True, disk=self.disk, architecture=architecture)

    def reference(self, kind: Reference, name: str) -> str:
        if name not in self.things:
            raise InvalidError(f"there is no {kind} {name}", why="not_found", fix=f"there is {self.things}")
        return name

    def check_request(self, request: MachineRequest) -> Sequence[Room]:
        if request.placement_group is None:
            return ()
        return [
            Room(
                kind="placement_group",
                id=request.placement_group,
                name=request.placement_group,
                most=self.most_together,
                members=frozenset(box.id for box in self._together(request)),
                why="it is small",
            )
        ]

    def catalogue(self) -> Catalogue:
        return Catalogue(
            currency="EUR",
            offers=tuple(
                Offer(
                    type=kind,
                    location=location,
                    available=(kind, location) not in self.shown_full,
                    per_hour=Decimal("0.01"),
                    per_month=self.months.get(kind, Decimal(5)),
                    disk=40,
                    architecture="x86",
                )
                for kind in TYPES
                for location in LOCATIONS
                if (kind, location) not in self.unsold
            ),
        )

    def account(self) -> str | None:
        return self.account_id

    def limits(self) -> Limits:
        if self.quota is None or not self.tells_quota:
            return Limits()
        self._pass()
        return Limits(servers=self.quota, in_use=len(self.boxes))

    @property
    def requests(self) -> Requests:
        def count(kind: str) -> int:
            return sum(1 for call in self.calls if call[0] == kind)

        return Requests(total=len(self.calls), create=count("create"), list=count("list"))

    def close(self) -> None:
        """Nothing is open."""

    # -- within --------------------------------------------------------------------------------

    def _asked(self, operation: str, about: str) -> None:
        self._pass()
        self.calls.append((operation, about))
        if self.faults.get(operation):
            raise self.faults[operation].pop(0)

    def _is_denied(self, id: str) -> bool:
        return self.clock.monotonic() < self.denied.get(id, -math.inf)

    def _pass(self) -> None:
        """Let what time has brought about happen."""
        now = self.clock.monotonic()
        with self._lock:
            self.boxes = {box.id: box for box in self.boxes.values() if box.gone is None or box.gone > now}

    def _refuse(self, request: MachineRequest) -> None:
        """Raise what a real cloud would answer to a request that it does not carry out."""
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", request.name):
            raise InvalidError(f"{request.name!r} is no host name", why="invalid_input")
        if self.unique_names and any(box.name == request.name for box in self.boxes.values()):
            raise NameTakenError(f"{request.name} is taken", why="uniqueness_error")
        if self.catalogue().offer(request.type, request.location) is None:
            raise InvalidError(f"{request.type} is not sold at {request.location}", why="invalid_input")
        if request.image not in self.snapshots:
            raise InvalidError(f"there is no image {request.image}", why="invalid_input")
        if (request.type, request.location) in self.full:
            raise NoCapacityError("no capacity", why="resource_unavailable")
        if self.quota is not None and len(self.boxes) >= self.quota:
            raise QuotaError("the account may not have more servers", why="resource_limit_exceeded")
        addresses = sum(box.addresses for box in self.boxes.values()) + request.addresses
        if self.most_addresses is not None and request.addresses and addresses > self.most_addresses:
            raise AddressQuotaError("the account may not have more addresses", why="resource_limit_exceeded")
        if request.placement_group and len(self._together(request)) >= self.most_together:
            raise InvalidError("the placement group is full", why="placement_group_member_limit_reached")

    def _together(self, request: MachineRequest) -> list[Box]:
        return [box for box in self.boxes.values() if box.placement_group == request.placement_group]

    def _box(self, id: str) -> Box:
        if id not in self.boxes:
            raise GoneError(f"there is no server {id}", why="not_found")
        return self.boxes[id]

    def _phase(self, box: Box) -> Phase:
        if box.gone is not None and self.tells_deleting:
            return Phase.DELETING
        if box.work:
            return box.work
        if box.off:
            return Phase.OFF
        return Phase.RUNNING if box.ready is not None and box.ready <= self.clock.monotonic() else Phase.BOOTING

    def _machine(self, box: Box) -> Machine:
        phase = self._phase(box)
        return Machine(
            id=box.id,
            name=box.name,
            phase=phase,
            vendor_status=str(phase),
            labels=dict(box.labels),
            type=box.type,
            location=box.location,
            image=box.image,
            created=START + timedelta(seconds=box.created),
            ipv4=f"192.0.2.{int(box.id) % 250}",
            protected=box.protected,
        )


class FakeStack:
    """`ports.Stack`: the engine, the program and the plugin as one, with a checkpoint in memory."""

    def __init__(self, owner: Owner, cloud: FakeCloud, fuse: Fuse | None = None) -> None:
        """`fuse` is for a cloud that has none, since it is no fake."""
        self.owner = owner
        self.cloud = cloud
        self.fuse = fuse or cloud.fuse
        self.saved = StackState()
        self.moves: list[Callable[[], object]] = []
        """What happens to the world between a plan and its apply, one per apply."""
        self.failures: list[str] = []
        """The next applies end with these words after their first resource operation."""
        self.apply_errors: list[Exception] = []
        self.record_errors: list[Exception] = []
        self.saves_when_killed = False
        """Whether the engine outlives the run by the moment in which it saves what it did."""
        self.processes = 0
        self.established: list[str] = []
        """The ids that runs saved, or tried to."""
        self.others: list[Identity] = []
        """What other runs save right before the next ones of ours are saved."""

    def read(self) -> StackState:
        return self.saved

    def prepare(self) -> None:
        """Nothing is missing."""

    def owner_of(self, identity: Identity | None) -> Owner:
        return self.owner.with_id(identity.id) if identity else self.owner

    def establish(self, identity: Identity) -> None:
        self.processes += 1
        self.fuse.burn()
        self.established.append(identity.id)
        if self.others:
            self.saved = replace(self.saved, identity=self.others.pop(0))
        there = self.saved.identity
        if there is None or there.id in ("", identity.id):
            self.saved = replace(self.saved, identity=identity)
        self.fuse.burn()

    def preview(self, change: Change, packs: Sequence[PolicyPack] = ()) -> Preview:
        self.processes += 1
        held = self._refreshed(change) if change.refresh else dict(self.saved.entries)
        shown = {}
        for declared in change.declared:
            entry = held.get(declared.name)
            if entry is None:
                shown[declared.name] = "create"
            elif dict(entry.labels) != dict(declared.request.labels):
                shown[declared.name] = "update"
        names = {declared.name for declared in change.declared}
        return Preview(operations=shown | {name: "delete" for name in held if name not in names})

    def apply(self, change: Change) -> Applied:
        self.processes += 1
        if self.apply_errors:
            raise self.apply_errors.pop(0)
        if self.moves:
            self.moves.pop(0)()
        owner = self.owner_of(change.identity)
        machines = self.cloud.list_owned(self.owner)
        lost = {machine.id for machine in machines if owner.excludes(machine.labels)}
        listed = {machine.id for machine in machines}
        found = listed - change.unclaimed - (lost & change.expected)
        labels = {missed: self._labels_of(missed) for missed in change.expected - listed}
        found |= {missed for missed, carried in labels.items() if carried is not None and not owner.excludes(carried)}
        if found != change.expected or change.is_overruled_by(self.saved):
            return Applied(moved=True)
        operation = _Operation(self, change, self._refreshed(change) if change.refresh else dict(self.saved.entries))
        if self.failures:
            operation.stops_with = self.failures.pop(0)
        try:
            operation.run()
        except Killed:
            if self.saves_when_killed:
                self.saved = replace(self.saved, entries=operation.held)
            raise
        self.fuse.burn()
        self.saved = StackState(
            entries=operation.held,
            outputs=self.saved.outputs if operation.failure else dict(change.outputs),
            foreign=self.saved.foreign,
            identity=self.saved.identity if operation.failure else change.identity,
            orders=self.saved.orders if operation.failure else _exported(change.orders),
        )
        self.fuse.burn()
        return Applied(
            accepted=operation.accepted, deleted=operation.deleted, errors=operation.errors, failure=operation.failure
        )

    def _labels_of(self, id: str) -> Mapping[str, str] | None:
        """The labels of a machine that no list shows; None if it is gone. No request that a test counts."""
        box = self.cloud.boxes.get(id)
        return box.labels if box else None

    def record(
        self,
        describe: Callable[[Sequence[Machine]], Mapping[str, Server]],
        identity: Identity | None = None,
        orders: Callable[[], Orders | None] = lambda: None,
    ) -> Mapping[str, Server]:
        self.processes += 1
        if self.record_errors:
            raise self.record_errors.pop(0)
        machines = self.cloud.list_owned(self.owner)
        servers = describe(machines)
        self.fuse.burn()
        self.saved = StackState(
            entries=self._read_again(self.saved.entries),
            outputs=dict(servers),
            identity=identity,
            orders=_exported(orders()),
        )
        return servers

    def _refreshed(self, change: Change) -> dict[str, StackEntry]:
        kept = {
            name: entry for name, entry in self.saved.entries.items() if change.permits.forget.get(name) != entry.id
        }
        return self._read_again(kept)

    def _read_again(self, entries: Mapping[str, StackEntry]) -> dict[str, StackEntry]:
        read = {}
        for name, entry in entries.items():
            try:
                machine = self.cloud.get(entry.id)
            except GoneError:
                continue
            read[name] = replace(entry, labels=dict(machine.labels))
        return read


def _exported(orders: Orders | None) -> Orders | None:
    """As the real one, which exports no orders before somebody gave some."""
    return orders if orders and orders.serial else None


class _Operation:
    """One `up`: what is declared and not held is created, what is held and not declared is deleted."""

    def __init__(self, stack: FakeStack, change: Change, held: dict[str, StackEntry]) -> None:
        self.cloud = stack.cloud
        self.owner = stack.owner_of(change.identity)
        self.change = change
        self.held = held
        self.accepted: dict[str, str] = {}
        self.deleted: dict[str, str] = {}
        self.errors: dict[str, Exception] = {}
        self.failure: str | None = None
        self.stops_with: str | None = None

    def run(self) -> None:
        declared = {item.name: item for item in self.change.declared}
        for name, item in declared.items():
            self._try(name, lambda name=name, item=item: self._declare(name, item))  # type: ignore[misc]
        for name in [name for name in self.held if name not in declared]:
            self._try(name, lambda name=name: self._delete(name))  # type: ignore[misc]

    def _try(self, name: str, operation: Callable[[], None]) -> None:
        if self.failure is not None and self.failure == self.stops_with:
            return
        try:
            operation()
        except CloudError as error:
            self.errors[name] = error
            self.failure = self.failure or str(error)
        except PermissionError as refusal:
            self.failure = str(refusal)
        self.failure = self.failure or self.stops_with

    def _declare(self, name: str, item: Declared) -> None:
        permits = self.change.permits
        entry = self.held.get(name)
        if entry is None:
            machine = self._adopt(name) if name in permits.adopt else self._create(name, item.request)
            self.accepted[name] = machine.id
            # As the plugin does: a new resource holds the inputs that were declared for it.
            self.held[name] = StackEntry(name, item.group, machine.id, dict(machine.labels))
        elif dict(entry.labels) != dict(item.request.labels):
            self._require(name in permits.update, f"update {name}")
            self.cloud.set_labels(entry.id, item.request.labels)
            self.held[name] = replace(entry, labels=dict(item.request.labels))

    def _adopt(self, name: str) -> Machine:
        machine = self.cloud.get(self.change.permits.adopt[name])
        self._require(not self.owner.excludes(machine.labels), f"adopt {name}")
        return machine

    def _create(self, name: str, request: MachineRequest) -> Machine:
        self._require(name in self.change.permits.create, f"create {name}")
        try:
            return self.cloud.create(request)
        except AmbiguousError:
            found = [m for m in self.cloud.find(name, self.owner) if m.id not in self.change.expected]
            if not found:
                raise
            return found[0]

    def _delete(self, name: str) -> None:
        entry = self.held[name]
        self._require(self.change.permits.delete.get(name) == entry.id, f"delete {name}")
        try:
            self._require(not self.owner.excludes(self.cloud.get(entry.id).labels), f"delete {name}, which is not ours")
            self.cloud.delete(entry.id)
        except GoneError:
            pass
        self.deleted[name] = entry.id
        del self.held[name]

    @staticmethod
    def _require(permitted: bool, what: str) -> None:
        if not permitted:
            raise PermissionError(f"the plan does not say to {what}")


class FakeRecords:
    """`ports.Records` in memory, with the events that the real one would log."""

    def __init__(self, fuse: Fuse) -> None:
        self.boots: dict[str, list[timedelta]] = {}
        """What it says of past boots."""
        self.fuse = fuse
        self.servers: dict[str, Server] = {}
        self.given: Orders | None = None
        self.known_identity: Identity | None = None
        self.events: list[Event] = []
        self.decisions: list[Any] = []
        self.notices: list[str] = []
        self.errors: list[StateError] = []

    def load(self, *, set_aside_damaged: bool = False) -> tuple[Server, ...]:
        return tuple(self.servers.values())

    def orders(self) -> Orders | None:
        return self.given

    @property
    def counts(self) -> dict[str, int]:
        """The wanted counts as they are recorded."""
        return dict(self.given.wanted) if self.given else {}

    def identity(self) -> Identity | None:
        return self.known_identity

    def save(
        self,
        orders: Orders,
        servers: Mapping[str, Server],
        steps: Sequence[Step],
        identity: Identity | None = None,
    ) -> None:
        self.fuse.burn()
        if self.errors:
            raise self.errors.pop(0)
        self.events += transitions(self.servers, servers, steps)
        self.events += pause_events(self.given or Orders(), orders)
        self.events += roll_events(self.given or Orders(), orders)
        self.servers, self.given, self.known_identity = dict(servers), orders, identity
        self.fuse.burn()

    def log_run(self, run: Callable[[], Result]) -> Result:
        return run()

    def log_look(self, look: Callable[[], T]) -> T:
        return look()

    def log_decision(self, group: str, reason: str, decision: Mapping[str, object]) -> None:
        self.decisions.append(decision)

    def log_metric(self, group: str, text: str) -> None:
        self.notices.append(text)

    def log_snapshot(self, event: EventName, server: Server, reason: str) -> None:
        self.events.append(Event(event=event, server=server.name, group=server.group, reason=reason))

    def share(self) -> None:
        self.fuse.burn()

    def removal_times(self) -> Mapping[str, Sequence[timedelta]]:
        return removal_times(self.events)

    def boot_times(self) -> Mapping[str, Sequence[timedelta]]:
        return self.boots

    def lose(self) -> None:
        self.servers, self.given, self.known_identity = {}, None, None


@dataclass
class FakeDrains:
    """`ports.Drains`: the drains of a machine that outlives its runs, each of which takes the same time."""

    clock: FakeClock
    takes_s: float = 0.0
    fails: str | None = None
    """How each drain fails, if it does."""
    refuses_resume: str | None = None
    resumes_slowly: int = 0
    """How many of the next attempts to take a server back go on when they are asked about."""
    announced: dict[str, Server] = field(default_factory=dict)
    """By cloud id; what another machine announced is not here."""
    started: dict[str, float] = field(default_factory=dict)
    """By cloud id: when the drain that lives was started; none after a restart of the machine."""
    starts: list[str] = field(default_factory=list)
    """The servers whose drain was started, as often as it was."""
    resumed: list[str] = field(default_factory=list)

    def announce(self, servers: Collection[Server]) -> None:
        self.announced |= {server.id or "": server for server in servers}

    def start(self, drains: Sequence[tuple[Server, StopPolicy]]) -> Mapping[str, DrainFinding]:
        for server, _ in drains:
            assert server.id not in self.started, f"{server.name} drains already"
            self.starts.append(server.name)
            self.started[server.id or ""] = self.clock.monotonic()
        return {server.name: DrainFinding(DrainState.DONE) for server, policy in drains if policy.drained}

    def look(self, asked: Sequence[tuple[Server, StopPolicy]]) -> None:
        """Every drain here is known at once."""

    def find(self, server: Server, policy: StopPolicy) -> DrainFinding:
        if not policy.drained and server.id not in self.announced:
            return DrainFinding(DrainState.ELSEWHERE)
        if server.id not in self.started:
            return DrainFinding(DrainState.LOST)
        if self.clock.monotonic() < self.started[server.id or ""] + self.takes_s:
            return DrainFinding(DrainState.WORKING)
        return DrainFinding(DrainState.FAILED, self.fails) if self.fails else DrainFinding(DrainState.DONE)

    def resume(self, server: Server, policy: StopPolicy) -> DrainFinding:
        self.started.pop(server.id or "", None)
        self.resumed.append(server.name)
        if self.resumes_slowly:
            self.resumes_slowly -= 1
            return DrainFinding(DrainState.WORKING)
        why = self.refuses_resume
        return DrainFinding(DrainState.FAILED, why) if why else DrainFinding(DrainState.DONE)

    def keep_only(self, ids: Collection[str]) -> None:
        self.announced = {known: server for known, server in self.announced.items() if known in ids}
        self.started = {known: moment for known, moment in self.started.items() if known in ids}


class NamedReadiness:
    """`ports.ReadinessChecks`: every server passes its check but those that are named."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.unreachable: set[str] = set()

    def is_ready(self, how: Readiness, server: Server) -> bool:
        return server.name not in self.failing | self.unreachable

    def finish(self, asked: Sequence[tuple[Readiness, Server]]) -> frozenset[str]:
        return frozenset(server.name for how, server in asked if self.is_ready(how, server))

    def probe(self, how: Readiness, servers: Sequence[Server]) -> Mapping[str, CheckResult]:
        failed = dict.fromkeys(self.failing, CheckResult.FAILED)
        results = failed | dict.fromkeys(self.unreachable, CheckResult.NO_ANSWER)
        return {server.name: results.get(server.name, CheckResult.PASSED) for server in servers}

    def trouble(self, server: Server) -> str | None:
        return "its check fails" if server.name in self.failing else None


class NamedHealth:
    """`ports.HealthChecks`: every server passes its check but those that are named; counts how often each was asked."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.unreachable: set[str] = set()
        self.asked: list[str] = []

    def check(self, asked: Sequence[tuple[Readiness, Server]]) -> Mapping[str, CheckReport]:
        names = [server.name for _, server in asked]
        self.asked += names
        return {name: self._report(name) for name in names}

    def _report(self, name: str) -> CheckReport:
        if name in self.unreachable:
            return CheckReport(CheckResult.NO_ANSWER, "no answer within 5s")
        if name in self.failing:
            return CheckReport(CheckResult.FAILED, "HTTP 500")
        return CheckReport(CheckResult.PASSED)


class RecordingProgress:
    """`ports.Progress` that remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.shown: list[tuple[str, str]] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def server(self, name: str, status: str, note: str = "") -> None:
        self.shown.append((name, status))

    def waiting(self, ready: int, wanted: int) -> None:
        """Only for a person to look at."""

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Setting:
    """One stack at one cloud: the spec, the world, and the runs made in it."""

    def __init__(self, made_for: Spec | None = None) -> None:
        self.spec = made_for or spec()
        self.owner = self.spec.owner
        self.clock = FakeClock()
        self.fuse = Fuse()
        self.cloud = FakeCloud(self.clock, self.fuse)
        self.stack = FakeStack(self.owner, self.cloud)
        self.records = FakeRecords(self.fuse)
        self.readiness = NamedReadiness()
        self.health = NamedHealth()
        self.progress = RecordingProgress()
        self.drains = FakeDrains(self.clock)
        self.shortages = Shortages()
        self.place = Place(project="scaler", cloud="hetzner", endpoint="embedded", token="a")

    @property
    def around(self) -> Ports:
        return Ports(
            cloud=self.cloud,
            stack=self.stack,
            records=self.records,
            readiness=self.readiness,
            health=self.health,
            drains=self.drains,
            place=self.place,
            clock=self.clock,
            progress=self.progress,
            shortages=self.shortages,
            limit=TimeLimit(self.clock),
        )

    def ensure(self, count: int | None = None, *, options: Options | None = None, **counts: int) -> Result:
        """Run `ensure`, for the spec's only group or by group; the others keep the spec's counts."""
        wanted = {name: item.count for name, item in self.spec.groups.items()}
        if count is not None:
            (only,) = self.spec.groups
            wanted[only] = count
        return self.run(Demand(wanted | counts), options)

    def run(self, demand: Demand, options: Options | None = None) -> Result:
        return ensure(self.spec, demand, options or Options(), self.around)

    def with_servers(self, **counts: int) -> Setting:
        """Bring these counts about, and forget how."""
        result = self.ensure(None, options=None, **counts)
        assert result.outcome in ("converged", "unchanged"), (result, self.progress.warnings)
        self.cloud.calls.clear()
        self.stack.processes = 0
        self.progress = RecordingProgress()
        return self

    def label(self, group_name: str = "worker") -> dict[str, str]:
        """The labels of a server of a group, as a create request would carry them."""
        from scaler.planning.template import fingerprint

        return self.owner.with_id(self.known_id).group_labels(group_name, fingerprint(self.spec.groups[group_name]))

    @property
    def known_id(self) -> str:
        """The stack's id; the backend has one from then on."""
        known = self.stack.saved.identity or self.records.known_identity
        if known is None:
            place = self.place
            known = Identity(
                id="1d" * 4,
                project=place.project,
                cloud=place.cloud,
                endpoint=place.endpoint,
            ).with_token(place)
        if self.stack.saved.identity is None:
            # No server carries an id that the backend does not have.
            self.stack.saved = replace(self.stack.saved, identity=known)
        return known.id

    @property
    def ready(self) -> list[str]:
        return self.cloud.ready(self.owner)

    @property
    def owned(self) -> list[str]:
        return self.cloud.owned(self.owner)

    def held(self) -> dict[str, str]:
        """Name → id, as the stack has it."""
        return {name: entry.id for name, entry in self.stack.saved.entries.items()}

    def is_in_order(self) -> bool:
        """Whether stack, outputs, records and cloud tell the same of the same machines."""
        ids = {box.id for box in self.cloud.boxes.values() if self.owner.owns(box.labels)}
        outputs = {server.id for server in self.stack.saved.outputs.values()}
        live = {server.id for server in self.records.servers.values() if server.id and not server.finished}
        return set(self.held().values()) == ids == outputs == live and not self.stack.saved.pending


def taken(result: Result) -> list[tuple[str, str]]:
    """A result's steps as (action, server)."""
    return [(str(report.step.action), report.step.server) for report in result.steps]


def passing(count: int = 1) -> list[Exception]:
    return [TransientError("try later", why="503") for _ in range(count)]


def engine_failure() -> EngineError:
    return EngineError("The engine failed.", why="boom")
