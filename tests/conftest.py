"""Hold what `make unit` promises: a test that is not marked listens on no port and starts no server, browser or engine.

`server`, `browser` and `engine` mark the others, a whole module at once with `pytestmark` where it needs it; packages
and fixtures that always need one are listed below. An audit hook sees each bind and each start of a program in this
process. It does not see what a child process does, nor gRPC's own sockets.

`tests.support.schema_check` holds each answer of an embedded cloud against its vendor's document.
"""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.schema_check import (  # noqa: F401 - pytest finds its hooks and its fixture here
    answers_are_as_documented,
    pytest_collection_finish,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

# No test holds a time against this machine: it may be busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_MARKED_PACKAGES = {"e2e": "engine", "faults": "engine", "simulator": "server"}

_MARKED_FIXTURES = {
    "embedded_cloud": "server",
    "exposition": "server",
    "pages": "server",
    "prometheus": "server",
    "redis_port": "server",
}
"""Fixtures that several modules share, with the mark of the tests that use one."""

_PROGRAMS = {
    "chromium": "browser",
    "pulumi": "engine",
    "redis-server": "server",
    "prometheus": "server",
    "postgres": "server",
    "pg_ctl": "server",
    "initdb": "server",
    "rabbitmq-server": "server",
    "mariadbd": "server",
}
"""Programs that only marked tests start, with the mark."""

_ALLOWING = {"server": {"server", "browser", "engine"}, "browser": {"browser"}, "engine": {"engine"}}
"""The marks that allow a thing: engine and browser tests have servers of their own to talk to."""


class _Guard:
    """What the running test may start, and what it started without a mark."""

    def __init__(self) -> None:
        self.watching = False
        self.marks: set[str] = set()
        self.offences: list[str] = []

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Refuse a bind or a start of a program that the test is not marked for."""
        if not self.watching:
            return
        if event == "socket.bind":
            listener, address = args
            if listener.family in (socket.AF_INET, socket.AF_INET6) and listener.type == socket.SOCK_STREAM:
                self._require("server", f"binds a port at {address}")
        elif event == "subprocess.Popen":
            program = args[0] or args[1][0]
            needed = _PROGRAMS.get(Path(str(program)).name)
            if needed and not _is_stand_in(str(program)):
                self._require(needed, f"starts {program}")

    def _require(self, needed: str, what: str) -> None:
        if self.marks & _ALLOWING[needed]:
            return
        offence = f"the test {what} and is not marked: @pytest.mark.{needed}, or pytestmark for its module"
        self.offences.append(offence)
        raise RuntimeError(offence)


def _is_stand_in(program: str) -> bool:
    """Whether a program is one that a test wrote in its own folder, under the name of the real one."""
    return Path(tempfile.gettempdir()) in Path(program).parents


_guard = _Guard()
sys.addaudithook(_guard.hear)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark the tests that need a mark because of their package or of a fixture."""
    root = Path(__file__).parent
    for item in items:
        package = item.path.relative_to(root).parts[0]
        marks = {_MARKED_FIXTURES.get(name) for name in getattr(item, "fixturenames", ())}
        for mark in sorted(filter(None, {*marks, _MARKED_PACKAGES.get(package)})):
            item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch a test from its first fixture to its last, those of the session included."""
    _guard.marks = {mark.name for mark in item.iter_markers()}
    _guard.offences = []
    _guard.watching = True
    try:
        return (yield)
    finally:
        _guard.watching = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that started something without its mark, also if the code under test swallowed the refusal."""
    result = yield
    if _guard.offences:
        pytest.fail(f"{item.nodeid}: {_guard.offences[0]}", pytrace=False)
    return result
