"""Late servers that cannot be reached: their trouble, or that of the machine that checks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from scaler.model import CheckResult, Readiness, Server
from scaler.model.lifecycle import Phase, Status
from scaler.planning.reach import Excused, excuse
from tests.support.fakes import group, spec
from tests.support.worlds import numbered, server, world

BOTH = spec(group(ready=Readiness(kind="tcp", port=22)), group("web", ready=Readiness(kind="tcp", port=80)))


def judged(
    *servers: Server, late: Sequence[str], booting: Sequence[str] = (), **results: CheckResult
) -> tuple[Excused, list[str]]:
    """Return which late servers are excused, and which servers were probed; nobody answers but `w1`, `w2` or `web1`."""
    here = world(BOTH, *servers)
    full = {"w1": "prod-worker-1", "w2": "prod-worker-2", "web1": "prod-web-1"}
    told = {full[name]: result for name, result in results.items()}
    asked: list[str] = []

    def probe(how: Readiness, checked: Sequence[Server]) -> Mapping[str, CheckResult]:
        assert {how.port} == {BOTH.groups[item.group].ready.port for item in checked}
        asked.extend(item.name for item in checked)
        return {item.name: told.get(item.name, CheckResult.NO_ANSWER) for item in checked}

    machines = {
        name: replace(item, phase=Phase.BOOTING) if name in booting else item for name, item in here.machines.items()
    }
    return excuse(BOTH, machines, here.servers, late, probe), asked


def unreachable(*names: str) -> Excused:
    return Excused(unreachable=frozenset(names))


def test_where_none_answers_the_late_ones_are_not_given_up() -> None:
    servers = numbered(Status.STARTING, Status.REBOOTING, Status.STARTING)
    late = ["prod-worker-1", "prod-worker-2"]
    assert judged(*servers, late=late) == (unreachable(*late), [item.name for item in servers])


@pytest.mark.parametrize("result", [CheckResult.PASSED, CheckResult.FAILED])
def test_one_that_answers_also_a_ready_one_proves_the_way(result: CheckResult) -> None:
    servers = numbered(Status.STARTING, Status.RUNNING)
    assert judged(*servers, late=["prod-worker-1"], w2=result)[0] == Excused()
    assert judged(*servers, late=["prod-worker-1"])[0] == unreachable("prod-worker-1")


def test_a_late_one_that_passes_now_is_not_given_up_and_one_that_fails_is() -> None:
    servers = numbered(Status.STARTING, Status.STARTING)
    late = ["prod-worker-1", "prod-worker-2"]
    found = judged(*servers, late=late, w1=CheckResult.PASSED, w2=CheckResult.FAILED)[0]
    assert found == Excused(passing=frozenset({"prod-worker-1"}))


def test_nobody_is_given_up_before_the_checks_have_ended() -> None:
    here = world(BOTH, *numbered(Status.STARTING, Status.RUNNING))
    found = excuse(BOTH, here.machines, here.servers, ["prod-worker-1"], lambda how, servers: {})
    assert found == Excused(undecided=frozenset({"prod-worker-1"}))
    assert found.names == {"prod-worker-1"}


def test_groups_are_judged_each_for_itself() -> None:
    servers = [*numbered(Status.STARTING), server("prod-web-1", Status.STARTING, group_name="web")]
    late = ["prod-worker-1", "prod-web-1"]
    assert judged(*servers, late=late, web1=CheckResult.FAILED)[0] == unreachable("prod-worker-1")


def test_what_does_not_boot_or_is_leaving_is_not_probed() -> None:
    servers = numbered(Status.STARTING, Status.STOPPING, Status.STARTING)
    late = ["prod-worker-1", "prod-worker-2"]
    assert judged(*servers, late=late, booting=["prod-worker-1"]) == (Excused(), [])
    aside = replace(servers[2], set_aside=True)
    assert judged(servers[0], aside, late=["prod-worker-1"]) == (unreachable("prod-worker-1"), ["prod-worker-1"])


def test_without_a_check_nobody_is_asked_and_nobody_excused() -> None:
    here = spec(group(ready=Readiness(kind="none")))
    there = world(here, *numbered(Status.STARTING))

    def probe(how: Readiness, checked: Sequence[Server]) -> Mapping[str, CheckResult]:
        raise AssertionError(f"{how} cannot tell")

    assert excuse(here, there.machines, there.servers, ["prod-worker-1"], probe) == Excused()


def test_a_server_of_a_removed_group_has_no_check() -> None:
    assert judged(server("prod-old-1", Status.STARTING, group_name="old"), late=["prod-old-1"]) == (Excused(), [])
