"""What a run has said of itself, at whatever moment it is ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import pytest

import scaler.wiring
from scaler.commands.context import make_context
from scaler.commands.ending import Begun
from scaler.commands.options import LockPolicy
from scaler.commands.running import opened_ports
from scaler.config.project import Project
from scaler.errors import Terminated
from scaler.records.state_file import StateFile
from tests.support.fakes import spec
from tests.support.records import server, state


@pytest.fixture
def begun_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what a run has said of itself where it is ended by this at its beginning, or once its ports are open."""
    of = spec()
    StateFile(tmp_path, of.stack).save(state(server(id="1")))
    options = dict.fromkeys(("stack", "state_dir", "color")) | {
        "directory": str(tmp_path), "output": "text", "quiet": True, "verbose": 0, "debug": False,
    }  # fmt: skip
    context = make_context(options, os.environ)

    def begun_at(end: BaseException, *, early: bool) -> Begun:
        @contextmanager
        def open_ports(*_: Any, **__: Any) -> Iterator[None]:
            if early:
                raise end
            yield

        monkeypatch.setattr(scaler.wiring, "open_ports", open_ports)
        project = Project(tmp_path, name="shop", state_dir=tmp_path)
        with suppress(type(end)), opened_ports(context, project, of, cause="ensure", lock=LockPolicy()):
            raise end
        return context.ending.begun[of.stack]

    return begun_at


def test_a_run_that_ends_before_it_knows_what_there_was_has_changed_nothing(begun_at: Any) -> None:
    assert begun_at(Terminated(), early=True).looks


def test_a_run_that_ends_at_its_question_has_changed_nothing(begun_at: Any) -> None:
    assert begun_at(click.Abort(), early=False).looks


def test_a_run_that_ends_while_it_acts_may_have_changed_something(begun_at: Any) -> None:
    begun = begun_at(Terminated(), early=False)
    assert not begun.looks
    assert begun.before is not None
    assert [server.id for server in begun.before.servers] == ["1"]
