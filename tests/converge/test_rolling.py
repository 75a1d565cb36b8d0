"""`roll`: canary, waves, failures, roll back, kills, and counts that change meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.clouds import InvalidError
from scaler.converge.demand import Demand, Options, RollOrder
from scaler.converge.ensure import ensure
from scaler.converge.operate import protect, reboot, refresh
from scaler.converge.pausing import pause
from scaler.errors import LimitError, RefusedError, UsageError
from scaler.model import HealthPolicy, ImageRef, Outcome, Readiness, Result
from scaler.model.orders import newest
from scaler.model.roll import Pace, Roll, RollState
from scaler.output.sentences import headline
from tests.support.fakes import Killed, Setting, group, spec

FAST = Pace(surge=3, canary=1, bake=timedelta(seconds=20))


@dataclass
class Fleet:
    """Servers on image 100, and what was there at each moment."""

    count: int
    limit: int | None = None
    setting: Setting = field(init=False)
    ready: list[int] = field(default_factory=list)
    there: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.setting = Setting(spec(group("worker", 0, start_within=timedelta(minutes=2)), limit=self.limit))
        self.setting.with_servers(worker=self.count)
        self.setting.cloud.snapshots.append("200")
        self.setting.clock.on_tick = self.look
        self.setting.cloud.on_change = self.look

    def look(self) -> None:
        self.ready.append(len(self.setting.ready))
        self.there.append(len(self.setting.owned))

    def roll(self, pace: Pace = FAST, **order: object) -> Result:
        asked = RollOrder(paces={"worker": pace}, **order)  # type: ignore[arg-type]
        return self.setting.run(Demand(as_wanted=True), Options(roll=asked))

    @property
    def images(self) -> dict[str, int]:
        """How many servers have each image."""
        self.setting.cloud._pass()
        images = [box.image for box in self.setting.cloud.boxes.values() if box.gone is None]
        return {image: images.count(image) for image in sorted(set(images))}

    @property
    def record(self) -> Roll:
        orders = newest(self.setting.stack.saved.orders, self.setting.records.orders())
        return orders.rolls["worker"]


@pytest.mark.acceptance("T15")
def test_a_roll_replaces_all_in_waves_and_keeps_the_count() -> None:
    fleet = Fleet(10)
    result = fleet.roll()
    assert (result.outcome, fleet.images) == (Outcome.CONVERGED, {"200": 10}), fleet.setting.progress.warnings
    assert (min(fleet.ready), max(fleet.there)) == (10, 13)
    assert (fleet.record.state, fleet.record.waves) == (RollState.DONE, 4)
    assert len(fleet.record.replaced) == 10
    assert fleet.setting.is_in_order()
    fleet.setting.cloud.calls.clear()
    assert fleet.roll().outcome is Outcome.UNCHANGED
    assert fleet.setting.cloud.changes() == []


def test_a_roll_without_surge_goes_below_the_count_by_what_is_allowed() -> None:
    fleet = Fleet(6, limit=6)
    with pytest.raises(LimitError, match="no room to roll worker"):
        fleet.roll(replace(FAST, canary=0))
    assert fleet.images == {"100": 6}
    result = fleet.roll(replace(FAST, canary=0, unavailable=2))
    assert (result.outcome, fleet.images) == (Outcome.CONVERGED, {"200": 6}), fleet.setting.progress.warnings
    assert (min(fleet.ready), max(fleet.there)) == (4, 6)


@pytest.mark.acceptance("T15")
def test_an_image_that_never_gets_ready_costs_the_canary_alone() -> None:
    fleet = Fleet(5)
    fleet.setting.cloud.broken.add("200")
    result = fleet.roll()
    assert (result.outcome, fleet.images) == (Outcome.FAILED, {"100": 5})
    assert "The roll of worker stopped at wave 1" in str(result.failures[0])
    assert (min(fleet.ready), max(fleet.there)) == (5, 6)
    assert fleet.setting.is_in_order()
    # More servers are made from the image that works, by whatever command.
    fleet.setting.ensure(7)
    assert fleet.images == {"100": 7}
    # And nothing begins the same again by itself.
    assert fleet.roll(by_itself=True).outcome is Outcome.UNCHANGED
    fleet.setting.cloud.snapshots.append("300")
    assert fleet.roll(by_itself=True).outcome is Outcome.CONVERGED
    assert fleet.images == {"300": 7}


def test_servers_that_fail_while_they_bake_cost_the_canary_alone() -> None:
    fleet = Fleet(4)

    def break_down() -> None:
        fleet.look()
        for box in fleet.setting.cloud.boxes.values():
            if box.image == "200" and box.ready is not None and fleet.setting.clock.passed > box.ready + 5:
                fleet.setting.readiness.failing.add(box.name)
                fleet.setting.health.failing.add(box.name)
                box.off = True

    fleet.setting.clock.on_tick = break_down
    result = fleet.roll()
    assert fleet.images == {"100": 4}, (result, fleet.setting.progress.warnings)
    assert result.outcome is Outcome.FAILED
    assert min(fleet.ready) == 4


CHECKED = HealthPolicy(check=Readiness(kind="tcp", port=80), every=timedelta(seconds=5), failures=4)
"""A server that fails from the middle of a bake of 20 s on is unhealthy only after it."""


def checked(fleet: Fleet, names_of: Callable[[Setting], set[str]], *, until_s: float = 1e9) -> None:
    """Check the fleet's health; ready servers of the new image are in trouble from 5 s after that on."""
    setting = fleet.setting
    setting.spec = replace(setting.spec, groups={"worker": replace(setting.spec.groups["worker"], healthy=CHECKED)})

    def trouble() -> None:
        fleet.look()
        now = setting.clock.passed
        names_of(setting).clear()
        names_of(setting).update(
            box.name
            for box in setting.cloud.boxes.values()
            if box.image == "200" and box.ready is not None and box.ready + 5 < now < box.ready + until_s
        )

    setting.clock.on_tick = trouble


