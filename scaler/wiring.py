"""Open the adapters of a run. This is the only module that knows all of them."""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.clouds import Cloud
from scaler.clouds.deadlines import Deadlines, never
from scaler.clouds.governor import Allowances
from scaler.clouds.registry import endpoint_of, find_token, find_vendor, open_cloud
from scaler.config.backend import choose_backend
from scaler.config.project import Project
from scaler.converge.ports import Ports, Progress
from scaler.engine import housekeeping
from scaler.engine.backend import DEFAULT_BACKEND, LocalBackend, absolute_url
from scaler.engine.holders import open_notes
from scaler.engine.locks import describe, is_stale
from scaler.engine.plugin import resource_type
from scaler.engine.remote_backend import RemoteBackend
from scaler.engine.stack import PulumiStack
from scaler.errors import LockedError, ScalerError
from scaler.hooks.checks import Checks
from scaler.hooks.drains import DrainProcesses
from scaler.hooks.notify import Notifier
from scaler.model import Spec
from scaler.model.identity import Place, normal_endpoint
from scaler.records.folder_store import FolderStore
from scaler.records.hold import holding
from scaler.records.lease import Lease, Leases
from scaler.records.lock_note import FOLDER, Heard, LockNote, LockNotes
from scaler.records.run_lock import RunLock
from scaler.records.sharing import copy_records, open_sharing
from scaler.records.shortages import Shortages
from scaler.records.stack_records import StackRecords
from scaler.records.state_file import stacks_without_spec
from scaler.records.store import PATIENCE, DocumentStore, is_shared, open_store
from scaler.support.clock import Clock
from scaler.support.environment import CommandEnvironment
from scaler.support.files import make_folder
from scaler.support.folders import home_folder, scratch_folder, use_temporary_folder, user_name
from scaler.support.places import Places
from scaler.support.sessions import visible_processes
from scaler.support.time_limit import TimeLimit
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.engine.process import Engine

_EMBEDDED = "embedded"

_EMBEDDED_TOKENS = {"HCLOUD_TOKEN": _EMBEDDED * 8, "DIGITALOCEAN_TOKEN": _EMBEDDED * 8}
"""The embedded cloud takes any token; Hetzner's have 64 characters."""


_ROLL_LEASE = timedelta(seconds=60)
"""After one and a quarter of it, a roll that was killed on another machine gives way."""

_HOLD = timedelta(seconds=60)
"""After one and a quarter of it, whoever waits takes the lock of a run that was killed on another machine."""

_NOTE_PATIENCE = timedelta(seconds=3)
"""How long the note of a lock may hold a run up, which has that lock."""


@dataclass(frozen=True)
class Commons:
    """What the runs of several stacks share in one process."""

    engines: Places
    """For engine processes: each takes about 100 MB, and a core for a second."""
    allowances: Allowances = field(default_factory=Allowances)
    """What is left of the accounts' requests."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run works on, what caused it, and how long it waits for locks."""

    project: Project
    spec: Spec
    cause: str
    """The command and its arguments, such as `ensure worker=5`; written to the lock and to every event."""
    lock_timeout: timedelta = timedelta(minutes=2)
    timeout: timedelta | None = None
    """How long the run may take, from its wait for the lock on; None: as long as it needs."""
    steal_after: timedelta | None = None
    """Remove another machine's lock on the engine's stack once it is this old; None: never."""
    environ: Mapping[str, str]
    lease: Lease | None = None
    """The lease that a watch must hold for each change; None: this run needs none."""
    commons: Commons | None = None
    """None: no other stack is served by this process."""
    heard: Heard | None = None
    """What the watch that this run is a tick of has seen of who has the stack's lock; None: nothing before this run."""
    checks: Checks | None = None
    """The checks of the watch that this run is a tick of; None: this run's own."""
    looks: bool = False
    """Only look: nothing is made, healed or written in the project, its state folder and the stack's backend."""


