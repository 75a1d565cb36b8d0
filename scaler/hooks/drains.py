"""Drains on this machine: start their processes, and find what came of them, in this run or in a later one.

Each drain has a file in `<stack>.drains/` of the state folder, by the server's cloud id. It is written
before the process starts; from then on the process alone replaces it, with its result at the end. Whether
the process lives is told by the lock that it holds, so a restart of the machine is noticed, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from scaler.errors import StateError
from scaler.hooks import drain_process
from scaler.hooks.lasting import Kind, LastingCommands, ServerCommand
from scaler.hooks.processes import OUTPUT_LENGTH, ended_with, failure_of, run_command
from scaler.hooks.readiness import fill_in
from scaler.model import Server, StopPolicy
from scaler.model.drain import Drain, DrainFinding, DrainState
from scaler.support.clock import Clock, format_time
from scaler.support.documents import parse_json, read_json
from scaler.support.durations import format_duration
from scaler.support.environment import CommandEnvironment
from scaler.support.files import FILE, failure_reason, is_below, make_own_folder, open_file, replace_file
from scaler.support.sessions import boot_id, isolated, kill_session
from scaler.support.text import last_line_of
from scaler.support.time_limit import GRACE_S, TimeLimit
from scaler.support.values import dataclass

_BEGIN_WITHIN_S = 60.0
"""How long a drain command that only begins the drain may take, and one that takes a server back."""

_CHECK_WITHIN_S = 5.0

_END_WITHIN_S = 3.0
"""How long the process of a drain may take to end when its command was killed."""

_CHECK_AFTER_S = (2.0, 2.0, 5.0, 10.0)
"""Seconds between two checks of one server by one run; the last value repeats."""

_LARGEST_RECORD = 64 << 10
"""Bytes of a drain's file; others may write in the folder too."""

_TICK = re.compile(r"[0-9]{1,20}")
"""When a process began, in ticks of the clock."""

_WORKING = DrainFinding(DrainState.WORKING)


@dataclass
class _Check:
    """The checks of one drain by this run."""

    found: DrainFinding = _WORKING
    times: int = 0
    next_at: float = 0.0
    """By `clock.monotonic`."""


