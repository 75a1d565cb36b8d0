"""Groups that look renamed: named, so that nobody is surprised by a second fleet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.model import Group, ImageRef, Server, World
from scaler.model.lifecycle import Status
from scaler.model.ownership import TEMPLATE
from scaler.planning.renames import renamed_groups
from scaler.planning.template import fingerprint
from tests.support.fakes import group, spec
from tests.support.worlds import server, world


def of_group(name: str, count: int = 2, status: Status = Status.RUNNING) -> list[Server]:
    return [server(f"prod-{name}-{number}", status, group_name=name) for number in range(1, count + 1)]


def found(*groups: Group, here: World | None = None, servers: int = 2, wanted: int = 9) -> dict[str, str]:
    """Return what looks renamed, with servers of a group `old`."""
    there = spec(*groups)
    here = here or world(there, *of_group("old", servers))
    return renamed_groups(there, here, {item.name: wanted for item in groups})


def test_the_same_count_makes_a_name_look_new() -> None:
    assert found(group("jobs", 2)) == {"old": "jobs"}
    assert found(group("jobs", 3)) == {}
    assert found(group("jobs", 3), wanted=2) == {"old": "jobs"}


def test_the_same_image_makes_a_name_look_new() -> None:
    """The servers of the fake world are made of the image 100."""
    there = spec(group("jobs", 9))
    here = world(there, *of_group("old"))
    here = replace(here, servers={name: replace(item, image="100") for name, item in here.servers.items()})
    assert found(group("jobs", 9, image=ImageRef("id", "100")), here=here, wanted=8) == {"old": "jobs"}
    assert found(group("jobs", 9, image=ImageRef("id", "200")), here=here, wanted=8) == {}


def test_the_same_user_data_and_keys_make_a_name_look_new() -> None:
    made = group("jobs", 9, user_data="#cloud-config")
    here = world(spec(made), *of_group("old"))
    labelled = {
        name: replace(item, labels={**item.labels, TEMPLATE: fingerprint(made)}) for name, item in here.machines.items()
    }
    assert found(made, here=replace(here, machines=labelled), wanted=8) == {"old": "jobs"}
    assert found(made, here=here, wanted=8) == {}


def test_a_group_that_has_servers_is_no_new_name() -> None:
    there = spec(group("jobs", 2))
    here = world(there, *of_group("old"), server("prod-jobs-1", group_name="jobs"))
    assert found(group("jobs", 2), here=here) == {}


def test_each_new_name_is_taken_once_by_the_group_that_it_is_most_like() -> None:
    groups = (group("a", 2), group("b", 3))
    here = world(spec(*groups), *of_group("old", 2), *of_group("older", 3))
    assert found(*groups, here=here) == {"old": "a", "older": "b"}
    assert found(group("a", 2), here=world(spec(group("a")), *of_group("old"), *of_group("older"))) == {"old": "a"}


@pytest.mark.parametrize("fields", [{"status": Status.DELETING}, {"set_aside": True}])
def test_servers_that_go_or_are_set_aside_are_of_no_renamed_group(fields: dict[str, object]) -> None:
    there = spec(group("jobs", 2))
    gone = [replace(item, **fields) for item in of_group("old")]  # type: ignore[arg-type]
    assert found(group("jobs", 2), here=world(there, *gone)) == {}