@contextmanager
def open_ports(run: RunSettings, *, clock: Clock, progress: Progress) -> Iterator[Ports]:
    """Open the adapters of one run; hold the stack's local lock until the block ends.

    Raises LockedError if another run holds it for longer than `run.lock_timeout`, or until the run's time is up.
    """
    project, spec = run.project, run.spec
    limit = TimeLimit(clock, run.timeout)
    with ExitStack() as stack:
        unlocked = stack.enter_context(_locked(run, clock, limit, progress.note))
        _name_lost_stacks(project, spec, progress.warn)
        scratch = stack.enter_context(scratch_of(project)) if run.looks else None
        folder, share = stack.enter_context(
            shared_records(project, spec, run.environ, clock, progress.warn, scratch=scratch, lease=run.lease)
        )
        account = stack.enter_context(_reached(project, spec, run.environ, scratch))
        leases = Leases(run.lease)
        cloud = account.open(spec, clock, leases.have_ended, run.commons, limit)
        stack.callback(cloud.close)
        commands = CommandEnvironment.of(run.environ, spec.env)
        notifier = Notifier(
            spec.stack,
            spec.notify,
            folder=project.directory,
            warn=progress.warn,
            environ=commands,
            services=run.environ,
        )
        stack.callback(notifier.close)
        if notes := _open_notes(run):
            stack.callback(notes.close)
        remote = _open_remote(run)
        if remote:
            stack.callback(remote.close)
        pulumi = _open_stack(run, leases, stack, cloud, account, clock, limit, progress.warn, scratch, notes, remote)
        checks = run.checks or Checks()
        readiness, health = checks.of(project.directory, commands, clock)
        yield Ports(
            cloud=cloud,
            stack=pulumi,
            records=StackRecords(
                spec,
                folder,
                cause=run.cause,
                clock=clock,
                warn=progress.warn,
                notifier=notifier,
                share=share,
            ),
            readiness=readiness,
            health=health,
            drains=DrainProcesses(
                project.state_dir / f"{spec.stack}.drains",
                project.directory,
                clock,
                environ=commands,
                limit=limit,
                commands=checks.commands,
            ),
            place=place_of(project, spec, run.environ),
            clock=clock,
            progress=progress,
            shortages=Shortages(folder / f"{spec.stack}.shortages.json"),
            records_folder=folder,
            require_turn=leases.require,
            roll_turn=partial(_turn_of_rolls, run, leases, clock),
            limit=limit,
            unlocked=unlocked,
        )


def _name_lost_stacks(project: Project, spec: Spec, warn: Callable[[str], None]) -> None:
    """Before a stack's first run, warn of stacks whose spec is gone: it may be one of them with a new name."""
    if (project.state_dir / f"{spec.stack}.json").exists():
        return
    for name in stacks_without_spec(project.state_dir, project.stacks()):
        warn(f"{name} has servers and no spec stacks/{name}.yaml: if it was renamed, {spec.stack} is a second fleet")


