"""Rolls, played to their end: after each step of each wave the numbers are within their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.model import Action, Machine, PlanPhase, Server, Spec, World
from scaler.model.lifecycle import Status
from scaler.model.roll import Pace, Roll, RollState, RollTarget
from scaler.planning.advice import Advice
from scaler.planning.plan import plan
from scaler.planning.roll import Scene, advance, back, begin, digest_of, note_replaced, open_wave
from scaler.planning.template import Current
from tests.support.fakes import START, group, spec
from tests.support.worlds import machine, numbered, world

OLD, NEW = "100", "200"
CURRENT = Current(images=frozenset({NEW, "golden-2"}))
FAST = Pace(surge=1, canary=0, bake=timedelta(0))


@dataclass
class Play:
    """A group of running servers, and a roll of it; `breaks` says which wave's servers hang."""

    wanted: int
    pace: Pace
    limit: int | None = None
    breaks: int | None = None
    current: Current = CURRENT
    spec: Spec = field(init=False)
    world: World = field(init=False)
    roll: Roll = field(init=False)
    waves: list[int] = field(default_factory=list)
    number: int = 1000
    seen: list[tuple[int, int]] = field(default_factory=list)
    """Servers there and in service, after each phase."""

    def __post_init__(self) -> None:
        self.spec = spec(group(), limit=self.limit)
        self.world = world(self.spec, *numbered(*[Status.RUNNING] * self.wanted))
        self.world = replace(self.world, servers={n: replace(s, image=OLD) for n, s in self.world.servers.items()})
        begun = begin(self.scene, self.pace)
        assert begun
        self.roll = begun

    @property
    def scene(self) -> Scene:
        return Scene(group=self.spec.groups["worker"], world=self.world, current=self.current)

    @property
    def images(self) -> list[str]:
        return sorted(machine.image or "" for machine in self.world.machines.values())

    @property
    def in_service(self) -> int:
        return sum(server.running for server in self.world.servers.values())

    def to_the_end(self, meanwhile: Callable[[int], None] = lambda wave: None) -> None:
        """Open wave after wave, and carry each plan out until nothing is left to do."""
        for _ in range(400):
            room = None if self.limit is None else self.limit - len(self.world.machines)
            opened = open_wave(self.roll, self.scene, self.wanted, room)
            if opened.size and not self.roll.size:
                self.waves.append(opened.size)
                meanwhile(len(self.waves))
            self.roll = opened
            if not self.settle() and not self.roll.size:
                return
        raise AssertionError("it never ends")

    def settle(self) -> bool:
        """Carry out one phase, or let the time pass; return whether something was done."""
        before = self.roll
        self.roll = advance(self.roll, self.scene, self.wanted)
        made = plan(
            self.spec,
            self.world,
            {"worker": self.wanted},
            Advice(rolls={"worker": self.roll}, current={"worker": self.current}),
        )
        leaving = [step.server for step in made.steps if step.action is Action.DELETE]
        self.roll = note_replaced(self.roll, self.scene, leaving, made.rolled.get("worker", ()))
        if made.phases:
            self.carry_out(made.phases[0])
            self.seen.append((len(self.world.machines), self.in_service))
            self.boot()
            self.seen.append((len(self.world.machines), self.in_service))
            return True
        if self.roll.size:
            self.world = replace(self.world, at=self.world.at + timedelta(minutes=1))
            return True
        return self.roll != before

    def carry_out(self, phase: PlanPhase) -> None:
        machines, servers = dict(self.world.machines), dict(self.world.servers)
        for step in phase.steps:
            if step.action is Action.DELETE:
                del machines[step.server], servers[step.server]
            else:
                assert step.action is Action.CREATE
                self.number += 1
                made = Server(
                    name=step.server,
                    group="worker",
                    id=str(self.number),
                    status=Status.STARTING,
                    since=self.world.at,
                    image=step.image or min(self.current.images),
                )
                servers[step.server] = made
                machines[step.server] = replace(machine(self.spec, made), image=made.image, created=self.world.at)
        self.place(machines, servers)

    def boot(self) -> None:
        is_bad = len(self.waves) == self.breaks and self.roll.is_rolling
        end = Status.HANGING if is_bad else Status.RUNNING
        self.world = replace(self.world, at=self.world.at + timedelta(seconds=30))
        servers = {
            name: server.become(end, self.world.at) if server.status is Status.STARTING else server
            for name, server in self.world.servers.items()
        }
        self.place(dict(self.world.machines), servers)

    def place(self, machines: dict[str, Machine], servers: dict[str, Server]) -> None:
        entries = world(self.spec, *servers.values()).entries
        self.world = replace(self.world, machines=machines, servers=servers, entries=entries)


