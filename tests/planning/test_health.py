"""Health: what checks mean, and what holds for every sequence of plans, whoever is unhealthy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.model import (
    Action,
    CheckReport,
    CheckResult,
    Health,
    HealthPolicy,
    Plan,
    PlanPhase,
    Readiness,
    Replacement,
    Spec,
    World,
)
from scaler.model.lifecycle import SUPPLY, Phase, Status
from scaler.planning.advice import Advice
from scaler.planning.health import counting, doubtful, due, judge
from scaler.planning.plan import plan
from tests.planning.test_plan import carried_out
from tests.support.fakes import START, group, spec
from tests.support.worlds import numbered, world

POLICY = HealthPolicy(check=Readiness(kind="tcp", port=80), every=timedelta(seconds=30), failures=3)
ONE = spec(group(healthy=POLICY))
PASSED, FAILED, SILENT = (
    CheckReport(CheckResult.PASSED),
    CheckReport(CheckResult.FAILED, "port 80: Connection refused"),
    CheckReport(CheckResult.NO_ANSWER, "port 80: timed out"),
)
MINUTE = timedelta(minutes=1)


# ---------------------------------------------------------------------------------------------
# What checks mean


def name(number: int) -> str:
    return f"prod-worker-{number}"


def aged(here: World, number: int, **fields: object) -> World:
    servers = {**here.servers, name(number): replace(here.servers[name(number)], **fields)}  # type: ignore[arg-type]
    return replace(here, servers=servers)


def test_only_servers_in_service_are_checked() -> None:
    here = world(ONE, *numbered(*Status))
    checked = {one.status for _, one in due(ONE, here)}
    assert checked == {Status.RUNNING, Status.UNHEALTHY}
    one = world(ONE, *numbered(Status.RUNNING))
    for machine in (replace(one.machines[name(1)], phase=Phase.OFF), replace(one.machines[name(1)], seen=False)):
        assert due(ONE, replace(one, machines={name(1): machine})) == []
    assert due(ONE, aged(one, 1, set_aside=True)) == []
    assert due(spec(group()), one) == []


def test_as_soon_as_one_is_due_all_of_its_group_are_checked_and_only_its_own_result_counts() -> None:
    """If all are silent it is this machine's trouble: that cannot be told from one server."""
    here = world(ONE, *numbered(Status.RUNNING, Status.RUNNING))
    here = aged(here, 1, health=Health(checked=START - timedelta(seconds=5)))
    assert [one.name for _, one in due(ONE, here)] == [name(1), name(2)]
    judged, unchecked = judge(ONE, here, {name(1): PASSED, name(2): SILENT})
    assert (list(judged), unchecked) == ([name(2)], {})
    assert judged[name(2)].health == Health(checked=START, failures=1, problem="port 80: timed out")
    assert due(ONE, aged(here, 2, health=Health(checked=START))) == []


def test_the_last_of_several_failures_in_a_row_makes_it_unhealthy_with_the_words_of_the_check() -> None:
    here = world(ONE, *numbered(Status.RUNNING, Status.RUNNING))
    for failures in (1, 2, 3, 4):
        here = replace(here, at=START + failures * MINUTE)
        judged, _ = judge(ONE, here, {name(1): FAILED, name(2): PASSED})
        here = replace(here, servers={**here.servers, **judged})
        assert (here.servers[name(1)].status is Status.UNHEALTHY) == (failures >= 3)
    one = here.servers[name(1)]
    assert (one.error, one.since) == ("port 80: Connection refused (3 checks in a row failed)", START + 3 * MINUTE)
    assert one.health is not None and one.health.failures == 3
    judged, _ = judge(ONE, replace(here, at=START + 9 * MINUTE), {name(1): PASSED, name(2): PASSED})
    back = judged[name(1)]
    assert (back.status, back.error, back.health) == (
        Status.RUNNING,
        None,
        Health(checked=START + 9 * MINUTE),
    )


def test_silence_of_all_tells_nothing_of_any() -> None:
    here = world(ONE, *numbered(Status.RUNNING, Status.UNHEALTHY))
    judged, unchecked = judge(ONE, here, {name(1): SILENT, name(2): SILENT})
    assert judged == {}
    assert unchecked["worker"].endswith("may be the trouble (port 80: timed out)")
    # Nor does a server for which there was no time.
    assert judge(ONE, here, {}) == ({}, {})


