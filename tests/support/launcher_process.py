"""The process that has imported scaler and forks for each command that `tests.support.launcher` orders."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import scaler
from scaler.commands.main import entry
from tests.support.launcher import NUMBER


@dataclass(frozen=True)
class _Order:
    arguments: list[str]
    folder: str
    environ: dict[str, str]
    umask: int
    """Negative: that of this process."""
    new_session: bool
    streams: Sequence[int]
    tells: int
    """Where to write how the process ended."""


@dataclass(frozen=True)
class _Child:
    pid: int
    tells: int


def _import_all() -> None:
    for module in pkgutil.walk_packages(scaler.__path__, "scaler."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    # Nothing of it is garbage, and what is not looked at stays shared.
    gc.freeze()


def _serve(asks: socket.socket) -> _Order | None:
    """Fork for each order, and return it in the child; None in this process, when nobody can ask any more."""
    # Not by epoll, which parent and child would share.
    with asks, selectors.PollSelector() as selector:
        selector.register(asks, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data:
                    selector.unregister(key.fileobj)
                    _tell_end(key.fd, key.data)
                    continue
                order = _next_order(asks)
                if order is None:
                    return None
                pid = os.fork()
                if pid == 0:
                    for other in selector.get_map().values():
                        if other.data:
                            _close(other.fd, other.data.tells)
                    os.close(order.tells)
                    return order
                _close(*order.streams)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, _Child(pid, order.tells))
                asks.sendall(NUMBER.pack(pid))


def _next_order(asks: socket.socket) -> _Order | None:
    size, descriptors, _, _ = socket.recv_fds(asks, NUMBER.size, 4)
    if not size:
        return None
    text: dict[str, Any] = json.loads(asks.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL))
    return _Order(**text, streams=descriptors[:3], tells=descriptors[3])


def _tell_end(ended: int, child: _Child) -> None:
    _, status = os.waitpid(child.pid, 0)
    with contextlib.suppress(BrokenPipeError):  # Nobody waits for it any more.
        os.write(child.tells, NUMBER.pack(status))
    _close(ended, child.tells)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _become(order: _Order) -> None:
    """Make this process what it would be if it had been started for the order."""
    if order.new_session:
        os.setsid()
    if order.umask >= 0:
        os.umask(order.umask)
    for number, stream in enumerate(order.streams):
        os.dup2(stream, number)
    _close(*order.streams)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environ)
    # What was read from the environment before, for the modules that were imported.
    time.tzset()
    tempfile.tempdir = None
    sys.path[0] = order.folder
    sys.argv = ["scaler", *order.arguments]
    # New objects: these know already what their descriptors were.
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    sys.stderr.reconfigure(line_buffering=True)


def _end_with(command: Callable[[], None]) -> NoReturn:
    """Run the command and end as Python does, but free no memory: to touch it all takes longer than many a command."""
    code: Any = 0
    try:
        command()
    except SystemExit as ended:
        code = ended.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _main() -> None:
    asks = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    order = _serve(asks)
    if order:
        _become(order)
        _end_with(entry)


if __name__ == "__main__":
    _main()