@pytest.mark.acceptance("T15")
def test_a_server_whose_checks_fail_when_its_bake_ends_replaces_none() -> None:
    fleet = Fleet(4)
    checked(fleet, lambda setting: setting.health.failing)
    result = fleet.roll()
    assert (result.outcome, fleet.images) == (Outcome.FAILED, {"100": 4}), fleet.setting.progress.warnings
    assert "is unhealthy: HTTP 500 (4 checks in a row failed)" in fleet.record.error
    assert (min(fleet.ready), max(fleet.there)) == (4, 5)
    assert fleet.setting.is_in_order()


def test_one_that_is_healthy_again_at_the_end_of_its_bake_is_accepted() -> None:
    fleet = Fleet(4)
    checked(fleet, lambda setting: setting.health.failing, until_s=15)
    assert fleet.roll().outcome is Outcome.CONVERGED
    assert fleet.images == {"200": 4}


def test_where_no_check_gets_an_answer_a_roll_replaces_none_and_says_what_it_waits_for() -> None:
    fleet = Fleet(2)
    checked(fleet, lambda setting: setting.health.unreachable)
    fleet.setting.health.unreachable |= {"prod-worker-1", "prod-worker-2"}
    everybody = {f"prod-worker-{number}" for number in range(1, 9)}
    fleet.setting.clock.on_tick = lambda: fleet.setting.health.unreachable.update(everybody)
    result = fleet.roll()
    assert (result.outcome, fleet.images) == (Outcome.UNCONFIRMED, {"100": 2, "200": 1})
    assert fleet.record.state is RollState.ROLLING
    assert list(result.unchecked) == ["worker"]