class DrainProcesses:
    """`ports.Drains`: the drains of one stack on this machine."""

    def __init__(
        self,
        folder: Path,
        directory: Path,
        clock: Clock,
        *,
        environ: CommandEnvironment | None = None,
        end_within_s: float = 5.0,
        limit: TimeLimit | None = None,
        commands: LastingCommands | None = None,
    ) -> None:
        """`folder` holds the drains' files; `directory` is the working directory of commands,
        and `environ` their environment; None: what any command gets of scaler's.

        `end_within_s` is how long a drain may take to end after SIGTERM at its deadline, before it is killed.
        `limit` is the time of the run, beyond which no command is waited for. `commands` has those that begin drains,
        check them and take servers back; the ticks of a watch share it.
        """
        self._commands = commands or LastingCommands()
        self._limit = limit or TimeLimit()
        self._environ = environ or CommandEnvironment.of(os.environ)
        self._end_within_s = end_within_s
        self._folder = folder
        self._directory = directory
        self._clock = clock
        self._checks: dict[tuple[str | None, datetime | None], _Check] = {}

    def announce(self, servers: Collection[Server]) -> None:
        """Write the files of drains that begin, before they are recorded anywhere else. StateError if it cannot."""
        for server in servers:
            if server.drain:
                _end(self._file(server))
                self._write(server, _document(server, server.drain))

    def start(self, drains: Sequence[tuple[Server, StopPolicy]]) -> Mapping[str, DrainFinding]:
        """Start the drains of these servers; return what came of those with a check, `drained`, by server.

        Such a server gets its drain command now, which must end with 0.
        """
        asked = [(server, policy) for server, policy in drains if policy.drained]
        found = self._carry_out("drain", [(server, policy.drain) for server, policy in asked], _BEGIN_WITHIN_S)
        # One that is being taken back must not drain meanwhile: its drain is found lost, and started by a later run.
        to_launch = [
            (server, policy)
            for server, policy in drains
            if not policy.drained and not self._commands.is_busy(server.id or "")
        ]
        launched = [(server, self._launch(server, policy.drain)) for server, policy in to_launch]
        for server, process in launched:
            if process is not None:
                process.communicate()
                if process.returncode not in (0, drain_process.ANOTHER_DRAINS):
                    self._fail(server, "cannot be run: its process did not start")
        return found

    def look(self, asked: Sequence[tuple[Server, StopPolicy]]) -> None:
        """Ask the checks of these drains that are due, all side by side: one that hangs holds no other up."""
        due = [
            (server, policy.drained)
            for server, policy in asked
            if policy.drained and server.drain and server.drain.asked and self._is_due(server)
        ]
        found = self._carry_out("drained", due, _CHECK_WITHIN_S)
        now = self._clock.monotonic()
        for server, _ in due:
            check = self._check_of(server)
            if answer := found.get(server.name):
                check.found = (
                    answer if answer.state is DrainState.DONE else DrainFinding(DrainState.WORKING, answer.why)
                )
            check.next_at = now + _CHECK_AFTER_S[min(check.times, len(_CHECK_AFTER_S) - 1)]
            check.times += 1

    def find(self, server: Server, policy: StopPolicy) -> DrainFinding:
        """Return what is known of a server's drain; with `drained`, ask its check now and then."""
        drain = server.drain
        if drain is None:
            return DrainFinding(DrainState.ELSEWHERE)
        if policy.drained:
            self.look([(server, policy)])
            return self._check_of(server).found if drain.asked else DrainFinding(DrainState.LOST)
        record = self._read(server, drain)
        if record is None:
            return DrainFinding(DrainState.ELSEWHERE)
        if record.get("result") is None and not self._lives(server):
            # Read again: it may have ended between the two.
            record = self._read(server, drain) or record
            if record.get("result") is None:
                return DrainFinding(DrainState.LOST)
        return self._finding(record, drain, policy.drain)

    def resume(self, server: Server, policy: StopPolicy) -> DrainFinding:
        """End a server's drain, and run the command that takes it back; return what came of that command."""
        # Its file stays: a run that is killed now leaves a drain to repeat, or to take back again.
        _end(self._file(server))
        self.announce([server])
        return self._carry_out("resume", [(server, policy.resume)], _BEGIN_WITHIN_S).get(server.name, _WORKING)

    def keep_only(self, ids: Collection[str]) -> None:
        """Forget the drains of all servers but these, by cloud id, and end what still runs of them."""
        self._commands.keep_only(ids)
        if self._folder.is_dir() and is_below(self._folder, self._folder.parent):
            for file in self._folder.glob("*.json"):
                if file.stem not in ids and not file.is_dir():
                    _end(file)
                    file.unlink(missing_ok=True)
                    _lock_of(file).unlink(missing_ok=True)

    # -- processes -----------------------------------------------------------------------------

    def _launch(self, server: Server, command: Sequence[str]) -> subprocess.Popen[bytes] | None:
        drain, file = server.drain, self._file(server)
        if drain is None:
            return None
        if not _is_locked(_lock_of(file)):
            _kill_leftovers(_load_own(file) or {})
        job = {
            "words": [fill_in(word, server) for word in command],
            "directory": str(self._directory),
            "end_within_s": self._end_within_s,
            "within_s": max(0.0, (drain.until - self._clock.now()).total_seconds()),
            "file": str(file),
            "record": json.loads(_document(server, drain)),
        }
        program = isolated("scaler.hooks.drain_process")
        try:
            process = subprocess.Popen(
                program,
                cwd="/",
                env=dict(self._environ.given),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(job).encode())
        except OSError as error:
            self._fail(server, f"cannot be run: {error.strerror or error}")
            return None
        return process

    def _fail(self, server: Server, why: str) -> None:
        if server.drain:
            record = json.loads(_document(server, server.drain))
            record["result"] = {"code": None, "why": why, "output": ""}
            self._write(server, json.dumps(record).encode())

    def _write(self, server: Server, content: bytes) -> None:
        try:
            make_own_folder(self._folder, self._folder.parent)
            replace_file(self._file(server), content)
        except OSError as error:
            raise StateError(
                f"The drain of {server.name} cannot be noted in {self._folder}.",
                why=failure_reason(error),
                fix="Free disk space and make the folder writable, or name another folder with --state-dir.",
            ) from error

    def _carry_out(
        self, kind: Kind, commands: Sequence[tuple[Server, Sequence[str]]], within_s: float
    ) -> dict[str, DrainFinding]:
        """Run commands of a kind about draining servers; return what came of those that have ended, by server."""
        results = self._commands.run(
            [
                ServerCommand(kind, server.id or "", server.drain.since, partial(self._run, words, server, within_s))
                for server, words in commands
                if server.drain
            ]
        )
        found: dict[str, DrainFinding] = {}
        for server, _ in commands:
            if (known := server.id or "") in results:
                why = results[known]
                found[server.name] = DrainFinding(DrainState.FAILED, why) if why else DrainFinding(DrainState.DONE)
        return found

    def _run(self, command: Sequence[str], server: Server, within_s: float) -> str | None:
        words = [fill_in(word, server) for word in command]
        within_s = self._limit.cut(within_s, at_least=GRACE_S)
        return run_command(words, self._directory, within_s, environ=self._environ)

    def _lives(self, server: Server) -> bool:
        return _is_locked(_lock_of(self._file(server)))

    # -- checks --------------------------------------------------------------------------------

    def _check_of(self, server: Server) -> _Check:
        return self._checks.setdefault((server.id, server.drain.since if server.drain else None), _Check())

    def _is_due(self, server: Server) -> bool:
        check = self._check_of(server)
        return check.found.state is not DrainState.DONE and self._clock.monotonic() >= check.next_at

    def _finding(self, record: Mapping[str, Any], drain: Drain, command: Sequence[str]) -> DrainFinding:
        result = record.get("result")
        if not isinstance(result, dict):
            return _WORKING
        code = result.get("code")
        if code == 0:
            return DrainFinding(DrainState.DONE)
        output = last_line_of(str(result.get("output") or ""), OUTPUT_LENGTH)
        if isinstance(code, int):
            why = ended_with(code)
        elif result.get("why") == "deadline":
            why = f"did not end within {format_duration(drain.until - drain.since)}"
        else:
            why = str(result.get("why"))
        return DrainFinding(DrainState.FAILED, failure_of(why, output, command, self._directory, self._environ))

    # -- files ---------------------------------------------------------------------------------

    def _file(self, server: Server) -> Path:
        return self._folder / f"{server.id}.json"

    def _read(self, server: Server, drain: Drain) -> dict[str, Any] | None:
        """Return the content of a server's file, if it is of this drain and not of an earlier one."""
        record = _load(self._file(server))
        return record if record and record.get("since") == format_time(drain.since) else None


