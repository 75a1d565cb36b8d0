"""The Pulumi engine as a process with a contract: the only importer of `pulumi.automation`.

What the Automation API lacks is added here: a session of its own per process and output to a file
(with a pipe, a killed reader would kill the engine while it holds the stack's lock), a deadline,
one forwarded interrupt, results from the engine's events and the checkpoint instead of three more
processes per operation, and the lock holder's name.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from pulumi import automation
from pulumi.automation import events
from semver import VersionInfo

from scaler.engine.backend import (
    Checkpoint,
    LocalBackend,
    Lock,
    describe,
    is_stale,
    is_stealable,
    locks_in,
    read_deployment,
    remove_lock,
)
from scaler.errors import EngineError, LockedError, UnavailableError
from scaler.support.clock import Clock
from scaler.support.durations import format_duration
from scaler.support.files import make_folder

if TYPE_CHECKING:
    from scaler.engine.policy_packs import PackFiles

Program = Callable[[], None]
PolicyEvent: TypeAlias = events.PolicyEvent

_UNREACHABLE = re.compile(
    r"unable to open state directory|could not (open|connect|list)|no such host|connection refused|AccessDenied"
)
"""What the engine says of a backend that it cannot use."""

_HALF_READ = re.compile(r"unexpected end of JSON input|invalid character")
"""What the engine says when one of the stack's locks is not whole."""

_INTERRUPT_GRACE_S = 30.0
"""After an interrupt the engine finishes what it began, saves and unlocks: a plugin call lasts one round trip."""

_TOKENS = ("HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")
_SECRET_VARIABLES = frozenset(_TOKENS) | {f"{name}_FILE" for name in _TOKENS}
"""Our plugin talks to the cloud from our process: the engine needs no credentials, so it gets none."""


# ---------------------------------------------------------------------------------------------
# What comes back


@dataclass
class Events:
    """What the engine said while it worked."""

    operations: dict[str, str] = field(default_factory=dict)
    """URN → operation, `same` left out."""
    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """URN → the inputs that each operation would be carried out with."""
    failed: set[str] = field(default_factory=set)
    violations: list[PolicyEvent] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_words: str = ""
    """The last line that a plugin wrote on its standard error, such as a policy pack's exception."""

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
                self.inputs[metadata.urn] = metadata.new.inputs or {} if metadata.new else {}
        elif event.res_op_failed_event:
            self.failed.add(event.res_op_failed_event.metadata.urn)
        elif event.policy_event:
            self.violations.append(event.policy_event)
        elif event.diagnostic_event and event.diagnostic_event.severity == "error":
            self.errors.append(_plain_text(event.diagnostic_event.message))
        elif event.diagnostic_event and event.diagnostic_event.severity == "info#err":
            self.last_words = _plain_text(event.diagnostic_event.message) or self.last_words


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
        # Apart: a client in the engine, such as that of S3, may write warnings beside the document that was asked for.
        with _output_file() as output, _output_file() as errors:
            process = subprocess.Popen(
                [self.command, *args],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=cwd,
                env=environ,
                start_new_session=True,
                # What it saves holds secrets.
                umask=0o077,
            )
            self.started += 1
            self.on_start(process.pid)
            code = self._wait(process)
            said, complained = _content(output), _content(errors)
        if code != 0:
            # The SDK looks in the standard error alone for what tells a held lock from other failures.
            failed = automation.CommandResult(stdout="", stderr=said + complained, code=code)
            raise automation.errors.create_command_error(failed)
        return automation.CommandResult(stdout=said, stderr=complained, code=code)

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


def _output_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


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
    """Absolute."""
    home: Path | None
    """PULUMI_HOME, or None for the user's own."""
    environ: Mapping[str, str]
    official_plugin: bool = False
    package: str
    """`hcloud` or `digitalocean`."""
    parallel: int = 64
    deadline: timedelta = timedelta(minutes=30)
    lock_timeout: timedelta = timedelta(minutes=2)
    steal_after: timedelta | None = None
    """The age from which a lock of another host is taken away; None: never."""


