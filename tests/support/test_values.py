"""Dataclasses that are made at their first use are those of the standard library."""

from __future__ import annotations

import dataclasses
import re
import threading
from dataclasses import FrozenInstanceError, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

import scaler
from scaler.support.values import dataclass

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")

    @property
    def sum(self) -> int:
        return self.x + self.y


def test_a_value_is_a_dataclass_from_its_first_instance_on() -> None:
    point = Point(x=1)
    assert (point, point.sum) == (Point(x=1, note="another"), 3)
    assert repr(replace(point, y=3)) == "Point(x=1, y=3, names=[], note='')"
    assert point.names is not Point(x=1).names
    assert dataclasses.asdict(point) == {"x": 1, "y": 2, "names": [], "note": ""}
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 5  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'z'"):
        point.z = 5  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    with pytest.raises(ValueError, match="negative"):
        Point(x=-1)
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]


def test_a_class_tells_its_fields_before_there_is_an_instance() -> None:
    @dataclass(frozen=True)
    class Early:
        one: int
        two: tuple[int, ...] = ()

    assert dataclasses.is_dataclass(Early)
    assert [each.name for each in fields(Early)] == ["one", "two"]
    assert hash(Early(1)) == hash(Early(1))


def test_a_class_may_extend_another_whichever_is_used_first() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Access:
        url: str
        tries: int = 1

    @dataclass(frozen=True, kw_only=True)
    class Source(Access):
        key: str

    @dataclass(frozen=True)
    class Page(Generic[T]):
        items: tuple[T, ...]

    assert Source(url="u", key="k") == Source(key="k", url="u", tries=1)
    assert Access(url="u") != Source(url="u", key="k")
    assert Page[int]((1, 2)).items == (1, 2)


def test_a_class_that_may_change_does() -> None:
    @dataclass
    class Counter:
        count: int = 0

    counter = Counter()
    counter.count += 1
    assert counter == Counter(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)


def test_half_made_or_made_by_two_threads_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Cut:
        one: int
        many: list[int] = field(default_factory=list)

    whole: list[int] = []
    real: Any = dataclasses.dataclass
    barrier = threading.Barrier(2)

    def interrupted(**options: bool) -> object:
        made = real(**options)
        if len(whole) < 1:
            whole.append(1)
            raise KeyboardInterrupt
        if len(whole) < 3:
            whole.append(1)
            barrier.wait()
        return made

    monkeypatch.setattr(dataclasses, "dataclass", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Cut(one=1)
    found: list[Cut] = []
    threads = [threading.Thread(target=lambda: found.append(Cut(one=1))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Cut(one=1), Cut(one=1)]


def test_a_signal_while_a_class_is_made_is_that_signal() -> None:
    class Loud:
        names = 0

        def __set_name__(self, owner: type, name: str) -> None:
            self.names += 1
            if self.names == 2:
                raise KeyboardInterrupt

    @dataclass(frozen=True)
    class Heard:
        one: int
        loud: ClassVar[Loud] = Loud()

    with pytest.raises(KeyboardInterrupt):
        Heard(1)
    assert Heard(1) == Heard(1)


def test_all_our_dataclasses_are_made_late() -> None:
    root = Path(scaler.__file__).parent
    # Errors stand below `support`.
    modules = set(root.rglob("*.py")) - {root / "errors.py", root / "support/values.py"}
    early = re.compile(r"^from dataclasses import .*\bdataclass\b|dataclasses\.dataclass", re.MULTILINE)
    assert [str(path.relative_to(root)) for path in modules if early.search(path.read_text())] == []
