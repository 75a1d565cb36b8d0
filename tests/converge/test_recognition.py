"""A run acts only in the world that its stack's records are of, and believes no cloud that denies for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.converge.demand import Demand, Options
from scaler.converge.operate import look, orphans, protect, reboot, refresh
from scaler.errors import StateError, UnrecognisedError
from scaler.model import Machine, Result, Server
from scaler.model.identity import Identity
from tests.support.fakes import FakeCloud, RecordingProgress, Setting, group, spec, taken

Act = Callable[[Setting], object]

ACTS: Mapping[str, Act] = {
    "ensure": lambda setting: setting.ensure(3),
    "more": lambda setting: setting.ensure(5),
    "none": lambda setting: setting.ensure(0),
    "destroy": lambda setting: setting.run(Demand({"worker": 0}), Options(everything=True)),
    "replace": lambda setting: setting.run(Demand(renew=frozenset({"prod-worker-1"}))),
    "stop": lambda setting: setting.run(Demand(remove=frozenset({"prod-worker-1"}))),
    "increase": lambda setting: setting.run(Demand(by={"worker": 1})),
    "preview": lambda setting: setting.run(Demand({"worker": 2}), Options(apply=False)),
    "orphans": lambda setting: orphans(setting.spec, setting.around),
    "orphans --delete": lambda setting: setting.run(Demand(remove_orphans=True)),
    "status --refresh": lambda setting: look(setting.spec, setting.around),
    "refresh": lambda setting: refresh(setting.spec, setting.around),
    "reboot": lambda setting: reboot(setting.spec, setting.around),
    "protect": lambda setting: protect(setting.spec, ["prod-worker-1"], setting.around, protected=True),
}
"""Every way to act on a stack, by what a person calls it."""

every_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


def facts(setting: Setting) -> tuple[object, ...]:
    """Return all that a run may change: records, stack, and the world."""
    records = setting.records
    boxes = {key: (box.name, box.labels, box.off, box.gone) for key, box in setting.cloud.boxes.items()}
    return dict(records.servers), dict(records.counts), records.known_identity, setting.stack.saved, boxes


def refused(setting: Setting, act: Act) -> UnrecognisedError:
    """Return the error with which a way to act is refused; nothing may be changed or asked to."""
    before = facts(setting)
    setting.cloud.calls.clear()
    with pytest.raises(UnrecognisedError) as caught:
        act(setting)
    assert facts(setting) == before
    assert setting.cloud.changes() == []
    return caught.value


@pytest.mark.acceptance("T01")
@every_act
def test_another_accounts_token_changes_nothing(act: Act) -> None:
    setting = Setting().with_servers(worker=3)
    protect(setting.spec, ["prod-worker-2"], setting.around, protected=True)
    ours = setting.cloud
    before = facts(setting)
    setting.cloud = FakeCloud(setting.clock, setting.fuse)
    setting.stack.cloud = setting.cloud
    setting.place = replace(setting.place, token="b")
    error = refused(setting, act)
    assert error.code == "account_changed"
    assert "prod-worker-1, prod-worker-2, prod-worker-3" in error.why
    assert not setting.cloud.boxes

    setting.cloud = setting.stack.cloud = ours
    setting.place = replace(setting.place, token="a")
    assert facts(setting) == before
    assert setting.ensure(3).outcome == "unchanged"
    assert setting.records.servers["prod-worker-2"].protected


@pytest.mark.acceptance("T01")
def test_an_account_that_the_cloud_tells_is_compared_before_anything_is_listed() -> None:
    setting = Setting()
    setting.cloud.account_id = "team-a"
    setting.with_servers(worker=2)
    setting.cloud.account_id = "team-b"
    setting.place = replace(setting.place, token="b")
    error = refused(setting, ACTS["ensure"])
    assert (error.code, error.why) == ("account_changed", "account team-a recorded, team-b now")
    assert [call for call, _ in setting.cloud.calls] == []


@pytest.mark.acceptance("T01")
def test_another_token_of_the_same_account_is_proven_by_seeing_every_server() -> None:
    setting = Setting().with_servers(worker=2)
    setting.place = replace(setting.place, token="b")
    assert setting.ensure(2).outcome == "unchanged"
    assert len(known(setting).tokens) == 2
    setting.cloud.remove("prod-worker-1")
    # Both tokens have seen it: it is gone, and not somewhere else.
    assert setting.ensure(2).outcome == "converged"


def known(setting: Setting) -> Identity:
    """Return the recorded identity."""
    assert setting.records.known_identity is not None
    return setting.records.known_identity


@pytest.mark.acceptance("T02")
@pytest.mark.parametrize("field", ["project", "cloud", "endpoint"])
@every_act
def test_another_place_changes_nothing(act: Act, field: str) -> None:
    setting = Setting().with_servers(worker=3)
    here = setting.place
    setting.place = replace(here, **{field: "elsewhere"})
    error = refused(setting, act)
    assert error.code == "identity_moved"
    assert f"{field}: {getattr(here, field)} recorded, elsewhere now" in error.why
    assert setting.cloud.calls == []

    setting.place = here
    assert setting.ensure(3).outcome == "unchanged"


def test_a_stack_without_servers_may_move() -> None:
    setting = Setting().with_servers(worker=1)
    setting.ensure(0)
    setting.place = replace(setting.place, endpoint="https://api.example")
    assert setting.ensure(1).outcome == "converged"
    assert known(setting).endpoint == "https://api.example"


def test_the_identity_outlives_the_state_file() -> None:
    setting = Setting().with_servers(worker=2)
    before = known(setting)
    setting.records.lose()
    setting.place = replace(setting.place, endpoint="elsewhere")
    assert refused(setting, ACTS["ensure"]).code == "identity_moved"
    setting.place = replace(setting.place, endpoint="embedded")
    assert setting.ensure(2).outcome == "unchanged"
    assert known(setting) == before


@pytest.mark.acceptance("T04")
@pytest.mark.parametrize("hidden", [1, 2, 3, 4, 6])
def test_servers_that_are_denied_for_some_seconds_are_not_made_again(hidden: int) -> None:
    setting = Setting().with_servers(worker=6)
    ids = sorted(setting.cloud.boxes)
    setting.cloud.denied = dict.fromkeys(ids[:hidden], setting.clock.monotonic() + 5)
    assert setting.ensure(6).outcome == "unchanged"
    assert sorted(setting.cloud.boxes) == ids
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("T04")
@every_act
def test_the_loss_of_most_servers_stops_a_run(act: Act) -> None:
    setting = Setting().with_servers(worker=3)
    for name in ("prod-worker-2", "prod-worker-3"):
        setting.cloud.remove(name)
    error = refused(setting, act)
    assert (error.code, error.what) == ("mass_loss", "2 of 3 servers are missing in prod; nothing was changed.")


@pytest.mark.acceptance("T04")
def test_a_loss_that_is_accepted_is_made_good() -> None:
    setting = Setting().with_servers(worker=6)
    setting.cloud.boxes.clear()
    assert refused(setting, ACTS["ensure"]).code == "mass_loss"
    assert setting.ensure(6, options=Options(accept_loss=True)).outcome == "converged"
    assert len(setting.ready) == 6


def test_the_spec_may_accept_a_loss_but_not_another_account() -> None:
    setting = Setting(replace(spec(group()), accept_loss="always")).with_servers(worker=3)
    setting.cloud.boxes.clear()
    assert setting.ensure(3).outcome == "converged"
    setting.cloud.boxes.clear()
    setting.place = replace(setting.place, token="b")
    assert refused(setting, ACTS["ensure"]).code == "account_changed"


def test_the_loss_of_half_is_repaired_without_a_question() -> None:
    setting = Setting().with_servers(worker=4)
    for name in ("prod-worker-2", "prod-worker-3"):
        setting.cloud.remove(name)
    assert setting.ensure(4).outcome == "converged"


def test_servers_that_a_killed_run_deleted_are_no_loss() -> None:
    setting = Setting().with_servers(worker=3)
    records = setting.records
    for name in ("prod-worker-2", "prod-worker-3"):
        records.servers[name] = deleting(records.servers[name])
        setting.cloud.remove(name)
    assert setting.ensure(1).outcome == "converged"


def test_a_stale_record_of_another_machine_is_no_loss() -> None:
    """Another machine removed servers since: the stack says so, and this machine's state file does not."""
    setting = Setting().with_servers(worker=3)
    stale = dict(setting.records.servers)
    setting.ensure(1)
    setting.records.servers = stale
    started = setting.clock.passed
    assert look(setting.spec, setting.around).outcome == "unchanged"
    assert setting.clock.passed == started
    setting.records.servers = stale
    assert setting.ensure(1).outcome == "unchanged"