@pytest.mark.acceptance("T15")
def test_a_roll_back_after_a_later_wave_ends_on_the_old_image() -> None:
    fleet = Fleet(8)
    waves: list[int] = []

    def spoil() -> None:
        fleet.look()
        if fleet.images.get("200", 0) >= 4:
            fleet.setting.cloud.broken.add("200")
            waves.append(1)

    fleet.setting.clock.on_tick = spoil
    assert fleet.roll().outcome is Outcome.FAILED
    assert fleet.images == {"100": 4, "200": 4}
    assert fleet.record.waves == 3
    result = fleet.roll(do="back")
    assert (result.outcome, fleet.images) == (Outcome.CONVERGED, {"100": 8}), fleet.setting.progress.warnings
    assert min(fleet.ready) == 8
    reasons = [report.step.reason for report in result.steps]
    assert "it takes the place of a server that is rolled back" in reasons
    assert any(reason.endswith(": it is rolled back") for reason in reasons)
    # A repeat, as after a kill at the very end, finds it done.
    assert fleet.roll(do="back").outcome is Outcome.UNCHANGED
    # The image of the spec stays out of use, until it is another one.
    fleet.setting.ensure(9)
    assert fleet.images == {"100": 9}


def test_what_cannot_be_rolled_back_says_why() -> None:
    fleet = Fleet(2)
    with pytest.raises(RefusedError, match="nothing of worker to roll back"):
        fleet.roll(do="back")
    fleet.roll()
    fleet.setting.cloud.snapshots.remove("100")
    with pytest.raises(RefusedError, match="its image of before, 100, does not exist any more"):
        fleet.roll(do="back")
    fleet.setting.cloud.snapshots.insert(0, "100")
    changed = replace(fleet.setting.spec.groups["worker"], user_data="#!/bin/sh")
    fleet.setting.spec = replace(fleet.setting.spec, groups={"worker": changed})
    with pytest.raises(RefusedError, match="its spec changed since the roll"):
        fleet.roll(do="back")
    assert fleet.images == {"200": 2}


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize("saves", [True, False], ids=["engine-outlives", "engine-dies"])
@pytest.mark.parametrize("then", ["roll", "ensure", "by itself"])
def test_one_that_is_killed_anywhere_goes_on_and_doubles_nothing(then: str, saves: bool) -> None:
    for boundary in range(1, 40, 3):
        fleet = Fleet(3)
        fleet.setting.stack.saves_when_killed = saves
        fleet.setting.fuse.left = boundary
        with suppress(Killed):
            fleet.roll(replace(FAST, surge=2), by_itself=then == "by itself")
        fleet.setting.fuse.left = None
        fleet.setting.clock.passed += 90
        if then == "ensure":
            result = fleet.setting.ensure(3)
            assert result.outcome in (Outcome.CONVERGED, Outcome.UNCHANGED), (boundary, result.failures)
            assert len(fleet.setting.owned) == 3
        result = fleet.roll(replace(FAST, surge=2), by_itself=then == "by itself")
        assert fleet.images == {"200": 3}, (boundary, result.failures, fleet.setting.progress.warnings)
        assert max(fleet.there) <= 5
        assert min(fleet.ready) >= 3
        assert fleet.setting.is_in_order()


def test_a_count_that_changes_in_the_middle_ends_exact_and_all_new() -> None:
    fleet = Fleet(10)
    asked: list[int] = []

    def ask_for_more() -> None:
        fleet.look()
        if fleet.images.get("200", 0) == 4 and not asked:
            asked.append(12)
            there = Setting(fleet.setting.spec)
            there.clock, there.cloud, there.stack = fleet.setting.clock, fleet.setting.cloud, fleet.setting.stack
            there.records = fleet.setting.records
            there.ensure(12)

    fleet.setting.clock.on_tick = ask_for_more
    result = fleet.roll()
    assert asked
    assert fleet.images == {"200": 12}, (result.failures, fleet.setting.progress.warnings)
    assert min(fleet.ready) == 10


