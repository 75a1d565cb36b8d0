"""A sample of `make hostile`, with time sped up: the product does not mind an unpleasant cloud."""

from __future__ import annotations

import pytest

from tests.faults.hostile import Report, run
from tests.faults.kills import Kill, RequestPoint, Victim, strike
from tests.faults.stage import OPERATIONS, Theatre
from tests.faults.troubles import TROUBLES, TroubledOperation
from tests.support.project import DIGITALOCEAN, HETZNER, VENDORS, Vendor

SPEED = 4.0


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_counts_are_reached_on_a_hostile_cloud(theatre: Theatre, vendor: Vendor) -> None:
    report = Report()
    run(theatre.on("hostile", SPEED), vendor, seed=1, counts=2, report=report)
    assert report.worlds == 2
    print(report)


def test_a_killed_run_is_mended_on_a_hostile_cloud(theatre: Theatre) -> None:
    point = RequestPoint(2, "after", changes_only=True)
    cell = Kill(HETZNER, OPERATIONS["scale-up"], point, "scaler")
    assert cell.play(theatre.on("hostile", SPEED)), "the run has no such point any more"


def test_a_lost_answer_is_mended_on_a_hostile_cloud(theatre: Theatre) -> None:
    trouble = next(each for each in TROUBLES if each.name == "carried out, connection closed")
    assert TroubledOperation(DIGITALOCEAN, OPERATIONS["scale-up"], trouble).play(theatre.on("hostile", SPEED))


@pytest.mark.parametrize(("operation", "victim", "speed"), [("destroy", "engine", SPEED), ("scale-up", "scaler", 1.0)])
def test_what_a_list_shows_late_is_known_after_a_kill(
    theatre: Theatre, operation: str, victim: Victim, speed: float
) -> None:
    """The first change is carried out, nothing of it is saved, and lists show the world from before."""
    kill = Kill(DIGITALOCEAN, OPERATIONS[operation], RequestPoint(1, "after", changes_only=True), victim)
    with theatre.on("instant", speed).scene(DIGITALOCEAN) as scene:
        scene.world.advance(60)
        scene.world.set_knobs(list_lag_s=8.0, visible_after_delete_s=8.0)
        assert strike(kill, scene)
        wanted = kill.operation.wanted
        ran = scene.run("ensure", str(wanted), "--yes")
        assert ran.code == 0, ran.stderr
        scene.check_settled(wanted)


def test_deletions_whose_answers_are_lost_are_no_mass_loss(theatre: Theatre) -> None:
    with theatre.on("instant", SPEED).scene(DIGITALOCEAN) as scene:
        scene.world.advance(60)
        scene.world.set_knobs(visible_after_delete_s=8.0)
        scene.world.add_fault("accept_then_drop", method="DELETE", path="/[0-9]+$", times=None)
        ran = scene.run("ensure", "1", "--yes")
        assert ran.code == 0, ran.stderr
        assert "missing" not in ran.stderr
        scene.check_settled(1)
