"""`in_service`: on exactly while a server is ready and healthy, and surely off before anything is done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.clouds import AmbiguousError, AuthError, GoneError, TransientError
from scaler.converge.demand import Demand, Options
from scaler.converge.operate import reboot, refresh
from scaler.errors import ScalerError
from scaler.model import DrainFinding, DrainStage, Outcome, Readiness, Server, StopPolicy
from scaler.model.lifecycle import Phase, Status
from scaler.model.ownership import Label, carries, with_label, without_label
from tests.support.fakes import FakeCloud, FakeDrains, Killed, Setting, group, spec, taken

LB = ("lb", "web")
DRAINS = StopPolicy(drain=("./drain.sh", "{name}"), drain_within=timedelta(hours=1))
AT_ONCE = Options(wait=False, patient=False)


@dataclass
class Balanced(FakeCloud):
    """A cloud whose load balancer sends work to each labelled server: what must not happen to those fails the test."""

    many: bool = False
    """Whether one request labels many machines."""
    not_ready: set[str] = field(default_factory=set)

    def idle(self, id: str, what: str) -> None:
        assert not carries(self._box(id).labels, LB), f"{what} of {id}, which gets work"

    def delete(self, id: str) -> None:
        self.idle(id, "delete")
        super().delete(id)

    def shutdown(self, id: str) -> None:
        self.idle(id, "shutdown")
        super().shutdown(id)

    def power_off(self, id: str) -> None:
        self.idle(id, "power off")
        super().power_off(id)

    def reboot(self, id: str) -> None:
        self.idle(id, "reboot")
        super().reboot(id)

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        if carries(labels, LB) and not carries(self._box(id).labels, LB):
            assert self._phase(self._box(id)) is Phase.RUNNING and self._box(id).name not in self.not_ready
        super().set_labels(id, labels)

    def __getattribute__(self, name: str) -> object:
        if name == "label_many" and not object.__getattribute__(self, "many"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    def label_many(self, ids: Sequence[str], label: Label, *, on: bool) -> None:
        self._asked("label_many", ",".join(self._box(one).name for one in ids))
        for one in ids:
            labels = self._box(one).labels
            self._box(one).labels = (with_label if on else without_label)(labels, label)


@dataclass
class Witness(FakeDrains):
    """Drains that must not begin while a server gets work."""

    cloud: Balanced | None = None

    def start(self, drains: Sequence[tuple[Server, StopPolicy]]) -> Mapping[str, DrainFinding]:
        for server, _ in drains:
            if self.cloud:
                self.cloud.idle(server.id or "", "drain")
        return super().start(drains)


def balanced(count: int, policy: StopPolicy = DRAINS, *, many: bool = False, **fields: Any) -> Setting:
    setting = Setting(spec(group(count=count, in_service=LB, stop=policy, **fields)))
    cloud = Balanced(setting.clock, setting.fuse, many=many)
    setting.cloud = setting.stack.cloud = cloud
    setting.drains = Witness(setting.clock, cloud=cloud)
    setting.drains.takes_s = 60
    return setting


def serving(setting: Setting) -> list[str]:
    return sorted(box.name for box in setting.cloud.boxes.values() if carries(box.labels, LB))


def labelled(setting: Setting) -> list[tuple[str, str]]:
    return [call for call in setting.cloud.calls if call[0] in ("set_labels", "label_many")]


def stage(setting: Setting, number: int) -> DrainStage | None:
    drain = setting.records.servers[f"prod-worker-{number}"].drain
    return drain.stage if drain else None


@pytest.mark.acceptance("T12")
def test_a_label_comes_on_when_the_last_check_has_passed_and_is_on_for_all_at_the_end() -> None:
    setting = balanced(2, ready=Readiness(kind="tcp", port=80))
    setting.readiness.failing = setting.cloud.not_ready = {"prod-worker-2"}  # type: ignore[attr-defined]
    assert setting.ensure(2, options=Options(timeout=timedelta(seconds=20))).outcome is Outcome.UNCONFIRMED
    assert serving(setting) == ["prod-worker-1"]
    setting.readiness.failing.clear()
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert len(serving(setting)) == len(setting.ready) == 2
    assert {server.in_service for server in setting.records.servers.values() if not server.finished} == {True}
    assert {server.in_service for server in setting.stack.saved.outputs.values()} == {True}


@pytest.mark.acceptance("T12")
@pytest.mark.parametrize("policy", [DRAINS, StopPolicy(shutdown_within=timedelta(minutes=1)), StopPolicy()])
def test_a_label_is_off_before_anything_is_done_to_a_server(policy: StopPolicy) -> None:
    setting = balanced(3, policy).with_servers(worker=3)
    result = setting.ensure(1)
    assert (result.outcome, setting.owned, serving(setting)) == (
        Outcome.CONVERGED,
        ["prod-worker-1"],
        ["prod-worker-1"],
    )
    assert len(labelled(setting)) == 2
    setting.run(Demand(renew=frozenset({"prod-worker-1"})))
    assert serving(setting) == setting.ready == setting.owned != ["prod-worker-1"]
    setting.run(Demand({"worker": 0}), Options(everything=True))
    assert setting.owned == []


@pytest.mark.acceptance("T12")
def test_a_run_with_nothing_to_do_sends_no_request_and_one_that_finds_a_wrong_label_puts_it_right() -> None:
    setting = balanced(2).with_servers(worker=2)
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    assert setting.cloud.changes() == []
    box = setting.cloud.named("prod-worker-2")
    box.labels = {**without_label(box.labels, LB), "team": "ours"}
    setting.stack.processes = 0
    assert setting.ensure(2, options=Options(apply=False)).outcome is Outcome.UNCHANGED
    assert setting.cloud.changes() == []
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.cloud.changes() == [("set_labels", box.id)]
    assert setting.is_in_order()
    assert (box.labels["team"], serving(setting)) == ("ours", setting.ready)
    setting.ensure(3)
    assert setting.cloud.named("prod-worker-2").labels["team"] == "ours"


def test_a_server_that_is_off_gets_no_work_until_it_is_ready_again() -> None:
    setting = balanced(2).with_servers(worker=2)
    setting.cloud.named("prod-worker-2").off = True
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert [name for name, _ in setting.cloud.changes()] == ["set_labels", "power_on", "set_labels"]
    assert serving(setting) == setting.ready


@pytest.mark.acceptance("T12")
@pytest.mark.parametrize("error", [AmbiguousError("no answer"), TransientError("503")])
def test_while_the_label_is_not_surely_off_the_server_does_not_drain(error: Exception) -> None:
    setting = balanced(2).with_servers(worker=2)
    setting.cloud.faults["set_labels"] = [error]
    assert setting.ensure(1, options=AT_ONCE).outcome is Outcome.UNCONFIRMED
    assert (stage(setting, 2), setting.drains.starts) == (DrainStage.UNLABELLING, [])
    assert any("stays in service for now" in warning for warning in setting.progress.warnings)
    setting.ensure(1, options=AT_ONCE)
    assert (stage(setting, 2), setting.drains.starts) == (DrainStage.DRAINING, ["prod-worker-2"])
    assert serving(setting) == ["prod-worker-1"]
    # A run that may wait tries again by itself.
    setting.cloud.faults["set_labels"] = [error]
    assert setting.ensure(0).outcome is Outcome.CONVERGED
    assert (setting.owned, setting.drains.starts) == ([], ["prod-worker-2", "prod-worker-1"])


def test_a_label_that_the_cloud_refuses_to_take_off_keeps_the_server_and_is_said() -> None:
    setting = balanced(2).with_servers(worker=2)
    setting.cloud.faults["set_labels"] = [AuthError("this token may not")] * 99
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert result.outcome is not Outcome.CONVERGED
    assert (setting.owned, setting.drains.starts) == (["prod-worker-1", "prod-worker-2"], [])
    assert any("this token may not" in warning for warning in setting.progress.warnings)


@pytest.mark.acceptance("T12")
@pytest.mark.parametrize("boundary", range(24))
def test_a_kill_at_any_moment_lets_no_server_with_the_label_drain(boundary: int) -> None:
    setting = balanced(3).with_servers(worker=3)
    setting.fuse.left = boundary
    with suppress(Killed):
        setting.ensure(2)
    setting.fuse.left = None
    assert setting.ensure(2).outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert serving(setting) == setting.ready == setting.owned == ["prod-worker-1", "prod-worker-2"]
    assert setting.is_in_order()


@pytest.mark.acceptance("T12")
def test_a_reboot_begins_when_the_label_is_off_and_it_comes_on_when_the_server_is_ready() -> None:
    setting = balanced(2).with_servers(worker=2)
    result = reboot(setting.spec, setting.around, names=["prod-worker-2"])
    assert result.outcome is Outcome.CONVERGED
    assert [name for name, _ in setting.cloud.changes()] == ["set_labels", "reboot", "set_labels"]
    assert serving(setting) == setting.ready

    setting.cloud.faults["set_labels"] = [AmbiguousError("no answer")]
    assert reboot(setting.spec, setting.around, names=["prod-worker-2"]).outcome is Outcome.CONVERGED
    assert [name for name, _ in setting.cloud.calls].count("reboot") == 2, "when the label is off, and not before"

    setting.cloud.faults["set_labels"] = [AuthError("this token may not")]
    result = reboot(setting.spec, setting.around, names=["prod-worker-2"])
    assert (result.outcome, [report.error for report in result.steps]) == (Outcome.FAILED, ["this token may not"])
    assert [name for name, _ in setting.cloud.calls].count("reboot") == 2
    assert serving(setting) == setting.ready


def test_a_server_that_is_taken_back_or_kept_gets_work_again() -> None:
    setting = balanced(2, replace(DRAINS, resume=("./resume.sh", "{name}"), on_drain_failure="keep"))
    setting.with_servers(worker=2)
    setting.ensure(1, options=AT_ONCE)
    assert serving(setting) == ["prod-worker-1"]
    assert taken(setting.ensure(2)) == [("resume", "prod-worker-2")]
    assert serving(setting) == setting.ready == ["prod-worker-1", "prod-worker-2"]
    setting.drains.fails = "ended with 7"
    assert setting.ensure(1).outcome is Outcome.FAILED
    assert serving(setting) == setting.ready == ["prod-worker-1", "prod-worker-2"]


def test_one_whose_label_is_not_off_yet_is_taken_back_too() -> None:
    setting = balanced(2, replace(DRAINS, resume=("./resume.sh", "{name}"))).with_servers(worker=2)
    setting.cloud.faults["set_labels"] = [TransientError("503")]
    setting.ensure(1, options=AT_ONCE)
    assert stage(setting, 2) is DrainStage.UNLABELLING
    setting.ensure(2)
    assert (serving(setting), setting.drains.starts) == (setting.ready, [])


def test_nobody_leaves_before_those_that_stay_are_in_service() -> None:
    setting = balanced(2).with_servers(worker=2)
    setting.cloud.named("prod-worker-1").labels = without_label(setting.cloud.named("prod-worker-1").labels, LB)
    setting.cloud.faults["set_labels"] = [AuthError("this token may not")] * 2
    with pytest.raises(ScalerError, match="this token may not"):
        setting.ensure(1)
    assert serving(setting) == ["prod-worker-2"]


@pytest.mark.acceptance("T12")
def test_where_one_request_labels_many_it_is_one() -> None:
    setting = balanced(20, many=True)
    setting.cloud.boot_s = 0
    setting.with_servers(worker=20)
    assert serving(setting) == setting.ready
    setting.ensure(5)
    assert [len(names.split(",")) for _, names in labelled(setting)] == [15]
    # One of several is gone: the others are labelled all the same.
    for box in list(setting.cloud.boxes.values())[:3]:
        box.labels = without_label(box.labels, LB)
    setting.cloud.faults["label_many"] = [GoneError("no such droplet")]
    assert setting.ensure(5).outcome is Outcome.CONVERGED
    assert serving(setting) == setting.ready


def test_a_paid_server_that_is_kept_off_gets_no_work() -> None:
    setting = balanced(2, keep_paid=True).with_servers(worker=2)
    setting.ensure(1)
    off = setting.cloud.named("prod-worker-2")
    assert (off.off, serving(setting)) == (True, ["prod-worker-1"])
    setting.ensure(2)
    assert (off.off, serving(setting)) == (False, ["prod-worker-1", "prod-worker-2"])


def test_commands_that_only_look_label_nothing() -> None:
    setting = balanced(1).with_servers(worker=1)
    box = setting.cloud.named("prod-worker-1")
    box.labels = without_label(box.labels, LB)
    refresh(setting.spec, setting.around)
    assert labelled(setting) == []
    assert setting.records.servers["prod-worker-1"].in_service is False
    assert setting.records.servers["prod-worker-1"].status is Status.RUNNING


def test_several_tags_of_one_key_are_told_apart() -> None:
    labels = {"lb": "api", "lb:web": ""}
    assert carries(labels, LB) and carries(labels, ("lb", "api")) and not carries(labels, ("lb", ""))
    assert without_label(labels, LB) == {"lb": "api"}


class Slow(Balanced):
    """A cloud that takes a second for each label."""

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        self.clock.sleep(1)
        super().set_labels(id, labels)


@pytest.mark.acceptance("T12")
def test_labels_that_there_is_no_time_for_are_put_on_by_the_next_run() -> None:
    setting = balanced(500)
    setting.cloud = setting.stack.cloud = Slow(setting.clock, setting.fuse, many=False)
    result = setting.ensure(500, options=Options(timeout=timedelta(seconds=60)))
    assert result.outcome is Outcome.UNCONFIRMED
    assert any("the time is up (1m)" in warning for warning in setting.progress.warnings)
    assert setting.clock.passed < 100
    assert 0 < len(serving(setting)) < 200
    assert setting.ensure(500, options=Options(timeout=timedelta(hours=1))).outcome is Outcome.UNCHANGED
    assert len(serving(setting)) == 500