def test_an_ensure_finishes_the_wave_that_was_begun_and_begins_none() -> None:
    fleet = Fleet(6)
    fleet.setting.fuse.left = 14
    with suppress(Killed):
        fleet.roll(replace(FAST, canary=0, surge=2))
    fleet.setting.fuse.left = None
    begun: Mapping[str, int] = fleet.images
    assert begun.get("200") == 2
    result = fleet.setting.ensure(6)
    assert (result.outcome, fleet.images) == (Outcome.CONVERGED, {"100": 4, "200": 2})
    fleet.roll(do="abandon")
    assert fleet.record.state is RollState.ABANDONED
    assert fleet.images == {"100": 4, "200": 2}
    assert fleet.roll(by_itself=True).outcome is Outcome.UNCHANGED


def test_a_whole_roll_is_more_than_a_run_may_change() -> None:
    fleet = Fleet(4)
    order = RollOrder(paces={"worker": FAST})
    with pytest.raises(LimitError, match="create and delete 8 servers together"):
        fleet.setting.run(Demand(as_wanted=True), Options(roll=order, max_change=7))
    assert fleet.images == {"100": 4}


def killed_with_an_open_wave(fleet: Fleet, pace: Pace) -> None:
    fleet.setting.fuse.left = 14
    with suppress(Killed):
        fleet.roll(pace)
    fleet.setting.fuse.left = None
    assert fleet.record.size


def test_a_roll_that_goes_on_keeps_its_pace_but_for_what_is_given() -> None:
    slow, waves = Pace(surge=1, canary=0, bake=timedelta(minutes=3)), []
    for given in ({}, {"surge": 3}, {"bake": timedelta(seconds=10)}):
        fleet = Fleet(4)
        killed_with_an_open_wave(fleet, slow)
        # What the spec says by now does not matter.
        assert fleet.roll(Pace(surge=2), given=given).outcome is Outcome.CONVERGED
        assert fleet.images == {"200": 4}
        waves.append((fleet.record.waves, fleet.record.pace))
    faster, sooner = replace(slow, surge=3), replace(slow, bake=timedelta(seconds=10))
    assert waves == [(4, slow), (2, faster), (4, sooner)]
    fleet = Fleet(2)
    killed_with_an_open_wave(fleet, slow)
    with pytest.raises(UsageError, match="surge and unavailable are both 0"):
        fleet.roll(slow, given={"surge": 0})


def test_a_bake_that_no_wave_has_time_for_is_a_mistake_of_the_command() -> None:
    fleet = Fleet(2)
    options = Options(
        roll=RollOrder(paces={"worker": replace(FAST, bake=timedelta(minutes=15))}), timeout=timedelta(minutes=15)
    )
    with pytest.raises(UsageError, match="its servers bake for 15m, and --timeout is 15m"):
        fleet.setting.run(Demand(as_wanted=True), options)
    assert fleet.images == {"100": 2}
    assert fleet.setting.run(Demand(as_wanted=True), replace(options, apply=False)).schedules


def test_a_wave_that_has_not_baked_in_time_says_until_when() -> None:
    fleet = Fleet(2)
    order = RollOrder(paces={"worker": replace(FAST, bake=timedelta(seconds=55))})
    result = fleet.setting.run(Demand(as_wanted=True), Options(roll=order, timeout=timedelta(seconds=56)))
    assert result.outcome is Outcome.UNCONFIRMED
    assert f"the new servers of worker bake until {result.baking['worker']:%H:%M:%S} UTC" in headline(result)
    assert fleet.roll(given={}).outcome is Outcome.CONVERGED


def test_a_wave_that_has_not_booted_in_time_goes_on_with_the_next_run() -> None:
    """The time of a run says nothing of an image: only the deadline of its servers does."""
    fleet = Fleet(3)
    fleet.setting.cloud.boot_s = 100
    asked = RollOrder(paces={"worker": replace(FAST, bake=timedelta(0))})
    short = Options(roll=asked, timeout=timedelta(seconds=60))
    outcomes = [fleet.setting.run(Demand(as_wanted=True), short).outcome for _ in range(3)]
    assert outcomes == [Outcome.UNCONFIRMED, Outcome.UNCONFIRMED, Outcome.CONVERGED]
    assert (fleet.images, fleet.record.state) == ({"200": 3}, RollState.DONE)
    assert [operation for operation, _ in fleet.setting.cloud.changes()].count("create") == 3


