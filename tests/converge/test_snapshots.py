"""The time of a snapshot, at a cloud that takes five minutes to make one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.clouds.snapshots import Making, MakingState, Snapshot
from scaler.converge.snapshots import SnapshotOrder, Taken, take
from scaler.model import Outcome
from tests.support.fakes import FakeClock, Setting

MAKING = timedelta(minutes=5)


class SlowSnapshots:
    """`scaler.clouds.snapshots.Snapshots` with at most one snapshot."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._begun = 0.0

    def all(self) -> list[Snapshot]:
        return []

    def used(self) -> frozenset[str]:
        return frozenset()

    def newest(self, server: str) -> str:
        return "0"

    def make(self, server: str, name: str, labels: Mapping[str, str]) -> Making:
        self._begun = self._clock.monotonic()
        return Making(action="1", state=MakingState.RUNNING)

    def find(self, server: str, name: str, after: str) -> Making | None:
        return None

    def look(self, server: str, name: str, making: Making) -> Making:
        is_done = self._clock.monotonic() - self._begun >= MAKING.total_seconds()
        return replace(making, state=MakingState.DONE, snapshot="7") if is_done else making

    def label(self, id: str, labels: Mapping[str, str]) -> None:
        pass

    def delete(self, id: str) -> None:
        pass


@pytest.mark.parametrize(
    ("minutes", "outcome", "elapsed"),
    [(10, Outcome.CONVERGED, MAKING), (3, Outcome.UNCONFIRMED, timedelta(minutes=3))],
    ids=["enough", "not enough"],
)
def test_the_time_of_an_answer_is_none_of_a_snapshots(minutes: int, outcome: Outcome, elapsed: timedelta) -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.snapshots = SlowSnapshots(setting.clock)  # type: ignore[assignment]

    def after_an_hour(_planned: Taken) -> bool:
        setting.clock.sleep(3600)
        return True

    order = SnapshotOrder(
        server="prod-worker-1",
        labels={"role": "worker"},
        timeout=timedelta(minutes=minutes),
        approve=after_an_hour,
    )
    taken = take(setting.spec, setting.around, order)
    assert taken.outcome is outcome
    assert elapsed <= taken.elapsed < elapsed + timedelta(minutes=1)
