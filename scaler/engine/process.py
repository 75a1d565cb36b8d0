"""The Pulumi engine as a process with a contract: the only importer of `pulumi.automation`.

It adds what the Automation API lacks: a session of its own per process and output to a file (with a
pipe, a killed reader would kill the engine while it holds the stack's lock), a deadline, one
forwarded interrupt, results from the engine's events and the checkpoint instead of three more
processes per operation, and the lock holder's name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import grpc
from pulumi import automation
from pulumi.automation import events
from semver import VersionInfo

from scaler.engine.backend import LARGEST_CHECKPOINT, LocalBackend
from scaler.engine.checkpoint import Checkpoint, read_deployment
from scaler.engine.event_port import EventPort
from scaler.engine.events import Events, Ran, reason_in
from scaler.engine.explanations import in_our_words
from scaler.engine.host import LanguageHost, Program, hosting
from scaler.engine.lock_wait import LockWait
from scaler.engine.odd_files import refuse_odd_files
from scaler.engine.remote_backend import RemoteBackend
from scaler.engine.secrets import (
    PASSPHRASE,
    PASSPHRASE_FILE,
    is_about_secrets,
    name_variable,
    require_allowed_provider,
    require_allowed_settings,
    require_passphrase_file,
)
from scaler.engine.settings import EngineSettings
from scaler.engine.settings_files import settings_files
from scaler.errors import SEE_DOCTOR, CredentialsError, EngineError, TimeUpError, UnavailableError
from scaler.support.clock import Clock
from scaler.support.documents import read_file
from scaler.support.engine_urls import cloud_of, provider_of
from scaler.support.guardian import ended, start_guarded

if TYPE_CHECKING:
    from scaler.engine.policy_packs import PackFiles

PolicyEvent: TypeAlias = events.PolicyEvent

_UNREACHABLE = re.compile(
    r"unable to open (state directory|bucket)|could not (open|connect|list)|no such host|connection refused"
    r'|AccessDenied|read "\.pulumi/meta\.yaml"'
)
"""What the engine says of a backend that it cannot reach; of a bucket, it reads that file first."""

_NO_CREDENTIALS = re.compile(
    r"missing google credentials|PULUMI_ACCESS_TOKEN must be set|failed to refresh cached credentials"
    r"|Options\.AccountName is required"
)
"""What the engine says of a backend to which it was given no credentials: Google's, Pulumi Cloud, AWS', Azure's."""

_NO_MEMORY = re.compile(r"out of memory|cannot allocate|fatal error: failed to reserve|SIG(KILL|SEGV) ended it")
"""How an engine ends that gets no memory."""

_LARGEST_OUTPUT = 4 << 20
"""Bytes of an operation's output that are read."""

_OVERTIME_S = 60.0
"""How long after the run's time is up operations may go on, all together: one has a request under way, and saves."""

_INTERRUPT_GRACE_S = 30.0
"""After an interrupt the engine finishes what it began, saves and unlocks; a plugin call lasts one round trip."""

_READ_GRACE_S = 2.0
"""A preview or an export saves nothing and holds no lock. An engine that waits for a policy pack, or for a backend that
does not answer, obeys no interrupt."""

PACKS_START_S = 60.0
"""How long policy packs may take to start."""

_LOOK_S = 0.05


class PacksNotStartedError(Exception):
    """A policy pack of a preview did not start within PACKS_START_S."""


