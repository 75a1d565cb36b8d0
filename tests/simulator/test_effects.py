"""What an action does is seen when it has ended, and never if it fails.

[spec] Hetzner: "Actions show the results and progress of asynchronous requests". DigitalOcean, droplet actions: "the
HTTP call will return the action object before the action has finished processing on the Droplet".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from scaler.simulator import SimulatedWorld
from tests.simulator.droplets import act, made, seen
from tests.support.sim_http import Http

TAKES_S = 10.0


@pytest.fixture
def slow(world: SimulatedWorld) -> SimulatedWorld:
    """A world in which every action on a machine that exists takes ten seconds."""
    world.set_knobs(power_s=TAKES_S, snapshot_s_per_gb=TAKES_S / 25)
    return world


@contextmanager
def failing(world: SimulatedWorld, *, fails: bool) -> Iterator[None]:
    """The actions of the block fail, or do not."""
    if fails:
        world.add_fault("action_error", method="POST", path="/actions", times=None)
    yield
    world.clear_faults()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("kind", "fields", "effect"),
    [
        ("rename", {"name": "web-2"}, {"name": "web-2"}),
        ("resize", {"size": "s-2vcpu-4gb", "disk": True}, {"size_slug": "s-2vcpu-4gb", "disk": 80, "memory": 4096}),
        ("enable_backups", {}, {"features": ["backups", "droplet_agent", "private_networking"]}),
        ("enable_ipv6", {}, {"features": ["droplet_agent", "ipv6", "private_networking"]}),
    ],
)
def test_a_droplet_is_changed_when_the_action_has_ended(
    http: Http, slow: SimulatedWorld, kind: str, fields: dict[str, Any], effect: dict[str, Any], fails: bool
) -> None:
    droplet = made(http)
    slow.power_off("digitalocean", droplet)
    before = seen(http, droplet)
    with failing(slow, fails=fails):
        action = act(http, droplet, kind, **fields).json()["action"]["id"]
    slow.advance(TAKES_S - 1)
    assert seen(http, droplet) == before
    slow.advance(2)
    shown = seen(http, droplet)
    assert shown == before if fails else {key: shown[key] for key in effect} == effect
    listed = http.get(f"/v2/droplets?name={shown['name']}").json()["droplets"]
    assert [each["id"] for each in listed] == [droplet]
    ended = http.get(f"/v2/actions/{action}").json()["action"]["status"]
    assert ended == ("errored" if fails else "completed")


@pytest.mark.parametrize("fails", [False, True])
def test_a_droplet_has_its_new_image_when_the_rebuild_has_ended(http: Http, slow: SimulatedWorld, fails: bool) -> None:
    droplet = made(http)
    slow.set_knobs(boot_s=TAKES_S)
    with failing(slow, fails=fails):
        act(http, droplet, "rebuild", image="debian-12-x64")
    assert seen(http, droplet)["image"]["slug"] == "ubuntu-24-04-x64"
    slow.advance(TAKES_S + 1)
    assert seen(http, droplet)["image"]["slug"] == ("ubuntu-24-04-x64" if fails else "debian-12-x64")


@pytest.mark.parametrize("fails", [False, True])
def test_a_region_has_an_image_when_the_transfer_has_ended(http: Http, slow: SimulatedWorld, fails: bool) -> None:
    """Two transfers at a time, each of which adds its region."""
    image = slow.add_snapshot("digitalocean", "golden", disk=25, regions=["fra1"]).id

    def regions() -> list[str]:
        return list(http.get(f"/v2/images/{image}").json()["image"]["regions"])

    with failing(slow, fails=fails):
        for region in ("nyc3", "ams3"):
            moved = http.post(f"/v2/images/{image}/actions", json={"type": "transfer", "region": region})
            assert moved.json()["action"]["status"] == "in-progress"
    assert regions() == ["fra1"]
    slow.advance(TAKES_S + 1)
    assert regions() == (["fra1"] if fails else ["ams3", "fra1", "nyc3"])


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("action", ["change_type", "rebuild", "add_to_placement_group"])
def test_a_server_is_changed_when_the_action_has_ended(
    http: Http, slow: SimulatedWorld, action: str, fails: bool
) -> None:
    group = http.post("/v1/placement_groups", json={"name": "apart", "type": "spread"}).json()["placement_group"]["id"]
    server = http.create(start_after_create=False).json()["server"]["id"]
    slow.set_knobs("hetzner", boot_s=TAKES_S)
    fields: dict[str, dict[str, Any]] = {
        "change_type": {"server_type": "cx33", "upgrade_disk": True},
        "rebuild": {"image": "debian-12"},
        "add_to_placement_group": {"placement_group": group},
    }

    def shown() -> tuple[str, int, str, list[int]]:
        row = http.get(f"/v1/servers/{server}").json()["server"]
        members = http.get(f"/v1/placement_groups/{group}").json()["placement_group"]["servers"]
        return row["server_type"]["name"], row["primary_disk_size"], row["image"]["name"], members

    before = shown()
    with failing(slow, fails=fails):
        assert http.post(f"/v1/servers/{server}/actions/{action}", json=fields[action]).status_code == 201
    slow.advance(TAKES_S - 1)
    assert shown() == before
    slow.advance(2)
    after: dict[str, tuple[str, int, str, list[int]]] = {
        "change_type": ("cx33", 80, "ubuntu-24.04", []),
        "rebuild": ("cx23", 40, "debian-12", []),
        "add_to_placement_group": ("cx23", 40, "ubuntu-24.04", [server]),
    }
    assert shown() == (before if fails else after[action])


def test_a_place_is_taken_while_a_server_is_added_to_its_group(http: Http, slow: SimulatedWorld) -> None:
    """[guess] An eleventh member would be one too many when the action has ended."""
    group = http.post("/v1/placement_groups", json={"name": "apart", "type": "spread"}).json()["placement_group"]["id"]
    server = http.create(name="late", start_after_create=False).json()["server"]["id"]
    assert {http.create(name=f"web-{n}", placement_group=group).status_code for n in range(9)} == {201}
    added = http.post(f"/v1/servers/{server}/actions/add_to_placement_group", json={"placement_group": group})
    assert added.status_code == 201
    eleventh = http.create(name="web-9", placement_group=group).json()["error"]
    assert eleventh["code"] == "placement_group_member_limit_reached"
    assert http.delete(f"/v1/placement_groups/{group}").json()["error"]["code"] == "resource_in_use"


# ---------------------------------------------------------------------------------------------
# Faults that make an action longer, or endless, make its effect as late, at both clouds


@pytest.mark.parametrize("fault", ["slow", "stuck_locked"])
@pytest.mark.parametrize(
    "what", ["droplet's snapshot", "transfer", "server's image", "power", "network", "reserved ip"]
)
def test_what_is_slow_comes_later_and_what_is_stuck_never(
    http: Http, slow: SimulatedWorld, what: str, fault: str
) -> None:
    droplet, server = made(http), http.create().json()["server"]["id"]
    image = slow.add_snapshot("digitalocean", "golden", disk=25, regions=["fra1"]).id
    slow.set_knobs(snapshot_s_per_gb=TAKES_S)
    subnet = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central"}
    inner = {"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [subnet]}
    network = http.post("/v1/networks", json=inner).json()["network"]["id"]
    address = http.post("/v2/reserved_ips", json={"region": "fra1"}).json()["reserved_ip"]["ip"]

    def shown(path: str) -> Any:
        return next(iter(http.get(path).json().values()))

    # What asks for it, and what is to be seen of it.
    requests: dict[str, tuple[str, dict[str, Any], Callable[[], bool]]] = {
        "droplet's snapshot": (
            f"/v2/droplets/{droplet}",
            {"type": "snapshot", "name": "new"},
            lambda: "new" in [row["name"] for row in shown(f"/v2/droplets/{droplet}/snapshots")],
        ),
        "transfer": (
            f"/v2/images/{image}",
            {"type": "transfer", "region": "nyc3"},
            lambda: "nyc3" in shown(f"/v2/images/{image}")["regions"],
        ),
        "server's image": (
            f"/v1/servers/{server}/actions/create_image",
            {"description": "new"},
            lambda: "new" in [row["description"] for row in shown("/v1/images?type=snapshot&status=available")],
        ),
        "power": (
            f"/v1/servers/{server}/actions/poweroff",
            {},
            lambda: shown(f"/v1/servers/{server}")["status"] == "off",
        ),
        "network": (
            f"/v1/servers/{server}/actions/attach_to_network",
            {"network": network},
            lambda: shown(f"/v1/servers/{server}")["private_net"] != [],
        ),
        "reserved ip": (
            f"/v2/reserved_ips/{address}",
            {"type": "assign", "droplet_id": droplet},
            lambda: shown(f"/v2/reserved_ips/{address}")["droplet"] is not None,
        ),
    }
    path, fields, sees = requests[what]
    slow.add_fault(fault, method="POST", path="/actions", **({"factor": 2} if fault == "slow" else {}))
    begun = http.post(path if "/actions" in path else f"{path}/actions", json=fields)
    assert begun.status_code == 201
    cloud = path.partition("/")[2].partition("/")[0]
    finished: list[tuple[bool, bool]] = []
    for _ in range(2):
        status = shown(f"/{cloud}/actions/{begun.json()['action']['id']}")["status"]
        finished.append((status in ("success", "completed"), sees()))
        slow.advance(1_000_000.0)
    is_instant = what in ("network", "reserved ip")
    assert finished == [(is_instant, is_instant) if fault == "slow" else (False, False), (fault == "slow",) * 2]
