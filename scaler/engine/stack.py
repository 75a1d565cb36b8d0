"""The Pulumi stack of a run: the engine, the program and the plugin put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from scaler.clouds import Cloud
from scaler.engine.backend import LocalBackend
from scaler.engine.checkpoint import Checkpoint, is_foreign
from scaler.engine.official import error_of, is_unanswered
from scaler.engine.plugin import resource_type
from scaler.engine.plugin.operation import Operation
from scaler.engine.policy_packs import explain, is_unjudged, launchers, not_started
from scaler.engine.remote_backend import RemoteBackend
from scaler.engine.secrets import is_about_secrets
from scaler.errors import EngineError, LockedError
from scaler.model import (
    Applied,
    Change,
    Declaration,
    Declared,
    Machine,
    MachineRequest,
    Permits,
    PolicyPack,
    Preview,
    Server,
    Spec,
    StackEntry,
    StackState,
    Violation,
)
from scaler.model.identity import Identity
from scaler.model.orders import Orders
from scaler.model.ownership import GROUP, Owner, decode_tags
from scaler.planning.recognition import check_foreign
from scaler.planning.template import existing_server
from scaler.records.codec import own_output, read_outputs, server_to_json
from scaler.records.lock_note import LockNotes
from scaler.support.clock import Clock
from scaler.support.environment import CommandEnvironment
from scaler.support.text import LONGEST, one_line

if TYPE_CHECKING:
    from scaler.engine.events import Ran
    from scaler.engine.host import Program
    from scaler.engine.policy_packs import PackFiles
    from scaler.engine.process import Engine, PolicyEvent

T = TypeVar("T")

_PARALLEL = 64
"""Resource operations at a time; the governor observes the cloud's rate limits."""


class _WorldMovedError(Exception):
    """Raised inside the program, under the lock, before anything is registered."""


