"""Whether new servers fit into placement groups and networks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from scaler.clouds import Room
from scaler.errors import LimitError
from scaler.model import Plan, Server, Spec, World
from scaler.model.lifecycle import Status
from scaler.planning.plan import plan
from scaler.planning.rooms import Fit, fit_into_rooms
from scaler.planning.template import References, Templates
from tests.support.fakes import group, spec
from tests.support.worlds import numbered, world

BOTH = spec(group("worker"), group("web"))


def room(*members: str, id: str = "7", most: int = 10) -> Room:
    return Room(kind="placement_group", id=id, name="apart", most=most, members=frozenset(members), why="it is small")


def templates(made_for: Spec, **rooms: Room) -> Templates:
    """The rooms by group, at every placement."""
    return Templates(
        by_placement={
            (name, kind, place): References(image="100", rooms=(rooms[name],) if name in rooms else ())
            for name, each in made_for.groups.items()
            for kind in each.types
            for place in each.locations
        }
    )


def fit(made_for: Spec, here: World, wanted: Mapping[str, int], first: World | None = None, **rooms: Room) -> Fit:
    made: Plan = plan(made_for, here, wanted)
    return fit_into_rooms(made, templates(made_for, **rooms), here, first or here)


def ids(*servers: Server) -> list[str]:
    return [server.id or "" for server in servers]


def test_others_take_places_too() -> None:
    others = room("901", "902", "903", most=5)
    assert fit(BOTH, world(BOTH), {"worker": 2, "web": 9}, worker=others) == Fit()
    with pytest.raises(LimitError, match="worker: 3 more servers are too many for the placement group apart") as raised:
        fit(BOTH, world(BOTH), {"worker": 3, "web": 0}, worker=others)
    assert raised.value.code == "placement_group_full"
    assert "has room for 2" in raised.value.what
    assert raised.value.why == "it is small, and 3 are in it"


def test_a_room_that_two_groups_name_is_one() -> None:
    """Once by its name and once by its id: both are looked up to the same id."""
    with pytest.raises(LimitError, match="web, worker: 11 more servers") as raised:
        fit(BOTH, world(BOTH), {"worker": 5, "web": 6}, worker=room(), web=room())
    assert raised.value.groups == ["web", "worker"]  # type: ignore[attr-defined]
    assert fit(BOTH, world(BOTH), {"worker": 5, "web": 6}, worker=room(), web=room(id="8")) == Fit()


def test_own_servers_count_once_however_new_they_are() -> None:
    """The list of members is older than what this run created."""
    servers = numbered(*[Status.RUNNING] * 3)
    here = world(BOTH, *servers)
    listed = room(*ids(*servers), most=4)
    assert fit(BOTH, here, {"worker": 4}, worker=listed) == Fit()
    for members in (listed, room(most=4)):
        with pytest.raises(LimitError, match="2 more servers"):
            fit(BOTH, here, {"worker": 5}, first=world(BOTH), worker=members)


def test_what_left_meanwhile_takes_no_place() -> None:
    servers = numbered(*[Status.RUNNING] * 3)
    first = world(BOTH, *servers)
    assert fit(BOTH, world(BOTH), {"worker": 3}, first=first, worker=room(*ids(*servers), most=3)) == Fit()


def test_the_dead_make_room_first() -> None:
    """Created before they are deleted, the new ones would be refused."""
    servers = numbered(Status.RUNNING, Status.HANGING)
    here = world(BOTH, *servers)
    full = room(*ids(*servers), most=2)
    assert fit(BOTH, here, {"worker": 2}, worker=full) == Fit(crowded=frozenset({"worker"}))
    with pytest.raises(LimitError, match="2 more servers are too many"):
        fit(BOTH, here, {"worker": 3}, worker=full)
