"""The plugin served on a world of its own for every test; this process is let in as the engine would be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scaler.clouds.deadlines import Deadlines
from scaler.clouds.registry import open_cloud
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.server import serve
from scaler.model import Permits
from scaler.simulator import EmbeddedCloud
from tests.engine.plugin.client import DIGITALOCEAN, HETZNER, OWNER, TOKEN, VENDORS, HurriedClock, Plug, Plugged, Vendor

READ_WITHIN_S = 3.0
"""More than any answer takes, and little enough to wait for in vain."""


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    """Begin an operation with these permits, all on one world."""
    with ExitStack() as stack:
        served = stack.enter_context(EmbeddedCloud(tmp_path / "world.db", profile="fast", clock_speed=0))
        endpoints = {HETZNER.name: served.hetzner_endpoint, DIGITALOCEAN.name: served.digitalocean_endpoint}

        def begin(vendor: Vendor, permits: Permits) -> Plugged:
            clock = HurriedClock()
            cloud = open_cloud(
                vendor.name,
                endpoint=endpoints[vendor.name],
                environ={"HCLOUD_TOKEN": TOKEN, "DIGITALOCEAN_TOKEN": TOKEN},
                clock=clock,
                deadlines=Deadlines(read=READ_WITHIN_S),
            )
            stack.callback(cloud.close)
            operation = Operation(cloud, OWNER, permits)
            provider = stack.enter_context(serve(operation, workers=8, clock=clock))
            provider.peers.admit(os.getpid())
            plugged = Plugged(vendor, served.world, cloud, operation, provider)
            stack.callback(plugged.channel.close)
            return plugged

        yield begin


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    vendor: Vendor = request.param
    return vendor