@pytest.mark.parametrize("is_left", [False, True], ids=["all of the wave", "some of the wave"])
def test_an_image_that_is_deleted_in_the_middle_ends_the_roll_and_removes_its_wave(is_left: bool) -> None:
    fleet = Fleet(6)
    most, made = (2 if is_left else 1), list[int]()

    def delete() -> None:
        fleet.look()
        made.append(fleet.images.get("200", 0))
        if made[-1] == most and "200" in fleet.setting.cloud.snapshots:
            fleet.setting.cloud.snapshots.remove("200")

    fleet.setting.clock.on_tick = fleet.setting.cloud.on_change = delete
    result = fleet.roll()
    assert (result.outcome, fleet.images) == (Outcome.FAILED, {"100": 5, "200": 1}), fleet.setting.progress.warnings
    assert "1 server is new, the others stay" in str(result.failures[-1])
    assert "there is no image 200" in fleet.record.error
    assert (fleet.record.state, fleet.record.waves) == (RollState.FAILED, 2)
    assert (max(made), min(fleet.ready), fleet.setting.is_in_order()) == (most, 6, True)
    # Counts are kept from the image that works.
    assert fleet.setting.ensure(7).outcome is Outcome.CONVERGED
    assert fleet.images == {"100": 6, "200": 1}


def test_a_roll_whose_image_is_nowhere_says_what_is_missing() -> None:
    fleet = Fleet(2)
    worker = replace(fleet.setting.spec.groups["worker"], image=ImageRef("name", "goldne"))
    fleet.setting.spec = replace(fleet.setting.spec, groups={"worker": worker})
    with pytest.raises(InvalidError, match="there is no image goldne"):
        fleet.roll()
    assert fleet.images == {"100": 2}


def test_a_changed_spec_ends_a_roll_only_by_hand() -> None:
    fleet = Fleet(6)
    fleet.setting.fuse.left = 14
    with suppress(Killed):
        fleet.roll()
    fleet.setting.fuse.left = None
    worker = replace(fleet.setting.spec.groups["worker"], types=("cpx22",))
    fleet.setting.spec = replace(fleet.setting.spec, groups={"worker": worker})
    with pytest.raises(RefusedError, match="The spec of worker changed since its roll began"):
        fleet.roll()
    fleet.roll(do="abandon")
    fleet.roll()
    assert {box.type for box in fleet.setting.cloud.boxes.values() if box.gone is None} == {"cpx22"}
    assert fleet.images == {"200": 6}


# ---------------------------------------------------------------------------------------------
# Other commands in the middle of a roll: while it waits, or after it was killed


def beside(fleet: Fleet) -> Setting:
    """The same stack for another command, on the same machine."""
    there = Setting(fleet.setting.spec)
    there.clock, there.cloud, there.stack = fleet.setting.clock, fleet.setting.cloud, fleet.setting.stack
    there.records = fleet.setting.records
    return there


@dataclass(frozen=True)
class Command:
    """A command that comes in the middle of a roll of six."""

    name: str
    run: Callable[[Setting], object]
    left: int = 6
    """Servers at the end, all new."""
    ready: int = 6
    """Ready ones at each moment, at least."""
    more: int = 0
    """Servers above count and surge while it works."""


def _named(**demand: Any) -> Callable[[Setting], object]:
    return lambda there: there.run(Demand(**demand), Options(command="it"))