class Engine:
    """One stack's engine: every method is one process at most, and waits for a lock that others hold."""

    def __init__(self, settings: EngineSettings, clock: Clock, warn: Callable[[str], None] = lambda text: None) -> None:
        """`warn` is told whose lock was taken away."""
        self._settings = settings
        self._warn = warn
        self._clock = clock
        self._local = LocalBackend.at(settings.backend, settings.project, settings.stack)
        self._process = _Process(settings.binary, settings.version, self._environ(), settings.deadline)
        self._workspace = automation.LocalWorkspace(
            work_dir=str(settings.directory),
            pulumi_home=str(settings.home) if settings.home else None,
            pulumi_command=self._process,
        )
        self._stack = _Stack(settings.stack, self._workspace)
        self._exists = False

    @property
    def processes(self) -> int:
        """Engine processes started so far."""
        return self._process.started

    def prepare(self) -> None:
        """Make sure that the stack exists: no process if that is known, or to be seen in a local backend."""
        if self._local and not self._exists:
            make_folder(self._local.root)
            self._exists = self._local.exists()
        waited_since = self._clock.monotonic()
        while not self._exists:
            try:
                self._select_or_create()
            except automation.ConcurrentUpdateError as error:
                # Two runs that make the stack at the same moment see each other's lock, and both fail.
                self._heal_or_wait(error, waited_since)
            except automation.CommandError as error:
                raise self._explain(error) from error
            else:
                self._exists = True

    def _select_or_create(self) -> None:
        if not self._local:
            with suppress(automation.StackNotFoundError):
                self._workspace.select_stack(self._settings.stack)
                return
        with suppress(automation.StackAlreadyExistsError):
            self._workspace.create_stack(self._settings.stack)

    def checkpoint(self) -> Checkpoint:
        """The stack as last saved; empty if there is none. One process, or none for a local backend."""
        return self._local.checkpoint() if self._local else read_deployment(self._export())

    def preview(
        self, program: Program, plugin_port: int | None, *, refresh: bool, packs: Sequence[PackFiles] = ()
    ) -> Ran:
        """What the engine would do, judged by policy packs. Takes no lock and changes nothing."""
        return self._operate(
            plugin_port,
            lambda said: self._stack.preview(
                program=program,
                on_event=said.receive,
                refresh=refresh,
                policy_packs=[str(pack.path) for pack in packs],
                policy_pack_configs=[str(pack.config) for pack in packs],
                **self._common(),
            ),
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
                if _HALF_READ.search(str(error)) and self._awaits_half_lock(waited_since):
                    continue
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
            "PULUMI_BACKEND_URL": self._settings.backend,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
            # `scaler.backend` reads gzip and no zstd.
            "PULUMI_DIY_BACKEND_ZSTD": "false",
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

    def _export(self) -> Mapping[str, Any]:
        try:
            # Not the SDK's `export_stack`, which has the secrets decrypted: nobody here needs them.
            exported = self._workspace._run_pulumi_cmd_sync(["stack", "export", "--stack", self._settings.stack])
            deployment = json.loads(exported.stdout).get("deployment")
        except automation.StackNotFoundError:
            return {}
        except automation.CommandError as error:
            raise self._explain(error) from error
        return deployment if isinstance(deployment, Mapping) else {}

    def _explain(self, error: automation.CommandError) -> EngineError | UnavailableError:
        words = _last_words(str(error))
        if _UNREACHABLE.search(words):
            return UnavailableError(
                "The engine cannot reach its backend.",
                why=words,
                fix="Check `backend` in the spec or PULUMI_BACKEND_URL.",
            )
        return EngineError("The engine failed.", why=words, fix="`scaler doctor` checks the set-up.")

    def _tell_holder(self, lock: Lock) -> str:
        return f"{describe(lock)}, for {format_duration(max(self._clock.now() - lock.since, timedelta(0)))}"

    def _awaits_half_lock(self, waited_since: float) -> bool:
        """Whether the engine stumbled over a lock that was not whole; it is, or it is removed, in a moment."""
        waited = self._clock.monotonic() - waited_since
        if not self._local or waited >= self._settings.lock_timeout.total_seconds() or not self._local.half_locks():
            return False
        self._clock.sleep(1.0)
        self._local.heal_half_locks(self._clock.now())
        return True

    def unlock(self) -> None:
        """Remove all locks of the stack, whoever's they are. One process."""
        try:
            self._workspace._run_pulumi_cmd_sync(["cancel", "--yes", "--stack", self._settings.stack])
        except automation.CommandError as error:
            raise self._explain(error) from error

    def _heal_or_wait(self, error: automation.ConcurrentUpdateError, waited_since: float) -> None:
        """Remove locks of dead runs, or wait a moment for a living one; LockedError when that took too long."""
        if self._local and self._local.heal_locks():
            return
        holders = (self._local.locks() if self._local else []) or locks_in(str(error))
        stolen = [lock for lock in holders if is_stealable(lock, self._clock.now(), self._settings.steal_after)]
        if self._take_away(holders, stolen):
            for lock in stolen:
                self._warn(f"took the stack's lock from {self._tell_holder(lock)}: older than --steal-after")
            return
        waited = self._clock.monotonic() - waited_since
        if waited >= self._settings.lock_timeout.total_seconds():
            raise LockedError(
                f"The stack {self._settings.stack} is locked by another run.",
                why="; ".join(map(self._tell_holder, holders)) or _last_words(str(error)),
                fix="Wait for it to end, or raise --lock-timeout. When you know that it is dead: "
                "`scaler unlock --force`, or --steal-after for those as old.",
            )
        self._clock.sleep(1.0)

    def _take_away(self, holders: Sequence[Lock], stolen: Sequence[Lock]) -> bool:
        """Remove the locks that are to be stolen, and whether that was possible for any."""
        if self._local:
            for lock in stolen:
                remove_lock(lock)
            return bool(stolen)
        if not holders or not all(lock in stolen or is_stale(lock) for lock in holders):
            return False
        # All of them go, so each must be one that may.
        self.unlock()
        return True


def _last_words(text: str) -> str:
    """The lines of a failed command's output that say why, without the SDK's frame."""
    lines = [_plain_text(line.removeprefix(" stderr: ")) for line in text.splitlines()]
    errors = [line for line in lines if line.startswith("error:")]
    return "\n".join(errors or [line for line in lines if line][-5:])
