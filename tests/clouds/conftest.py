"""Clouds opened on stubs and on the embedded cloud, each with a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from scaler.clouds import Cloud
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.registry import open_cloud
from tests.support.http_stub import Answer, HurriedClock, Stub
from tests.support.vendors import ENVIRON, VENDORS, Vendor


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    vendor: Vendor = request.param
    return vendor


@pytest.fixture
def clock() -> HurriedClock:
    return HurriedClock()


Opened = tuple[Cloud, Stub]


@pytest.fixture
def on_stub(vendor: Vendor, clock: HurriedClock) -> Iterator[Callable[..., Opened]]:
    """Open the vendor's cloud on a stub that gives these answers."""
    opened: list[Opened] = []

    def open_on(*answers: Answer) -> Opened:
        stub = Stub(*answers).__enter__()
        # Deadlines of its own: connections with the same ones share what is left of the budget.
        quick = Deadlines(connect=2, read=0.4)
        cloud = open_cloud(vendor.name, endpoint=stub.url + vendor.base, environ=ENVIRON, clock=clock, deadlines=quick)
        opened.append((cloud, stub))
        return cloud, stub

    yield open_on
    for cloud, stub in opened:
        cloud.close()
        stub.__exit__()
