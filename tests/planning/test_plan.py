"""The plan: examples of each rule, and what holds for every plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.model import Action, Plan, PlanPhase, Spec, StackEntry, Step, World
from scaler.model.lifecycle import SUPPLY, Status
from scaler.planning.advice import Advice
from scaler.planning.names import natural
from scaler.planning.placements import placements
from scaler.planning.plan import plan
from scaler.planning.template import Current
from scaler.planning.victims import victims
from tests.support.fakes import group, spec
from tests.support.worlds import machine, numbered, server, world

ONE = spec(group())


def names(made: Plan, action: Action) -> list[str]:
    return [step.server for step in made.steps if step.action is action]


# ---------------------------------------------------------------------------------------------
# Counts and names


@pytest.mark.acceptance("P01", "P22")
def test_from_nothing_it_creates_at_the_first_placement() -> None:
    made = plan(ONE, world(ONE), {"worker": 2})
    assert [(step.action, step.server, step.type, step.location) for step in made.steps] == [
        (Action.CREATE, "prod-worker-1", "cx23", "fsn1"),
        (Action.CREATE, "prod-worker-2", "cx23", "fsn1"),
    ]
    assert {step.reason for step in made.steps} == {"worker wants 2, has 0"}


@pytest.mark.acceptance("P11")
@pytest.mark.parametrize(
    ("statuses", "supply"),
    [
        ((), 0),
        ((Status.STARTING,), 1),
        ((Status.STARTING, Status.RUNNING), 2),
        ((Status.STARTING, Status.RUNNING, Status.REBOOTING), 3),
        ((Status.STARTING, Status.RUNNING, Status.REBOOTING, Status.STOPPING), 3),
        ((Status.NEW, Status.RUNNING, Status.STOPPED, Status.DELETING, Status.HANGING, Status.ERRORED), 2),
    ],
)
def test_which_servers_are_supply(statuses: tuple[Status, ...], supply: int) -> None:
    made = plan(ONE, world(ONE, *numbered(*statuses)), {"worker": 9})
    assert made.before == {"worker": supply}


@pytest.mark.acceptance("P26")
def test_numbers_in_use_anywhere_are_not_free() -> None:
    here = world(ONE, server("prod-worker-1"), server("prod-worker-4"), vanished=["prod-worker-2"])
    made = plan(ONE, here, {"worker": 5}, Advice(taken=frozenset({"prod-worker-3"})))
    assert names(made, Action.CREATE) == ["prod-worker-2", "prod-worker-5", "prod-worker-6"]


def test_the_own_name_of_a_machine_is_in_use_also_if_the_stack_has_another_for_it() -> None:
    odd = replace(world(ONE, server("prod-worker-7")))
    renamed = replace(odd, machines={"prod-worker-7": replace(odd.machines["prod-worker-7"], name="prod-worker-1")})
    assert names(plan(ONE, renamed, {"worker": 2}), Action.CREATE) == ["prod-worker-2"]


@pytest.mark.acceptance("Q14")
def test_each_group_has_its_own_count() -> None:
    both = spec(group("worker"), group("web"))
    here = world(both, server("prod-worker-1"), server("prod-web-1", group_name="web"))
    made = plan(both, here, {"worker": 0, "web": 2})
    assert (names(made, Action.CREATE), names(made, Action.DELETE)) == (["prod-web-2"], ["prod-worker-1"])
    assert len(made.phases) == 2


# ---------------------------------------------------------------------------------------------
# Who goes


@pytest.mark.acceptance("R04")
def test_not_ready_before_ready_and_newest_first() -> None:
    servers = [
        server("prod-worker-1", age_s=300),
        server("prod-worker-2", age_s=200),
        server("prod-worker-3", Status.REBOOTING, age_s=900),
        server("prod-worker-4", Status.STARTING, age_s=100),
    ]
    order = [item.name[-1] for item in victims(servers, 4, group())]
    assert order == ["4", "3", "2", "1"]
    assert [item.name[-1] for item in victims(servers, 4, group(scale_down="oldest"))] == ["4", "3", "1", "2"]


def test_of_one_age_the_highest_number_is_the_newest() -> None:
    servers = [server(f"prod-worker-{number}") for number in (2, 10, 9)]
    assert [item.name for item in victims(servers, 2, group())] == ["prod-worker-10", "prod-worker-9"]


def test_an_orphan_goes_before_a_server_of_the_stack_but_not_before_one_that_is_not_ready() -> None:
    servers = [server("prod-worker-1", age_s=900), server("prod-worker-2"), server("prod-worker-3", Status.STARTING)]
    here = world(ONE, *servers, orphans=["prod-worker-1"])
    assert names(plan(ONE, here, {"worker": 2}), Action.DELETE) == ["prod-worker-3"]
    assert names(plan(ONE, here, {"worker": 1}), Action.DELETE) == ["prod-worker-3", "prod-worker-1"]


def test_an_orphan_adopted_earlier_in_the_run_still_goes_first() -> None:
    here = world(ONE, server("prod-worker-1", age_s=900), server("prod-worker-2"))
    made = plan(ONE, here, {"worker": 1}, Advice(adopted=frozenset({"prod-worker-1"})))
    assert [(step.server, step.reason) for step in made.steps] == [
        ("prod-worker-1", "worker wants 1, has 2: it was in no state")
    ]


def test_protected_servers_are_passed_over_by_spec_and_by_mark() -> None:
    guarded = spec(group(protect=frozenset({"prod-worker-3"})))
    servers = [server("prod-worker-1"), replace(server("prod-worker-2"), protected=True), server("prod-worker-3")]
    assert names(plan(guarded, world(guarded, *servers), {"worker": 0}), Action.DELETE) == ["prod-worker-1"]


def test_dead_servers_are_replaced_in_the_first_phase_with_the_reason() -> None:
    dead = replace(server("prod-worker-1", Status.HANGING), error="starting for longer than 10m")
    made = plan(ONE, world(ONE, dead, server("prod-worker-2")), {"worker": 2})
    assert len(made.phases) == 1
    assert [(step.action, step.server) for step in made.steps] == [
        (Action.CREATE, "prod-worker-3"),
        (Action.DELETE, "prod-worker-1"),
    ]
    assert made.steps[1].reason == "it is hanging: starting for longer than 10m"


@pytest.mark.acceptance("S02")
def test_off_servers_are_powered_on_as_far_as_needed_and_the_others_deleted() -> None:
    made = plan(ONE, world(ONE, *numbered(Status.RUNNING, Status.STOPPED, Status.STOPPED)), {"worker": 2})
    assert names(made, Action.POWER_ON) == ["prod-worker-2"]
    assert names(made, Action.DELETE) == ["prod-worker-3"]


def test_a_server_that_could_not_be_powered_on_is_replaced_unless_it_runs_by_now() -> None:
    advice = Advice(power_on_failed=frozenset({"prod-worker-1"}))
    off = plan(ONE, world(ONE, server(status=Status.STOPPED)), {"worker": 1}, advice)
    assert [(step.action, step.server) for step in off.steps] == [
        (Action.CREATE, "prod-worker-2"),
        (Action.DELETE, "prod-worker-1"),
    ]
    assert plan(ONE, world(ONE, server()), {"worker": 1}, advice).phases == ()


def test_a_group_that_the_spec_no_longer_has_is_wanted_zero_times() -> None:
    here = world(ONE, server("prod-old-1", group_name="old"), server())
    made = plan(ONE, here, {"worker": 1})
    assert [(step.action, step.server, step.group) for step in made.steps] == [(Action.DELETE, "prod-old-1", "old")]


def test_named_servers_go_first_and_renewed_ones_when_the_new_are_there() -> None:
    here = world(ONE, *numbered(Status.RUNNING, Status.RUNNING))
    removed = plan(ONE, here, {"worker": 1}, Advice(remove=frozenset({"prod-worker-1"})))
    assert names(removed, Action.DELETE) == ["prod-worker-1"]
    renewed = plan(ONE, here, {"worker": 2}, Advice(renew=frozenset({"prod-worker-1"})))
    assert [[(step.action, step.server) for step in phase.steps] for phase in renewed.phases] == [
        [(Action.CREATE, "prod-worker-3")],
        [(Action.DELETE, "prod-worker-1")],
    ]


# ---------------------------------------------------------------------------------------------
# Phases


def test_grow_then_shrink() -> None:
    both = spec(group("worker"), group("web"))
    here = world(both, server("prod-worker-1"))
    made = plan(both, here, {"worker": 0, "web": 1})
    assert [phase.declared for phase in made.phases] == [("prod-web-1", "prod-worker-1"), ("prod-web-1",)]


def test_nothing_to_wait_for_is_one_phase() -> None:
    made = plan(ONE, world(ONE, *numbered(Status.RUNNING, Status.HANGING, Status.STOPPED)), {"worker": 0})
    assert [len(phase.steps) for phase in made.phases] == [3]


def test_at_the_limit_deletes_come_first() -> None:
    tight = spec(group(), limit=2)
    made = plan(tight, world(tight, *numbered(Status.RUNNING, Status.HANGING)), {"worker": 2})
    assert [[step.action for step in phase.steps] for phase in made.phases] == [[Action.DELETE], [Action.CREATE]]


def test_an_orphan_is_adopted_before_it_is_changed_or_removed() -> None:
    stray = server("prod-worker-9", Status.HANGING)
    made = plan(ONE, world(ONE, stray, orphans=["prod-worker-9"]), {"worker": 1})
    assert [[step.action for step in phase.steps] for phase in made.phases] == [
        [Action.ADOPT, Action.CREATE],
        [Action.DELETE],
    ]


def test_a_vanished_server_is_forgotten_and_its_name_made_anew() -> None:
    made = plan(ONE, world(ONE, vanished=["prod-worker-1"]), {"worker": 1})
    assert [(step.action, step.server, step.id) for step in made.steps] == [
        (Action.FORGET, "prod-worker-1", "gone-prod-worker-1"),
        (Action.CREATE, "prod-worker-1", None),
    ]
    assert [phase.declared for phase in made.phases] == [("prod-worker-1",)]


def test_labels_are_mended_where_the_server_stays() -> None:
    here = world(ONE, server("prod-worker-1"), server("prod-worker-2"))
    foreign = {name: replace(item, labels={**item.labels, "note": "x"}) for name, item in here.machines.items()}
    assert names(plan(ONE, replace(here, machines=foreign), {"worker": 2}), Action.UPDATE) == []
    odd = {
        name: replace(item, labels={key: value for key, value in item.labels.items() if key != "scaler-stack"})
        for name, item in here.machines.items()
    }
    made = plan(ONE, replace(here, machines=odd), {"worker": 1})
    assert [(step.action, step.server) for step in made.steps] == [
        (Action.UPDATE, "prod-worker-1"),
        (Action.DELETE, "prod-worker-2"),
    ]


def test_a_server_that_is_being_deleted_is_left_alone() -> None:
    assert plan(ONE, world(ONE, server(status=Status.DELETING), orphans=["prod-worker-1"]), {"worker": 0}).phases == ()


# ---------------------------------------------------------------------------------------------
# Placements


@pytest.mark.acceptance("S07")
def test_placements_in_the_order_of_the_spec() -> None:
    assert placements(group()) == [("cx23", "fsn1"), ("cx23", "nbg1"), ("cpx22", "fsn1"), ("cpx22", "nbg1")]


@pytest.mark.acceptance("S07")
def test_an_exhausted_placement_is_passed_over_and_without_any_nothing_is_created() -> None:
    full = placements(group())
    made = plan(ONE, world(ONE), {"worker": 1}, Advice(exhausted=frozenset(full[:3])))
    assert [(step.type, step.location) for step in made.steps] == [full[3]]
    assert plan(ONE, world(ONE), {"worker": 1}, Advice(exhausted=frozenset(full))).phases == ()


# ---------------------------------------------------------------------------------------------
# What holds for every plan

GROUPS = ("worker", "web", "old")
"""The last is in no spec."""

# What is unhealthy has properties of its own, in `test_health.py`.
_ELSEWHERE = (Status.NEW, Status.DELETED, Status.STOPPING, Status.UNHEALTHY)
STATUSES = [status for status in Status if status not in _ELSEWHERE]
"""What a machine can be when nothing but waiting is left to be done about it."""


@st.composite
def situations(draw: st.DrawFn) -> tuple[Spec, World, dict[str, int]]:
    servers, orphans, guarded = [], set(), set()
    for group_name in GROUPS:
        for number in draw(st.sets(st.integers(1, 8), max_size=5)):
            item = server(
                f"prod-{group_name}-{number}",
                draw(st.sampled_from(STATUSES)),
                group_name=group_name,
                age_s=draw(st.integers(0, 3) | st.integers(3_000, 4_000)),
            )
            servers.append(item)
            if item.status is Status.DELETING or draw(st.integers(0, 4)) == 0:
                orphans.add(item.name)
            elif item.status is Status.RUNNING and group_name != "old" and draw(st.integers(0, 4)) == 0:
                guarded.add(item.name)
    wanted = {name: draw(st.integers(0, 6)) for name in GROUPS[:2]}
    limit = draw(st.one_of(st.none(), st.integers(sum(wanted.values()) + len(guarded), 20)))
    made_for = spec(
        *(
            group(
                name,
                protect=frozenset(guarded),
                scale_down=draw(st.sampled_from(["newest", "oldest"])),
                keep_paid=draw(st.booleans()),
            )
            for name in GROUPS[:2]
        ),
        limit=limit,
    )
    taken = {item.name for item in servers}
    vanished = [f"prod-worker-{number}" for number in draw(st.sets(st.integers(1, 9), max_size=3))]
    here = world(made_for, *servers, orphans=orphans, vanished=[name for name in vanished if name not in taken])
    odd = {
        name: replace(item, labels={**item.labels, "note": "x"}) if draw(st.integers(0, 9)) == 0 else item
        for name, item in here.machines.items()
    }
    return made_for, replace(here, machines=odd), wanted


def ready(here: World, name: str) -> int:
    return sum(1 for item in here.servers.values() if item.group == name and item.status is Status.RUNNING)


def carried_out(made_for: Spec, here: World, phase: PlanPhase) -> World:
    """The world after a phase whose every step succeeded, before anything has settled."""
    for step in phase.steps:
        here = _done(made_for, here, step)
    assert set(phase.declared) == set(here.entries)
    return here


def _done(made_for: Spec, here: World, step: Step) -> World:
    machines, entries, servers = dict(here.machines), dict(here.entries), dict(here.servers)
    name = step.server
    if step.action is Action.CREATE:
        assert name not in machines
        servers[name] = server(name, Status.STARTING, group_name=step.group)
        machines[name] = machine(made_for, servers[name])
        entries[name] = StackEntry(name, step.group, machines[name].id, machines[name].labels)
    elif step.action is Action.ADOPT:
        assert machines[name].id == step.id
        entries[name] = StackEntry(name, step.group, machines[name].id, machines[name].labels)
    elif step.action is Action.DELETE:
        assert entries.pop(name).id == machines.pop(name).id == step.id
        del servers[name]
    elif step.action is Action.FORGET:
        assert entries[name].id not in {item.id for item in machines.values()}
        del entries[name]
    elif step.action is Action.POWER_ON:
        assert servers[name].status is Status.STOPPED
        servers[name] = replace(servers[name], status=Status.REBOOTING)
    elif step.action is Action.POWER_OFF:
        assert servers[name].status is Status.RUNNING
        servers[name] = replace(servers[name], status=Status.STOPPED)
    elif step.action is Action.UPDATE:
        assert entries[name].id == machines[name].id
        machines[name] = machine(made_for, servers[name])
    return replace(here, machines=machines, entries=entries, servers=servers)


def settled(here: World) -> World:
    """The world when all that only takes time has happened."""
    gone = {name for name, item in here.servers.items() if item.status is Status.DELETING}
    servers = {
        name: replace(item, status=Status.RUNNING) if item.status in SUPPLY else item
        for name, item in here.servers.items()
        if name not in gone
    }
    return replace(
        here,
        machines={name: item for name, item in here.machines.items() if name not in gone},
        servers=servers,
    )


def expected(made_for: Spec, wanted: Mapping[str, int]) -> dict[str, int]:
    """What the counts come to: protected servers stay."""
    return {
        name: max(count, sum(1 for other in made_for.groups[name].protect if other.startswith(f"prod-{name}-")))
        for name, count in wanted.items()
    }


@settings(max_examples=400, deadline=None)
@given(situations())
def test_the_steps_lead_to_exactly_the_wanted_counts_and_then_there_is_nothing_to_do(
    situation: tuple[Spec, World, dict[str, int]],
) -> None:
    made_for, here, wanted = situation
    target = expected(made_for, wanted)
    made = plan(made_for, here, wanted)
    for phase in made.phases:
        here = settled(carried_out(made_for, here, phase))
    here = settled(here)
    assert {name: ready(here, name) for name in GROUPS} == {**target, "old": 0}
    again = plan(made_for, here, wanted)
    assert again.phases == ()
    assert len(here.servers) == len(here.machines) == sum(target.values()) + len(again.paid_until)
    assert all(made_for.groups[here.servers[name].group].keep_paid for name in again.paid_until)

    late = replace(here, at=here.at + timedelta(hours=1))
    made = plan(made_for, late, wanted)
    assert names(made, Action.DELETE) == sorted(again.paid_until, key=natural)
    assert len(made.steps) == len(again.paid_until)


@pytest.mark.acceptance("R04")
@settings(max_examples=400, deadline=None)
@given(situations())
def test_never_fewer_ready_than_wanted_if_there_were_that_many(
    situation: tuple[Spec, World, dict[str, int]],
) -> None:
    made_for, here, wanted = situation
    for phase in plan(made_for, here, wanted).phases:
        before = {name: ready(here, name) for name in wanted}
        here = carried_out(made_for, here, phase)
        for name, count in wanted.items():
            assert ready(here, name) >= min(before[name], count), phase
        here = settled(here)


@settings(max_examples=400, deadline=None)
@given(situations())
def test_no_step_is_about_a_protected_server_or_an_unknown_one_and_no_name_is_used_twice(
    situation: tuple[Spec, World, dict[str, int]],
) -> None:
    made_for, here, wanted = situation
    made = plan(made_for, here, wanted)
    guarded = set().union(*(item.protect for item in made_for.groups.values()))
    assert not guarded & set(names(made, Action.DELETE))
    known = {item.id for item in here.machines.values()} | {entry.id for entry in here.entries.values()}
    assert {step.id for step in made.steps} <= known | {None}
    created = names(made, Action.CREATE)
    assert len(created) == len(set(created))
    assert not set(created) & set(here.machines)
    assert len(made.phases) <= 2
    assert len({(step.action, step.server) for step in made.steps}) == len(made.steps)


@settings(max_examples=200, deadline=None)
@given(situations())
def test_the_limit_holds_at_every_moment_of_a_run(situation: tuple[Spec, World, dict[str, int]]) -> None:
    """A run carries out the first phase of a plan, and plans again."""
    made_for, here, wanted = situation
    here = settled(here)
    for _ in range(6):
        made = plan(made_for, here, wanted)
        if not made.phases:
            break
        creates = sum(1 for step in made.phases[0].steps if step.action is Action.CREATE)
        if creates and made_for.limit is not None:
            assert len(here.machines) + creates <= made_for.limit, made
        here = settled(carried_out(made_for, here, made.phases[0]))
    else:
        raise AssertionError(made)
    assert {name: ready(here, name) for name in GROUPS} == {**expected(made_for, wanted), "old": 0}


@settings(max_examples=200, deadline=None)
@given(situations())
def test_the_same_world_gives_the_same_plan(situation: tuple[Spec, World, dict[str, int]]) -> None:
    made_for, here, wanted = situation

    def turned(items: Mapping[str, object]) -> dict[str, object]:
        return dict(reversed(items.items()))  # type: ignore[call-overload]

    other = replace(
        here,
        machines=turned(here.machines),  # type: ignore[arg-type]
        entries=turned(here.entries),  # type: ignore[arg-type]
        servers=turned(here.servers),  # type: ignore[arg-type]
    )
    assert plan(made_for, here, wanted) == plan(made_for, here, wanted)
    assert plan(made_for, other, turned(wanted)) == plan(made_for, here, wanted)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------
# What the spec no longer says of servers that exist


def aged(made_for: Spec, here: World, name: str, **facts: Any) -> World:
    return replace(here, machines={**here.machines, name: replace(here.machines[name], **facts)})


@pytest.mark.acceptance("R13")
def test_a_changed_type_location_or_template_shows_as_a_difference() -> None:
    here = world(ONE, *numbered(*[Status.RUNNING] * 4))
    here = aged(ONE, here, "prod-worker-1", type="cx99")
    here = aged(ONE, here, "prod-worker-2", location="mars")
    here = aged(ONE, here, "prod-worker-3", labels=ONE.owner.group_labels("worker", "0000"))
    made = plan(ONE, here, {"worker": 4})
    assert made.steps == ()
    assert set(made.outdated) == {"prod-worker-1", "prod-worker-2", "prod-worker-3"}
    assert made.outdated["prod-worker-1"].startswith("type cx99, not cx23")
    assert made.outdated["prod-worker-2"].startswith("in mars, not fsn1")
    assert made.outdated["prod-worker-3"] == "other user data or keys"


def test_outdated_servers_go_before_the_newest() -> None:
    here = world(ONE, *numbered(*[Status.RUNNING] * 3))
    here = aged(ONE, here, "prod-worker-1", image="99")
    current = {"worker": Current(images=frozenset({"100", "golden"}))}
    assert names(plan(ONE, here, {"worker": 2}, Advice(current=current)), Action.DELETE) == ["prod-worker-1"]
    assert names(plan(ONE, here, {"worker": 2}), Action.DELETE) == ["prod-worker-3"]
    chosen = plan(ONE, here, {"worker": 2}, Advice(current=current)).steps[0]
    assert chosen.reason == "worker wants 2, has 3: it is outdated (image 99, not 100)"


def test_a_server_to_be_replaced_stays_until_another_is_ready() -> None:
    """As after a kill between the create and its confirmation."""
    renew = Advice(renew=frozenset({"prod-worker-1"}))
    booting = world(ONE, *numbered(Status.RUNNING, Status.RUNNING, Status.STARTING))
    made = plan(ONE, booting, {"worker": 2}, renew)
    assert not made.phases
    assert made.later == {"prod-worker-1"}
    ready = world(ONE, *numbered(*[Status.RUNNING] * 3))
    assert names(plan(ONE, ready, {"worker": 2}, renew), Action.DELETE) == ["prod-worker-1"]


def test_what_does_not_serve_goes_before_what_is_outdated() -> None:
    here = world(ONE, *numbered(Status.RUNNING, Status.STARTING, Status.RUNNING))
    here = aged(ONE, here, "prod-worker-1", type="cx99")
    assert names(plan(ONE, here, {"worker": 1}), Action.DELETE) == ["prod-worker-2", "prod-worker-1"]


@pytest.mark.acceptance("R11")
def test_the_dead_that_cannot_be_deleted_do_not_grow_in_number() -> None:
    """Each wanted server may have one dead one beside it; then the dead go first, or nothing is created."""
    one = plan(ONE, world(ONE, *numbered(Status.HANGING)), {"worker": 1})
    assert [step.action for step in one.phases[0].steps] == [Action.CREATE, Action.DELETE]
    two = plan(ONE, world(ONE, *numbered(Status.HANGING, Status.HANGING)), {"worker": 1})
    assert [{step.action for step in phase.steps} for phase in two.phases] == [{Action.DELETE}, {Action.CREATE}]
