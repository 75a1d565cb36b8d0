"""Look at a cloud beside a command, more often than the command does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scaler.model.ownership import Owner
from scaler.simulator import SimulatedWorld
from tests.support.project import Vendor

_LOOK_EVERY_S = 0.05


@dataclass
class Watched:
    """How many servers of the stack were there, and ran, each time somebody looked."""

    there: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)


@contextmanager
def watched(database: Path, vendor: Vendor, *, leaving: bool) -> Iterator[Watched]:
    """Look at the world of this database while the block runs; `leaving`: whether what is being deleted counts."""
    seen, over = Watched(), threading.Event()
    owner = Owner("scaler", "demo")

    def look() -> None:
        # Its database is used by the thread that opened it.
        world = SimulatedWorld(database)
        while not over.is_set():
            ours = [thing for thing in world.servers(vendor.name) if owner.owns(vendor.labels_of(thing))]
            counted = [thing for thing in ours if leaving or thing.gone is None]
            seen.there.add(len(counted))
            seen.running.add(sum(thing.status(world.now) in ("running", "active") for thing in counted))
            time.sleep(_LOOK_EVERY_S)
        world.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
