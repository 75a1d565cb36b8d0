"""The simulator, judged by Debian's `hcloud` (package hcloud-cli), which knows neither us nor the newest API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scaler.simulator import EmbeddedCloud, SimulatedWorld
from tests.support.sim_http import TOKEN

BINARY = shutil.which("hcloud")
pytestmark = pytest.mark.skipif(BINARY is None, reason="hcloud is not installed: apt-get install hcloud-cli")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hcloud(cloud: EmbeddedCloud, tmp_path: Path) -> Run:
    """Runs `hcloud` against the embedded cloud."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HCLOUD_ENDPOINT": cloud.hetzner_endpoint,
        "HCLOUD_TOKEN": TOKEN,
    }

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        assert BINARY
        done = subprocess.run(
            [BINARY, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def create(hcloud: Run, name: str, *more: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    options = ("--type", "cx23", "--image", "ubuntu-24.04", "--location", "nbg1", "--ssh-key", "deploy", *more)
    return hcloud("server", "create", "--name", name, *options, code=code)


def test_a_servers_life(hcloud: Run, world: SimulatedWorld) -> None:
    create(hcloud, "web-1", "--label", "role=web")
    (server,) = world.servers()
    shown = json.loads(hcloud("server", "describe", "web-1", "-o", "json").stdout)
    assert (shown["id"], shown["status"], shown["labels"]) == (server.id, "running", {"role": "web"})
    for verb, status in (("poweroff", "off"), ("poweron", "running"), ("reboot", "running"), ("shutdown", "off")):
        hcloud("server", verb, "web-1")
        assert world.server("hetzner", server.id).status(world.now) == status
    hcloud("server", "change-type", "web-1", "cx33")
    hcloud("server", "add-label", "web-1", "env=prod")
    assert world.server("hetzner", server.id).body["type"] == "cx33"
    assert hcloud("server", "list", "-l", "env=prod,role in (web)", "-o", "noheader").stdout.split()[1] == "web-1"
    assert hcloud("server", "list", "-l", "env!=prod", "-o", "noheader").stdout.strip() == ""
    hcloud("server", "create-image", "--type", "snapshot", "--description", "web golden", "web-1")
    hcloud("server", "delete", "web-1")
    assert world.servers() == []
    assert "not found" in hcloud("server", "delete", "web-1", code=1).stderr


def test_refusals_are_understood(hcloud: Run, world: SimulatedWorld) -> None:
    create(hcloud, "web-1")
    assert "uniqueness_error" in create(hcloud, "web-1", code=1).stderr
    world.set_capacity("hetzner", "cx23", "nbg1", 0)
    assert "resource_unavailable" in create(hcloud, "web-2", code=1).stderr
    hcloud("server", "enable-protection", "web-1", "delete", "rebuild")
    assert "protected" in hcloud("server", "delete", "web-1", code=1).stderr
    world.set_tokens("hetzner", revoked=True)
    assert "unauthorized" in hcloud("server", "list", code=1).stderr


def test_a_long_list(hcloud: Run, world: SimulatedWorld) -> None:
    for number in range(60):
        world.add_server("hetzner", f"web-{number}")
    assert len(hcloud("server", "list", "-o", "noheader").stdout.splitlines()) == 60


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("location", "Falkenstein"),
        ("server-type", "cx23"),
        ("image", "worker-golden"),
        ("ssh-key", "deploy"),
        ("placement-group", ""),
        ("network", ""),
        ("firewall", ""),
        ("primary-ip", ""),
        ("volume", ""),
    ],
)
def test_lists(hcloud: Run, what: str, row: str) -> None:
    assert row in hcloud(what, "list").stdout


def test_a_chart_of_the_load(hcloud: Run, world: SimulatedWorld) -> None:
    """A line without any height makes this version fail."""
    create(hcloud, "web-1")
    world.advance(600)
    window = [datetime.fromtimestamp(world.now - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for ago in (500, 100)]
    shown = hcloud("server", "metrics", "web-1", "--type", "cpu", "--start", window[0], "--end", window[1]).stdout
    assert "2.00" in shown


def test_the_rest_of_the_inventory(hcloud: Run, world: SimulatedWorld) -> None:
    hcloud("placement-group", "create", "--name", "spread", "--type", "spread")
    hcloud("network", "create", "--name", "inner", "--ip-range", "10.0.0.0/16")
    hcloud("network", "add-subnet", "inner", "--type", "cloud", "--network-zone", "eu-central")
    hcloud("firewall", "create", "--name", "ssh")
    create(hcloud, "web-1", "--placement-group", "spread", "--network", "inner", "--firewall", "ssh")
    (server,) = world.servers()
    assert server.body["placement_group"]
    assert server.body["private_net"]
    assert server.body["firewalls"]
    hcloud("server", "delete", "web-1")
    for what, name in (("placement-group", "spread"), ("network", "inner"), ("firewall", "ssh")):
        hcloud(what, "delete", name)
