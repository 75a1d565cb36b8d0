"""Creates that the cloud refuses: no capacity, quota, a wrong request, credentials that only read."""

from __future__ import annotations

import pytest

from scaler.clouds import AuthError, InvalidError
from scaler.model import Outcome
from scaler.model.lifecycle import Status
from tests.converge.settings import two_groups
from tests.support.fakes import LOCATIONS, TYPES, Setting, group, spec


@pytest.mark.acceptance("S07")
def test_no_capacity_moves_on_to_the_next_placement() -> None:
    setting = Setting()
    setting.cloud.full = {(TYPES[0], LOCATIONS[0])}
    result = setting.ensure(3)
    assert result.outcome is Outcome.CONVERGED
    assert {(box.type, box.location) for box in setting.cloud.boxes.values()} == {(TYPES[0], LOCATIONS[1])}
    assert len(setting.cloud.boxes) == 3


@pytest.mark.acceptance("S07")
def test_no_capacity_anywhere_ends_the_run_and_says_so() -> None:
    setting = Setting()
    setting.cloud.full = {(kind, location) for kind in TYPES for location in LOCATIONS}
    result = setting.ensure(1)
    assert (result.outcome, setting.owned) == (Outcome.FAILED, [])
    assert [report.error for report in result.steps] == ["no capacity (resource_unavailable)"]
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) == 4


@pytest.mark.acceptance("P19", "Q06")
def test_a_refused_server_is_errored_and_the_clouds_words_are_kept() -> None:
    setting = Setting()
    setting.cloud.faults["create"] = [
        InvalidError("the image cannot be used", why="invalid_input: image disk is bigger")
    ]
    result = setting.ensure(1)
    record = setting.records.servers["prod-worker-1"]
    assert (record.status, record.previous) == (Status.ERRORED, Status.NEW)
    assert record.error == "the image cannot be used (invalid_input: image disk is bigger)"
    assert not record.counts
    assert [type(failure) for failure in result.failures] == [InvalidError]
    assert [report.error for report in result.steps] == [record.error]
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1"]


@pytest.mark.acceptance("R10")
def test_a_quota_stops_the_run_which_reports_what_exists() -> None:
    setting = Setting()
    setting.cloud.quota = 2
    result = setting.ensure(4)
    assert result.outcome is Outcome.FAILED
    assert result.groups["worker"].ready == len(setting.ready) == 2
    assert setting.is_in_order()
    assert [str(report.result) for report in result.steps] == ["done", "done", "failed", "failed"]
    errors = [server.error or "" for server in result.servers if server.status is Status.ERRORED]
    assert len(errors) == 2
    assert all("resource_limit_exceeded" in error for error in errors)
    setting.cloud.quota = None
    setting.clock.sleep(3600)  # as long as the refusal is believed
    again = setting.ensure(4)
    assert (again.outcome, len(setting.ready)) == (Outcome.CONVERGED, 4)
    assert {server.status for server in again.servers} == {Status.RUNNING}


@pytest.mark.acceptance("R11")
def test_a_cloud_that_never_creates_leaves_a_bounded_number_of_records() -> None:
    setting = Setting()
    setting.cloud.quota = 0
    for _ in range(5):
        assert setting.ensure(3).outcome is Outcome.FAILED
        setting.clock.sleep(3600)
    assert len(setting.records.servers) == 3


def test_a_wrong_name_in_the_spec_stops_before_anything_is_changed() -> None:
    setting = Setting(spec(group(types=("cx99",))))
    with pytest.raises(InvalidError, match="no server type cx99"):
        setting.ensure(1)
    assert setting.cloud.changes() == []


@pytest.mark.parametrize(("wanted", "change"), [(3, "create"), (1, "delete")])
def test_credentials_that_only_read_are_told_as_such(wanted: int, change: str) -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.faults[change] = [AuthError("403 forbidden")]
    with pytest.raises(AuthError):
        setting.ensure(wanted)
    assert len(setting.ready) == 2
    assert setting.ensure(wanted).outcome is Outcome.CONVERGED
    assert len(setting.ready) == wanted


def test_a_refusal_after_a_change_is_recorded() -> None:
    """The second phase finds the credentials gone: what the first did is in the state file."""
    setting = two_groups().with_servers(worker=1)

    def revoke() -> None:
        setting.cloud.faults["list"] = [AuthError("401 unauthorized")]

    setting.cloud.on_change = revoke
    result = setting.ensure(worker=0, other=1)
    assert result.outcome is Outcome.FAILED
    assert any("401" in warning for warning in setting.progress.warnings)
    assert setting.records.servers["prod-other-1"].id == "2"
