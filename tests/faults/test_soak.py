"""A sample of the soak that `make soak` plays at length."""

from __future__ import annotations

import pytest

from tests.faults.soak_run import soak
from tests.faults.stage import Theatre
from tests.support.project import VENDORS, Vendor

OPERATIONS = 20


# Loading the engine's packages tells what their authors have renamed.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_random_operations_keep_all_promises_and_nothing_grows(theatre: Theatre, vendor: Vendor) -> None:
    report = soak(theatre, vendor, seed=116, operations=OPERATIONS)
    assert report.tally.operations.total() == OPERATIONS
    assert report.tally.worlds >= 5, report
    assert report.tally.kills, report
    assert report.tally.faults, report