@contextmanager
def _locked(
    run: RunSettings, clock: Clock, limit: TimeLimit, note: Callable[[str], None]
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Hold the run's lock; the value releases it for a while. A run that only looks leaves no trace of that."""
    lock = RunLock(run.project.state_dir, run.spec.stack, limit)
    if run.looks:
        with lock.respected(clock, within=run.lock_timeout, note=note):
            yield nullcontext
        return
    with lock.held(run.cause, clock, within=run.lock_timeout, note=note) as held:
        yield held.released


def scratch_of(project: Project) -> AbstractContextManager[Path]:
    """Return a folder that is removed at the end, for what a run that only looks has to write somewhere."""
    return scratch_folder(project.state_dir / "tmp")


@contextmanager
def shared_records(
    project: Project,
    spec: Spec,
    environ: Mapping[str, str],
    clock: Clock,
    warn: Callable[[str], None],
    *,
    scratch: Path | None = None,
    lease: Lease | None = None,
) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Bring the state folder up to date with the shared records, and share what changed in it when the block ends.

    Yield the folder, and what shares its records at once. With `scratch`, the folder is a copy there, and nothing is
    shared; nor is it while a `lease` is not held. The caller holds the run's lock. Where nothing is shared, there is
    nothing to do.
    """
    url = backend_url(project, spec, environ)
    folder = scratch / "records" if scratch and is_shared(url) else project.state_dir
    with open_sharing(folder, project.name, spec.stack, url, environ, clock, warn=warn) as sharing:
        if sharing is None:
            yield project.state_dir, lambda: None
            return
        if scratch:
            copy_records(project.state_dir, folder, spec.stack)
        sharing.pull()

        def share() -> None:
            if scratch is None and (lease is None or lease.is_held):
                sharing.push()

        try:
            yield folder, share
        finally:
            share()


@contextmanager
def open_lease(
    project: Project, spec: Spec, environ: Mapping[str, str], length: timedelta, warn: Callable[[str], None]
) -> Iterator[Lease | None]:
    """Take part in the lease of a stack's watches; None where no records are shared, and so no lease either.

    `length` is how long a holder that was not heard of is left alone.
    """
    patience = min(PATIENCE, max(length / 4, timedelta(seconds=1)))
    try:
        store = open_store(backend_url(project, spec, environ), project.name, spec.stack, environ, patience=patience)
    except ScalerError as error:
        warn(f"this watch knows of no other one: {error}")
        store = None
    if store is None:
        yield None
        return
    with Lease(store, spec.stack, length) as lease:
        yield lease


@contextmanager
def held_for_roll(
    project: Project,
    spec: Spec,
    environ: Mapping[str, str],
    clock: Clock,
    *,
    within: timedelta,
    note: Callable[[str], None],
) -> Iterator[Lease | None]:
    """Keep other rolls of the stack waiting while the block runs, on all machines that have its backend.

    The run's own lock is free while servers bake. Yield the lease that each change needs; None where the backend
    has no place for one. LockedError if another roll goes on for longer than `within`.
    """
    end = clock.monotonic() + within.total_seconds()
    whole = RunLock(project.state_dir, f"{spec.stack}.roll")
    with whole.held("roll", clock, within=within, note=note):
        url = backend_url(project, spec, environ)
        store = _store_of_rolls(project, spec, url, environ, note)
        if store is None:
            yield None
            return
        with Lease(store, spec.stack, _ROLL_LEASE, work="roll", token=_place_token(project.state_dir)) as lease:
            lease.await_turn(clock, end, note)
            yield lease


@contextmanager
def _turn_of_rolls(run: RunSettings, leases: Leases, clock: Clock) -> Iterator[bool]:
    """Keep other rolls waiting while the block runs, as `held_for_roll` does; False at once where one goes on."""
    with ExitStack() as stack:
        is_free = True
        try:
            lease = stack.enter_context(
                held_for_roll(run.project, run.spec, run.environ, clock, within=timedelta(0), note=lambda text: None)
            )
            stack.enter_context(leases.needing(lease))
        except LockedError:
            is_free = False
        yield is_free


def _store_of_rolls(
    project: Project, spec: Spec, url: str, environ: Mapping[str, str], note: Callable[[str], None]
) -> DocumentStore | None:
    """Return where the lease of rolls is kept: beside the engine's state, in a folder too."""
    if local := LocalBackend.at(url, project.name, spec.stack):
        return FolderStore(local.root.parent, f".scaler/{project.name}/{spec.stack}")
    try:
        return open_store(url, project.name, spec.stack, environ)
    except ScalerError as error:
        note(f"this roll knows of none on another machine: {error}")
        return None


def _place_token(folder: Path) -> str:
    """Return what names this folder on this machine since it started: only one roll can live in it."""
    with suppress(OSError):
        make_folder(folder)
        status = folder.stat()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        place = (boot, socket.gethostname(), str(folder.resolve()), status.st_dev, status.st_ino)
        return hashlib.sha256(repr(place).encode()).hexdigest()[:16]
    return secrets.token_hex(8)


def _open_stack(
    run: RunSettings,
    leases: Leases,
    closing: ExitStack,
    cloud: Cloud,
    account: _Account,
    clock: Clock,
    limit: TimeLimit,
    warn: Callable[[str], None],
    scratch: Path | None,
    notes: LockNotes | None,
    remote: RemoteBackend | None,
) -> PulumiStack:
    """The Pulumi stack of a run; no engine process starts before it is needed.

    With `scratch`, the stack of a run that only looks: a copy there of one in a folder of this machine.
    Another backend is read itself, which no preview changes. A stack that does not exist yet is previewed in a
    temporary backend, so that a question that is declined leaves none behind.
    """
    backend = backend_url(run.project, run.spec, run.environ)
    local = LocalBackend.at(backend, run.project.name, run.spec.stack)
    plugin_environ: Mapping[str, str] = {}
    if run.spec.plugin == "official":
        from scaler.engine.official import refuse_other_place

        plugin_environ = account.plugin_environ(run.spec)
        refuse_other_place(run.project.directory, run.spec.stack, resource_type(run.spec.cloud).package)

    def engine_at(url: str) -> Callable[[], Engine]:
        # A run that only looks takes no lock that others see.
        hold = nullcontext if run.looks else partial(_held, run, leases, notes, clock)
        return lambda: open_engine(run, url, clock, warn, plugin_environ, scratch, limit, hold, notes, remote)

    def open_draft() -> Engine:
        place = scratch or closing.enter_context(scratch_of(run.project))
        folder = place / "backend"
        make_folder(folder)
        return open_engine(run, folder.as_uri(), clock, warn, plugin_environ, place, limit)

    if scratch is None:
        pulumi = PulumiStack(
            run.spec,
            engine_at(backend),
            local,
            cloud,
            clock,
            open_draft,
            confirm=leases.confirm,
            remote=remote,
            notes=notes,
        )
        closing.callback(_remove_old_engine_files, run.project, pulumi, local)
        return pulumi
    if local:
        _name_stale_locks(local, warn)
        copy = local.copied(scratch / "backend")
        return PulumiStack(run.spec, engine_at(copy.url), copy, cloud, clock)
    return PulumiStack(run.spec, engine_at(backend), None, cloud, clock, open_draft, remote=remote)


def _open_remote(run: RunSettings) -> RemoteBackend | None:
    """Return the backend of a run, where it is a bucket or a database that can be read from here."""
    with suppress(ScalerError):
        url = backend_url(run.project, run.spec, run.environ)
        return RemoteBackend.at(url, run.project.name, run.spec.stack, run.environ)
    return None


def _name_stale_locks(backend: LocalBackend, warn: Callable[[str], None]) -> None:
    for lock in filter(is_stale, backend.locks()):
        warn(f"a dead run's lock is on the stack, of {describe(lock)}: the next run that changes something removes it")


def _remove_old_engine_files(project: Project, stack: PulumiStack, backend: LocalBackend | None) -> None:
    """Remove the oldest logs and state copies, of which each engine process leaves one; ignore errors."""
    if stack.processes:
        with suppress(OSError):
            housekeeping.remove(housekeeping.surplus(engine_home(project), backend))


def backend_url(project: Project, spec: Spec, environ: Mapping[str, str]) -> str:
    """Return the URL of the backend that holds the stack, absolute. Raises what `choose_backend` raises."""
    url = choose_backend(spec.backend, project.backend, environ)
    return absolute_url(url or DEFAULT_BACKEND, project.directory)


def engine_home(project: Project) -> Path:
    """Return the project's PULUMI_HOME: it holds the engine's logs, and no plugins that others installed."""
    from scaler.engine.settings import ENGINE_FOLDER

    return project.state_dir / ENGINE_FOLDER


def place_of(project: Project, spec: Spec, environ: Mapping[str, str]) -> Place:
    """Return where a run works, and with whose token; CredentialsError or UsageError as `open_cloud` raises them."""
    if spec.endpoint == _EMBEDDED:
        return Place(project=project.name, cloud=spec.cloud, endpoint=_EMBEDDED)
    vendor = find_vendor(spec.cloud)
    return Place(
        project=project.name,
        cloud=spec.cloud,
        endpoint=normal_endpoint(endpoint_of(vendor, spec.endpoint, environ)),
        token=find_token(vendor, environ) if vendor.token_variables else "",
    )


@dataclass(frozen=True)
class _Account:
    """Where requests go, and the environment that has the token for it."""

    endpoint: str | None
    """None: as the environment says, or the vendor's own."""
    environ: Mapping[str, str]

    def open(
        self,
        spec: Spec,
        clock: Clock,
        is_over: Callable[[], bool] = never,
        commons: Commons | None = None,
        limit: TimeLimit | None = None,
    ) -> Cloud:
        allowances = commons.allowances if commons else Allowances()
        deadlines = replace(
            Deadlines.of(self.environ), is_over=is_over, allowances=allowances, limit=limit or TimeLimit()
        )
        return open_cloud(spec.cloud, endpoint=self.endpoint, environ=self.environ, clock=clock, deadlines=deadlines)

    def plugin_environ(self, spec: Spec) -> Mapping[str, str]:
        """Return the variables by which the official plugin works at the same place with the same token."""
        from scaler.engine.official import environ_of_plugin

        vendor = find_vendor(spec.cloud)
        endpoint = endpoint_of(vendor, self.endpoint, self.environ)
        return environ_of_plugin(vendor, endpoint=endpoint, token=find_token(vendor, self.environ))


@contextmanager
def _reached(
    project: Project, spec: Spec, environ: Mapping[str, str], scratch: Path | None = None
) -> Iterator[_Account]:
    """Return the spec's account. With `endpoint: embedded`, serve that cloud in this process meanwhile.

    With `scratch`, a cloud that was never there is made in this folder.
    """
    if spec.endpoint != _EMBEDDED:
        yield _Account(spec.endpoint, environ)
        return
    from scaler.simulator import EmbeddedCloud

    world = project.state_dir / "embedded.sqlite"
    if scratch and not world.exists():
        world = scratch / world.name
    make_folder(world.parent)
    with EmbeddedCloud(world) as embedded:
        endpoint = embedded.hetzner_endpoint if spec.cloud == "hetzner" else embedded.digitalocean_endpoint
        yield _Account(endpoint, {**environ, **_EMBEDDED_TOKENS})


@contextmanager
def opened_cloud(
    project: Project, spec: Spec, environ: Mapping[str, str], clock: Clock, commons: Commons | None = None
) -> Iterator[Cloud]:
    """Open a client of the spec's cloud, to look at it. With `endpoint: embedded`, serve that cloud meanwhile."""
    with scratch_of(project) as scratch, _reached(project, spec, environ, scratch) as account:
        cloud = account.open(spec, clock, commons=commons)
        try:
            yield cloud
        finally:
            cloud.close()


@contextmanager
def _held(run: RunSettings, leases: Leases, notes: LockNotes | None, clock: Clock, engine: int) -> Iterator[None]:
    """While the block runs, keep the note of an engine process, which each change needs."""
    if notes is None:
        yield
        return
    length = min(_HOLD, timedelta(seconds=int(run.lease.length_s))) if run.lease else _HOLD
    note = LockNote(
        host=socket.gethostname(),
        pid=engine,
        machine=visible_processes(),
        since=clock.now(),
        command=run.cause,
        # The official plugin sends its requests itself, so nothing holds it back.
        length=timedelta(0) if run.spec.plugin == "official" else length,
        name=f"{FOLDER}/{secrets.token_hex(8)}.json",
    )
    with holding(notes, run.spec.stack, note) as hold, leases.needing(hold):
        yield


def _open_notes(run: RunSettings) -> LockNotes | None:
    url = backend_url(run.project, run.spec, run.environ)
    return open_notes(url, run.project.name, run.spec.stack, run.environ, patience=_NOTE_PATIENCE)


def open_engine(
    run: RunSettings,
    backend: str,
    clock: Clock,
    warn: Callable[[str], None],
    plugin_environ: Mapping[str, str] | None = None,
    scratch: Path | None = None,
    limit: TimeLimit | None = None,
    hold: Callable[[int], AbstractContextManager[object]] = nullcontext,
    notes: LockNotes | None = None,
    remote: RemoteBackend | None = None,
) -> Engine:
    """Return the engine for a run's stack in the backend at this URL; `warn` reports a lock removed by force.

    `hold` is entered with each process that takes the stack's lock, before it can have it. `plugin_environ` is what the
    official plugin gets besides, for operations in which it takes part. With `scratch`, the engine of a run that
    only looks keeps its own files in that folder.
    """
    # Before the imports, since one of them makes a temporary file.
    temporary = use_temporary_folder(run.project.state_dir / "tmp")
    # Imported here since they load Pulumi, which a run with nothing to do does not need.
    from scaler.engine import binary as engine_binary
    from scaler.engine.process import Engine
    from scaler.engine.secrets import chosen_provider
    from scaler.engine.settings import EngineSettings
    from scaler.engine.work_folder import copied_project, work_folder

    binary = engine_binary.find(run.environ)
    official = run.spec.plugin == "official"
    own_home = not official and "PULUMI_HOME" not in run.environ and not backend.startswith("http")
    home = scratch or engine_home(run.project)
    if scratch:
        directory = copied_project(run.project.directory, run.spec.stack, scratch / "project")
    else:
        directory = work_folder(run.project.directory, run.spec.stack, home / "project")
    return Engine(
        EngineSettings(
            binary=binary,
            version=engine_binary.version_of(binary, run.environ) or engine_binary.PINNED,
            project=run.project.name,
            stack=run.spec.stack,
            directory=directory,
            backend=backend,
            home=home if own_home else None,
            environ=_engine_environ(run, temporary, scratch or run.project.state_dir),
            secrets_provider=chosen_provider(directory, run.spec.stack),
            plugin_environ=plugin_environ or {},
            package=resource_type(run.spec.cloud).package,
            lock_timeout=run.lock_timeout,
            limit=limit or TimeLimit(),
            steal_after=run.steal_after,
            hold=hold,
            notes=notes,
            heard=run.heard or Heard(),
        ),
        clock,
        warn,
        partial(run.commons.engines.taken, run.spec.stack) if run.commons else nullcontext,
        remote,
    )


def _engine_environ(run: RunSettings, temporary: Path, otherwise: Path) -> Mapping[str, str]:
    """The environment of the engine, which wants a user and a home (`otherwise`) even where a container has none."""
    home = home_folder(run.environ) or otherwise
    return {**run.environ, "USER": user_name(run.environ), "HOME": str(home), "TMPDIR": str(temporary)}
