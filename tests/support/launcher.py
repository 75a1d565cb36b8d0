"""Start `scaler ...` as a process of its own, without the half second that Python takes to import it.

`tests.support.launcher_process` has imported scaler, has done nothing else, and forks for each command. What comes of
it is a process like any other: its id, folder, environment, streams, signals and end are its own, and no command sees
anything of one before it. A command for which Python itself would start differently starts afresh; one in sixteen does,
others after each commit, since only that shows what its late imports need; and all do with SCALER_TEST_COLD=1, as in
`make night`.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

IS_COLD = bool(os.environ.get("SCALER_TEST_COLD"))

SEED = os.environ.get("SCALER_TEST_CLOUDS", "0")
"""Decides which commands start afresh, and which cloud a test that is marked `one_cloud` runs on.

Any text draws; `both`: such tests run on both clouds, as in `make night`.
"""

_AFRESH = 16
"""One in how many."""

NUMBER = struct.Struct("!q")
"""How the launcher is told sizes, and tells process ids and how processes ended."""

_ROOT = Path(__file__).parents[2]

ENVIRON = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)}
"""What the launcher starts with, and a command needs at least."""

_READ_FIRST = ("PYTHON", "LANG", "LC_", "LD_", "GRPC_", "MALLOC_", "OPENSSL_")
"""How the variables begin that Python and its libraries read as they start."""

_SETTINGS = frozenset({"stdin", "stdout", "stderr", "text", "start_new_session", "umask"})
"""What can be chosen for a process that is forked."""


def start(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], **settings: Any) -> subprocess.Popen[str]:
    """Start `scaler ...`, with the settings of `subprocess.Popen`."""
    command = [sys.executable, "-m", "scaler", *arguments]
    is_cold = IS_COLD or zlib.crc32(f"{SEED} {cwd.parent.name} {arguments}".encode()) % _AFRESH == 0
    if is_cold or not settings.keys() <= _SETTINGS or _read_first(env) != _read_first(ENVIRON):
        return subprocess.Popen(command, cwd=cwd, env=env, **settings)
    return _Forked(command, cwd=cwd, env=env, **settings)


def run(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `scaler ...` to its end, with nobody to ask."""
    pipe = subprocess.PIPE
    process = start(arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
    with process:
        stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _read_first(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_READ_FIRST)}


class _Forked(subprocess.Popen[str]):
    """A process that the launcher forks and waits for: it says how the process ended."""

    _end: int
    """From where that can be read."""

    # The one step of starting that is not the system's. It is no public method, but the same since Python 3.11.
    def _execute_child(
        self,
        args: Sequence[str],
        _executable: object,
        _preexec_fn: object,
        _close_fds: object,
        _pass_fds: object,
        cwd: Path,
        env: Mapping[str, str],
        _startupinfo: object,
        _creationflags: object,
        _shell: object,
        *pipes_and_more: Any,
    ) -> None:
        stdin, _, _, stdout, _, stderr = pipes = pipes_and_more[:6]
        *_, umask, new_session, _process_group = pipes_and_more
        streams = [usual if given < 0 else given for usual, given in enumerate((stdin, stdout, stderr))]
        order = {
            "arguments": args[3:],
            "folder": str(cwd),
            "environ": dict(env),
            "umask": umask,
            "new_session": new_session,
        }
        self._end, tells = os.pipe()
        try:
            self.pid = _launcher().fork(order, [*streams, tells])
        finally:
            os.close(tells)
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._child_created = True

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                if not select.select([self._end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                (status,) = NUMBER.unpack(os.read(self._end, NUMBER.size))
                os.close(self._end)
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class _Launcher:
    """The process that forks, as the tests see it. It ends when nobody can ask it any more."""

    def __init__(self) -> None:
        self._asks, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.launcher_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
                env=ENVIRON,
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._close)

    def fork(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Start a process with these streams, and return its id; how it ended is told to the last descriptor."""
        text = json.dumps(order).encode()
        with self._lock:
            socket.send_fds(self._asks, [NUMBER.pack(len(text))], descriptors)
            self._asks.sendall(text)
            (pid,) = NUMBER.unpack(self._asks.recv(NUMBER.size, socket.MSG_WAITALL))
        return int(pid)

    def _close(self) -> None:
        self._asks.close()
        self._process.wait()


@cache
def _launcher() -> _Launcher:
    return _Launcher()
