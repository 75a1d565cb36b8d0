"""The page of a watch, without a watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from scaler.autoscale.exposition import Exposition
from scaler.page.address import is_loopback, listen
from scaler.page.app import make_app
from scaler.page.records import PageRecords
from scaler.page.server import PageServer
from scaler.records.recorded import Recorded
from tests.support.fakes import FakeClock


@contextmanager
def served(
    exposition: Exposition, folder: Path, *, address: str = "127.0.0.1:0", token: str | None = None
) -> Iterator[str]:
    """Serve the stacks, whose records are in the folder; yields the URL."""
    clock = FakeClock()
    records = PageRecords(partial(recorded, folder), list, clock)
    listener = listen(address, has_token=token is not None)
    is_local = is_loopback(listener.getsockname()[0])
    app = make_app(exposition, records, clock, token=token, only_loopback=is_local)
    with PageServer(listener, app) as server:
        yield server.url


def recorded(folder: Path, stack: str) -> Recorded:
    return Recorded(
        state_dir=folder, project="shop", stack=stack, backend=None, environ={}, clock=FakeClock(), warn=pytest.fail
    )
