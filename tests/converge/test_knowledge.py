"""What a run knows: each lesson makes a new value, and the old one stays as it was."""

from __future__ import annotations

from dataclasses import replace

from scaler.clouds import NoCapacityError, QuotaError
from scaler.converge.knowledge import describe_placement
from scaler.model import Placement
from scaler.model.lifecycle import Status
from scaler.planning.advice import Advice
from scaler.planning.template import Current
from tests.support.fakes import START, group, spec
from tests.support.worlds import known, numbered, server

FIRST: Placement = ("cx23", "fsn1")
SECOND: Placement = ("cx23", "nbg1")

ONE, TWO = numbered(Status.RUNNING, Status.RUNNING)
KNOWLEDGE = known(spec(group(), group("web")), ONE, TWO)


def test_amend_replaces_one_server_s_record_and_what_the_world_says_of_it() -> None:
    rebooting = ONE.become(Status.REBOOTING, START)
    amended = KNOWLEDGE.amend(rebooting)
    assert amended.records == {ONE.name: rebooting, TWO.name: TWO}
    assert amended.world == replace(KNOWLEDGE.world, servers={ONE.name: rebooting, TWO.name: TWO})
    assert amended.first == KNOWLEDGE.first
    assert KNOWLEDGE.records[ONE.name] == KNOWLEDGE.world.servers[ONE.name] == ONE


def test_note_replaces_and_adds_records_and_leaves_the_world() -> None:
    deleting, new = ONE.become(Status.DELETING, START), server("prod-worker-3", Status.NEW)
    noted = KNOWLEDGE.note(deleting, new)
    assert noted == replace(KNOWLEDGE, records={ONE.name: deleting, TWO.name: TWO, new.name: new})
    assert noted.world.servers[ONE.name] == ONE


def test_note_of_nothing_changes_nothing() -> None:
    assert KNOWLEDGE.note() == KNOWLEDGE


def test_advise_unites_sets_and_replaces_other_values() -> None:
    before = Advice(
        taken=frozenset({"a"}),
        exhausted=frozenset({FIRST}),
        most=5,
        current={"worker": Current(images=frozenset({"100"}))},
    )
    learned = replace(KNOWLEDGE, advice=before).advise(
        taken=frozenset({"b"}), undrained=frozenset({"c"}), most=3, current={"web": Current(images=frozenset({"200"}))}
    )
    assert learned.advice == Advice(
        taken=frozenset({"a", "b"}),
        exhausted=frozenset({FIRST}),
        undrained=frozenset({"c"}),
        most=3,
        current={"web": Current(images=frozenset({"200"}))},
    )


def test_advise_with_empty_sets_forgets_nothing() -> None:
    taught = replace(KNOWLEDGE, advice=Advice(taken=frozenset({"a"}), withheld=frozenset({"worker"})))
    assert taught.advise(taken=frozenset(), adopted=frozenset()) == taught


def test_placements_are_passed_over_by_every_group() -> None:
    error = NoCapacityError("sold out")
    learned = KNOWLEDGE.pass_over({FIRST: error, SECOND: "there was none at 21:58 UTC"})
    assert learned.advice == Advice(exhausted=frozenset({FIRST, SECOND}))
    assert learned.passed_over == {
        ("worker", FIRST): error,
        ("web", FIRST): error,
        ("worker", SECOND): "there was none at 21:58 UTC",
        ("web", SECOND): "there was none at 21:58 UTC",
    }


def test_the_first_reason_to_pass_a_placement_over_stays() -> None:
    """It is the one that made the difference: a later refusal may only repeat it."""
    learned = KNOWLEDGE.pass_over({FIRST: "first"}).pass_over({FIRST: "second", SECOND: "third"})
    assert learned.passed_over[("worker", FIRST)] == "first"
    assert learned.passed_over[("worker", SECOND)] == "third"


def test_passing_over_nothing_changes_nothing() -> None:
    assert KNOWLEDGE.pass_over({}) == KNOWLEDGE


def test_withhold_creates_no_more_and_says_why() -> None:
    error = QuotaError("3 servers")
    withheld = KNOWLEDGE.withhold(error, ["worker"])
    assert withheld == replace(KNOWLEDGE, advice=Advice(withheld=frozenset({"worker"})), shortfalls=(error,))


def test_a_placement_in_words() -> None:
    assert describe_placement(FIRST) == "cx23 in fsn1"
