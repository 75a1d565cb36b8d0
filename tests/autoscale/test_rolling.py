"""Rolls that ticks begin by themselves: wave after wave, within their windows, and never again what has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.converge.demand import Demand, Options, RollOrder, order_by_itself
from scaler.model import Outcome
from scaler.model.events import EventName
from scaler.model.roll import Pace, Roll, RollState, RollWindow, RollWindows
from tests.autoscale.live import Live
from tests.support.fakes import START, Killed

PACE = Pace(surge=2, canary=1, bake=timedelta(minutes=2))


class Fleet(Live):
    """A stack that rolls by itself, and what was there whenever something changed."""

    def __init__(self, folder: Path, count: int, **fields: Any) -> None:
        group = {"image_changes": "roll", "roll": PACE, "start_within": timedelta(minutes=3), **fields}
        super().__init__(folder, count=count, **group)
        self.load = count * 10
        self.there: list[int] = []
        self.serving: list[int] = []
        self.loop(4, jobs=self.load)
        assert len(self.ready) == count
        self.cloud.on_change = self.look

    def look(self) -> None:
        self.there.append(len(self.owned))
        self.serving.append(len(self.ready))

    def tick_for(self, length: timedelta) -> None:
        """One tick a minute; none of them takes time."""
        for _ in range(int(length.total_seconds() // 60)):
            before = self.clock.passed
            self.tick(jobs=self.load)
            assert self.clock.passed == before, "a tick waited"
            self.look()
            self.wait(timedelta(minutes=1))

    @property
    def images(self) -> dict[str, int]:
        """How many servers have each image."""
        self.cloud._pass()
        images = [box.image for box in self.cloud.boxes.values() if box.gone is None]
        return {image: images.count(image) for image in sorted(set(images))}

    @property
    def record(self) -> Roll:
        orders = self.records.orders()
        assert orders is not None
        return orders.rolls["worker"]

    def told(self, event: EventName) -> list[str]:
        return [one.reason or "" for one in self.records.events if one.event == event]


def test_ticks_roll_a_fleet_wave_after_wave_and_keep_the_count(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 6)
    fleet.tick_for(timedelta(minutes=3))
    assert fleet.told(EventName.ROLL_STARTED) == [], "nothing is outdated"
    fleet.cloud.snapshots.append("200")
    fleet.tick_for(timedelta(minutes=60))
    assert fleet.images == {"200": 6}, fleet.progress.warnings
    assert (min(fleet.serving), max(fleet.there)) == (6, 8)
    assert (fleet.record.state, fleet.record.waves) == (RollState.DONE, 4)
    assert set(fleet.counts) == {6}, "the new servers of a wave are no supply"
    assert fleet.told(EventName.ROLL_WAVE)[:2] == ["worker: wave 1: 1 to replace", "worker: wave 2: 2 to replace"]
    assert fleet.told(EventName.ROLL_FINISHED) == ["worker: done after wave 4, 6 are new"]
    assert fleet.is_in_order()
    # When all is done, ticks start no engine.
    fleet.stack.processes = 0
    fleet.tick_for(timedelta(minutes=3))
    assert fleet.stack.processes == 0


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize("saves", [True, False], ids=["engine-outlives", "engine-dies"])
def test_ticks_go_on_after_one_that_was_killed_anywhere_and_double_nothing(tmp_path: Path, saves: bool) -> None:
    for boundary in range(3, 120, 29):
        fleet = Fleet(tmp_path / str(boundary), 3)
        fleet.cloud.snapshots.append("200")
        fleet.stack.saves_when_killed = saves
        before, fleet.fuse.left = fleet.created, boundary
        with pytest.raises(Killed):
            fleet.tick_for(timedelta(minutes=40))
        fleet.fuse.left = None
        for _ in range(40):
            fleet.tick(jobs=fleet.load)
            fleet.look()
            fleet.wait(timedelta(minutes=1))
            if fleet.record.state is RollState.DONE:
                break
        assert (fleet.images, fleet.record.state) == ({"200": 3}, RollState.DONE), boundary
        assert (min(fleet.serving), max(fleet.there)) == (3, 5), boundary
        assert fleet.created - before == 3, boundary
        assert fleet.is_in_order(), boundary


def test_ticks_begin_waves_only_while_a_window_is_open_and_say_so_once(tmp_path: Path) -> None:
    opens = (START + timedelta(hours=3)).replace(minute=0, second=0, microsecond=0)
    nightly = RollWindow(cron=f"0 {opens.hour} * * *", length=timedelta(minutes=7))
    fleet = Fleet(tmp_path, 4, roll_windows=RollWindows(windows=(nightly,)))
    fleet.cloud.snapshots.append("200")
    fleet.tick_for(timedelta(minutes=30))
    assert fleet.images == {"100": 4}
    held = [f"worker: no wave begins: none of its windows is open before {opens:%Y-%m-%d %H:%M} UTC"]
    assert fleet.told(EventName.ROLL_HELD) == held
    # More load is served by the image that works.
    fleet.load = 50
    fleet.tick_for(timedelta(minutes=3))
    assert fleet.images == {"100": 5}
    while fleet.clock.now() < opens:
        fleet.wait(timedelta(minutes=1))
    fleet.tick_for(timedelta(minutes=60))
    waves = fleet.record.waves
    assert 0 < waves < 3, "the window was too short for all"
    assert fleet.record.size == 0, "what has begun is finished"
    assert len(fleet.owned) == 5
    assert len(fleet.told(EventName.ROLL_HELD)) == 2
    fleet.wait(timedelta(hours=23))
    fleet.tick_for(timedelta(minutes=60))
    assert fleet.record.waves > waves


def test_a_template_that_failed_is_begun_again_by_another_one_or_by_a_person(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 3)
    fleet.cloud.snapshots.append("200")
    fleet.cloud.broken.add("200")
    fleet.tick_for(timedelta(minutes=40))
    assert fleet.images == {"100": 3}
    assert max(fleet.there) == 4, "the canary alone"
    assert fleet.record.state is RollState.FAILED
    created = fleet.created
    fleet.tick_for(timedelta(minutes=40))
    assert fleet.created == created
    assert len(fleet.told(EventName.ROLL_STARTED)) == 1
    fleet.ensure(3, options=Options(roll=order_by_itself(fleet.spec)))
    assert fleet.created == created
    # A person may try the same again, and ticks go on with another image.
    fleet.run(Demand(as_wanted=True), Options(roll=RollOrder(paces={"worker": PACE})))
    assert (fleet.created, fleet.images) == (created + 1, {"100": 3})
    fleet.cloud.snapshots.append("300")
    fleet.tick_for(timedelta(minutes=40))
    assert (fleet.images, fleet.record.state) == ({"300": 3}, RollState.DONE)


def test_a_spec_that_changes_in_the_middle_is_rolled_out_instead(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 4)
    fleet.cloud.snapshots.append("200")
    fleet.tick_for(timedelta(minutes=7))
    assert 0 < fleet.images["200"] < 4
    worker = replace(fleet.spec.groups["worker"], types=("cpx22",))
    fleet.spec = replace(fleet.spec, groups={"worker": worker})
    fleet.tick_for(timedelta(minutes=60))
    assert {box.type for box in fleet.cloud.boxes.values() if box.gone is None} == {"cpx22"}
    assert fleet.images == {"200": 4}
    assert min(fleet.serving) == 4


@pytest.mark.acceptance("T15")
def test_servers_older_than_their_lifetime_are_renewed_without_ever_exceeding_the_surge(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 5, lifetime=timedelta(days=7))
    first = {box.id for box in fleet.cloud.boxes.values()}
    for _ in range(3):
        before = {box.id for box in fleet.cloud.boxes.values() if box.gone is None}
        fleet.wait(timedelta(days=7))
        fleet.tick_for(timedelta(minutes=60))
        now = {box.id for box in fleet.cloud.boxes.values() if box.gone is None}
        assert not before & now, "all were renewed"
    assert not first & now
    assert (min(fleet.serving), max(fleet.there)) == (5, 7)
    assert fleet.is_in_order()


def test_an_ensure_rolls_to_the_end_and_begins_nothing_beside_another_roll(tmp_path: Path) -> None:
    from contextlib import nullcontext

    from scaler.converge.ensure import ensure

    fleet = Fleet(tmp_path, 4)
    fleet.cloud.snapshots.append("200")
    order = Options(roll=order_by_itself(fleet.spec))
    taken = replace(fleet.around, roll_turn=lambda: nullcontext(False))
    assert ensure(fleet.spec, Demand({"worker": 4}), order, taken).outcome is Outcome.UNCHANGED
    assert fleet.images == {"100": 4}
    assert fleet.ensure(4, options=order).outcome is Outcome.CONVERGED
    assert (fleet.images, max(fleet.there), min(fleet.serving)) == ({"200": 4}, 6, 4)
    assert fleet.ensure(4, options=order).outcome is Outcome.UNCHANGED
