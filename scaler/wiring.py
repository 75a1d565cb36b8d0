"""The one place that knows every adapter: puts together what a run is handed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.clouds import Cloud, QuotaError
from scaler.clouds.registry import open_cloud
from scaler.config.project import Project
from scaler.converge.ports import Progress, Surroundings
from scaler.engine import housekeeping
from scaler.engine.backend import DEFAULT_BACKEND, LocalBackend, absolute_url
from scaler.engine.plugin import resource_type
from scaler.engine.stack import PulumiStack
from scaler.errors import LimitError, RefusedError, ScalerError, StateError
from scaler.hooks.notify import Notifier
from scaler.hooks.readiness import ReadinessChecks
from scaler.hooks.stopping import Stopping
from scaler.model import Outcome, Result, Server, Spec, Step
from scaler.model.events import Event, EventName
from scaler.records.boots import boot_times
from scaler.records.codec import event_to_json
from scaler.records.event_log import EventLog
from scaler.records.run_lock import RunLock
from scaler.records.shortages import Shortages
from scaler.records.state import State, prune
from scaler.records.state_file import CorruptStateError, StateFile
from scaler.records.transitions import transitions
from scaler.support.clock import Clock
from scaler.support.files import make_folder

if TYPE_CHECKING:
    from scaler.engine.process import Engine

_EMBEDDED = "embedded"

_EMBEDDED_TOKENS = {"HCLOUD_TOKEN": _EMBEDDED * 8, "DIGITALOCEAN_TOKEN": _EMBEDDED * 8}
"""The embedded cloud takes any token; Hetzner's have 64 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Whose run it is, and what it may wait for."""

    project: Project
    spec: Spec
    cause: str
    """What set it off, such as `ensure worker=5`."""
    lock_timeout: timedelta = timedelta(minutes=2)
    steal_after: timedelta | None = None
    """The age from which the engine's lock of another machine is taken away; None: never."""
    environ: Mapping[str, str]


@contextmanager
def surroundings(run: Run, *, clock: Clock, progress: Progress) -> Iterator[Surroundings]:
    """The adapters for one run, with the stack's local lock held until the block ends."""
    with ExitStack() as stack:
        lock = RunLock(run.project.state_dir, run.spec.stack)
        stack.enter_context(lock.held(run.cause, clock, within=run.lock_timeout, note=progress.note))
        cloud = stack.enter_context(opened_cloud(run.project, run.spec, run.environ, clock))
        backend = backend_url(run.project, run.spec, run.environ)
        folder = run.project.directory
        stopping = Stopping(cloud, clock, folder)
        stack.callback(stopping.close)
        notifier = Notifier(run.spec.stack, run.spec.notify, folder=folder, warn=progress.warn)
        stack.callback(notifier.close)
        local = LocalBackend.at(backend, run.project.name, run.spec.stack)
        pulumi = PulumiStack(run.spec, lambda: open_engine(run, backend, clock, progress.warn), local, cloud, clock)
        stack.callback(_keep_house, run.project, pulumi, local)
        yield Surroundings(
            cloud=cloud,
            stack=pulumi,
            records=FileRecords(run, clock, progress, notifier),
            readiness=ReadinessChecks(clock, folder),
            stopping=stopping,
            clock=clock,
            progress=progress,
            shortages=Shortages(run.project.state_dir / f"{run.spec.stack}.shortages.json"),
        )


def _keep_house(project: Project, stack: PulumiStack, backend: LocalBackend | None) -> None:
    """Each engine process leaves a log and a copy of the state: the oldest go. What cannot be removed stays."""
    if stack.processes:
        with suppress(OSError):
            housekeeping.remove(housekeeping.surplus(engine_home(project), backend))


def backend_url(project: Project, spec: Spec, environ: Mapping[str, str]) -> str:
    """Where the engine keeps the stack, as an absolute URL."""
    return absolute_url(spec.backend or environ.get("PULUMI_BACKEND_URL") or DEFAULT_BACKEND, project.directory)


def engine_home(project: Project) -> Path:
    """The engine's own folder for a project: its logs, and no plugin of anybody's."""
    return project.state_dir / "engine"


@contextmanager
def opened_cloud(project: Project, spec: Spec, environ: Mapping[str, str], clock: Clock) -> Iterator[Cloud]:
    """The spec's cloud; with `endpoint: embedded`, served inside this process while the block runs."""
    with ExitStack() as stack:
        endpoint = spec.endpoint
        if endpoint == _EMBEDDED:
            from scaler.simulator import EmbeddedCloud

            make_folder(project.state_dir)
            embedded = stack.enter_context(EmbeddedCloud(project.state_dir / "embedded.sqlite"))
            endpoint = embedded.hetzner_endpoint if spec.cloud == "hetzner" else embedded.digitalocean_endpoint
            environ = {**environ, **_EMBEDDED_TOKENS}
        cloud = open_cloud(spec.cloud, endpoint=endpoint, environ=environ, clock=clock)
        stack.callback(cloud.close)
        yield cloud