class _Process(automation.PulumiCommand):
    """Run the binary in a session of its own, with its output in files and a deadline."""

    def __init__(self, settings: EngineSettings) -> None:
        # The base class would start `pulumi version` here; the version is known already.
        self.command = str(settings.binary)
        self.version = VersionInfo.parse(settings.version.removeprefix("v"))
        self.environ = settings.environ_of_engine()
        self.deadline = settings.deadline
        self.limit = settings.limit
        self.hold = settings.hold
        self.on_start: Callable[[int], None] = lambda pid: None
        self.host: LanguageHost | None = None
        """Who runs the program of the operation that is under way."""
        self.before: Callable[[], None] = lambda: None
        """Raises an error for what would hold a process up."""
        self.place: Callable[[], AbstractContextManager[None]] = nullcontext
        """Waits until the machine has room for a process, and holds that until it ends."""
        self.started = 0
        self.pid: int | None = None
        """The operation that was started last."""
        self.events: EventPort | None = None
        """Where the operation that is under way reports its events."""

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> automation.CommandResult:
        """Run one command to its end; raises the SDK's CommandError on a non-zero code, EngineError without a start."""
        self.before()
        if "--non-interactive" not in args:
            args.insert(0, "--non-interactive")
        is_operation = "--exec-kind" in args
        if self.host and is_operation:
            args.append(f"--client=127.0.0.1:{self.host.port}")
        environ = {**self.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        # Two files: a client in the engine, such as that of S3, may write warnings beside the document on stdout.
        with self.place(), _output_file() as output, _output_file() as errors:
            grace_s = _READ_GRACE_S if _only_reads(args) else _INTERRUPT_GRACE_S
            process = start_guarded(
                lambda: subprocess.Popen(
                    [self.command, *args],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    cwd=cwd,
                    env=environ,
                    start_new_session=True,
                    # What it saves holds secrets.
                    umask=0o077,
                ),
                grace_s,
            )
            self.started += 1
            # The hold lasts until the process has ended, however the block does.
            with ExitStack() as holds, ended(process), _interrupted(process, grace_s):
                if _takes_lock(args):
                    holds.enter_context(self.hold(process.pid))
                if is_operation:
                    self._admit(process.pid)
                code = self._wait(process, has_packs="--policy-pack" in args)
            largest = LARGEST_CHECKPOINT if "export" in args else _LARGEST_OUTPUT
            stdout, stderr = _content(output, largest), _content(errors, _LARGEST_OUTPUT)
        if code != 0:
            # The SDK searches only the standard error to distinguish a held lock from other failures.
            said = stdout + stderr if code > 0 else f"{stdout}{stderr}\nerror: {signal.Signals(-code).name} ended it"
            failed = automation.CommandResult(stdout="", stderr=said, code=code)
            raise automation.errors.create_command_error(failed)
        return automation.CommandResult(stdout=stdout, stderr=stderr, code=code)

    def _admit(self, pid: int) -> None:
        """Let this process call us, and no other: one that reads the stack meanwhile has no business there."""
        self.pid = pid
        self.on_start(pid)
        for port in (self.host, self.events):
            if port:
                port.peers.admit(pid)

    def _wait(self, process: subprocess.Popen[bytes], *, has_packs: bool) -> int:
        """Return its exit code; `has_packs` if it begins with the start of policy packs."""
        until = time.monotonic() + min(self.deadline.total_seconds(), self.limit.left_with(_OVERTIME_S))
        try:
            if has_packs and self.host:
                _await_packs(process, self.host, until)
            return process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            if self.limit.is_over:
                raise TimeUpError(
                    f"The run's time ({self.limit}) was up, and the engine was stopped.",
                    why=f"its operation had not ended {_OVERTIME_S:g} s later, or had not begun by then",
                    fix="Run the same command again: it goes on from what is there.",
                ) from None
            raise EngineError(
                "The engine did not end in time and was stopped.",
                why=f"deadline {self.deadline}",
                fix="Run the same command again; it starts from what is there.",
            ) from None


def _takes_lock(args: Sequence[str]) -> bool:
    """Return whether this command takes the stack's lock."""
    command = _command(args)
    return command[:1] in (["up"], ["refresh"]) or command == ["stack", "init"]


def _only_reads(args: Sequence[str]) -> bool:
    """Return whether this command saves nothing."""
    command = _command(args)
    return command[:1] == ["preview"] or command == ["stack", "export"]


def _command(args: Sequence[str]) -> list[str]:
    return [word for word in args if not word.startswith("-")][:2]


@contextmanager
def _interrupted(process: subprocess.Popen[bytes], grace_s: float) -> Iterator[None]:
    """Interrupt the process if the block raises."""
    try:
        yield
    except BaseException:
        # Ctrl-C or SIGTERM reached only us, since the engine has a session of its own. Forward it
        # once; the engine releases its lock before we end.
        _interrupt(process, grace_s)
        raise


def _output_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


def _content(file: IO[str], largest: int) -> str:
    """Return what was written, or its end: a policy pack may write any amount, and an error comes last."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - largest))
    return file.read()


def _await_packs(process: subprocess.Popen[bytes], host: LanguageHost, until: float) -> None:
    """Return when the engine has started the policy packs, has ended, or at the time `until`.

    Raises PacksNotStartedError. The time begins when the engine has read the stack, which may be far away.
    """
    latest: float | None = None
    while process.poll() is None and not host.was_run.wait(_LOOK_S) and (now := time.monotonic()) < until:
        if latest is None and host.was_asked.is_set():
            latest = now + PACKS_START_S
        if latest is not None and now >= latest:
            raise PacksNotStartedError


def _interrupt(process: subprocess.Popen[bytes], grace_s: float) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Stack(automation.Stack):
    """The SDK's stack without the processes that it starts before and after every operation."""

    def __init__(self, name: str, workspace: automation.LocalWorkspace, process: _Process) -> None:
        # The base class would run `stack select`, which also writes a file shared by all stacks.
        self.name = name
        self.workspace = workspace
        self._process = process

    def _setup_event_log(
        self, command: str, on_event: Callable[[events.EngineEvent], object], pulumi_version: str
    ) -> tuple[str, None, None, None, grpc.Server]:
        """Return the address for the engine's events, and the server there, which the SDK stops."""
        del command, pulumi_version

        def take(text: str) -> None:
            # An event of a newer engine may have another shape. What decides is how the engine ends.
            with suppress(Exception):
                on_event(events.EngineEvent.from_json(json.loads(text)))

        self._process.events = port = EventPort(take)
        return f"tcp://127.0.0.1:{port.port}", None, None, None, port.server

    def outputs(self) -> automation.OutputMap:
        """Return nothing: `Engine.checkpoint` reads the outputs."""
        return {}

    def info(self, show_secrets: bool | None = None) -> automation.UpdateSummary:
        """Do not read the history: the events have said everything."""
        now = datetime.now().astimezone()
        return automation.UpdateSummary("update", now, "", {}, {}, "succeeded", end_time=now)


class Engine:
    """One stack's engine: every method is one process at most, and waits for a lock that others hold."""

    def __init__(
        self,
        settings: EngineSettings,
        clock: Clock,
        warn: Callable[[str], None] = lambda text: None,
        place: Callable[[], AbstractContextManager[None]] = nullcontext,
        remote: RemoteBackend | None = None,
    ) -> None:
        """`warn` gets a message that names the owner of a stolen lock; `place` is held while a process runs.

        `remote` is the backend, where it is no folder and can be read without a process.
        """
        self._remote = remote
        self._settings = settings
        self._warn = warn
        self._clock = clock
        self._local = LocalBackend.at(settings.backend, settings.project, settings.stack)
        self._process = _Process(settings)
        self._process.place = place
        self._process.before = self._require_sound_files
        self._workspace = automation.LocalWorkspace(
            work_dir=str(settings.directory),
            pulumi_home=str(settings.home) if settings.home else None,
            pulumi_command=self._process,
            secrets_provider=settings.secrets_provider,
        )
        self._stack = _Stack(settings.stack, self._workspace, self._process)
        self._exists = False

    def _require_sound_files(self) -> None:
        """Check what the engine reads before it does: nothing there may hold it up, or have it send keys elsewhere."""
        refuse_odd_files(self._settings, self._local)
        require_allowed_settings(self._settings.directory, self._settings.stack, self._settings.environ)
        require_passphrase_file(self.environ)

    @property
    def processes(self) -> int:
        """Engine processes started so far."""
        return self._process.started

    @property
    def pid(self) -> int | None:
        """The engine process that was started last: the one of an operation that is under way."""
        return self._process.pid

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of every engine process."""
        return self._process.environ

    def prepare(self) -> None:
        """Make sure that the stack exists; no process if that is known, or if the backend shows it."""
        self._require_sound_files()
        if self._local and not self._exists:
            self._local.make()
            self._exists = self._local.exists()
            self._require_provider(self._local.checkpoint())
        if self._remote and not self._exists and (found := self._remote.checkpoint()):
            self._exists = True
            self._require_provider(found)
        wait = self._lock_wait()
        while not self._exists:
            try:
                self._select_or_create()
            except automation.ConcurrentUpdateError as error:
                # Two runs that create the stack at the same moment see each other's lock, and both fail.
                wait.heal_or_wait(str(error))
            except automation.CommandError as error:
                if not wait.outlasts_half_file(str(error)):
                    raise _failure(reason_in(str(error))) from error
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
        """Return the stack as last saved, empty if there is none. One process, or none where the backend is read."""
        backend = self._local or self._remote
        found = (backend.checkpoint() if backend else None) or read_deployment(self._export())
        self._require_provider(found)
        return found

    def _require_provider(self, found: Checkpoint) -> None:
        """Before its secrets are decrypted, check where the stack's own provider is: it comes from the backend."""
        if found.provider:
            is_cloud = found.provider.startswith("http")
            reader = cloud_of if is_cloud else provider_of
            require_allowed_provider(found.provider, self._settings.environ, "the state of the stack", reader)

    def read_with_secrets(self) -> Checkpoint:
        """Return the stack as last saved, empty if there is none, after its secrets were decrypted.

        Raises EngineError with the code `secrets` if they cannot be: no operation would begin. One process.
        """
        self.checkpoint()
        return read_deployment(self._export("--show-secrets"))

    def try_secrets(self, folder: Path) -> None:
        """Encrypt something in a copy of the stack's settings, which is made in `folder`. One process.

        Raises EngineError with the code `secrets` if an operation could not: a state without secrets is read with any
        passphrase. Without settings there is nothing to try; the engine makes them.
        """
        for number, settings in enumerate(settings_files(self._settings.directory, self._settings.stack)):
            copy = folder / f"probe-{number}{settings.suffix}"
            copy.write_bytes(read_file(settings))
            probe = ["--config-file", str(copy), "--secret", f"{self._settings.project}:probe", "probe"]
            try:
                self._workspace._run_pulumi_cmd_sync(["config", "set", "--stack", self._settings.stack, *probe])
            except automation.CommandError as error:
                raise _failure(reason_in(str(error))) from error

    def preview(
        self, program: Program, plugin_port: int | None, *, refresh: bool, packs: Sequence[PackFiles] = ()
    ) -> Ran:
        """Return what the engine would do, checked by policy packs. Takes no lock and changes nothing.

        Raises PacksNotStartedError.
        """
        return self._operate(
            program,
            plugin_port,
            lambda report: self._stack.preview(
                on_event=report.receive,
                refresh=refresh,
                policy_packs=[str(pack.path) for pack in packs],
                policy_pack_configs=[str(pack.config) for pack in packs],
                **self._common(),
            ),
        )

    def up(self, program: Program, plugin_port: int | None, *, refresh: bool) -> Ran:
        """Carry out the program under the stack's lock; go on after a failed resource."""
        return self._operate(
            program,
            plugin_port,
            lambda report: self._stack.up(
                on_event=report.receive, refresh=refresh, continue_on_error=True, **self._common()
            ),
        )

    def refresh(self, program: Program, plugin_port: int | None) -> Ran:
        """Read the resources that the program declares again, and save its outputs; changes nothing in the cloud."""
        return self._operate(
            program,
            plugin_port,
            lambda report: self._stack.refresh(
                on_event=report.receive, run_program=True, clear_pending_creates=True, **self._common()
            ),
        )

    def on_start(self, admit: Callable[[int], None]) -> None:
        """Call `admit` with the process id of every operation from now on."""
        self._process.on_start = admit

    def _common(self) -> dict[str, Any]:
        return {"parallel": self._settings.parallel, "color": "never", "suppress_progress": True}

    def _operate(self, program: Program, plugin_port: int | None, operation: Callable[[Events], object]) -> Ran:
        """Run an engine operation, which runs the program; wait for a lock that others hold."""
        with hosting(program) as host:
            self._process.host = host
            try:
                return self._retried(plugin_port, operation)
            finally:
                self._process.host = None

    def _retried(self, plugin_port: int | None, operation: Callable[[Events], object]) -> Ran:
        self._workspace.env_vars = self._settings.environ_of_plugin(plugin_port)
        wait = self._lock_wait()
        while True:
            report = Events()
            try:
                operation(report)
            except automation.ConcurrentUpdateError as error:
                wait.heal_or_wait(str(error))
                continue
            except automation.CommandError as error:
                if wait.outlasts_half_file(str(error)):
                    continue
                reason = "\n".join(report.errors) or reason_in(str(error))
                host = self._process.host
                refusal = None if host and host.was_run.is_set() else _failure(reason)
                return Ran(report, error=in_our_words(name_variable(reason)), refusal=refusal)
            except RuntimeError as error:
                # `preview` raises this when the engine ended well and said nothing.
                return Ran(report, error=str(error))
            return Ran(report)

    def _lock_wait(self) -> LockWait:
        backend = self._local or self._remote
        return LockWait(self._settings, backend, self._clock, warn=self._warn, unlock=self.unlock)

    def _export(self, *options: str) -> Mapping[str, Any]:
        try:
            # Not the SDK's `export_stack`, which always decrypts the secrets.
            command = ["stack", "export", "--stack", self._settings.stack, *options]
            exported = self._workspace._run_pulumi_cmd_sync(command)
            deployment = json.loads(exported.stdout).get("deployment")
        except automation.StackNotFoundError:
            return {}
        except automation.CommandError as error:
            raise _failure(reason_in(str(error))) from error
        return deployment if isinstance(deployment, Mapping) else {}

    def unlock(self) -> None:
        """Remove all locks of the stack, whoever holds them. One process."""
        try:
            self._workspace._run_pulumi_cmd_sync(["cancel", "--yes", "--stack", self._settings.stack])
        except automation.CommandError as error:
            raise _failure(reason_in(str(error))) from error


def _failure(reason: str) -> EngineError | UnavailableError | CredentialsError:
    """Return what it means that the engine failed before it began an operation, or with a command that is none."""
    reason = in_our_words(reason)
    if is_about_secrets(reason):
        return EngineError(
            "The stack's secrets cannot be encrypted or decrypted.",
            why=reason,
            fix=f"Set {PASSPHRASE} or {PASSPHRASE_FILE} to what the stack was made with, or correct `secretsprovider` "
            "in the stack's settings file.",
            code="secrets",
        )
    if _NO_CREDENTIALS.search(reason):
        return CredentialsError(
            "The backend's credentials are missing.",
            why=reason,
            fix="Set the variables of the backend's provider, such as AWS_ACCESS_KEY_ID, GOOGLE_CREDENTIALS,"
            " AZURE_STORAGE_ACCOUNT or PULUMI_ACCESS_TOKEN, or name another `backend` in the spec.",
            code="backend_credentials",
        )
    if _UNREACHABLE.search(reason):
        return UnavailableError(
            "The engine cannot reach its backend.",
            why=reason,
            fix="Check `backend` in the spec or PULUMI_BACKEND_URL, the credentials, and a bucket's region.",
        )
    fix = "Give it more memory: `ulimit -v`, or the limit of the container." if _NO_MEMORY.search(reason) else ""
    return EngineError("The engine failed.", why=reason, fix=fix or SEE_DOCTOR)
