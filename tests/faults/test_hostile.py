"""A sample of `make hostile`, with time sped up: the product does not mind an unpleasant cloud."""

from __future__ import annotations

import pytest

from tests.faults.hostile import Report, run
from tests.faults.kills import Kill, RequestPoint
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
