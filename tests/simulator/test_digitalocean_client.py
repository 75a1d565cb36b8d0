"""The official client, unmodified, against the embedded cloud."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydo
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from scaler.simulator import EmbeddedCloud, SimulatedWorld
from tests.simulator.droplets import DROPLET, pydo_client


@pytest.fixture
def client(cloud: EmbeddedCloud) -> pydo.Client:
    return pydo_client(cloud)


def test_a_droplet_is_accepted_boots_and_serves(client: pydo.Client, world: SimulatedWorld) -> None:
    world.set_knobs(boot_s=32.0)
    answer = client.droplets.create({**DROPLET, "tags": ["scaler"], "ssh_keys": None, "backups": False})
    droplet = answer["droplet"]
    assert (droplet["status"], droplet["locked"], droplet["networks"]) == ("new", True, {"v4": [], "v6": []})
    (link,) = answer["links"]["actions"]
    assert client.actions.get(link["id"])["action"]["status"] == "in-progress"
    world.advance(31.0)
    assert client.droplets.get(droplet["id"])["droplet"]["status"] == "new"
    world.advance(2.0)
    booted = client.droplets.get(droplet["id"])["droplet"]
    assert (booted["status"], booted["locked"], booted["tags"]) == ("active", False, ["scaler"])
    assert {each["type"] for each in booted["networks"]["v4"]} == {"private", "public"}
    action = client.actions.get(link["id"])["action"]
    assert (action["status"], action["type"], action["resource_id"]) == ("completed", "create", droplet["id"])
    assert action["completed_at"] > action["started_at"]


def test_an_accepted_droplet_is_new_and_locked_however_fast_it_boots(client: pydo.Client) -> None:
    droplet = client.droplets.create(DROPLET)["droplet"]
    assert (droplet["status"], droplet["locked"]) == ("new", True)
    assert client.droplets.get(droplet["id"])["droplet"]["status"] == "active"


def test_up_to_ten_droplets_are_made_by_one_request(client: pydo.Client, world: SimulatedWorld) -> None:
    template = {key: value for key, value in DROPLET.items() if key != "name"}
    answer = client.droplets.create({**template, "names": [f"web-{n}" for n in range(10)]})
    assert [droplet["name"] for droplet in answer["droplets"]] == [f"web-{n}" for n in range(10)]
    assert len({action["id"] for action in answer["links"]["actions"]}) == 10
    with pytest.raises(HttpResponseError) as caught:
        client.droplets.create({**template, "names": [f"web-{n}" for n in range(11)]})
    assert caught.value.status_code == 422
    assert len(world.servers("digitalocean")) == 10


def test_names_are_not_unique(client: pydo.Client) -> None:
    first, second = (client.droplets.create(DROPLET)["droplet"]["id"] for _ in range(2))
    found = client.droplets.list(name="WEB-1")["droplets"]
    assert [droplet["id"] for droplet in found] == [second, first]


def test_a_list_is_paged_with_absolute_links_on_the_host_that_was_asked(
    client: pydo.Client, cloud: EmbeddedCloud
) -> None:
    for n in range(125):
        cloud.world.add_server("digitalocean", f"web-{n}", tags=["fleet" if n < 121 else "other"])
    seen: list[int] = []
    page = 1
    while True:
        answer = client.droplets.list(tag_name="FLEET", page=page)
        seen += [droplet["id"] for droplet in answer["droplets"]]
        pages = answer["links"]["pages"]
        assert all(url.startswith(f"{cloud.url}/v2/droplets?tag_name=FLEET&page=") for url in pages.values())
        assert ("prev" in pages) == (page > 1)
        assert answer["meta"]["total"] == 121
        if "next" not in pages:
            break
        assert _page_of(pages["last"]) == 7
        page = _page_of(pages["next"])
    assert page == 7
    assert _page_of(pages["prev"]) == 6
    assert len(seen) == len(set(seen)) == 121
    assert seen == sorted(seen, reverse=True)


def test_two_hundred_fit_on_a_page_and_one_page_has_no_links(client: pydo.Client, world: SimulatedWorld) -> None:
    for n in range(125):
        world.add_server("digitalocean", f"web-{n}")
    answer = client.droplets.list(per_page=200)
    assert (len(answer["droplets"]), answer["links"], answer["meta"]) == (125, {}, {"total": 125})


def _page_of(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["page"][0])


def test_tags_are_put_on_and_taken_off(client: pydo.Client, world: SimulatedWorld) -> None:
    droplet = client.droplets.create(DROPLET)["droplet"]["id"]
    named = {"resources": [{"resource_id": str(droplet), "resource_type": "droplet"}]}
    client.tags.create({"name": "scaler-group:Web"})
    canonical = client.tags.create({"name": "SCALER-group:web"})["tag"]["name"]
    # In a URL, only the case that the tag was made with names it.
    client.tags.assign_resources("scaler-group:web", named)
    assert client.droplets.get(droplet)["droplet"]["tags"] == []
    client.tags.assign_resources(canonical, named)
    assert client.droplets.get(droplet)["droplet"]["tags"] == ["scaler-group:Web"]
    tag = client.tags.get("scaler-group:Web")["tag"]
    assert tag["resources"]["droplets"]["count"] == 1
    assert tag["resources"]["last_tagged_uri"].endswith(f"/v2/droplets/{droplet}")
    client.tags.unassign_resources("scaler-group:Web", named)
    assert client.droplets.get(droplet)["droplet"]["tags"] == []
    assert [each["name"] for each in client.tags.list()["tags"]] == ["role:worker", "scaler-group:Web"]
    client.tags.delete("scaler-group:Web")
    assert client.tags.get("scaler-group:Web")["id"] == "not_found"


def test_everything_with_a_tag_is_deleted_and_nothing_else(client: pydo.Client, world: SimulatedWorld) -> None:
    for n in range(3):
        client.droplets.create({**DROPLET, "name": f"web-{n}", "tags": ["doomed"]})
    client.droplets.create({**DROPLET, "name": "kept", "tags": ["other"]})
    client.droplets.destroy_by_tag(tag_name="doomed")
    assert [thing.name for thing in world.servers("digitalocean")] == ["kept"]


def test_actions_take_their_time_exclude_others_and_change_the_status(
    client: pydo.Client, world: SimulatedWorld
) -> None:
    droplet = client.droplets.create(DROPLET)["droplet"]["id"]
    world.set_knobs(power_s=5.0, shutdown_s=10.0)
    for kind, status in (("power_off", "off"), ("power_on", "active"), ("shutdown", "off"), ("power_cycle", "active")):
        action = client.droplet_actions.post(droplet, {"type": kind})["action"]
        assert action["status"] == "in-progress"
        with pytest.raises(HttpResponseError, match="pending event"):
            client.droplet_actions.post(droplet, {"type": "reboot"})
        world.advance(11.0)
        assert client.droplet_actions.get(droplet, action["id"])["action"]["status"] == "completed"
        after = client.droplets.get(droplet)["droplet"]
        assert (after["status"], after["locked"]) == (status, False)
    kinds = [action["type"] for action in client.droplet_actions.list(droplet)["actions"]]
    assert kinds == ["power_cycle", "shutdown", "power_on", "power_off", "create"]


def test_a_snapshot_becomes_an_image_of_its_region(client: pydo.Client, world: SimulatedWorld) -> None:
    droplet = client.droplets.create({**DROPLET, "region": "lon1"})["droplet"]["id"]
    world.set_knobs(snapshot_s_per_gb=2.0)
    action = client.droplet_actions.post(droplet, {"type": "snapshot", "name": "golden"})["action"]
    assert [each["name"] for each in client.snapshots.list(resource_type="droplet")["snapshots"]] == ["worker-golden"]
    world.advance(51.0)
    assert client.actions.get(action["id"])["action"]["status"] == "completed"
    snapshot, _ = client.snapshots.list(resource_type="droplet")["snapshots"]
    assert (snapshot["name"], snapshot["regions"], snapshot["resource_id"]) == ("golden", ["lon1"], str(droplet))
    image = client.images.get(int(snapshot["id"]))["image"]
    assert (image["id"], image["slug"], image["type"]) == (int(snapshot["id"]), None, "snapshot")
    assert client.droplets.get(droplet)["droplet"]["snapshot_ids"] == [image["id"]]
    copy = client.droplets.create({**DROPLET, "region": "lon1", "image": image["id"]})["droplet"]
    assert copy["image"]["id"] == image["id"]
    client.snapshots.delete(snapshot["id"])
    assert client.snapshots.get(snapshot["id"])["id"] == "not_found"
    assert client.droplets.get(copy["id"])["droplet"]["image"]["status"] == "deleted"


def test_a_deleted_droplet_stays_visible_for_a_while_and_its_actions_for_ever(
    client: pydo.Client, world: SimulatedWorld
) -> None:
    answer = client.droplets.create(DROPLET)
    droplet, action = answer["droplet"]["id"], answer["links"]["actions"][0]["id"]
    world.set_knobs(visible_after_delete_s=8.0)
    assert client.droplets.destroy(droplet) is None
    assert client.droplets.get(droplet)["droplet"]["status"] == "active"
    assert client.droplets.list()["meta"]["total"] == 1
    world.advance(8.1)
    # pydo answers 404 with the error's body instead of raising.
    assert client.droplets.get(droplet)["id"] == "not_found"
    assert client.droplets.destroy(droplet)["id"] == "not_found"
    assert client.droplets.list()["meta"]["total"] == 0
    assert client.actions.get(action)["action"]["status"] == "completed"


def test_a_refused_token_is_an_authentication_error(client: pydo.Client, world: SimulatedWorld) -> None:
    world.set_tokens("digitalocean", revoked=True)
    with pytest.raises(ClientAuthenticationError, match="Unable to authenticate you"):
        client.account.get()


def test_a_burst_is_refused_until_a_minute_has_passed(client: pydo.Client, world: SimulatedWorld) -> None:
    world.set_rate_limit("digitalocean", per_minute=3)
    for _ in range(3):
        client.account.get()
    world.advance(20.0)
    with pytest.raises(HttpResponseError) as caught:
        client.droplets.create(DROPLET)
    response: Any = caught.value.response
    headers = response.headers
    assert caught.value.status_code == 429
    assert (headers["ratelimit-remaining"], headers["retry-after"]) == ("0", "40")
    assert world.servers("digitalocean") == []
    world.advance(40.0)
    assert client.droplets.create(DROPLET)["droplet"]["name"] == "web-1"


def test_the_hourly_limit_has_no_retry_after(client: pydo.Client, world: SimulatedWorld) -> None:
    world.set_rate_limit("digitalocean", per_hour=2)
    for _ in range(2):
        client.account.get()
    with pytest.raises(HttpResponseError) as caught:
        client.account.get()
    response: Any = caught.value.response
    headers = response.headers
    assert (caught.value.status_code, headers["ratelimit-limit"], headers["ratelimit-remaining"]) == (429, "2", "0")
    assert "retry-after" not in headers
    assert int(headers["ratelimit-reset"]) == int(world.now) + 3600
    world.advance(3601.0)
    assert "account" in client.account.get()


def test_the_client_reads_everything_around_the_droplets(client: pydo.Client) -> None:
    prices = {size["slug"]: (size["price_monthly"], size["price_hourly"]) for size in client.sizes.list()["sizes"]}
    assert prices["s-1vcpu-1gb"] == (6.0, 0.00893)
    assert prices["c-2"] == (42.0, 0.0625)
    assert {"fra1", "nyc3", "ams3", "sfo3", "lon1", "sgp1"} == {
        each["slug"] for each in client.regions.list()["regions"]
    }
    assert client.account.get()["account"]["droplet_limit"] == 1000
    (key,) = client.ssh_keys.list()["ssh_keys"]
    assert (key["name"], client.ssh_keys.get(key["fingerprint"])["ssh_key"]) == ("deploy", key)
    (golden,) = client.images.list(private=True)["images"]
    assert (golden["name"], golden["regions"], golden["min_disk_size"]) == (
        "worker-golden",
        ["fra1", "nyc3", "ams3"],
        25,
    )
    assert client.images.list(tag_name="role:worker")["images"] == [golden]
    assert client.images.get("ubuntu-24-04-x64")["image"]["distribution"] == "Ubuntu"
    assert client.projects.get_default()["project"]["is_default"] is True
    assert {vpc["region"] for vpc in client.vpcs.list()["vpcs"]} >= {"fra1", "nyc3"}


def test_reserved_addresses_follow_their_droplet(client: pydo.Client) -> None:
    droplet = client.droplets.create(DROPLET)["droplet"]["id"]
    ip = client.reserved_ips.create({"droplet_id": droplet})["reserved_ip"]["ip"]
    assert client.reserved_ips.get(ip)["reserved_ip"]["droplet"]["id"] == droplet
    client.droplets.destroy(droplet)
    assert client.reserved_ips.get(ip)["reserved_ip"]["droplet"] is None
    client.reserved_ips.delete(ip)
    assert client.reserved_ips.list()["reserved_ips"] == []


OTHER_PROCESS = """
import sys
from pathlib import Path
from tests.simulator.droplets import DROPLET, pydo_client
from scaler.simulator import EmbeddedCloud
with EmbeddedCloud(Path(sys.argv[1])) as cloud:
    client = pydo_client(cloud)
    for droplet in client.droplets.list()["droplets"]:
        client.droplets.destroy(droplet["id"])
    print(client.droplets.create({**DROPLET, "name": "theirs"})["droplet"]["id"])
"""


def test_two_processes_serve_one_world(client: pydo.Client, cloud: EmbeddedCloud) -> None:
    ours = client.droplets.create({**DROPLET, "name": "ours"})["droplet"]["id"]
    other = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(cloud.world.path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(filter(None, [str(Path(__file__).parents[2]), *sys.path]))},
    )
    theirs = int(other.stdout)
    assert client.droplets.get(ours)["id"] == "not_found"
    assert [(each["id"], each["name"]) for each in client.droplets.list()["droplets"]] == [(theirs, "theirs")]