def _document(server: Server, drain: Drain) -> bytes:
    record = {
        "schema": 1,
        "server": server.name,
        "since": format_time(drain.since),
        "until": format_time(drain.until),
        "result": None,
    }
    return json.dumps(record).encode()


def _load(file: Path) -> dict[str, Any] | None:
    try:
        record = read_json(file, _LARGEST_RECORD)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _load_own(file: Path) -> dict[str, Any] | None:
    """Return a record if this user wrote it: who else may write here could name any process of this user."""
    try:
        with open(file, "rb", opener=open_file) as opened:
            if os.fstat(opened.fileno()).st_uid != os.getuid():
                return None
            record = parse_json(opened.read(_LARGEST_RECORD))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _lock_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")


def _is_locked(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, FILE)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _end(file: Path) -> None:
    """Kill a drain command that still runs, and wait for the end of the process that watches it."""
    until = time.monotonic() + _END_WITHIN_S
    while True:
        _kill_leftovers(_load_own(file) or {})
        if not _is_locked(_lock_of(file)) or time.monotonic() > until:
            return
        time.sleep(0.02)


def _kill_leftovers(record: Mapping[str, Any]) -> None:
    """Kill what runs of a drain command, if its processes are surely those: of this boot, and begun no earlier."""
    group, begun = record.get("group"), str(record.get("started"))
    if not isinstance(group, int) or not _TICK.fullmatch(begun) or record.get("boot") != boot_id():
        return
    kill_session(group, int(begun))
