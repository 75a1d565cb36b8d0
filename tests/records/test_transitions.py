"""Which events follow when records change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.model import Action, Server, Step
from scaler.model.events import Event
from scaler.model.lifecycle import Status
from scaler.records.transitions import transitions
from tests.support.records import NOW, records, server


def step(action: Action, name: str = "prod-worker-1", reason: str = "because") -> Step:
    return Step(action=action, server=name, group="worker", reason=reason)


def life(*statuses: Status | None, steps: tuple[Step, ...] = ()) -> list[str]:
    """The events of one server that goes through these statuses; None: no record."""
    seen: list[str] = []
    previous: dict[str, Server] = {}
    for status in statuses:
        now = records(server(status=status)) if status else {}
        seen += [event.event for event in transitions(previous, now, steps)]
        previous = now
    return seen


@pytest.mark.acceptance("Q15")
def test_events_of_a_full_life_come_in_order() -> None:
    assert life(
        Status.NEW,
        Status.STARTING,
        Status.RUNNING,
        Status.REBOOTING,
        Status.RUNNING,
        Status.STOPPING,
        Status.STOPPED,
        Status.DELETING,
        Status.DELETED,
        None,
    ) == [
        "server.creating",
        "server.running",
        "server.rebooting",
        "server.running",
        "server.stopping",
        "server.stopped",
        "server.deleting",
        "server.deleted",
    ]


@pytest.mark.parametrize(
    ("statuses", "steps", "expected"),
    [
        ((Status.STARTING,), (), ["server.creating"]),
        ((Status.RUNNING,), (), ["server.adopted", "server.running"]),
        ((Status.STARTING,), (step(Action.ADOPT),), ["server.adopted"]),
        ((Status.STOPPED,), (), ["server.adopted", "server.stopped"]),
        ((Status.RUNNING, None), (), ["server.adopted", "server.running", "server.vanished"]),
        ((Status.STARTING, Status.DELETED), (), ["server.creating", "server.vanished"]),
        ((Status.STARTING, Status.DELETED), (step(Action.DELETE),), ["server.creating", "server.deleted"]),
        ((Status.STARTING, Status.HANGING), (), ["server.creating", "server.hanging"]),
        ((Status.STARTING, Status.STARTING), (), ["server.creating"]),
        ((Status.DELETED, Status.DELETED, None), (), ["server.adopted", "server.deleted"]),
        ((Status.DELETED, Status.NEW), (), ["server.adopted", "server.deleted", "server.creating"]),
    ],
)
def test_events_of_shorter_lives(
    statuses: tuple[Status | None, ...], steps: tuple[Step, ...], expected: list[str]
) -> None:
    assert life(*statuses, steps=steps) == expected


def test_a_hanging_delete_that_ends_is_deleted_not_vanished() -> None:
    before = records(server(status=Status.HANGING, previous=Status.DELETING))
    assert [event.event for event in transitions(before, records(server(status=Status.DELETED)))] == ["server.deleted"]


def test_a_refused_create_was_never_a_machine() -> None:
    refused = records(server(id=None, status=Status.ERRORED, error="resource_limit_exceeded: server limit"))
    assert transitions({}, refused) == [
        Event(event="server.creating", server="prod-worker-1", group="worker", status=Status.ERRORED, at=NOW),
        Event(
            event="server.errored",
            at=NOW,
            server="prod-worker-1",
            group="worker",
            status=Status.ERRORED,
            reason="resource_limit_exceeded: server limit",
        ),
    ]
    assert transitions(refused, {}) == []


def test_the_next_attempt_after_a_refused_create_is_a_creation_again() -> None:
    refused = records(server(id=None, status=Status.ERRORED))
    for status in (Status.NEW, Status.STARTING):
        assert [event.event for event in transitions(refused, records(server(status=status)))] == ["server.creating"]


def test_an_event_says_when_it_happened_not_when_it_was_recorded() -> None:
    ready = NOW - timedelta(minutes=3)
    (event,) = transitions(records(server(status=Status.STARTING)), records(server(since=ready)))
    assert event.at == ready


def test_a_name_that_another_machine_took_over_is_two_events() -> None:
    before = records(server(id="1"))
    after = records(server(id="2", status=Status.STARTING))
    assert transitions(before, after, [step(Action.CREATE, reason="1 of 1 is missing")]) == [
        Event(event="server.vanished", server="prod-worker-1", group="worker", previous=Status.RUNNING),
        Event(
            event="server.creating",
            at=NOW,
            server="prod-worker-1",
            group="worker",
            status=Status.STARTING,
            reason="1 of 1 is missing",
        ),
    ]


def test_an_orphan_that_is_adopted_and_removed_keeps_both_reasons() -> None:
    steps = [step(Action.ADOPT, reason="in no state"), step(Action.DELETE, reason="1 wanted, 2 there")]
    running = records(server())
    deleting = records(server(status=Status.DELETING))
    found = [*transitions({}, running, steps), *transitions(running, deleting, steps)]
    assert [(event.event, event.reason) for event in found] == [
        ("server.adopted", "in no state"),
        ("server.running", None),
        ("server.deleting", "1 wanted, 2 there"),
    ]