COMMANDS = [
    Command("replace an old one", _named(renew=frozenset({"prod-worker-2"})), more=1),
    Command("replace a new one", _named(renew=frozenset({"prod-worker-7"})), more=1),
    Command("stop an old one", _named(remove=frozenset({"prod-worker-2"})), left=5, ready=5),
    Command("stop a new one", _named(remove=frozenset({"prod-worker-7"})), left=5, ready=5),
    Command("increase", _named(by={"worker": 2}), left=8, more=2),
    Command("decrease", _named(by={"worker": -2}), left=4, ready=4),
    Command("ensure more", lambda there: there.ensure(8), left=8, more=2),
    Command("ensure fewer", lambda there: there.ensure(2), left=2, ready=2),
    Command("ensure none", lambda there: there.ensure(0), left=0, ready=0),
    Command("reboot an old one", lambda there: reboot(there.spec, there.around, names=["prod-worker-2"]), ready=5),
    Command("reboot a new one", lambda there: reboot(there.spec, there.around, names=["prod-worker-7"]), ready=5),
    Command("pause", lambda there: pause(there.spec, there.around, reason="to look")),
    Command("refresh", lambda there: refresh(there.spec, there.around)),
]


Meddle = Callable[[Setting], object]


def roll_with(fleet: Fleet, pace: Pace, is_killed: bool, command: Meddle, when: Callable[[], bool]) -> Result:
    """Roll; when its lock is free for the first time that it is the time, run the command. Then roll to the end.

    With `is_killed`, the roll dies there before the command.
    """
    ran: list[object] = []

    @contextmanager
    def unlocked() -> Iterator[None]:
        if not ran and when():
            ran.append(None)
            if is_killed:
                raise Killed
            command(beside(fleet))
        yield

    asked = RollOrder(paces={"worker": pace})
    with suppress(Killed):
        ports = replace(fleet.setting.around, unlocked=unlocked)
        ensure(fleet.setting.spec, Demand(as_wanted=True), Options(roll=asked), ports)
    assert ran, "it was never the time"
    if is_killed:
        command(beside(fleet))
    return fleet.roll(pace)


@pytest.mark.parametrize("is_killed", [False, True], ids=["waits", "killed"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_other_commands_in_the_middle_of_a_roll(command: Command, is_killed: bool) -> None:
    fleet = Fleet(6)
    pace = replace(FAST, surge=2)
    # The new servers of the first whole wave bake.
    result = roll_with(fleet, pace, is_killed, command.run, lambda: fleet.images.get("200") == 3)
    told = (command.name, result.failures, fleet.setting.progress.warnings)
    assert fleet.images == ({"200": command.left} if command.left else {}), told
    assert min(fleet.ready) >= command.ready, told
    assert max(fleet.there) <= 6 + pace.surge + command.more, told
    assert fleet.record.state is RollState.DONE, told
    assert fleet.setting.is_in_order(), told


@pytest.mark.parametrize("is_killed", [False, True], ids=["waits", "killed"])
def test_a_server_that_is_protected_in_the_middle_stays_as_it_is(is_killed: bool) -> None:
    fleet = Fleet(4)

    def shield(there: Setting) -> None:
        protect(there.spec, ["prod-worker-1"], there.around, protected=True)

    roll_with(fleet, replace(FAST, surge=1), is_killed, shield, lambda: fleet.images.get("200") == 2)
    assert (fleet.images, fleet.record.state) == ({"100": 1, "200": 3}, RollState.DONE)


@pytest.mark.parametrize("is_killed", [False, True], ids=["waits", "killed"])
def test_destroy_in_the_middle_ends_the_roll(is_killed: bool) -> None:
    fleet, ended = Fleet(4), list[Outcome]()

    def destroy(there: Setting) -> None:
        ended.append(there.run(Demand({"worker": 0}), Options(everything=True)).outcome)

    roll_with(fleet, FAST, is_killed, destroy, lambda: fleet.images.get("200") == 1)
    assert (ended, fleet.images) == ([Outcome.CONVERGED], {})
    assert fleet.setting.ensure(3).outcome is Outcome.CONVERGED
    assert fleet.images == {"200": 3}
