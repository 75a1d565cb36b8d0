"""The Pulumi engine as a process with a contract: the only importer of `pulumi.automation`.

What the Automation API lacks is added here: a session of its own per process and output to a file
(with a pipe, a killed reader would kill the engine while it holds the stack's lock), a deadline,
one forwarded interrupt, results from the engine's events and the checkpoint instead of three more
processes per operation, and the lock holder's name.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pulumi import automation
from pulumi.automation import events
from semver import VersionInfo

from scaler.clock import Clock, format_time, parse_time
from scaler.errors import EngineError, LockedError, UnavailableError

Program = Callable[[], None]

_INTERRUPT_GRACE_S = 30.0
"""After an interrupt the engine finishes what it began, saves and unlocks: a plugin call lasts one round trip."""

_SECRET_VARIABLES = frozenset(
    {"HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", "HCLOUD_TOKEN_FILE", "DIGITALOCEAN_TOKEN_FILE"}
)
"""Our plugin talks to the cloud from our process: the engine needs no credentials, so it gets none."""


# ---------------------------------------------------------------------------------------------
# What comes back


@dataclass(frozen=True, slots=True)
class Resource:
    """A custom resource of the checkpoint."""

    urn: str
    type: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stack as the engine last saved it."""

    resources: tuple[Resource, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    """URNs of operations that were begun and not finished."""


@dataclass
class Events:
    """What the engine said while it worked."""

    operations: dict[str, str] = field(default_factory=dict)
    """URN → operation, `same` left out."""
    failed: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def receive(self, event: events.EngineEvent) -> None:
        """Never raises: an exception in the SDK's callback would be lost, or hang the run."""
        try:
            self._receive(event)
        except Exception as error:
            self.errors.append(f"an engine event could not be read: {error}")

    def _receive(self, event: events.EngineEvent) -> None:
        if event.resource_pre_event:
            metadata = event.resource_pre_event.metadata
            operation = str(getattr(metadata.op, "value", metadata.op))
            if operation != "same":
                self.operations[metadata.urn] = operation
        elif event.res_op_failed_event:
            self.failed.add(event.res_op_failed_event.metadata.urn)
        elif event.diagnostic_event and event.diagnostic_event.severity == "error":
            self.errors.append(_plain_text(event.diagnostic_event.message))


def _plain_text(message: str) -> str:
    return re.sub(r"<\{%.*?%\}>|\x1b\[[0-9;]*m", "", message).strip()


@dataclass(frozen=True, slots=True)
class Ran:
    """How an operation ended."""

    events: Events
    error: str | None = None
    """The engine's own words if it failed."""


# ---------------------------------------------------------------------------------------------
# The process


class _Process(automation.PulumiCommand):
    """Runs the binary as `Engine` needs it run."""

    def __init__(self, binary: Path, version: str, environ: Mapping[str, str], deadline: timedelta) -> None:
        # The base class would start `pulumi version` here; the version is known already.
        self.command = str(binary)
        self.version = VersionInfo.parse(version.removeprefix("v"))
        self.environ = environ
        self.deadline = deadline
        self.on_start: Callable[[int], None] = lambda pid: None
        self.started = 0

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> automation.CommandResult:
        """Run one command to its end; raises the SDK's CommandError on a non-zero code."""
        if "--non-interactive" not in args:
            args.insert(0, "--non-interactive")
        environ = {**self.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                [self.command, *args],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environ,
                start_new_session=True,
            )
            self.started += 1
            self.on_start(process.pid)
            code = self._wait(process)
            output.seek(0)
            result = automation.CommandResult(stdout=output.read(), stderr="", code=code)
        if code != 0:
            raise automation.errors.create_command_error(result)
        return result

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(self.deadline.total_seconds())
        except subprocess.TimeoutExpired:
            _interrupt(process)
            raise EngineError(
                "The engine did not end in time and was stopped.",
                why=f"deadline {self.deadline}",
                fix="Run the same command again; it starts from what is there.",
            ) from None
        except BaseException:
            # Ctrl-C or SIGTERM came to us alone: the engine is in a session of its own. It is told
            # once, and its lock is released before we go on to end.
            _interrupt(process)
            raise


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_INTERRUPT_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Stack(automation.Stack):
    """The SDK's stack without the processes that it starts before and after every operation."""

    def __init__(self, name: str, workspace: automation.LocalWorkspace) -> None:
        # The base class would run `stack select`, which also writes a file shared by all stacks.
        self.name = name
        self.workspace = workspace

    def outputs(self) -> automation.OutputMap:
        """Read from the checkpoint instead, by `Engine.checkpoint`."""
        return {}

    def info(self, show_secrets: bool | None = None) -> automation.UpdateSummary:
        """The history is not asked: the events said it all."""
        now = datetime.now().astimezone()
        return automation.UpdateSummary("update", now, "", {}, {}, "succeeded", end_time=now)


# ---------------------------------------------------------------------------------------------
# The adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Where the engine is, what it works on, and how long it may take."""

    binary: Path
    version: str
    project: str
    stack: str
    directory: Path
    backend: str
    home: Path | None
    """PULUMI_HOME, or None for the user's own."""
    environ: Mapping[str, str]
    official_plugin: bool = False
    package: str
    """`hcloud` or `digitalocean`."""
    parallel: int = 64
    deadline: timedelta = timedelta(minutes=30)
    lock_timeout: timedelta = timedelta(minutes=2)


class Engine:
    """One stack's engine: every method is one process at most, and waits for a lock that others hold."""

    def __init__(self, settings: EngineSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._backend = _absolute_backend(settings.backend, settings.directory)
        self._process = _Process(settings.binary, settings.version, self._environ(), settings.deadline)
        self._workspace = automation.LocalWorkspace(
            work_dir=str(settings.directory),
            pulumi_home=str(settings.home) if settings.home else None,
            pulumi_command=self._process,
        )
        self._stack = _Stack(settings.stack, self._workspace)

    @property
    def processes(self) -> int:
        """Engine processes started so far."""
        return self._process.started

    def prepare(self) -> None:
        """Make sure that the stack exists: no process if the checkpoint is a local file."""
        root = self._local_root()
        if root is not None:
            root.mkdir(parents=True, exist_ok=True)
            if self._checkpoint_file(root):
                return
        try:
            if root is None:
                self._workspace.select_stack(self._settings.stack)
            else:
                self._workspace.create_stack(self._settings.stack)
        except automation.StackNotFoundError:
            self._workspace.create_stack(self._settings.stack)
        except automation.StackAlreadyExistsError:
            pass
        except automation.CommandError as error:
            raise self._explain(error) from error

    def checkpoint(self) -> Checkpoint:
        """The stack as last saved; empty if there is none. No process for a local backend."""
        root = self._local_root()
        if root is None:
            return _read_deployment(self._export())
        path = self._checkpoint_file(root)
        if path is None:
            return Checkpoint()
        try:
            text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            document = json.loads(text)
        except (OSError, ValueError) as error:
            raise EngineError(
                "The stack's checkpoint cannot be read.",
                why=f"{path}: {error}",
                fix="Restore it from the backend's backups, or move it away and run `scaler ensure`: "
                "servers that carry this stack's labels are adopted again.",
            ) from error
        return _read_deployment(document.get("checkpoint", {}).get("latest") or {})

    def preview(self, program: Program, plugin_port: int | None, *, refresh: bool) -> Ran:
        """What the engine would do. Takes no lock and changes nothing."""
        return self._operate(
            plugin_port,
            lambda said: self._stack.preview(program=program, on_event=said.receive, refresh=refresh, **self._common()),
        )

    def up(self, program: Program, plugin_port: int | None, *, refresh: bool) -> Ran:
        """Carry out the program under the stack's lock, as far as it goes."""
        return self._operate(
            plugin_port,
            lambda said: self._stack.up(
                program=program, on_event=said.receive, refresh=refresh, continue_on_error=True, **self._common()
            ),
        )

    def refresh(self, program: Program, plugin_port: int | None) -> Ran:
        """Renew the resources that the program declares and save its outputs; changes nothing in the cloud."""
        return self._operate(
            plugin_port,
            lambda said: self._stack.refresh(
                program=program, on_event=said.receive, run_program=True, clear_pending_creates=True, **self._common()
            ),
        )

    def on_start(self, admit: Callable[[int], None]) -> None:
        """Call `admit` with the process id of every engine process from now on."""
        self._process.on_start = admit

    def _common(self) -> dict[str, Any]:
        return {"parallel": self._settings.parallel, "color": "never", "suppress_progress": True}

    def _operate(self, plugin_port: int | None, operation: Callable[[Events], object]) -> Ran:
        self._workspace.env_vars = self._plugin_environ(plugin_port)
        waited_since = self._clock.monotonic()
        while True:
            said = Events()
            try:
                operation(said)
            except automation.ConcurrentUpdateError as error:
                self._heal_or_wait(error, waited_since)
                continue
            except automation.CommandError as error:
                return Ran(said, error="\n".join(said.errors) or _last_words(str(error)))
            except RuntimeError as error:
                # `preview` raises this when the engine ended well and said nothing.
                return Ran(said, error=str(error))
            return Ran(said)

    # -- surroundings --------------------------------------------------------------------------

    def _environ(self) -> dict[str, str]:
        inherited = {
            key: value
            for key, value in self._settings.environ.items()
            if self._settings.official_plugin or key not in _SECRET_VARIABLES
        }
        return {
            "PULUMI_CONFIG_PASSPHRASE": "",
            **inherited,
            "PULUMI_BACKEND_URL": self._backend,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        }

    def _plugin_environ(self, port: int | None) -> dict[str, str]:
        if port is None:
            return {}
        return {
            "PULUMI_DEBUG_PROVIDERS": f"{self._settings.package}:{port}",
            # Creates last one round trip and every server carries our labels from its first
            # moment: the cloud is the journal, and a save per server would only cost time.
            "PULUMI_SKIP_CHECKPOINTS": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def _local_root(self) -> Path | None:
        """The backend's folder, or None if it is not one of this machine."""
        if not self._backend.startswith("file://"):
            return None
        return Path(unquote(urlsplit(self._backend).path)) / ".pulumi"

    def _checkpoint_file(self, root: Path) -> Path | None:
        stem = root / "stacks" / self._settings.project / f"{self._settings.stack}.json"
        return next((path for path in (stem, stem.with_suffix(".json.gz")) if path.exists()), None)

    def _export(self) -> Mapping[str, Any]:
        try:
            deployment = self._stack.export_stack().deployment
        except automation.StackNotFoundError:
            return {}
        except automation.CommandError as error:
            raise self._explain(error) from error
        return deployment if isinstance(deployment, Mapping) else {}

    def _explain(self, error: automation.CommandError) -> EngineError | UnavailableError:
        words = _last_words(str(error))
        if re.search(r"could not (open|connect|list)|no such host|connection refused|AccessDenied", words):
            return UnavailableError(
                "The engine cannot reach its backend.",
                why=words,
                fix="Check `backend` in the spec or PULUMI_BACKEND_URL.",
            )
        return EngineError("The engine failed.", why=words, fix="`scaler doctor` checks the set-up.")

    # -- locks ---------------------------------------------------------------------------------

    def heal_locks(self) -> list[str]:
        """Remove locks whose owner is provably dead; says whose they were. Local backends only."""
        return [_describe(lock) for lock in self._locks() if _is_stale(lock) and self._remove(lock)]

    def _heal_or_wait(self, error: automation.ConcurrentUpdateError, waited_since: float) -> None:
        if self.heal_locks():
            return
        holders = self._locks() or _locks_in(str(error))
        if holders and all(_is_stale(lock) for lock in holders):
            self._workspace._run_pulumi_cmd_sync(["cancel", "--yes", "--stack", self._settings.stack])
            return
        waited = self._clock.monotonic() - waited_since
        if waited >= self._settings.lock_timeout.total_seconds():
            raise LockedError(
                f"The stack {self._settings.stack} is locked by another run.",
                why="; ".join(map(_describe, holders)) or _last_words(str(error)),
                fix="Wait for it to end, or raise --lock-timeout.",
            )
        self._clock.sleep(min(1.0, self._settings.lock_timeout.total_seconds()))

    def _locks(self) -> list[_Lock]:
        root = self._local_root()
        if root is None:
            return []
        folder = root / "locks" / "organization" / self._settings.project / self._settings.stack
        return [lock for path in sorted(folder.glob("*.json")) if (lock := _read_lock(path))]

    @staticmethod
    def _remove(lock: _Lock) -> bool:
        if lock.path is None:
            return False
        lock.path.unlink(missing_ok=True)
        lock.path.with_name(lock.path.name + ".attrs").unlink(missing_ok=True)
        return True


@dataclass(frozen=True, slots=True)
class _Lock:
    pid: int
    username: str
    hostname: str
    since: datetime
    path: Path | None = None


def _read_lock(path: Path) -> _Lock | None:
    """A lock file's content; None if it vanished or is being written."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _Lock(
            int(document["pid"]), document["username"], document["hostname"], parse_time(document["timestamp"]), path
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


_LOCK_TEXT = re.compile(r"created by (?P<user>[^@\s]+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<time>\S+)")


def _locks_in(message: str) -> list[_Lock]:
    """The holders as the engine's error names them, for backends whose locks are not files here."""
    return [
        _Lock(int(found["pid"]), found["user"], found["host"], parse_time(found["time"]))
        for found in _LOCK_TEXT.finditer(message)
    ]


def _is_stale(lock: _Lock) -> bool:
    """Whether its owner is provably dead: it was on this host, and no such engine process exists.

    A process in another container with the same host name looks dead too; the run's own file
    lock, held by now, covers that on one machine.
    """
    return lock.hostname == socket.gethostname() and not _is_engine(lock.pid)


def _is_engine(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return "pulumi" in Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
    except OSError:
        return True


def _describe(lock: _Lock) -> str:
    return f"{lock.username}@{lock.hostname}, process {lock.pid}, since {format_time(lock.since)}"


# ---------------------------------------------------------------------------------------------
# Reading


def _absolute_backend(backend: str, directory: Path) -> str:
    """A relative `file://` is relative to the project's folder, whatever folder we are run in."""
    if not backend.startswith("file://"):
        return backend
    path = backend.removeprefix("file://")
    return f"file://{(directory / Path(path).expanduser()).resolve()}"


def _read_deployment(deployment: Mapping[str, Any]) -> Checkpoint:
    resources: Sequence[Mapping[str, Any]] = deployment.get("resources") or ()
    stack = next((item for item in resources if item.get("type") == "pulumi:pulumi:Stack"), {})
    return Checkpoint(
        resources=tuple(
            Resource(item["urn"], item["type"], item.get("id", ""), item.get("inputs") or {}, item.get("outputs") or {})
            for item in resources
            if item.get("custom") and not item["type"].startswith("pulumi:providers:") and not item.get("delete")
        ),
        outputs=stack.get("outputs") or {},
        pending=tuple(item["resource"]["urn"] for item in deployment.get("pending_operations") or ()),
    )


def _last_words(text: str) -> str:
    """The lines of a failed command's output that say why, without the SDK's frame."""
    lines = [_plain_text(line) for line in text.splitlines()]
    errors = [line for line in lines if line.startswith("error:")]
    return "\n".join(errors or [line for line in lines if line][-5:])
