"""Servers that somebody changed, removed or switched off between two runs."""

from __future__ import annotations

import pytest

from scaler.converge.operate import look
from scaler.model import Outcome
from scaler.model.lifecycle import Status
from tests.converge.settings import status
from tests.support.fakes import Setting, group, spec, taken


@pytest.mark.acceptance("R06", "S02")
def test_a_server_removed_by_hand_is_named_and_replaced() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.remove("prod-worker-2")
    result = setting.ensure(3)
    assert result.drift == ("prod-worker-2 (2) is gone from the cloud",)
    assert taken(result) == [("forget", "prod-worker-2"), ("create", "prod-worker-2")]
    assert len(setting.ready) == 3
    assert setting.is_in_order()
    vanished = [event for event in setting.records.events if event.event == "server.vanished"]
    assert [(event.server, event.reason) for event in vanished] == [("prod-worker-2", "it is gone from the cloud")]


@pytest.mark.acceptance("S02")
def test_what_else_was_found_is_named_beside_a_server_that_is_gone() -> None:
    """That a server is gone takes a second look to prove."""
    setting = Setting().with_servers(worker=4)
    setting.cloud.remove("prod-worker-2")
    setting.cloud.named("prod-worker-3").off = True
    assert setting.ensure(4).drift == (
        "prod-worker-3 (3) was running and is off",
        "prod-worker-2 (2) is gone from the cloud",
    )


@pytest.mark.acceptance("S02")
def test_a_server_that_is_off_is_powered_on() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").off = True
    result = setting.ensure(2)
    assert result.drift == ("prod-worker-1 (1) was running and is off",)
    assert taken(result) == [("power_on", "prod-worker-1")]
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 2)


@pytest.mark.acceptance("S02")
def test_a_server_off_and_not_needed_is_deleted() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-1").off = True
    result = setting.ensure(2)
    assert taken(result) == [("delete", "prod-worker-1")]


@pytest.mark.acceptance("S02")
def test_a_relabelled_server_is_forgotten_and_never_deleted() -> None:
    setting = Setting().with_servers(worker=2)
    lost = setting.cloud.named("prod-worker-1")
    lost.labels["scaler-stack"] = "other"
    result = setting.ensure(2)
    assert result.outcome is Outcome.CONVERGED
    assert lost.id in setting.cloud.boxes
    assert setting.ready == ["prod-worker-2", "prod-worker-3"]
    assert not [call for call in setting.cloud.calls if call[0] == "delete"]
    assert setting.ensure(0).outcome is Outcome.CONVERGED
    assert lost.id in setting.cloud.boxes
    assert setting.owned == []


@pytest.mark.acceptance("S02")
def test_a_label_added_by_hand_is_left_alone_and_one_of_the_spec_gets_its_value_back() -> None:
    setting = Setting(spec(group(labels={"role": "worker"}))).with_servers(worker=2)
    labels = setting.cloud.named("prod-worker-1").labels
    labels["note"] = "by hand"
    assert setting.ensure(2).steps == ()
    labels["role"] = "mine"
    assert taken(setting.ensure(2)) == [("update", "prod-worker-1")]
    assert setting.cloud.named("prod-worker-1").labels == {**setting.label(), "role": "worker", "note": "by hand"}
    assert setting.ensure(2).outcome is Outcome.UNCHANGED


def test_a_label_that_the_spec_no_longer_has_stays_on_the_servers_that_have_it() -> None:
    setting = Setting(spec(group(labels={"role": "worker"}))).with_servers(worker=1)
    setting.spec = spec(group(labels={}))
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.cloud.named("prod-worker-1").labels["role"] == "worker"
    assert "role" not in setting.cloud.named("prod-worker-2").labels


def test_a_server_powered_on_by_hand_while_it_was_known_to_be_off() -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.off = True
    look(setting.spec, setting.around)
    assert status(setting, "prod-worker-1") is Status.STOPPED
    box.off, box.ready = False, setting.clock.monotonic() + 5
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-2"]


def test_a_server_whose_labels_come_back_is_ours_again() -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.labels["scaler-stack"] = "other"
    setting.ensure(1)
    box.labels["scaler-stack"] = "prod"
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("adopt", "prod-worker-1")])
    assert setting.is_in_order()
