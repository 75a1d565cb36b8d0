"""A sample of the matrices that `make faults` plays in full."""

from __future__ import annotations

import signal

import pytest

from tests.faults.drains import DrainKill, LabelKill
from tests.faults.first_runs import FIRST, FirstKill
from tests.faults.health import HealthKill
from tests.faults.kills import EnginePoint, Kill, Point, RequestPoint, Victim
from tests.faults.races import CONTESTS, Meddling, Race, Signalled
from tests.faults.rolls import BACK, FORWARD, TICKS, RollKill
from tests.faults.stage import OPERATIONS, Theatre
from tests.faults.troubles import TROUBLES, TroubledOperation
from tests.support.project import DIGITALOCEAN, HETZNER, Vendor


def _change(number: int, moment: str) -> RequestPoint:
    return RequestPoint(number, moment, changes_only=True)  # type: ignore[arg-type]


def _kill(vendor: Vendor, operation: str, point: Point, victim: Victim) -> Kill:
    return Kill(vendor, OPERATIONS[operation], point, victim)


KILLS = (
    _kill(HETZNER, "scale-up", _change(1, "before"), "both"),
    _kill(HETZNER, "scale-up", _change(2, "after"), "scaler"),
    _kill(HETZNER, "scale-up", EnginePoint("refresh", "start"), "scaler"),
    _kill(DIGITALOCEAN, "scale-up", _change(1, "after"), "engine"),
    _kill(DIGITALOCEAN, "scale-up", EnginePoint("refresh", "locked"), "both"),
    _kill(HETZNER, "scale-down", _change(1, "after"), "both"),
    _kill(DIGITALOCEAN, "scale-down", _change(2, "before"), "scaler"),
    _kill(HETZNER, "reboot", _change(1, "after"), "scaler"),
    _kill(DIGITALOCEAN, "replace", _change(1, "after"), "both"),
    _kill(HETZNER, "replace", _change(2, "after"), "engine"),
    _kill(DIGITALOCEAN, "destroy", _change(2, "after"), "both"),
    _kill(HETZNER, "destroy", EnginePoint("up", "locked"), "both"),
)

FIRST_RUNS = (
    FirstKill(HETZNER, FIRST, EnginePoint("refresh", "saved"), "both", "backend"),
    FirstKill(DIGITALOCEAN, FIRST, _change(1, "after"), "both", "backend"),
    FirstKill(HETZNER, FIRST, _change(2, "after"), "both", "cloud"),
)


def _trouble(vendor: Vendor, operation: str, name: str) -> TroubledOperation:
    return TroubledOperation(vendor, OPERATIONS[operation], next(each for each in TROUBLES if each.name == name))


FAULTS = (
    _trouble(DIGITALOCEAN, "scale-up", "carried out, no answer"),
    _trouble(HETZNER, "scale-up", "lists never show one server"),
    _trouble(DIGITALOCEAN, "scale-up", "the first place is full"),
    _trouble(HETZNER, "replace", "token revoked at the change"),
    _trouble(DIGITALOCEAN, "destroy", "429 on changes"),
    _trouble(HETZNER, "scale-down", "the cloud's clock is three hours behind"),
    _trouble(HETZNER, "scale-up", "a file in the state folder's place"),
)

DRAINS = (
    DrainKill(HETZNER, "begun", "scaler+watcher", waits=True),
    DrainKill(DIGITALOCEAN, "ended", "scaler", waits=True),
    LabelKill(DIGITALOCEAN, "carried-out"),
)

HEALTH = (
    HealthKill(HETZNER, _change(1, "after"), "both"),
    HealthKill(DIGITALOCEAN, EnginePoint("up", "saved"), "scaler"),
)

ROLLS = (
    RollKill(HETZNER, FORWARD, _change(1, "after"), "both", "roll"),
    RollKill(DIGITALOCEAN, TICKS, _change(1, "after"), "both", "ensure"),
    RollKill(HETZNER, BACK, EnginePoint("up", "saved"), "engine", "roll"),
)

OTHERS = (
    Race(HETZNER, next(each for each in CONTESTS if each.name == "4 ensure"), elsewhere=True),
    Meddling(HETZNER, OPERATIONS["scale-down"], "relabels", 2),
    Meddling(DIGITALOCEAN, OPERATIONS["scale-up"], "deletes", 2),
    Signalled(HETZNER, OPERATIONS["scale-up"], signal.SIGTERM, 7, "after"),
    Signalled(DIGITALOCEAN, OPERATIONS["replace"], signal.SIGINT, 3, "before"),
)


_TRIES = 3
"""Plays of a cell whose point was not seen: on a busy machine a short moment of the engine can pass unseen."""


@pytest.mark.parametrize(
    "cell", [*KILLS, *FIRST_RUNS, *FAULTS, *DRAINS, *HEALTH, *ROLLS, *OTHERS], ids=lambda cell: cell.id
)
def test_a_promise_is_kept(
    theatre: Theatre,
    cell: Kill
    | FirstKill
    | TroubledOperation
    | DrainKill
    | LabelKill
    | HealthKill
    | RollKill
    | Race
    | Meddling
    | Signalled,
) -> None:
    assert any(cell.play(theatre) for _ in range(_TRIES)), "the run has no such point any more"