def deleting(server: Server) -> Server:
    """Return the record of a server whose deletion was asked for."""
    from scaler.model.lifecycle import Status

    return server.become(Status.DELETING, server.since)


def test_most_servers_that_go_missing_during_a_run_are_not_made_again() -> None:
    setting = Setting(spec(group(), limit=20)).with_servers(worker=6)
    ids = sorted(setting.cloud.boxes)

    def hide() -> None:
        setting.cloud.denied = dict.fromkeys(ids[:5], setting.clock.monotonic() + 300)

    setting.cloud.on_change = hide
    result = setting.ensure(7)
    assert result.outcome == "failed"
    assert [getattr(failure, "code", "") for failure in result.failures] == ["mass_loss"]
    assert len(setting.cloud.boxes) == 7

    setting.cloud.on_change = lambda: None
    setting.clock.sleep(300)
    assert setting.ensure(7).outcome == "converged"
    assert ids == sorted(setting.cloud.boxes)[:6]
    assert len(setting.cloud.boxes) == 7


@pytest.mark.parametrize("hidden_s", [3.0, 8.0, 30.0])
def test_what_was_accepted_is_not_made_again_while_the_cloud_denies_it(hidden_s: float) -> None:
    setting = Setting(spec(group(), limit=5))
    setting.cloud.deny_new_s = hidden_s
    result = setting.ensure(3)
    assert result.outcome == "converged"
    assert len(setting.cloud.boxes) == 3
    assert [call for call, _ in setting.cloud.calls if call == "create"] == ["create"] * 3
    assert setting.is_in_order()


