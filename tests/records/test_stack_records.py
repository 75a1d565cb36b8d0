"""The records of a run: when the state file is written, and what goes to the event log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaler.errors import LimitError, Terminated, UnrecognisedError
from scaler.hooks.notify import Notifier
from scaler.model import Result
from scaler.model.orders import Orders
from scaler.records.stack_records import StackRecords
from scaler.records.state_file import CorruptStateError
from tests.support.fakes import spec
from tests.support.records import StoppedClock, records, server


@pytest.fixture
def warnings() -> list[str]:
    return []


def open_records(folder: Path, warnings: list[str]) -> StackRecords:
    notifier = Notifier("prod", (), folder=folder, warn=warnings.append)
    return StackRecords(
        spec(), folder, cause="ensure worker=1", clock=StoppedClock(), warn=warnings.append, notifier=notifier
    )


@pytest.fixture
def opened(tmp_path: Path, warnings: list[str]) -> StackRecords:
    return open_records(tmp_path, warnings)


def state_on_disk(folder: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((folder / "prod.json").read_text())
    return document


def events_on_disk(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "prod.events.jsonl").read_text().splitlines()]


def test_the_state_is_written_only_if_something_changed(opened: StackRecords, tmp_path: Path) -> None:
    assert opened.load() == ()
    for _ in range(2):
        opened.save(Orders(wanted={"worker": 1}), records(server()), ())
        assert state_on_disk(tmp_path)["serial"] == 1
    opened.save(Orders(wanted={"worker": 2}), records(server()), ())
    assert state_on_disk(tmp_path)["serial"] == 2
    (tmp_path / "prod.json").unlink()
    opened.save(Orders(wanted={"worker": 2}), records(server()), ())
    assert (tmp_path / "prod.json").exists()
    assert opened.orders() == Orders(wanted={"worker": 2})


def test_a_damaged_state_is_set_aside_only_if_it_may_be_rebuilt(
    opened: StackRecords, tmp_path: Path, warnings: list[str]
) -> None:
    (tmp_path / "prod.json").write_text("{")
    with pytest.raises(CorruptStateError):
        opened.load()
    assert opened.orders() is None
    assert warnings == []
    assert opened.load(set_aside_damaged=True) == ()
    (warning,) = warnings
    assert "it was set aside as prod.json." in warning


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (
            LimitError("No more than 3 servers."),
            [("limit.hit", "No more than 3 servers.", None), ("run.finished", "No more than 3 servers.", "refused")],
        ),
        (KeyError("s3cr3t"), [("run.finished", "KeyError", "failed")]),
        (Terminated(), [("run.finished", "interrupted by a signal", "failed")]),
    ],
    ids=["our error", "another error", "a signal"],
)
def test_a_run_that_raises_is_logged_with_its_end(
    opened: StackRecords, tmp_path: Path, error: BaseException, events: list[tuple[str, str, str | None]]
) -> None:
    def run() -> Result:
        raise error

    with pytest.raises(type(error)):
        opened.log_run(run)
    started, *others = events_on_disk(tmp_path)
    assert (started["event"], started["cause"]) == ("run.started", "ensure worker=1")
    found = [
        (
            event["event"],
            event["reason"],
            result["outcome"] if isinstance(result := event.get("result"), dict) else None,
        )
        for event in others
    ]
    assert found == events
    assert {event["run"] for event in others} == {started["run"]}


UNCLAIMED = UnrecognisedError("2 servers are not its own.", why="web-1, 2m old", code="unclaimed_servers")
LATER = UnrecognisedError("2 servers are not its own.", why="web-1, 7m old", code="unclaimed_servers")
OTHERS = UnrecognisedError("The token is of another account.", why="a, not b", code="account_changed")


def test_a_world_that_is_not_recognised_is_logged_once_until_something_else_is_found(
    tmp_path: Path, warnings: list[str]
) -> None:
    """By ticks and by runs, each of which opens the records anew."""

    def refused(error: UnrecognisedError, *, run: bool = False) -> None:
        records = open_records(tmp_path, warnings)

        def look() -> Result:
            raise error

        with pytest.raises(UnrecognisedError):
            records.log_run(look) if run else records.log_look(look)

    def logged() -> list[str]:
        events = events_on_disk(tmp_path)
        return [str(one["event"]).removeprefix("identity.") for one in events if str(one["event"]).startswith("ident")]

    refused(UNCLAIMED)
    refused(LATER)
    refused(LATER, run=True)
    refused(UNCLAIMED)
    assert logged() == ["refused"]
    refused(OTHERS)
    refused(OTHERS, run=True)
    assert logged() == ["refused", "refused"]
    for _ in range(2):
        assert open_records(tmp_path, warnings).log_look(lambda: "the world") == "the world"
    assert logged() == ["refused", "refused", "recognised"]
    refused(OTHERS)
    assert logged() == ["refused", "refused", "recognised", "refused"]