PACES = st.builds(
    Pace,
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 3),
    canary=st.integers(0, 2),
    bake=st.sampled_from([timedelta(0), timedelta(minutes=3)]),
).filter(lambda pace: pace.surge + pace.unavailable > 0)


@given(wanted=st.integers(1, 12), pace=PACES, room=st.none() | st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_roll_stays_within_its_bounds_and_ends_with_new_servers_only(
    wanted: int, pace: Pace, room: int | None
) -> None:
    play = Play(wanted, pace, limit=None if room is None else wanted + room)
    play.to_the_end()
    surge = pace.surge if room is None else min(pace.surge, room)
    unavailable = min(pace.unavailable, wanted)
    most = surge + unavailable
    if not most:
        assert play.images == [OLD] * wanted
        return
    assert play.images == [NEW] * wanted
    assert play.roll.state is RollState.DONE
    assert all(there <= wanted + surge for there, _ in play.seen)
    assert all(wanted - unavailable <= served for _, served in play.seen)
    canary = min(pace.canary or most, most, wanted)
    assert play.waves[0] == canary
    assert len(play.waves) == 1 + -(-(wanted - canary) // most)
    assert play.roll.replaced == {f"prod-worker-{number}": OLD for number in range(1, wanted + 1)}
    assert len(play.roll.accepted) == wanted


@given(wanted=st.integers(2, 12), pace=PACES, broken=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_it_stops_at_the_wave_that_fails_and_leaves_nothing_of_it(wanted: int, pace: Pace, broken: int) -> None:
    play = Play(wanted, pace, breaks=broken)
    play.to_the_end()
    if len(play.waves) < broken:
        assert play.roll.state is RollState.DONE
        return
    assert (play.roll.state, len(play.waves)) == (RollState.FAILED, broken)
    done = sum(play.waves[:-1])
    assert play.images == [OLD] * (wanted - done) + [NEW] * done
    assert play.in_service == len(play.world.machines) == wanted
    assert all(served >= wanted - pace.unavailable for _, served in play.seen)
    assert all(there <= wanted + pace.surge + pace.unavailable for there, _ in play.seen)


@given(wanted=st.integers(2, 10), pace=PACES, change=st.integers(-6, 6), at=st.integers(1, 5))
@example(wanted=2, pace=Pace(surge=1, unavailable=1, canary=0, bake=timedelta(minutes=3)), change=-1, at=1)
@settings(max_examples=40, deadline=None)
def test_scaling_in_the_middle_ends_exact_and_all_new(wanted: int, pace: Pace, change: int, at: int) -> None:
    play = Play(wanted, pace)

    def scale(wave: int) -> None:
        if wave == at:
            play.wanted = max(0, play.wanted + change)

    play.to_the_end(scale)
    assert play.images == [NEW] * play.wanted
    assert play.in_service == play.wanted
    assert play.roll.state is RollState.DONE


@given(wanted=st.integers(3, 9), pace=PACES, broken=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_a_roll_back_ends_with_the_image_that_they_had(wanted: int, pace: Pace, broken: int) -> None:
    play = Play(wanted, pace, breaks=broken)
    play.to_the_end()
    returned = back(play.roll, play.scene, pace)
    if len(play.waves) == 1:
        # The canary failed: nothing is left to take back.
        assert returned is None or play.roll.state is RollState.DONE
        return
    assert returned
    play.roll, play.waves, play.breaks, play.seen = returned, [], None, []
    play.to_the_end()
    assert play.images == [OLD] * wanted
    assert all(served >= wanted - pace.unavailable for _, served in play.seen)
    # The spec still names the image that failed: it is for nobody.
    play.wanted += 2
    play.to_the_end()
    assert play.images == [OLD] * (wanted + 2)


def test_servers_are_added_from_the_good_image_while_it_rolls_and_after_it_failed() -> None:
    play = Play(3, FAST, breaks=2)
    play.to_the_end()
    play.wanted = 5
    play.to_the_end()
    assert play.images == [OLD] * 4 + [NEW]
    # A newer image is not the one that failed.
    play.current = Current(images=frozenset({"300", "golden-3"}))
    play.wanted = 6
    play.to_the_end()
    assert play.images == [OLD] * 4 + [NEW, "300"]


def test_an_abandoned_roll_and_one_that_is_done_decide_no_image() -> None:
    play = Play(2, FAST)
    play.roll = replace(play.roll, state=RollState.ABANDONED)
    play.wanted = 3
    play.to_the_end()
    assert play.images == [OLD, OLD, NEW]


def test_what_is_removed_meanwhile_ends_the_roll_early() -> None:
    play = Play(4, FAST)
    play.to_the_end(lambda wave: setattr(play, "wanted", 0))
    assert play.images == []
    assert len(play.waves) == 1


def test_protected_servers_stay_and_end_no_roll() -> None:
    play = Play(3, FAST)
    servers = dict(play.world.servers)
    servers["prod-worker-2"] = replace(servers["prod-worker-2"], protected=True)
    play.world = replace(play.world, servers=servers)
    scene = replace(play.scene, protected=frozenset({"prod-worker-2"}))
    assert set(scene.old(play.roll)) == {"prod-worker-1", "prod-worker-3"}


def test_a_wave_that_bakes_is_not_over_before_its_time() -> None:
    pace = Pace(surge=1, canary=0, bake=timedelta(minutes=2))
    play = Play(1, pace)
    play.roll = open_wave(play.roll, play.scene, 1, None)
    assert play.settle()
    assert advance(play.roll, play.scene, 1).size == 1
    unhealthy = play.world.servers["prod-worker-2"].become(Status.UNHEALTHY, play.world.at)
    sick = replace(play.world, servers={**play.world.servers, unhealthy.name: unhealthy})
    failed = advance(play.roll, replace(play.scene, world=sick), 1)
    assert (failed.state, failed.error) == (RollState.FAILED, "prod-worker-2 is unhealthy")
    later = replace(play.world, at=play.world.at + timedelta(minutes=2))
    assert advance(play.roll, replace(play.scene, world=later), 1).accepted == {"prod-worker-2": "1001"}


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_wave_does_not_replace_what_is_too_many_anyway(deleted: int) -> None:
    """As after a kill when the new servers of a wave had proved themselves, and not all of its old ones were gone."""
    play = Play(3, Pace(surge=2, canary=0, bake=timedelta(0)))
    play.roll = open_wave(play.roll, play.scene, 3, None)
    assert play.settle()
    play.roll = advance(play.roll, play.scene, 3)
    gone = [f"prod-worker-{number + 1}" for number in range(deleted)]
    machines = {name: machine for name, machine in play.world.machines.items() if name not in gone}
    play.place(machines, {name: server for name, server in play.world.servers.items() if name not in gone})
    assert open_wave(play.roll, play.scene, 3, None).size == 1
    play.to_the_end()
    assert play.images == [NEW] * 3
    assert play.number == 1003


def test_a_server_older_than_its_lifetime_when_it_began_is_old_and_a_new_one_never() -> None:
    aged = spec(group(lifetime=timedelta(days=7)))
    now = START + timedelta(days=8)
    here = replace(world(aged, *numbered(Status.RUNNING)), at=now)
    scene = Scene(group=aged.groups["worker"], world=here, current=Current(images=frozenset({OLD})))
    begun = begin(scene, FAST)
    assert begun
    assert scene.old(begun) == {"prod-worker-1": "older than 7d"}
    assert begin(replace(scene, world=replace(here, at=START)), FAST) is None
    late = replace(here, at=now + timedelta(days=30))
    assert scene.old(begun) == replace(scene, world=late).old(begun)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"count": 9}, True),
        ({"labels": {"a": "b"}}, True),
        ({"types": ("cpx22",)}, False),
        ({"user_data": "x"}, False),
        ({"networks": ("lan",)}, False),
    ],
)
def test_the_digest_tells_what_makes_a_server_outdated(changed: dict[str, Any], same: bool) -> None:
    assert (digest_of(group(**changed)) == digest_of(group())) is same


def test_a_target_of_another_spec_creates_nothing() -> None:
    play = Play(2, FAST)
    play.roll = replace(play.roll, target=RollTarget(images=play.roll.target.images, digest="other"), size=1, waves=1)
    assert not plan(
        play.spec, play.world, {"worker": 2}, Advice(rolls={"worker": play.roll}, current={"worker": CURRENT})
    ).phases
