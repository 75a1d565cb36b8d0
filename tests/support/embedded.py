"""A stack whose cloud is the embedded one behind its real client: a moved clock, and the engine in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from scaler.clouds import Cloud, GoneError
from scaler.clouds.registry import open_cloud
from scaler.model.identity import Place
from scaler.model.ownership import Label, Owner, carries
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from tests.support.fakes import FakeClock, FakeStack, Fuse, Setting
from tests.support.project import Vendor
from tests.support.vendors import ENVIRON

AnySetting = TypeVar("AnySetting", bound=Setting)


class WorldClock(FakeClock):
    """A clock that only sleeping moves, and the world's time with it."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._passed = 0.0
        world.set_speed(0)
        self._started = datetime.fromtimestamp(world.now, UTC)
        super().__init__()

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self._passed

    @passed.setter
    def passed(self, seconds: float) -> None:
        if seconds > self._passed:
            self._world.advance(seconds - self._passed)
        self._passed = seconds

    def now(self) -> datetime:
        return self._started + timedelta(seconds=self._passed)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            super().sleep(seconds)


class StackOfClient(FakeStack):
    """The engine in memory, over a real client."""

    def __init__(self, owner: Owner, cloud: Cloud, fuse: Fuse) -> None:
        super().__init__(owner, cloud, fuse)  # type: ignore[arg-type]

    def _labels_of(self, id: str) -> Mapping[str, str] | None:
        try:
            return self.cloud.get(id).labels
        except GoneError:
            return None


@contextmanager
def embedded(setting: AnySetting, vendor: Vendor, folder: Path, **knobs: float) -> Iterator[tuple[AnySetting, World]]:
    """Move a stack that has no servers yet to the embedded cloud, and yield it with what is to be seen there."""
    with EmbeddedCloud(folder / "world.db", profile="instant", knobs=knobs) as served:
        there: Any = setting
        there.clock = clock = WorldClock(served.world)
        endpoint = vendor.endpoint_of(served)
        cloud = open_cloud(vendor.name, endpoint=endpoint, environ=ENVIRON, clock=clock)
        groups = {
            name: replace(group, types=(vendor.type,), locations=(vendor.location,))
            for name, group in setting.spec.groups.items()
        }
        there.spec = replace(setting.spec, cloud=vendor.name, groups=groups)
        there.cloud, there.stack = cloud, StackOfClient(setting.owner, cloud, setting.fuse)
        there.drains.clock = clock
        there.place = Place(project="scaler", cloud=vendor.name, endpoint="embedded", token="a")
        yield setting, World(served.world, vendor)
        cloud.close()


class World:
    """The machines of one cloud, and what was asked of it."""

    def __init__(self, world: SimulatedWorld, vendor: Vendor) -> None:
        self._world = world
        self._vendor = vendor

    @property
    def machines(self) -> dict[int, str]:
        """Id → name."""
        return {thing.id: thing.name or "" for thing in self._world.servers(self._vendor.name)}

    def labelled(self, label: Label) -> set[int]:
        """The ids of the machines with a label, or with its tag."""
        machines = self._world.servers(self._vendor.name)
        return {thing.id for thing in machines if carries(self._vendor.labels_of(thing), label)}

    def asked(self, method: str) -> int:
        """How many requests about all machines there were since the log was cleared."""
        collection = self._vendor.collection
        return sum(1 for row in self._world.log() if (row.method, row.path) == (method, collection))

    def clear_log(self) -> None:
        self._world.clear_log()
