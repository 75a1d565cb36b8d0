"""The statuses: what a machine's condition means, what may follow what, what counts."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scaler
from scaler.model import Server
from scaler.model.lifecycle import (
    DELETE_WITHIN,
    SUPPLY,
    TRANSITIONS,
    IllegalTransitionError,
    Phase,
    Status,
    check_transition,
    deadline_of,
    status_of,
)
from tests.support.fakes import START

SEEN_BEFORE = st.sampled_from([None, *(status for status in Status if status is not Status.DELETED)])


def seen(
    phase: Phase, before: Status | None = None, *, locked: bool = False, in_stack: bool = True, ready: bool = True
) -> Status:
    return status_of(phase, locked, before, in_stack=in_stack, ready=ready)


@given(st.sampled_from(Phase), SEEN_BEFORE, st.booleans(), st.booleans(), st.booleans())
def test_whatever_is_seen_may_follow_what_was_known(
    phase: Phase, before: Status | None, locked: bool, in_stack: bool, ready: bool
) -> None:
    after = status_of(phase, locked, before, in_stack=in_stack, ready=ready)
    if before is not None:
        check_transition("prod-worker-1", before, after)
    assert after not in (Status.NEW, Status.DELETED)


@pytest.mark.parametrize("status", [status for status in Status if status not in (Status.NEW, Status.DELETED)])
def test_any_server_can_be_deleted_vanish_or_hang(status: Status) -> None:
    assert {Status.DELETING, Status.DELETED, Status.HANGING} <= TRANSITIONS[status] | {status}


@pytest.mark.acceptance("P23")
def test_what_may_not_follow_is_an_error_that_names_both() -> None:
    gone = Server(name="prod-worker-1", group="worker", id="1", status=Status.DELETED, since=START)
    with pytest.raises(IllegalTransitionError, match="prod-worker-1 cannot go from deleted to running"):
        gone.become(Status.RUNNING, START)


def test_nothing_but_become_changes_a_status() -> None:
    """Besides the first sight of a machine: a record's first status follows nothing."""
    writers = [
        (path.name, scope.name)
        for path in sorted(Path(scaler.__path__[0]).rglob("*.py"))
        for scope in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(scope, ast.FunctionDef)
        for call in ast.walk(scope)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", getattr(call.func, "attr", "")) == "replace"
        and any(keyword.arg == "status" for keyword in call.keywords)
    ]
    assert writers == [("server.py", "become"), ("assess.py", "record")]


@pytest.mark.acceptance("P12", "P13")
def test_a_new_server_starts_and_runs() -> None:
    new = Server(name="prod-worker-1", group="worker", id=None, status=Status.NEW, since=START)
    starting = new.become(Status.STARTING, START + timedelta(seconds=1))
    running = starting.become(Status.RUNNING, START + timedelta(seconds=9))
    assert (running.status, running.previous, running.since) == (
        Status.RUNNING,
        Status.STARTING,
        START + timedelta(seconds=9),
    )


def test_a_status_entered_twice_keeps_its_time() -> None:
    running = Server(name="prod-worker-1", group="worker", id="1", status=Status.RUNNING, since=START)
    assert running.become(Status.RUNNING, START + timedelta(hours=1)) == running


@pytest.mark.acceptance("P28")
def test_all_statuses_in_the_contracts_order() -> None:
    assert [str(status) for status in Status] == [
        "new",
        "starting",
        "running",
        "unhealthy",
        "rebooting",
        "stopping",
        "stopped",
        "deleting",
        "deleted",
        "hanging",
        "errored",
    ]


@pytest.mark.acceptance("P11")
def test_new_starting_running_and_rebooting_are_supply() -> None:
    assert {Status.NEW, Status.STARTING, Status.RUNNING, Status.REBOOTING} == SUPPLY


@pytest.mark.parametrize(
    ("phase", "before", "expected"),
    [
        (Phase.BOOTING, None, Status.STARTING),
        (Phase.BOOTING, Status.RUNNING, Status.REBOOTING),
        (Phase.BOOTING, Status.HANGING, Status.HANGING),
        (Phase.RUNNING, Status.STARTING, Status.RUNNING),
        (Phase.RUNNING, Status.HANGING, Status.RUNNING),
        (Phase.OFF, Status.RUNNING, Status.STOPPED),
        (Phase.OFF, Status.REBOOTING, Status.REBOOTING),
        (Phase.STOPPING, Status.RUNNING, Status.STOPPING),
        (Phase.DELETING, Status.RUNNING, Status.DELETING),
    ],
)
def test_what_a_condition_means(phase: Phase, before: Status | None, expected: Status) -> None:
    assert seen(phase, before) is expected


@pytest.mark.parametrize("phase", [Phase.BUSY, Phase.UNKNOWN])
@pytest.mark.parametrize("before", [None, *(status for status in Status if status is not Status.DELETED)])
def test_what_the_vendor_works_on_keeps_its_status(phase: Phase, before: Status | None) -> None:
    kept = {None: Status.STARTING, Status.NEW: Status.STARTING, Status.DELETING: Status.REBOOTING}
    assert seen(phase, before) is kept.get(before, before)


def test_between_created_and_started_a_machine_is_off_and_locked() -> None:
    assert seen(Phase.OFF, Status.STARTING, locked=True) is Status.STARTING
    assert seen(Phase.OFF, Status.STARTING, locked=False) is Status.STOPPED
    assert seen(Phase.OFF, Status.RUNNING, locked=True) is Status.STOPPED


def test_a_delete_that_was_accepted_is_under_way_and_one_that_was_not_is_undone() -> None:
    assert seen(Phase.RUNNING, Status.DELETING, in_stack=False) is Status.DELETING
    assert seen(Phase.RUNNING, Status.DELETING, in_stack=True) is Status.RUNNING


def test_a_machine_that_runs_without_being_ready_is_still_on_its_way() -> None:
    assert seen(Phase.RUNNING, Status.STARTING, ready=False) is Status.STARTING
    assert seen(Phase.RUNNING, Status.REBOOTING, ready=False) is Status.REBOOTING
    assert seen(Phase.RUNNING, Status.HANGING, ready=False) is Status.HANGING
    assert seen(Phase.RUNNING, Status.RUNNING, ready=False) is Status.RUNNING


@pytest.mark.acceptance("P15")
def test_a_reboot_is_over_when_the_machine_is_no_longer_locked() -> None:
    assert seen(Phase.RUNNING, Status.REBOOTING, locked=True) is Status.REBOOTING
    assert seen(Phase.RUNNING, Status.REBOOTING, locked=False) is Status.RUNNING


@pytest.mark.acceptance("P29")
@pytest.mark.parametrize("status", list(Status))
def test_which_statuses_have_a_deadline(status: Status) -> None:
    within = timedelta(minutes=3)
    expected = {
        Status.STARTING: within,
        Status.REBOOTING: within,
        Status.STOPPING: DELETE_WITHIN,
        Status.DELETING: DELETE_WITHIN,
    }
    assert deadline_of(status, within) == expected.get(status)
