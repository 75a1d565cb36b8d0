"""Whatever happened before, one `ensure` ends with exactly the wanted servers and no orphan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from scaler.clouds import BusyError, NameTakenError, NoCapacityError
from scaler.converge.demand import Demand, Options
from scaler.planning.absence import GRACE
from tests.support.fakes import LOCATIONS, TYPES, Box, Killed, Setting, engine_failure, group, passing, spec

FOREIGN = {"role": "database"}


def one_of_ours(setting: Setting, pick: int) -> Box | None:
    """A machine of ours that nobody has asked to delete."""
    ours = [box for box in setting.cloud.boxes.values() if setting.owner.owns(box.labels) and box.gone is None]
    return ours[pick % len(ours)] if ours else None


def remove_by_hand(setting: Setting, pick: int) -> None:
    if box := one_of_ours(setting, pick):
        del setting.cloud.boxes[box.id]


def power_off_by_hand(setting: Setting, pick: int) -> None:
    if box := one_of_ours(setting, pick):
        box.off = True


def relabel_by_hand(setting: Setting, pick: int) -> None:
    if box := one_of_ours(setting, pick):
        box.labels["scaler-stack"] = "other"


def add_label_by_hand(setting: Setting, pick: int) -> None:
    if box := one_of_ours(setting, pick):
        box.labels["note"] = "by hand"


def label_back_by_hand(setting: Setting, pick: int) -> None:
    lost = [box for box in setting.cloud.boxes.values() if box.labels.get("scaler-stack") == "other"]
    if lost:
        lost[pick % len(lost)].labels["scaler-stack"] = "prod"


def power_on_by_hand(setting: Setting, pick: int) -> None:
    # A server that just came into service and boots again looks as it does in a list that lags: that takes a minute.
    setting.clock.sleep(GRACE.total_seconds())
    off = [box for box in setting.cloud.boxes.values() if box.off]
    if off:
        # So soon after its first start that it counts as one that a list shows late, a run need not wait for it.
        setting.clock.sleep(GRACE.total_seconds())
        off[pick % len(off)].off = False
        off[pick % len(off)].ready = setting.clock.monotonic() + setting.cloud.boot_s


def add_orphan(setting: Setting, pick: int) -> None:
    name = f"prod-worker-{pick + 1}"
    if not setting.cloud.unique_names or all(box.name != name for box in setting.cloud.boxes.values()):
        setting.cloud.add(name, setting.label(), ready=pick % 2 == 0, age_s=10.0 + pick * 1000.0)


def fail_creates(setting: Setting, pick: int) -> None:
    kinds = (*passing(1), NoCapacityError("none"), BusyError("locked"), NameTakenError("taken"))
    planted = setting.cloud.faults.setdefault("create", [])
    if len(planted) < 2:  # more in a row end a run, as they should
        planted.append(kinds[pick % len(kinds)])


def fail_a_request(setting: Setting, pick: int) -> None:
    operation = ("list", "get", "delete", "power_on", "set_labels")[pick % 5]
    setting.cloud.faults.setdefault(operation, []).extend(passing(1))


def fill_first_placement(setting: Setting, pick: int) -> None:
    setting.cloud.full = {(TYPES[0], LOCATIONS[0])}


def lose_an_answer(setting: Setting, pick: int) -> None:
    setting.cloud.lost_answers += 1


def lag(setting: Setting, pick: int) -> None:
    setting.cloud.list_lag_s = 4.0
    setting.clock.sleep(setting.cloud.list_lag_s)


def lose_state_file(setting: Setting, pick: int) -> None:
    setting.records.lose()


def fail_the_record(setting: Setting, pick: int) -> None:
    setting.stack.record_errors.append(engine_failure())


def killed_run(setting: Setting, pick: int) -> None:
    """A run for another count that dies at some boundary, the engine with it or a moment later."""
    setting.fuse.left = pick % 23
    setting.stack.saves_when_killed = pick % 2 == 0
    try:
        setting.run(Demand({"worker": pick % 6}))
    except Killed:
        pass
    except Exception as error:
        note(f"the run to be killed ended with {error!r}")
    setting.fuse.left = None
    # What nobody was told of and no list shows yet, nobody can know; nor that a machine which still
    # runs, and which the stack still holds, is on its way out.
    setting.clock.sleep(max(setting.cloud.list_lag_s, setting.cloud.delete_s))


def short_run(setting: Setting, pick: int) -> None:
    """A run whose time is up at once."""
    try:
        setting.run(Demand({"worker": pick % 6}), Options(timeout=timedelta(seconds=pick % 3)))
    except Exception as error:
        note(f"the short run ended with {error!r}")


def pass_time(setting: Setting, pick: int) -> None:
    setting.clock.sleep(pick * 30.0)


def move_under_the_plan(setting: Setting, pick: int) -> None:
    setting.stack.moves.append(lambda: remove_by_hand(setting, pick))


EVENTS: tuple[Callable[[Setting, int], None], ...] = (
    remove_by_hand,
    power_off_by_hand,
    power_on_by_hand,
    relabel_by_hand,
    label_back_by_hand,
    add_label_by_hand,
    add_orphan,
    fail_creates,
    fail_a_request,
    fill_first_placement,
    lose_an_answer,
    lag,
    lose_state_file,
    killed_run,
    fail_the_record,
    short_run,
    pass_time,
    move_under_the_plan,
)


@pytest.mark.parametrize("unique_names", [True, False], ids=["unique", "duplicates"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=st.integers(0, 4),
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 30)), max_size=8),
    wanted=st.integers(0, 5),
    keep_paid=st.booleans(),
)
def test_after_anything_one_run_ends_with_exactly_the_wanted_servers(
    unique_names: bool,
    before: int,
    events: list[tuple[Callable[[Setting, int], None], int]],
    wanted: int,
    keep_paid: bool,
) -> None:
    setting = Setting(replace(spec(group(count=before, keep_paid=keep_paid)), accept_loss="always"))
    setting.cloud.unique_names = unique_names
    setting.cloud.tells_deleting = unique_names
    foreign = [setting.cloud.add("prod-worker-2x", FOREIGN), setting.cloud.add("database", {})]
    setting.with_servers(worker=before)
    for happen, pick in events:
        happen(setting, pick)
    lost = [box.id for box in setting.cloud.boxes.values() if box.labels.get("scaler-stack") == "other"]

    # A passing trouble of the first look ends a run before it begins; the next one is the one that counts.
    setting.cloud.faults.pop("list", None)
    setting.cloud.faults.pop("get", None)
    setting.stack.record_errors.clear()
    asked_before = len(setting.cloud.calls)
    result = setting.ensure(wanted)

    told = (result, setting.progress.warnings, setting.progress.notes)
    assert len(setting.ready) == wanted == len(setting.owned) - len(result.kept), told
    assert {name for name, server in setting.records.servers.items() if server.status == "stopped"} == set(result.kept)
    assert keep_paid or not result.kept
    assert result.outcome in ("converged", "unchanged"), told
    assert setting.is_in_order(), (setting.held(), setting.records.servers)
    assert all(box.id in setting.cloud.boxes for box in foreign)
    assert set(lost) <= set(setting.cloud.boxes), "a server that carries another stack's label was deleted"
    theirs = {*lost, *(box.id for box in foreign)}
    assert not [call for call in setting.cloud.calls[asked_before:] if call[0] == "delete" and call[1] in theirs]

    before_again, processes = len(setting.cloud.changes()), setting.stack.processes
    again = setting.ensure(wanted)
    assert (again.outcome, again.kept) == ("unchanged", result.kept)
    assert (len(setting.cloud.changes()), setting.stack.processes) == (before_again, processes)

    setting.clock.sleep(3600)
    setting.ensure(wanted)
    assert len(setting.ready) == len(setting.owned) == wanted
