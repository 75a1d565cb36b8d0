"""Make a snapshot of a server, and delete those that are no longer needed.

The snapshot's name is recorded before the cloud is asked for it. So a repeat, after a lost answer or a kill, finds
what the cloud made, and does not ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import field, replace
from datetime import timedelta

from scaler.clouds import PASSING, AmbiguousError, CloudError
from scaler.clouds.snapshots import Making, MakingState, Snapshot, Snapshots
from scaler.converge.checks import find_server, wrong_status
from scaler.converge.knowledge import Knowledge
from scaler.converge.make_plan import learn_current
from scaler.converge.observe import observe
from scaler.converge.ports import Ports
from scaler.converge.power import power_off, power_on
from scaler.converge.record import record, save
from scaler.errors import ScalerError, UsageError
from scaler.model import Outcome, Server, Spec
from scaler.model.events import EventName
from scaler.model.lifecycle import Status
from scaler.model.orders import NamedOperation
from scaler.planning.absence import GRACE
from scaler.planning.guards import check_not_set_aside
from scaler.planning.snapshots import Surplus, is_found, named_by, pinned_by, selected_labels, surplus
from scaler.records.state_file import rolls_of_others
from scaler.support.values import dataclass

_POLL_S = 2.0

_FITTING = (Status.RUNNING, Status.UNHEALTHY, Status.STOPPED)

_LOOKS = 5
"""How often the list of snapshots is read until a deleted one is gone."""


@dataclass(frozen=True, kw_only=True)
class SnapshotOrder:
    """What is asked for."""

    server: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Empty: those that the spec's selector asks for."""
    keep: int | None = None
    """How many of the snapshots with these labels stay, the new one among them; None: all."""
    power_off: bool = False
    timeout: timedelta = timedelta(minutes=30)
    apply: bool = True
    """False: only say what would be done."""
    approve: Callable[[Taken], bool] | None = None

    @property
    def command(self) -> str:
        """The command as a person types it, but for what its repeat may say otherwise: that goes on with it."""
        labels = [f"--label {key}={value}" for key, value in sorted(self.labels.items())]
        return " ".join(["snapshot", self.server, *labels, *(["--power-off"] if self.power_off else [])])


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What came of it, or what would be done."""

    stack: str
    server: str
    name: str
    labels: Mapping[str, str]
    outcome: Outcome = Outcome.PLANNED
    snapshot: str | None = None
    """The snapshot's id."""
    surplus: Surplus = field(default_factory=Surplus)
    """What was deleted, or would be."""
    failures: tuple[ScalerError, ...] = ()
    declined: bool = False
    elapsed: timedelta = timedelta()

    def fail(self, *errors: ScalerError) -> Taken:
        """Return it with failures."""
        return replace(self, failures=(*self.failures, *errors), outcome=Outcome.FAILED) if errors else self


