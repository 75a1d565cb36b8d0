"""Servers that carry the stack's names and not its id, and how they are claimed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scaler.converge.demand import Demand, Options
from scaler.converge.observe import observe
from scaler.errors import UnrecognisedError, UsageError
from scaler.model import Outcome
from scaler.model.ownership import ID, Owner, decode_tags, encode_tags
from scaler.planning.claims import Claim, claim_of
from tests.support.fakes import Killed, Setting, taken

ANOTHERS = "0ther000"


def labels(setting: Setting, **changed: str | None) -> dict[str, str]:
    """The labels of a server of the stack, with some changed, or absent."""
    given: Mapping[str, str | None] = {**setting.label(), **changed}
    return {key: value for key, value in given.items() if value is not None}


def change(setting: Setting, name: str, key: str, value: str | None) -> None:
    """Change a label by hand."""
    box = setting.cloud.named(name)
    box.labels = {other: text for other, text in {**box.labels, key: value}.items() if text is not None}


def refused(setting: Setting, demand: Demand, options: Options | None = None) -> UnrecognisedError:
    """Run, and return the refusal; nothing was changed."""
    before = {box.id: dict(vars(box)) for box in setting.cloud.boxes.values()}
    records = (dict(setting.records.servers), setting.records.known_identity, setting.stack.saved)
    with pytest.raises(UnrecognisedError) as refusal:
        setting.run(demand, options)
    assert {box.id: dict(vars(box)) for box in setting.cloud.boxes.values()} == before
    assert (dict(setting.records.servers), setting.records.known_identity, setting.stack.saved) == records
    return refusal.value


# ---------------------------------------------------------------------------------------------
# The id


def test_the_id_is_saved_before_the_first_create_and_carried_from_it_on() -> None:
    setting = Setting()
    seen: list[tuple[str, str]] = []

    def look() -> None:
        saved, recorded = setting.stack.saved.identity, setting.records.known_identity
        assert saved
        assert recorded
        seen.append((saved.id, recorded.id))

    setting.cloud.on_change = look
    setting.ensure(2)
    (identity,) = set(setting.stack.established)
    assert set(seen) == {(identity, identity)}
    assert {box.labels[ID] for box in setting.cloud.boxes.values()} == {identity}


def test_only_a_first_run_starts_one_engine_process_more() -> None:
    setting = Setting()
    setting.ensure(2)
    first = setting.stack.processes
    setting.stack.processes = 0
    setting.ensure(4)
    assert (setting.stack.processes, len(setting.stack.established)) == (first - 1, 1)
    setting.stack.processes = 0
    setting.cloud.calls.clear()
    assert setting.ensure(4).outcome is Outcome.UNCHANGED
    assert (setting.stack.processes, setting.cloud.calls) == (0, [("list", "")])


def test_a_run_whose_id_is_on_no_server_yields_to_the_backends() -> None:
    setting = Setting()
    others = replace(setting.with_servers(worker=0).records.known_identity, id="theirs00")  # type: ignore[type-var]
    setting = Setting()
    setting.stack.others.append(others)  # type: ignore[arg-type]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert {box.labels[ID] for box in setting.cloud.boxes.values()} == {"theirs00"}
    assert setting.records.known_identity
    assert setting.records.known_identity.id == "theirs00"


def test_a_run_that_was_overtaken_by_a_first_run_elsewhere_stops() -> None:
    setting = Setting()
    setting.stack.moves.append(lambda: setting.cloud.add("prod-worker-1", labels(setting, **{ID: ANOTHERS})))
    with pytest.raises(UnrecognisedError, match="1 server with the labels of prod"):
        setting.ensure(2)
    assert len(setting.cloud.boxes) == 1


@pytest.mark.parametrize("recorded", ["state and backend", "backend", "state"])
def test_servers_of_an_older_version_get_the_id_with_the_next_run(recorded: str) -> None:
    setting = Setting().with_servers(worker=2)
    for box in setting.cloud.boxes.values():
        del box.labels[ID]
    entries = {
        name: replace(entry, labels={key: value for key, value in entry.labels.items() if key != ID})
        for name, entry in setting.stack.saved.entries.items()
    }
    setting.stack.saved = replace(setting.stack.saved, entries=entries, identity=None)
    setting.records.known_identity = None
    if recorded == "backend":
        setting.records.lose()
    if recorded == "state":
        setting.stack.saved = replace(setting.stack.saved, entries={}, outputs={})
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.stack.saved.identity
    assert [box.labels[ID] for box in setting.cloud.boxes.values()] == [setting.stack.saved.identity.id] * 2
    assert setting.is_in_order()
    assert setting.ensure(2).outcome is Outcome.UNCHANGED


# ---------------------------------------------------------------------------------------------
# Unclaimed servers


@pytest.mark.parametrize("stack_id", [None, ANOTHERS])
def test_unclaimed_servers_stop_a_run_and_are_named_with_their_age(stack_id: str | None) -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.add("prod-worker-8", labels(setting, **{ID: stack_id}), age_s=7200)
    for demand in (Demand({"worker": 3}), Demand({"worker": 2}), Demand(remove_orphans=True)):
        error = refused(setting, demand)
        assert error.code == "unclaimed_servers"
        whose = f"of the stack with the id {ANOTHERS}" if stack_id else "without a stack's id"
        assert error.why.startswith(f"prod-worker-8 (3), {whose}, 2h"), error.why


def test_destroy_leaves_unclaimed_servers_and_says_so() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.add("prod-worker-8", labels(setting, **{ID: ANOTHERS}))
    result = setting.run(Demand({"worker": 0}), Options(everything=True))
    assert result.outcome is Outcome.CONVERGED
    assert [box.name for box in setting.cloud.boxes.values()] == ["prod-worker-8"]
    assert any("left alone: prod-worker-8 (3)" in warning for warning in setting.progress.warnings)


@pytest.mark.acceptance("T07")
def test_a_recorded_server_whose_id_is_absent_is_ours_and_gets_it_back() -> None:
    setting = Setting().with_servers(worker=2)
    own = setting.known_id
    change(setting, "prod-worker-1", ID, None)
    result = setting.ensure(2)
    assert taken(result) == [("update", "prod-worker-1")]
    assert setting.cloud.named("prod-worker-1").labels[ID] == own


def test_a_recorded_server_with_another_stacks_id_stops_every_run() -> None:
    setting = Setting().with_servers(worker=2)
    change(setting, "prod-worker-1", ID, ANOTHERS)
    for demand in (Demand({"worker": 2}), Demand(remove=frozenset({"prod-worker-1"}))):
        assert refused(setting, demand).code == "unclaimed_servers"


def test_destroy_forgets_a_recorded_server_of_another_stack_and_leaves_it() -> None:
    setting = Setting().with_servers(worker=2)
    change(setting, "prod-worker-1", ID, ANOTHERS)
    result = setting.run(Demand({"worker": 0}), Options(everything=True))
    assert ("forget", "prod-worker-1") in taken(result)
    assert [report.step.reason for report in result.steps if report.step.action == "forget"] == [
        "it carries another owner's labels"
    ]
    assert [box.name for box in setting.cloud.boxes.values()] == ["prod-worker-1"]
    assert setting.held() == {}


def test_a_claim_that_was_cut_off_between_two_tags_is_cleaned_up() -> None:
    owner = Owner("scaler", "prod", "bbbb2222")
    both = decode_tags([*encode_tags(owner.group_labels("worker", "x")), f"{ID}:cccc3333"])
    assert owner.owns(both)
    assert f"{ID}:cccc3333" in both
    assert owner.claim(both) == owner.group_labels("worker", "x")
    theirs = decode_tags([*encode_tags(owner.group_labels("worker", "x")), f"{ID}:aaaa1111"])
    assert owner.is_anothers(theirs)
    assert owner.claim(theirs) == owner.group_labels("worker", "x")


def test_a_server_that_gets_another_stacks_id_under_the_lock_is_not_deleted() -> None:
    setting = Setting().with_servers(worker=2)
    setting.stack.moves.append(lambda: change(setting, "prod-worker-2", ID, ANOTHERS))
    with pytest.raises(UnrecognisedError):
        setting.ensure(1)
    assert len(setting.cloud.boxes) == 2


def test_an_unrecorded_server_of_an_unknown_group_is_left_alone() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.add("prod-web-1", labels(setting, **{"scaler-group": "web"}))
    for count in (1, 0):
        result = setting.ensure(count)
        assert any("'web', which the spec does not have" in line for line in result.drift)
    assert [box.name for box in setting.cloud.boxes.values()] == ["prod-web-1"]


# ---------------------------------------------------------------------------------------------
# Claiming


@pytest.mark.parametrize("stack_id", [None, ANOTHERS])
def test_adopt_takes_unclaimed_servers_over(stack_id: str | None) -> None:
    setting = Setting().with_servers(worker=1)
    for number in (8, 9):
        setting.cloud.add(f"prod-worker-{number}", labels(setting, **{ID: stack_id}))
    result = setting.ensure(2, options=Options(claim=Claim(everything=True)))
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == 2
    assert {box.labels[ID] for box in setting.cloud.boxes.values()} == {setting.known_id}
    assert setting.is_in_order()
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    assert setting.records.known_identity
    assert setting.records.known_identity.claims == ()


def test_adopt_by_name_takes_only_these_and_changes_no_number() -> None:
    setting = Setting().with_servers(worker=1)
    for number in (7, 8):
        setting.cloud.add(f"prod-worker-{number}", labels(setting, **{ID: ANOTHERS}))
    result = setting.run(Demand(), Options(claim=claim_of(["prod-worker-7"])))
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("adopt", "prod-worker-7")])
    assert setting.cloud.named("prod-worker-8").labels[ID] == ANOTHERS
    assert set(setting.held()) == {"prod-worker-1", "prod-worker-7"}
    with pytest.raises(UsageError):
        setting.run(Demand(), Options(claim=claim_of(["prod-worker-77"])))


def test_adopt_takes_back_recorded_servers_that_another_stack_claimed() -> None:
    setting = Setting().with_servers(worker=2)
    change(setting, "prod-worker-1", ID, ANOTHERS)
    result = setting.run(Demand(), Options(claim=claim_of([])))
    assert result.outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert setting.cloud.named("prod-worker-1").labels[ID] == setting.known_id
    assert setting.ensure(2).outcome is Outcome.UNCHANGED


def test_a_preview_of_a_claim_changes_nothing() -> None:
    setting = Setting().with_servers(worker=1)
    box = setting.cloud.add("prod-worker-8", labels(setting, **{ID: ANOTHERS}))
    before = dict(box.labels)
    result = setting.ensure(1, options=Options(apply=False, claim=Claim(everything=True)))
    assert ("adopt", "prod-worker-8") in taken(result)
    assert box.labels == before
    assert setting.stack.established == [setting.known_id]


def test_adopt_always_claims_where_no_identity_is_known_and_only_there() -> None:
    setting = Setting()
    setting.spec = replace(setting.spec, adopt="always")
    setting.cloud.add("prod-worker-8", {**setting.owner.group_labels("worker", "x"), ID: ANOTHERS})
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.is_in_order()
    assert len(setting.owned) == 1
    setting.cloud.add("prod-worker-9", labels(setting, **{ID: ANOTHERS}))
    assert refused(setting, Demand({"worker": 1})).code == "unclaimed_servers"


@pytest.mark.parametrize("burns", range(1, 24))
def test_a_claim_that_was_killed_goes_on_without_a_flag(burns: int) -> None:
    setting = Setting().with_servers(worker=1)
    for number in (7, 8):
        setting.cloud.add(f"prod-worker-{number}", labels(setting, **{ID: ANOTHERS}))
    setting.fuse.left = burns
    try:
        setting.run(Demand({"worker": 3}), Options(claim=Claim(everything=True)))
    except Killed:
        claims = setting.stack.saved.identity.claims if setting.stack.saved.identity else ()
        if not claims:
            # Before anything was recorded: nothing was claimed either.
            assert setting.cloud.named("prod-worker-7").labels[ID] == ANOTHERS
            return
    setting.fuse.left = None
    assert setting.ensure(3).outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert len(setting.ready) == 3
    assert setting.is_in_order()
    assert {box.labels[ID] for box in setting.cloud.boxes.values()} == {setting.known_id}


def test_adopt_records_another_place_where_all_servers_are_seen() -> None:
    setting = Setting().with_servers(worker=2)
    setting.place = replace(setting.place, endpoint="https://elsewhere/v1")
    assert refused(setting, Demand({"worker": 2})).code == "identity_moved"
    setting.run(Demand(), Options(claim=claim_of([])))
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    setting.place = replace(setting.place, endpoint="https://wrong/v1")
    setting.cloud.remove("prod-worker-2")
    with pytest.raises(UnrecognisedError) as refusal:
        setting.run(Demand(), Options(claim=claim_of([])))
    assert refusal.value.code == "identity_moved"


def test_looking_at_a_stack_without_servers_gives_it_no_id_in_the_backend() -> None:
    setting = Setting()
    assert observe(setting.spec, setting.around).world.machines == {}
    assert (setting.stack.established, setting.stack.saved.identity) == ([], None)