def test_replacements_count_for_an_hour_and_as_long_as_the_server_is_there() -> None:
    begun = Replacement(server=name(1), id="id-1", group="worker", since=START)
    assert counting([begun], START + timedelta(minutes=59), set()) == [begun]
    assert counting([begun], START + timedelta(minutes=60), set()) == []
    assert counting([begun], START + timedelta(hours=9), {"id-1"}) == [begun]


# ---------------------------------------------------------------------------------------------
# Examples


def test_the_longest_unhealthy_goes_first_and_one_that_was_chosen_before_goes_on() -> None:
    here = world(ONE, *numbered(*[Status.UNHEALTHY] * 4, Status.RUNNING))
    here = aged(aged(here, 3, since=START - MINUTE), 5, health=Health(checked=START))
    made = plan(spec(group(healthy=replace(POLICY, at_most=25))), here, {"worker": 5})
    assert made.replaced == (name(3),)
    begun = (Replacement(server=name(2), id=f"id-{name(2)}", group="worker", since=START - MINUTE),)
    made = plan(ONE, here, {"worker": 5}, Advice(replacements=begun))
    assert made.replaced == (name(2), name(3))


@pytest.mark.parametrize(
    ("health", "goes"),
    [
        (Health(checked=START), (name(1), name(2))),
        (Health(checked=START, failures=1, problem="HTTP 500"), (name(1),)),
        (None, (name(1),)),
    ],
    ids=["passes", "has failed", "not checked yet"],
)
def test_where_none_passes_one_goes_to_tell_whether_a_new_one_does(health: Health | None, goes: tuple[str]) -> None:
    here = aged(world(ONE, *numbered(*[Status.UNHEALTHY] * 3, Status.RUNNING)), 4, health=health)
    made = plan(ONE, here, {"worker": 4})
    assert made.replaced == goes
    assert set(made.held["worker"].servers) == {name(1), name(2), name(3)} - set(goes)
    assert doubtful(ONE, here) == {name(1), name(2), name(3)} - set(goes), "they keep their label"
    # Once one has gone for that, none follows while all fail.
    begun = (Replacement(server=name(9), id="id-9", group="worker", since=START - MINUTE),)
    assert plan(ONE, here, {"worker": 4}, Advice(replacements=begun)).replaced == goes[:-1]


def test_when_fewer_are_wanted_the_unhealthy_go_and_nothing_is_bought() -> None:
    made = plan(ONE, world(ONE, *numbered(Status.RUNNING, Status.UNHEALTHY, Status.RUNNING)), {"worker": 2})
    assert [(step.action, step.server) for step in made.steps] == [(Action.DELETE, name(2))]
    assert made.replaced == ()
    all_bad = world(ONE, *numbered(*[Status.UNHEALTHY] * 6))
    made = plan(ONE, all_bad, {"worker": 2})
    assert {step.action for step in made.steps} == {Action.DELETE}
    assert len(made.steps) == 4


# ---------------------------------------------------------------------------------------------
# What holds for every sequence of plans

STATUSES = st.sampled_from([Status.RUNNING, Status.UNHEALTHY, Status.STARTING, Status.HANGING, Status.STOPPED])