def take(spec: Spec, ports: Ports, order: SnapshotOrder) -> Taken:
    """Make the snapshot, wait until it can be used, and delete those beyond `keep`.

    UsageError for a server that is not there or not fit, for labels that are not known, and at a cloud that makes no
    snapshots here. CloudError where the cloud refuses.
    """
    started = ports.clock.monotonic()
    knowledge = _observe(spec, ports, order)
    server, snapshots = _server(knowledge, order), _snapshots(ports)
    labels = order.labels or _labels(knowledge, server)
    _warn_unless_found(knowledge, server, labels, ports)
    operation = _operation(knowledge, server, order, ports)
    planned = Taken(stack=spec.stack, server=server.name, name=operation.snapshot, labels=labels)
    if order.keep is not None:
        # The new one takes one of the places.
        planned = replace(planned, surplus=_surplus(knowledge, labels, order.keep - 1, snapshots, ports))
    if not order.apply:
        return planned
    asked = ports.clock.monotonic()
    if order.approve and not order.approve(planned):
        return replace(planned, declined=True, outcome=Outcome.UNCHANGED)
    # The time that a person takes to answer is none of the run's.
    started += ports.clock.monotonic() - asked
    scene = _Scene(
        spec=spec, order=order, snapshots=snapshots, labels=labels, deadline=started + order.timeout.total_seconds()
    )
    taken = _carry_out(scene, knowledge, operation, replace(planned, surplus=Surplus()), ports)
    return replace(taken, elapsed=timedelta(seconds=ports.clock.monotonic() - started))


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What all parts of it need."""

    spec: Spec
    order: SnapshotOrder
    snapshots: Snapshots
    labels: Mapping[str, str]
    deadline: float


def _observe(spec: Spec, ports: Ports, order: SnapshotOrder) -> Knowledge:
    if not order.apply:
        return observe(spec, ports)
    return ports.records.log_look(lambda: observe(spec, ports))


# ---------------------------------------------------------------------------------------------
# What is asked for


def _server(knowledge: Knowledge, order: SnapshotOrder) -> Server:
    server = find_server(knowledge.spec, knowledge.world, order.server)
    check_not_set_aside(knowledge.world, server)
    if server.status not in _FITTING or server.drain is not None:
        raise wrong_status(server, "made a snapshot of")
    return server


def _snapshots(ports: Ports) -> Snapshots:
    snapshots: Snapshots | None = getattr(ports.cloud, "snapshots", None)
    if snapshots is None:
        raise UsageError(f"Snapshots cannot be made at {ports.cloud.name} from here.", fix="Use its own tools.")
    return snapshots


def _labels(knowledge: Knowledge, server: Server) -> Mapping[str, str]:
    group = knowledge.spec.groups.get(server.group)
    labels = selected_labels(group.image) if group else None
    if not labels:
        image = f"its image is {group.image}" if group else "the spec has no such group"
        raise UsageError(
            f"Which labels the snapshot of {server.name} is to have is not known.", why=image, fix="Give --label."
        )
    return labels


def _warn_unless_found(knowledge: Knowledge, server: Server, labels: Mapping[str, str], ports: Ports) -> None:
    group = knowledge.spec.groups.get(server.group)
    if group and not is_found(group.image, labels):
        ports.progress.warn(f"the spec's selector of {group.name}, {group.image.value}, will not find this snapshot")


def _operation(knowledge: Knowledge, server: Server, order: SnapshotOrder, ports: Ports) -> NamedOperation:
    """Return what the same command began, or a new operation."""
    known = knowledge.orders.unfinished(order.command)
    if known and known.server == server.id:
        ports.progress.note(f"going on with {known.snapshot}, which began at {known.since:%Y-%m-%d %H:%M} UTC")
        return known
    now = ports.clock.now()
    return NamedOperation(
        command=order.command, since=now, snapshot=f"{server.name}-{now:%Y%m%d-%H%M%S}", server=server.id or ""
    )


# ---------------------------------------------------------------------------------------------
# Making it


def _carry_out(scene: _Scene, knowledge: Knowledge, operation: NamedOperation, taken: Taken, ports: Ports) -> Taken:
    server, is_off = knowledge.world.servers[taken.server], scene.order.power_off
    try:
        making = _found_or_made(scene, knowledge, operation, server, ports)
        # With its power off, no other run may see the server and power it on.
        with nullcontext() if is_off else ports.unlocked():
            making = _wait(scene, operation, making, ports)
        if making.snapshot and making.state is MakingState.DONE:
            scene.snapshots.label(making.snapshot, scene.labels)
    except CloudError as error:
        # What may have been obeyed is not over: the repeat looks for it.
        is_over = not isinstance(error, (AmbiguousError, *PASSING))
        ports.records.log_snapshot(EventName.SNAPSHOT_FAILED, server, f"{operation.snapshot}: {error}")
        _conclude(scene, operation, ports, is_over=is_over)
        raise
    taken = replace(taken, snapshot=making.snapshot)
    if making.state is MakingState.RUNNING:
        ports.progress.warn(f"{operation.snapshot} is still being made: the same command goes on with it")
        return replace(taken, outcome=Outcome.UNCONFIRMED)
    if making.state is MakingState.FAILED or making.snapshot is None:
        ports.records.log_snapshot(EventName.SNAPSHOT_FAILED, server, f"{operation.snapshot}: {making.error}")
        _, unready = _conclude(scene, operation, ports)
        return taken.fail(_failure(operation, making), *unready)
    ports.records.log_snapshot(EventName.SNAPSHOT_CREATED, server, f"{operation.snapshot} ({making.snapshot})")
    knowledge, unready = _conclude(scene, operation, ports)
    taken = replace(taken, outcome=Outcome.CONVERGED).fail(*unready)
    return taken if scene.order.keep is None else _thin_out(scene, knowledge, server, taken, ports)


def _failure(operation: NamedOperation, making: Making) -> ScalerError:
    return ScalerError(
        f"The cloud did not make the snapshot {operation.snapshot}.",
        why=making.error,
        fix="Run the command again.",
        code="snapshot_failed",
    )


def _found_or_made(
    scene: _Scene, knowledge: Knowledge, operation: NamedOperation, server: Server, ports: Ports
) -> Making:
    """Return the making of the operation's snapshot, whoever asked for it: this run, or one before it."""
    is_asked = bool(operation.after)
    if is_asked:
        left = (operation.since + GRACE - ports.clock.now()).total_seconds()
        if found := _find(scene, operation, ports.clock.monotonic() + left, ports):
            return found
    if scene.order.power_off:
        knowledge = power_off(knowledge, server, ports, scene.deadline)
    after = scene.snapshots.newest(operation.server)
    asked = replace(operation, since=ports.clock.now(), after=after)
    knowledge = knowledge.order(operations=knowledge.orders.with_operation(asked))
    save(knowledge, ports)
    ports.records.share()
    ports.records.log_snapshot(EventName.SNAPSHOT_CREATING, server, operation.snapshot)
    ports.progress.phase(f"making the snapshot {operation.snapshot}")
    ports.require_turn()
    try:
        return scene.snapshots.make(operation.server, operation.snapshot, scene.labels)
    except AmbiguousError as error:
        ports.progress.note(f"the answer was lost, looking for the snapshot: {error}")
        found = _find(scene, asked, ports.clock.monotonic() + GRACE.total_seconds(), ports)
        if found is None:
            raise
        return found


