"""Which numbers are counts, and for which group."""

from __future__ import annotations

import pytest

from scaler.converge.counts import MOST, all_counts, check_by, check_count, only_group
from scaler.errors import UsageError
from tests.support.fakes import group, spec


@pytest.mark.acceptance("R01", "R02")
def test_only_counts_are_counts() -> None:
    assert [check_count(count) for count in (0, 1, MOST)] == [0, 1, MOST]
    for wrong in (-1, MOST + 1, True, 1.0, "1", None):
        with pytest.raises(UsageError):
            check_count(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        check_by(0)
    assert check_by(1) == 1


def test_counts_of_groups() -> None:
    two = spec(group("worker", 1), group("other", 2))
    assert all_counts(two, {"worker": 5}) == {"worker": 5, "other": 2}
    with pytest.raises(UsageError, match="no group"):
        all_counts(two, {"othr": 5})
    with pytest.raises(UsageError) as unclear:
        only_group(two, fix="say it")
    assert (unclear.value.fix, "worker, other" in unclear.value.why) == ("say it", True)
    assert only_group(spec(group("worker", 1)), fix="") == "worker"