def open_engine(run: Run, backend: str, clock: Clock, warn: Callable[[str], None]) -> Engine:
    """The engine for a run's stack, in the backend at this URL; `warn` is told whose lock was taken away."""
    # Late: it imports Pulumi, which a run with nothing to do does not need.
    from scaler.engine import binary as engine_binary
    from scaler.engine.declarations import preload
    from scaler.engine.process import Engine, EngineSettings

    preload(run.spec.cloud)
    binary = engine_binary.find(run.environ)
    official = run.spec.plugin == "official"
    own_home = not official and "PULUMI_HOME" not in run.environ and not backend.startswith("http")
    (run.project.directory / "stacks").mkdir(exist_ok=True)
    return Engine(
        EngineSettings(
            binary=binary,
            version=engine_binary.version_of(binary, run.environ) or engine_binary.PINNED,
            project=run.project.name,
            stack=run.spec.stack,
            directory=run.project.directory,
            backend=backend,
            home=engine_home(run.project) if own_home else None,
            environ=run.environ,
            official_plugin=official,
            package=resource_type(run.spec.cloud).package,
            lock_timeout=run.lock_timeout,
            steal_after=run.steal_after,
        ),
        clock,
        warn,
    )


# ---------------------------------------------------------------------------------------------
# The records

_RECENT_BYTES = 250_000
"""Of the event log, what boots are learned from: some hundred servers' lives, read in no time."""


class FileRecords:
    """`ports.Records` in the state folder."""

    def __init__(self, run: Run, clock: Clock, progress: Progress, notifier: Notifier) -> None:
        self._run = run
        self._notifier = notifier
        self._clock = clock
        self._progress = progress
        self._file = StateFile(run.project.state_dir, run.spec.stack)
        self._state: State | None = None
        self._events = EventLog(
            self._file.events_path, clock, run=secrets.token_hex(4), cause=run.cause, warn=progress.warn
        )

    def load(self, *, mend: bool = False) -> tuple[Server, ...]:
        try:
            self._state = self._file.load()
        except CorruptStateError as error:
            if not mend:
                raise
            self._progress.warn(f"{error}; it was set aside as {self._file.set_aside().name}")
        return self._state.servers if self._state else ()

    def wanted(self) -> Mapping[str, int]:
        try:
            state = self._file.load()
        except CorruptStateError:
            return {}
        return state.wanted if state else {}

    def save(self, wanted: Mapping[str, int], servers: Mapping[str, Server], steps: Sequence[Step]) -> None:
        kept = prune([servers[name] for name in sorted(servers)], self._clock.now(), self._run.spec.retention)
        before = self._state
        if before and before.servers == kept and dict(before.wanted) == dict(wanted) and self._file.path.exists():
            return
        self._state = self._file.save(
            State(
                stack=self._run.spec.stack,
                project=self._run.project.name,
                cloud=self._run.spec.cloud,
                serial=before.serial if before else 0,
                updated=self._clock.now(),
                wanted=dict(wanted),
                servers=kept,
            )
        )
        self._tell(*transitions(before.records if before else {}, self._state.records, steps))

    def narrate(self, run: Callable[[], Result]) -> Result:
        self._tell(Event(event=EventName.RUN_STARTED))
        try:
            result = run()
        except BaseException as error:
            self._tell(*_limits_hit([error]), _stopped(error))
            raise
        self._tell(*_limits_hit(result.failures), _finished(result))
        return result

    def _tell(self, *events: Event) -> None:
        self._notifier.tell([event_to_json(event) for event in self._events.append(*events)])

    def decided(self, group: str, reason: str, decision: Mapping[str, object]) -> None:
        self._tell(Event(event=EventName.AUTOSCALE_DECIDED, group=group, reason=reason, decision=decision))

    def noticed(self, group: str, text: str) -> None:
        self._tell(Event(event=EventName.AUTOSCALE_METRIC, group=group, reason=text))

    def boot_times(self) -> Mapping[str, Sequence[timedelta]]:
        try:
            return boot_times(self._events.read(_RECENT_BYTES))
        except StateError:
            # It only teaches deadlines; the spec's hold without it.
            return {}


def _limits_hit(errors: Iterable[BaseException]) -> list[Event]:
    limits = (LimitError, QuotaError)
    return [Event(event=EventName.LIMIT_HIT, reason=str(error)) for error in errors if isinstance(error, limits)]


def _stopped(error: BaseException) -> Event:
    """The end of a run that came to no result. Only our own errors' words are known to be fit for a log."""
    why = str(error) if isinstance(error, ScalerError) else type(error).__name__
    outcome = Outcome.REFUSED if isinstance(error, RefusedError) else Outcome.FAILED
    return Event(event=EventName.RUN_FINISHED, reason=why, result={"outcome": str(outcome)})


def _finished(result: Result) -> Event:
    return Event(
        event=EventName.RUN_FINISHED,
        reason="; ".join(map(str, result.failures)) or None,
        result={
            "outcome": str(result.outcome),
            "groups": {
                name: {"wanted": report.wanted, "before": report.before, "ready": report.ready}
                for name, report in result.groups.items()
            },
            "requests": asdict(result.requests),
            "elapsed_s": round(result.elapsed.total_seconds(), 1),
        },
    )
