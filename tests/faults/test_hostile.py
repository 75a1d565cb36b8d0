"""A sample of `make hostile`, with time sped up: the product does not mind an unpleasant cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.hostile import Report, run
from tests.faults.stage import Theatre
from tests.support.project import VENDORS, Vendor


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_counts_are_reached_on_a_hostile_cloud(tmp_path: Path, vendor: Vendor) -> None:
    report = Report()
    run(Theatre(tmp_path), vendor, seed=1, counts=2, speed=4.0, report=report)
    assert report.worlds == 2
    print(report)
