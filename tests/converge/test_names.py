"""Names that other servers of the account have: read before a server is created, where no two can have one."""

from __future__ import annotations

import pytest

from scaler.clouds import NameTakenError, TransientError
from scaler.model import Outcome
from tests.support.fakes import Setting, group, spec


def with_others(count: int) -> Setting:
    setting = Setting()
    for number in range(1, count + 1):
        setting.cloud.add(f"prod-worker-{number}", {"owner": "somebody"})
    return setting


def asked(setting: Setting, operation: str) -> list[str]:
    return [about for done, about in setting.cloud.calls if done == operation]


def test_w20_names_are_chosen_around_those_of_others() -> None:
    setting = with_others(40)
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert setting.ready == [f"prod-worker-{number}" for number in (41, 42, 43)]
    assert (len(asked(setting, "create")), len(asked(setting, "names"))) == (3, 1)


def test_they_are_read_by_runs_that_create() -> None:
    setting = Setting().with_servers(worker=3)
    setting.ensure(3)
    setting.ensure(2)
    assert asked(setting, "names") == []


def test_names_of_own_servers_are_free_again_when_these_are_gone() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-1").ready = None  # it fell over, and never comes back
    setting.clock.sleep(3600)
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    setting.clock.sleep(60)
    assert setting.ensure(4).outcome is Outcome.CONVERGED
    assert "prod-worker-1" in setting.ready


def test_a_name_that_was_taken_meanwhile_is_refused_once() -> None:
    setting = with_others(3)
    setting.cloud.faults["create"] = [NameTakenError("prod-worker-4 is taken", why="uniqueness_error")]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-5", "prod-worker-6"]
    assert len(asked(setting, "names")) == 2


def test_names_that_cannot_be_read_are_learned_from_refusals() -> None:
    setting = with_others(2)
    setting.cloud.faults["names"] = [TransientError("502")]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-3", "prod-worker-4"]
    assert len(asked(setting, "names")) == 2
    assert "the names of the account's servers cannot be read: 502" in setting.progress.notes


def test_names_that_are_always_taken_end_the_run() -> None:
    setting = with_others(0)
    setting.cloud.faults["create"] = [NameTakenError(f"the {nth} is taken") for nth in ("first", "second", "third")]
    result = setting.ensure(1)
    assert result.outcome is Outcome.FAILED
    assert len(asked(setting, "create")) == 3


@pytest.mark.parametrize("count", [1, 5])
def test_where_a_name_may_be_given_twice_it_is(count: int) -> None:
    setting = with_others(5)
    setting.cloud.unique_names = False
    assert setting.ensure(count).outcome is Outcome.CONVERGED
    assert setting.ready == [f"prod-worker-{number}" for number in range(1, count + 1)]
    assert len(setting.cloud.boxes) == 5 + count


def test_both_groups_obey_them() -> None:
    setting = Setting(spec(group(), group("web")))
    for name in ("prod-worker-1", "prod-web-1"):
        setting.cloud.add(name, {})
    setting.ensure(worker=1, web=1)
    assert setting.ready == ["prod-web-2", "prod-worker-2"]