class PulumiStack:
    """`ports.Stack` over the real engine."""

    def __init__(
        self,
        spec: Spec,
        open_engine: Callable[[], Engine],
        backend: LocalBackend | None,
        cloud: Cloud,
        clock: Clock,
        open_draft: Callable[[], Engine] | None = None,
        confirm: Callable[[], None] = lambda: None,
        remote: RemoteBackend | None = None,
        notes: LockNotes | None = None,
    ) -> None:
        """`open_engine` is called when the engine is first needed: a run with nothing to do needs none.

        `open_draft` opens an engine with an empty backend of its own, which previews a stack that does not
        exist yet, so that a preview makes none; None: the stack is made for its first preview.

        `confirm` is called under the stack's lock, before anything is changed or saved; it raises a LockedError where
        this run must not go on.

        `remote` is the backend, where it is no folder and can be read without the engine. `notes` are those of the runs
        whose engines have the stack's lock or want it.
        """
        self._remote = remote
        self._notes = notes
        self._confirm = confirm
        self._spec = spec
        self._open_engine = open_engine
        self._open_draft = open_draft
        self._backend = backend
        self._cloud = cloud
        self._clock = clock
        self._type = resource_type(spec.cloud).type
        self._saved = Checkpoint()
        """As it was read last."""
        self._is_official = spec.plugin == "official"

    @cached_property
    def _engine(self) -> Engine:
        return self._open_engine()

    @cached_property
    def _previewer(self) -> Engine:
        is_new = not self._state_of(self._saved).is_known
        return self._open_draft() if self._open_draft and is_new else self._engine

    @property
    def processes(self) -> int:
        return self._engine.processes if "_engine" in self.__dict__ else 0

    def read(self) -> StackState:
        if self._backend:
            self._backend.check_layout()
            self._backend.heal_locks(self._notes)
            self._backend.heal_half_files(self._clock.now())
            self._backend.heal_checkpoint()
        self._saved = self._checkpoint()
        return self._state_of(self._saved)

    def _owner_of(self, identity: Identity | None) -> Owner:
        return self._spec.owner.with_id(identity.id) if identity else self._spec.owner

    def _checkpoint(self) -> Checkpoint:
        """Read the stack as it is saved now, also from inside a program, under the lock.

        Where only the engine can read the backend, that is a process of its own, which takes no lock.
        """
        backend = self._backend or self._remote
        return (backend.checkpoint() if backend else None) or self._engine.checkpoint()

    def prepare(self) -> None:
        self._engine.prepare()

    def preview(self, change: Change, packs: Sequence[PolicyPack] = ()) -> Preview:
        engine = self._previewer
        engine.prepare()
        # Permit only what the plan forgets: a preview must leave it out as the run will, and must do nothing else.
        operation = Operation(self._cloud, self._owner_of(change.identity), Permits(forget=change.permits.forget))
        with self._serving(operation, engine) as port, launchers(packs, self._withheld(engine)) as files:
            _refuse_unknown_policies(packs, files, engine.environ)
            ran = _previewed(engine, self._program(change), port, change, packs, files)
            violations = tuple(self._violation(event, packs, files, engine.environ) for event in ran.events.violations)
        check_foreign(
            self._spec, [urn for urn, kind in ran.events.operations.items() if kind == "delete" and is_foreign(urn)]
        )
        if ran.refusal and not packs:
            raise ran.refusal
        if ran.error and not any(violation.forbids for violation in violations):
            raise explain(ran.error, ran.events.last_line, packs, files)
        if packs:
            self._refuse_remediation(change, ran.events.inputs)
        operations = {name: kind for name, kind in self._servers_in(ran.events.operations) if kind != "refresh"}
        if self._is_official:
            # The official plugin would delete what is to be forgotten; `apply` has ours forget it first.
            operations = {name: kind for name, kind in operations.items() if name not in change.permits.forget}
        return Preview(operations=operations, violations=violations)

    def _withheld(self, engine: Engine) -> list[str]:
        """Return the variables of the engine's environment that policy packs do not get."""
        return sorted(CommandEnvironment.of(engine.environ, self._spec.env).withheld)

    def _servers_in(self, by_urn: Mapping[str, T]) -> Iterator[tuple[str, T]]:
        """Return the name and value of each of our servers, from values by URN."""
        return ((_name(urn), value) for urn, value in by_urn.items() if f"${self._type}::" in urn)

    def _violation(
        self,
        event: PolicyEvent,
        packs: Sequence[PolicyPack],
        files: Sequence[PackFiles],
        environ: Mapping[str, str],
    ) -> Violation:
        urn = event.resource_urn or ""
        forbids = event.enforcement_level == "mandatory"
        if not forbids and is_unjudged(event.message):
            from scaler.engine.policy_levels import is_mandatory

            forbids = is_mandatory(event.policy_name, event.policy_pack_name, packs, files, environ)
        return Violation(
            policy=event.policy_name,
            pack=event.policy_pack_name,
            level="mandatory" if forbids else "advisory",
            server=_name(urn) if f"${self._type}::" in urn else None,
            message=one_line(event.message, LONGEST),
        )

    def _refuse_remediation(self, change: Change, shown: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse a pack that changes what is created: the preview shows the change, but the run would not make it."""
        inputs = dict(self._servers_in(shown))
        for server in change.declared:
            if server.exists or server.name not in inputs:
                continue
            given = dict(inputs[server.name])
            if isinstance(given.get("userData"), Mapping):
                # A secret, which the engine does not show; a value that a policy changed is a plain text.
                given["userData"] = server.request.user_data
            if resource_type(self._spec.cloud).request(server.name, given) != server.request:
                raise EngineError(
                    f"A policy pack would change {server.name} instead of refusing it; nothing was changed.",
                    why="a policy at the level `remediate` gave it other inputs than the spec says",
                    fix="Set its level to mandatory or advisory, in the pack or in `policies` of the spec.",
                    code="policy_pack",
                )

    def apply(self, change: Change) -> Applied:
        self._engine.prepare()
        return self._apply_officially(change) if self._is_official else self._apply(change, self._program(change))

    def _apply(self, change: Change, declaring: Program) -> Applied:
        """Carry a change out through our plugin."""
        operation = Operation(self._cloud, self._owner_of(change.identity), change.permits)
        with self._serving_ours(operation) as port:
            try:
                ran, moved = self._up(change, declaring, operation, port)
            except KeyboardInterrupt as interrupt:
                # What was accepted by now has to be recorded: there may be no time to look for it.
                return _applied(operation, interrupt=interrupt)
        return _applied(operation, moved=moved, failure=None if moved else ran.error)

    def _up(self, change: Change, declaring: Program, operation: Operation, port: int | None) -> tuple[Ran, bool]:
        """Run the engine's `up`; return also whether the world had moved, so that nothing was done."""
        moved: list[str] = []
        foreign: list[str] = []
        lost: list[LockedError] = []

        def program() -> Declaration:
            # The first statement under the stack's lock: stop if this is not the world that was planned for,
            # or somebody gave other orders meanwhile. Nothing is registered yet, so stopping here changes nothing.
            found = operation.present(change.expected, change.unclaimed)
            if found != change.expected:
                moved.extend(found ^ change.expected)
                raise _WorldMovedError
            saved = self._checkpoint()
            foreign.extend(self._foreign(saved))
            if foreign:
                raise _WorldMovedError
            if change.is_overruled_by(self._state_of(saved)):
                moved.append("orders")
                raise _WorldMovedError
            self._confirm_into(lost)
            return declaring()

        ran = self._engine.up(program, port, refresh=change.refresh)
        if lost:
            raise lost[0]
        if operation.failed_list:
            raise operation.failed_list
        check_foreign(self._spec, foreign)
        if ran.refusal and not (operation.accepted or operation.deleted or operation.errors):
            raise ran.refusal
        return ran, bool(moved)

    def _confirm_into(self, lost: list[LockedError]) -> None:
        """Stop the program that calls this, before it registers anything, where the run must not go on."""
        try:
            self._confirm()
        except LockedError as error:
            lost.append(error)
            raise _WorldMovedError from error

    def _apply_officially(self, change: Change) -> Applied:
        """Carry a change out through the official plugin, which can neither adopt nor forget: ours does that first."""
        first = Applied()
        if change.permits.adopt or change.permits.forget:
            first = self._take_over(change)
            if first.moved or first.failure or first.interrupt:
                return first
            # The first operation has shared the orders.
            serial = change.orders.serial if change.orders else change.known_serial
            change = replace(without_taking_over(change), known_serial=serial)
        permits = change.permits
        if not (permits.create or permits.update or permits.delete):
            return first
        operation = Operation(self._cloud, self._owner_of(change.identity), permits)
        ran, moved = self._up(change, self._program(change), operation, None)
        entries = self.read().entries
        accepted = {name: entries[name].id for name in permits.create if name in entries}
        deleted = {name: gone for name, gone in permits.delete.items() if name not in entries}
        texts = {name: "\n".join(said) for name, said in self._servers_in(ran.events.errors_of)}
        errors = {
            name: error_of(self._spec.cloud, name, text)
            for name, text in texts.items()
            if name not in accepted.keys() | deleted.keys()
        }
        lost = {name for name, error in errors.items() if name in permits.create and is_unanswered(error)}
        operation.wait_for(lost, self._clock, unique_names=resource_type(self._spec.cloud).unique_names)
        return Applied(
            moved=moved,
            accepted={**first.accepted, **accepted},
            deleted=deleted,
            errors=errors,
            failure=None if moved else ran.error,
        )

    def _take_over(self, change: Change) -> Applied:
        """Adopt and forget through our plugin, and leave everything else in the stack as it is."""
        permits = Permits(adopt=change.permits.adopt, forget=change.permits.forget)
        adopted = [server for server in change.declared if server.name in permits.adopt]
        outputs = _outputs(change.outputs, change.identity, change.orders)

        def declaring() -> Declaration:
            saved = self._state_of(self._checkpoint())
            kept = [_as_it_is(entry, saved) for entry in saved.entries.values() if entry.name not in permits.forget]
            return Declaration(cloud=self._spec.cloud, servers=[*kept, *adopted], outputs=outputs)

        return self._apply(replace(change, permits=permits, refresh=False), declaring)

    def record(
        self,
        describe: Callable[[Sequence[Machine]], Mapping[str, Server]],
        identity: Identity | None = None,
        orders: Callable[[], Orders | None] = lambda: None,
    ) -> Mapping[str, Server]:
        self._engine.prepare()
        owner = self._owner_of(identity)
        operation = Operation(self._cloud, owner, Permits())
        recorded: dict[str, Server] = {}
        lost: list[LockedError] = []
        # A change by another run before the lock does no harm: the refresh creates and deletes nothing.

        def program() -> Declaration:
            self._confirm_into(lost)
            machines = operation.snapshot()
            saved = self._state_of(self._checkpoint())
            held = {entry.id: entry for entry in saved.entries.values()}
            recorded.update(describe(machines))
            in_stack = [machine for machine in machines if machine.id in held]
            unseen = held.keys() & {server.id for server in recorded.values()} - {machine.id for machine in machines}
            operation.unproven = frozenset(unseen)
            return Declaration(
                cloud=self._spec.cloud,
                servers=[
                    *(_declared(self._spec, held[machine.id], machine, recorded, owner) for machine in in_stack),
                    *(_as_it_is(held[denied], saved) for denied in sorted(unseen)),
                ],
                outputs=_outputs(recorded, identity, orders()),
            )

        with self._serving(operation) as port:
            ran = self._engine.refresh(program, port)
        if lost:
            raise lost[0]
        if operation.failed_list:
            raise operation.failed_list
        if ran.error:
            raise EngineError(
                "What is there could not be recorded in the stack.",
                why=ran.error,
                fix=f"{'Set the passphrase, then run' if is_about_secrets(ran.error) else 'Run'} `scaler refresh`.",
            )
        return recorded

    def establish(self, identity: Identity) -> None:
        self._engine.prepare()
        # The backend may have another run's id since it was read: the program keeps it.
        operation = Operation(self._cloud, self._owner_of(identity), Permits())

        def program() -> Declaration:
            saved = self._checkpoint().outputs
            shared = read_outputs(saved)
            there = shared.identity
            outputs = {name: saved[name] for name in shared.outputs}
            kept = identity if there is None or there.id in ("", identity.id) else there
            own = own_output(kept, shared.orders)
            return Declaration(cloud=self._spec.cloud, servers=(), outputs={**outputs, **own})

        # Our own plugin, whatever `plugin` says: it permits nothing.
        with self._serving_ours(operation) as port:
            ran = self._engine.refresh(program, port)
        if ran.refusal:
            raise ran.refusal
        if ran.error:
            raise EngineError(
                "The stack's id could not be saved; nothing was changed.",
                why=ran.error,
                fix="`scaler doctor` checks the set-up. Then run the same command again.",
            )

    def _program(self, change: Change) -> Program:
        outputs = _outputs(change.outputs, change.identity, change.orders)
        declaration = Declaration(cloud=self._spec.cloud, servers=change.declared, outputs=outputs)
        return lambda: declaration

    @contextmanager
    def _serving(self, operation: Operation, engine: Engine | None = None) -> Iterator[int | None]:
        """Serve our plugin while the block runs; with `plugin: official` the engine starts its own plugin."""
        if self._is_official:
            yield None
            return
        with self._serving_ours(operation, engine) as port:
            yield port

    @contextmanager
    def _serving_ours(self, operation: Operation, engine: Engine | None = None) -> Iterator[int]:
        """Serve our plugin while the block runs, to this engine; None: to the stack's own."""
        from scaler.engine.plugin.server import serve

        with serve(operation, workers=_PARALLEL, clock=self._clock) as provider:
            (engine or self._engine).on_start(provider.peers.admit)
            yield provider.port

    def _foreign(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return what scaler did not declare, and what needs a plugin that the stack's cloud has no use for."""
        package = resource_type(self._spec.cloud).package
        strangers = (urn for urn, plugin in checkpoint.plugins.items() if plugin != package)
        return tuple(dict.fromkeys([*checkpoint.foreign, *strangers]))

    def _state_of(self, checkpoint: Checkpoint) -> StackState:
        entries = {}
        for resource in checkpoint.resources:
            if resource.type == self._type:
                labels = resource.outputs.get("labels") or decode_tags(resource.outputs.get("tags") or ())
                entries[resource.name] = StackEntry(
                    resource.name, labels.get(GROUP, ""), resource.id, labels, resource.protected, resource.tainted
                )
        return replace(
            read_outputs(checkpoint.outputs),
            entries=entries,
            pending=tuple(map(_name, checkpoint.pending)),
            foreign=self._foreign(checkpoint),
        )


def _previewed(
    engine: Engine,
    program: Program,
    port: int | None,
    change: Change,
    packs: Sequence[PolicyPack],
    files: Sequence[PackFiles],
) -> Ran:
    """Return how a preview ended; PolicyPackError with the packs' names if one does not start."""
    from scaler.engine.process import PacksNotStartedError

    try:
        return engine.preview(program, port, refresh=change.refresh, packs=files)
    except PacksNotStartedError:
        from scaler.engine.policy_levels import silent_packs

        raise not_started(silent_packs(packs, files, engine.environ) or packs) from None


def _refuse_unknown_policies(
    packs: Sequence[PolicyPack], files: Sequence[PackFiles], environ: Mapping[str, str]
) -> None:
    if any(pack.config for pack in packs):
        from scaler.engine.policy_levels import refuse_unknown_policies

        refuse_unknown_policies(packs, files, environ)


def _applied(operation: Operation, **more: Any) -> Applied:
    """Return what an operation through our plugin has done."""
    return Applied(
        accepted=dict(operation.accepted), deleted=dict(operation.deleted), errors=dict(operation.errors), **more
    )


def without_taking_over(change: Change) -> Change:
    """Return what is left of a change once its servers are adopted and forgotten."""
    adopted = change.permits.adopt
    return replace(
        change,
        permits=replace(change.permits, adopt={}, forget={}),
        declared=tuple(replace(each, exists=True) if each.name in adopted else each for each in change.declared),
    )


def _as_it_is(entry: StackEntry, saved: StackState) -> Declared:
    """Declare a server of the stack so that nothing of it changes: the engine keeps all inputs of one that exists."""
    record = saved.outputs.get(entry.name)
    request = MachineRequest(name=entry.name, type="unknown", location="unknown", image="unknown", labels=entry.labels)
    group = record.group if record else entry.group
    return Declared(entry.name, group, request, exists=True, protected=entry.protected)


def _declared(spec: Spec, entry: StackEntry, machine: Machine, records: Mapping[str, Server], owner: Owner) -> Declared:
    """Declare an existing server in the group that it was made for: its label may have been changed by hand."""
    record = records.get(entry.name)
    group = record.group if record else entry.group
    request = existing_server(spec, machine, group, owner)
    return Declared(entry.name, group, request, exists=True, protected=entry.protected)


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _outputs(
    servers: Mapping[str, Server], identity: Identity | None, orders: Orders | None = None
) -> dict[str, object]:
    """Return all outputs of the stack: one per server, and its own."""
    return {**{name: server_to_json(server) for name, server in servers.items()}, **own_output(identity, orders)}