@pytest.mark.acceptance("T05")
@every_act
def test_a_stack_with_a_resource_of_somebody_elses_is_not_touched(act: Act) -> None:
    setting = Setting().with_servers(worker=3)
    urn = "urn:pulumi:prod::scaler::hcloud:index/volume:Volume::database"
    setting.stack.saved = replace(setting.stack.saved, foreign=(urn,))
    error = refused(setting, act)
    assert (error.code, error.why) == ("foreign_resources", f"a run would delete: {urn}")


@pytest.mark.acceptance("T08")
def test_a_preview_records_nothing() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.remove("prod-worker-1")
    setting.cloud.named("prod-worker-2").off = True
    for wanted in (2, 5, 0):
        before = facts(setting)
        assert setting.run(Demand({"worker": wanted}), Options(apply=False)).outcome == "planned"
        assert facts(setting) == before


@pytest.mark.acceptance("T08")
def test_a_preview_without_a_step_has_nothing_to_do_even_while_servers_boot() -> None:
    setting = Setting()
    setting.run(Demand({"worker": 2}), Options(wait=False))
    setting.progress = RecordingProgress()
    result = setting.run(Demand({"worker": 2}), Options(apply=False))
    assert (result.outcome, taken(result)) == ("unchanged", [])


def test_a_disk_that_is_full_after_the_creates_does_not_hide_them() -> None:
    setting = Setting()

    def fill() -> None:
        if len(setting.cloud.boxes) == 2:
            setting.records.errors = [StateError("The state file cannot be written.", why="no space left")] * 9

    setting.cloud.on_change = fill
    result: Result = setting.ensure(2, options=Options(timeout=timedelta(minutes=5)))
    assert result.outcome == "failed"
    assert [step for step, _ in taken(result)] == ["create", "create"]
    assert "no space left" in str(result.failures[-1])


class InPairs(FakeCloud):
    """A cloud that answers for one machine only once it was asked for another: one by one, nobody gets an answer."""

    both = threading.Barrier(2, timeout=20)

    def get(self, id: str) -> Machine:
        self.both.wait()
        return super().get(id)


def test_servers_that_a_list_lacks_are_asked_for_side_by_side() -> None:
    setting = Setting().with_servers(worker=4)
    setting.cloud = setting.stack.cloud = InPairs(setting.clock, setting.fuse, boxes=setting.cloud.boxes)
    setting.cloud.list_lag_s = 3600.0
    assert setting.ensure(4).outcome == "unchanged"
    assert setting.cloud.changes() == []