def _find(scene: _Scene, operation: NamedOperation, until: float, ports: Ports) -> Making | None:
    """Look for the snapshot until it is seen, or until `until` (of `clock.monotonic`): lists lag."""
    while True:
        try:
            if found := scene.snapshots.find(operation.server, operation.snapshot, operation.after):
                return found
            if ports.clock.monotonic() >= until:
                return None
        except PASSING as error:
            # Whoever is not told whether it is there must not ask for another one.
            if ports.clock.monotonic() >= max(until, scene.deadline):
                raise
            ports.progress.note(f"the cloud did not answer, asking again: {error}")
        ports.clock.sleep(_POLL_S)


def _wait(scene: _Scene, operation: NamedOperation, making: Making, ports: Ports) -> Making:
    """Wait until the snapshot can be used, its making failed, or the time is up."""
    clock = ports.clock
    while making.state is MakingState.RUNNING and clock.monotonic() < scene.deadline:
        ports.progress.waiting(0, 1)
        clock.sleep(min(_POLL_S, max(0.0, scene.deadline - clock.monotonic())))
        try:
            making = scene.snapshots.look(operation.server, operation.snapshot, making)
        except PASSING as error:
            ports.progress.note(f"the cloud did not answer, still waiting: {error}")
    return making


def _conclude(
    scene: _Scene, operation: NamedOperation, ports: Ports, *, is_over: bool = True
) -> tuple[Knowledge, list[ScalerError]]:
    """Power the server on again if it was to be off, and note in the records that the operation is over.

    Other runs may have changed the stack meanwhile, so it is observed anew.
    """
    knowledge, errors = observe(scene.spec, ports), list[ScalerError]()
    if scene.order.power_off:
        knowledge, errors = power_on(knowledge, scene.order.server, ports, scene.deadline)
    if is_over:
        knowledge = knowledge.order(operations=knowledge.orders.without_operation(operation.command))
    if scene.order.power_off:
        knowledge = record(knowledge, ports)
    save(knowledge, ports)
    return knowledge, errors


# ---------------------------------------------------------------------------------------------
# Thinning out


def _surplus(knowledge: Knowledge, labels: Mapping[str, str], keep: int, snapshots: Snapshots, ports: Ports) -> Surplus:
    """Return which snapshots go, so that `keep` of the newest with these labels stay."""
    spec = knowledge.spec
    current = learn_current(spec.groups.keys(), knowledge, ports).advice.current
    unknown = [name for name in spec.groups if not current[name].images]
    rolls = [*knowledge.orders.rolls.values(), *rolls_of_others(ports.records_folder, spec.stack)]
    spared = {
        **{image: f"new servers of {name} are made from it" for name in current for image in current[name].images},
        **pinned_by(rolls),
        **named_by(list(spec.groups.values())),
        **dict.fromkeys(snapshots.used(), "servers were made from it"),
    }
    why = f"what new servers of {unknown[0]} are made from is not known now" if unknown else ""
    return surplus(snapshots.all(), labels, keep, spared, why)


def _thin_out(scene: _Scene, knowledge: Knowledge, server: Server, taken: Taken, ports: Ports) -> Taken:
    """Delete the snapshots that are too many, and prove that they are gone."""
    keep, errors = scene.order.keep or 1, list[ScalerError]()
    try:
        found = _surplus(knowledge, scene.labels, keep, scene.snapshots, ports)
        for each in found.remove:
            ports.progress.phase(f"deleting the snapshot {each.name} ({each.id})")
            ports.require_turn()
            scene.snapshots.delete(each.id)
        left = _left(scene, found.remove, ports)
    except CloudError as error:
        return taken.fail(error)
    for each in found.remove:
        if each.id in left:
            errors.append(
                ScalerError(
                    f"The snapshot {each.name} ({each.id}) is still there.",
                    fix="Run the same command again.",
                    code="not_deleted",
                )
            )
        else:
            ports.records.log_snapshot(EventName.SNAPSHOT_DELETED, server, f"{each.name} ({each.id})")
    return replace(taken, surplus=found).fail(*errors)


def _left(scene: _Scene, removed: Sequence[Snapshot], ports: Ports) -> frozenset[str]:
    """Return which of these snapshots are still there: lists lag."""
    left = frozenset(each.id for each in removed)
    for attempt in range(_LOOKS):
        if attempt:
            ports.clock.sleep(_POLL_S)
        if not left:
            break
        left &= {each.id for each in scene.snapshots.all()}
    return left