class Fleet:
    """A stack that is planned for again and again while its servers do as they like."""

    def __init__(self, made_for: Spec, here: World, wanted: int) -> None:
        self.spec = made_for
        self.here = here
        self.wanted = wanted
        self.replacements: tuple[Replacement, ...] = ()
        self.all_begun: list[Replacement] = []
        self.unchecked: dict[str, str] = {}

    def plan(self) -> Plan:
        advice = Advice(replacements=self.replacements, unchecked=self.unchecked)
        return plan(self.spec, self.here, {"worker": self.wanted}, advice)

    def begin(self, made: Plan) -> None:
        """Remember whose replacement begins, as a run does."""
        known = {each.id for each in self.replacements}
        new = [
            Replacement(server=each, id=self.here.servers[each].id or "", group="worker", since=self.here.at)
            for each in made.replaced
        ]
        new = [each for each in new if each.id not in known]
        there = {one.id or "" for one in self.here.servers.values() if one.unhealthy}
        self.replacements = (*counting(self.replacements, self.here.at, there), *new)
        self.all_begun += new

    def carry_out(self, phase: PlanPhase) -> None:
        self.here = carried_out(self.spec, self.here, phase)

    def serving(self) -> int:
        """How many servers are in place: what is unhealthy may serve all the same."""
        return sum(one.status in (Status.RUNNING, Status.UNHEALTHY) for one in self.here.servers.values())

    def healthy(self) -> set[str]:
        return {each for each, one in self.here.servers.items() if one.status is Status.RUNNING}

    def recent(self) -> int:
        """How many replacements were begun within the last hour."""
        return sum(self.here.at - each.since < timedelta(hours=1) for each in self.all_begun)

    def check(self) -> None:
        """Have the health of all that run checked."""
        servers = {
            each: replace(one, health=Health(checked=self.here.at)) if one.running else one
            for each, one in self.here.servers.items()
        }
        self.here = replace(self.here, servers=servers)

    def settle(self) -> None:
        """Let all that is on its way arrive."""
        servers = {
            each: replace(one, status=Status.RUNNING) if one.status in SUPPLY else one
            for each, one in self.here.servers.items()
        }
        self.here = replace(self.here, servers=servers)
        self.check()

    def pass_time(self, draw: st.DrawFn) -> None:
        """Let time pass, in which each server does as it likes."""
        servers = dict(self.here.servers)
        for each, one in servers.items():
            if one.status in SUPPLY:
                ends = [Status.RUNNING, Status.UNHEALTHY, Status.HANGING, one.status]
            elif one.status is Status.UNHEALTHY:
                ends = [Status.UNHEALTHY, Status.RUNNING]
            else:
                ends = [one.status]
            servers[each] = replace(one, status=draw(st.sampled_from(ends)))
        at = self.here.at + draw(st.integers(0, 40)) * MINUTE
        self.here = replace(self.here, at=at, servers=servers)
        self.check()


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    wanted = draw(st.integers(1, 8))
    # One status for most of them is likelier than by chance: a check that is wrong is wrong about all.
    common = draw(STATUSES)
    statuses = [draw(st.just(common) | STATUSES) for _ in range(draw(st.integers(0, wanted + 2)))]
    policy = replace(POLICY, at_most=draw(st.sampled_from([1, 25, 50, 100])))
    limit = draw(st.none() | st.integers(max(wanted, len(statuses)), 14))
    made_for = spec(group(healthy=policy), limit=limit)
    fleet = Fleet(made_for, world(made_for, *numbered(*statuses)), wanted)
    fleet.check()
    return fleet


@pytest.mark.acceptance("T11")
@settings(max_examples=300, deadline=None)
@given(fleets(), st.data())
def test_never_more_than_the_share_in_an_hour_never_fewer_in_place_never_above_the_limit(
    fleet: Fleet, data: st.DataObject
) -> None:
    policy = fleet.spec.groups["worker"].healthy
    assert policy is not None
    most = policy.most(fleet.wanted)
    for _ in range(8):
        fleet.unchecked = {"worker": "unreachable"} if data.draw(st.integers(0, 5)) == 0 else {}
        made, earlier = fleet.plan(), fleet.recent()
        fleet.begin(made)
        assert fleet.healthy() or fleet.recent() <= max(1, earlier), "while none passes, one goes to tell"
        for phase in made.phases[:1]:
            before, healthy, there = fleet.serving(), fleet.healthy(), set(fleet.here.servers)
            fleet.carry_out(phase)
            assert fleet.serving() >= min(before, fleet.wanted), made
            lost = healthy - fleet.healthy()
            assert len(healthy) - len(lost) >= min(len(healthy), fleet.wanted), (
                "no healthy one goes for another's health"
            )
            if fleet.unchecked:
                bought = [step for step in phase.steps if "unhealthy" in step.reason and step.action is Action.CREATE]
                assert bought == []
            if fleet.spec.limit is not None:
                assert len(fleet.here.machines) <= fleet.spec.limit, (made, there)
        assert fleet.recent() <= most, made
        fleet.pass_time(data.draw)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(fleets())
def test_if_nothing_else_happens_it_comes_to_rest_with_the_wanted_count_in_place(fleet: Fleet) -> None:
    fleet.settle()
    # Two rounds for each of up to nine servers, where only one may be away at a time.
    for _ in range(24):
        made = fleet.plan()
        fleet.begin(made)
        if not made.phases:
            break
        fleet.carry_out(made.phases[0])
        fleet.settle()
    else:
        raise AssertionError(made)
    assert fleet.serving() == len(fleet.here.machines) == fleet.wanted
    held = {each for each, one in fleet.here.servers.items() if one.unhealthy}
    assert held == {each for one in made.held.values() for each in one.servers}
