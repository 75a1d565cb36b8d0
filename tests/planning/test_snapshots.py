"""Which snapshots go when only some are to be kept, and by which labels a spec finds one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.clouds.snapshots import Snapshot
from scaler.model import ImageRef
from scaler.model.roll import Pace, Roll, RollTarget
from scaler.planning.snapshots import is_found, named_by, pinned_by, selected_labels, surplus
from tests.support.fakes import START, group

WORKER = {"role": "worker"}


def snapshots(*names: str, **more: object) -> list[Snapshot]:
    return [
        Snapshot(id=name, name=f"golden {name}", created=START + timedelta(days=day), labels=WORKER, **more)  # type: ignore[arg-type]
        for day, name in enumerate(names)
    ]


@pytest.mark.parametrize(("keep", "removed"), [(1, "abc"), (2, "ab"), (3, "a"), (4, ""), (9, "")])
def test_the_oldest_beyond_the_number_go(keep: int, removed: str) -> None:
    found = surplus(snapshots("a", "b", "c", "d"), WORKER, keep, {})
    assert "".join(each.id for each in found.remove) == removed
    assert not found.spared


def test_only_finished_ones_with_all_of_the_labels_count() -> None:
    others = [
        Snapshot(id="x", name="web", created=START, labels={"role": "web"}),
        Snapshot(id="y", name="more", created=START, labels={**WORKER, "env": "prod"}),
        Snapshot(id="z", name="young", created=START, labels=WORKER, available=False),
    ]
    found = surplus([*others, *snapshots("a", "b")], WORKER, 1, {})
    assert [each.id for each in found.remove] == ["y", "a"]
    assert not surplus([*others, *snapshots("a")], {**WORKER, "env": "prod"}, 1, {}).remove


def test_what_is_needed_stays_and_takes_nobodys_place() -> None:
    protected = snapshots("a", protected=True)
    rest = snapshots("b", "c", "d", "e")
    found = surplus([*protected, *rest], WORKER, 1, {"b": "servers were made from it", "golden c": "worker names it"})
    assert [each.id for each in found.remove] == ["d"]
    assert {each.id: why for each, why in found.spared} == {
        "a": "it is protected",
        "b": "servers were made from it",
        "c": "worker names it",
    }


def test_nothing_goes_where_it_is_not_known_what_is_needed() -> None:
    found = surplus(snapshots("a", "b"), WORKER, 1, {}, "it is not known")
    assert not found.remove
    assert [why for _, why in found.spared] == ["it is not known"]


def test_every_image_of_a_roll_is_pinned() -> None:
    roll = Roll(
        since=START,
        target=RollTarget(images=frozenset({"5", "golden-5"}), digest="x"),
        pace=Pace(),
        good="3",
        undoes=RollTarget(images=frozenset({"4"}), digest="x"),
        replaced={"prod-worker-1": "2", "prod-worker-2": ""},
    )
    assert set(pinned_by([roll])) == {"5", "golden-5", "3", "4", "2"}


def test_images_that_a_spec_names_are_pinned() -> None:
    groups = [group(image=ImageRef("id", "7")), group(image=ImageRef("name", "golden")), group()]
    assert set(named_by(groups)) == {"7", "golden"}


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        ("role=worker", {"role": "worker"}),
        ("role == worker, golden", {"role": "worker", "golden": ""}),
        ("role!=worker", None),
        ("role in (a,b)", None),
        ("!role", None),
    ],
)
def test_the_labels_that_a_selector_asks_for(selector: str, labels: dict[str, str] | None) -> None:
    image = ImageRef("selector", selector)
    assert selected_labels(image) == labels
    assert is_found(image, labels or {})
    if labels:
        assert not is_found(image, {"role": "web"})


def test_an_image_by_name_asks_for_no_labels() -> None:
    assert selected_labels(ImageRef("name", "golden")) is None
