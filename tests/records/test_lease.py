"""Of several watches of one stack one acts, whatever stops, sleeps or is cut off."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.records.folder_store import FolderStore
from scaler.records.lease import DOCUMENT, Lease, LeaseLostError
from tests.support.link import Link

LENGTH_S = 60.0


class _Time:
    now = 0.0


class _Machine:
    """A watch on a machine whose clock began at another moment."""

    def __init__(self, folder: Path, time: _Time, began: float = 0.0) -> None:
        self.link = Link(folder)
        self.lease = Lease(
            self.link, "demo", timedelta(seconds=LENGTH_S), elapsed=lambda: time.now * self.speed + began
        )
        self.stopped_until = 0.0
        self.speed = 1.0


@pytest.fixture
def time() -> _Time:
    return _Time()


@pytest.fixture
def machines(tmp_path: Path, time: _Time) -> Iterator[list[_Machine]]:
    yield [_Machine(tmp_path, time, began) for began in (0.0, 5_000.0, -300.0, 86_400.0, 1.5)]


def held(machines: list[_Machine]) -> list[int]:
    return [index for index, machine in enumerate(machines) if machine.lease.is_held]


def test_the_first_acts_and_the_others_stand_by(machines: list[_Machine], time: _Time) -> None:
    for machine in machines:
        machine.lease.look()
    for _ in range(20):
        assert held(machines) == [0]
        time.now += LENGTH_S / 4
        for machine in reversed(machines):
            machine.lease.look()
    assert "process" in machines[3].lease.holder
    numbers = {machine.lease.number for machine in machines}
    assert numbers == {0, 1}


def test_a_watch_that_ends_hands_over_at_once(machines: list[_Machine]) -> None:
    first, second = machines[:2]
    first.lease.look()
    second.lease.look()
    first.lease.release()
    second.lease.look()
    assert held(machines) == [1]
    assert second.lease.number == 2


def test_what_a_dead_one_left_in_the_same_place_is_taken_over_at_once(tmp_path: Path) -> None:
    def enter(token: str) -> Lease:
        lease = Lease(FolderStore(tmp_path), "demo", timedelta(seconds=LENGTH_S), work="roll", token=token)
        lease.look()
        return lease

    killed, elsewhere = enter("here"), enter("there")
    assert (killed.is_held, elsewhere.is_held) == (True, False)
    again = enter("here")
    assert (again.is_held, again.number) == (True, 2)
    elsewhere.look()
    assert not elsewhere.is_held


def test_a_roll_and_a_watch_have_a_lease_each(tmp_path: Path) -> None:
    leases = [Lease(FolderStore(tmp_path), "demo", timedelta(seconds=60), work=work) for work in ("watch", "roll")]
    for lease in leases:
        lease.look()
    assert all(lease.is_held for lease in leases)
    leases[1].release()
    with pytest.raises(LeaseLostError, match="This roll of demo has lost its lease"):
        leases[1].require()


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.2, 0.24])
def test_another_takes_over_within_two_intervals(machines: list[_Machine], time: _Time, offset: float) -> None:
    first, second = machines[:2]
    first.lease.look()
    time.now += offset * LENGTH_S
    second.lease.look()
    died = 0.0
    while not second.lease.is_held:
        time.now += LENGTH_S / 4
        assert not (first.lease.is_held and second.lease.is_held)
        second.lease.look()
    assert time.now - died <= 2 * LENGTH_S
    assert not first.lease.is_held
    assert second.lease.number == first.lease.number + 1


def test_who_comes_back_changes_nothing_more(machines: list[_Machine], time: _Time) -> None:
    first, second = machines[:2]
    first.lease.look()
    second.lease.look()
    # It is stopped in the middle of a tick; nobody has taken over yet.
    time.now += 1.1 * LENGTH_S
    for refused in (first.lease.require, first.lease.confirm):
        with pytest.raises(LeaseLostError):
            refused()
    second.lease.look()
    time.now += LENGTH_S / 4
    second.lease.look()
    assert held(machines) == [1]
    first.lease.look()
    assert held(machines) == [1]
    with pytest.raises(LeaseLostError):
        first.lease.confirm()


def test_the_lease_is_renewed_under_the_stacks_lock_or_the_run_ends(machines: list[_Machine], time: _Time) -> None:
    first = machines[0]
    first.lease.look()
    time.now += 0.9 * LENGTH_S
    first.lease.confirm()
    time.now += 0.9 * LENGTH_S
    assert first.lease.is_held
    first.link.is_cut = True
    with pytest.raises(LeaseLostError):
        first.lease.confirm()


def test_a_lease_that_nobody_can_read_is_taken_after_its_time(machines: list[_Machine], time: _Time) -> None:
    first = machines[0]
    for content in (b"", b"{}", b'{"number": "x"}', b"[" * 5000):
        version = found.version if (found := first.link.read(DOCUMENT)) else None
        first.link.write(DOCUMENT, content, version)
        first.lease.look()
        assert not first.lease.is_held
        before = first.lease.number
        for _ in range(6):
            time.now += LENGTH_S / 4
            first.lease.look()
        assert first.lease.is_held
        assert first.lease.number == before + 1


@pytest.mark.parametrize("seed", range(12))
def test_never_two_act(machines: list[_Machine], time: _Time, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - it replays
    for machine in machines:
        machine.speed = chance.uniform(0.97, 1.03)
    for _ in range(300):
        time.now += LENGTH_S / 20
        for machine in machines:
            if time.now >= machine.stopped_until:
                _meet_fate(machine, chance, time)
        assert len(held(machines)) <= 1
    # All is well again: soon one acts, and only one.
    for machine in machines:
        machine.link.is_cut = machine.link.loses_answers = False
    for _ in range(9):
        assert len(held(machines)) <= 1
        time.now += LENGTH_S / 4
        for machine in machines:
            machine.lease.look()
    assert len(held(machines)) == 1


def _meet_fate(machine: _Machine, chance: random.Random, time: _Time) -> None:
    fate = chance.random()
    if fate < 0.008:
        machine.stopped_until = time.now + chance.uniform(0, 4 * LENGTH_S)
    elif fate < 0.016:
        machine.link.is_cut = not machine.link.is_cut
    elif fate < 0.022:
        machine.link.loses_answers = not machine.link.loses_answers
    elif fate < 0.024:
        machine.lease.release()
    elif fate < 0.22:
        machine.lease.look()
