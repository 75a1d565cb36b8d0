"""Load balancers of both clouds, judged by the vendors' own Python clients: their targets follow labels and tags."""

from __future__ import annotations

from collections.abc import Iterator

import hcloud
import pydo
import pytest
from hcloud.load_balancer_types import LoadBalancerType
from hcloud.load_balancers import LoadBalancerService, LoadBalancerTarget, LoadBalancerTargetLabelSelector
from hcloud.locations import Location

from scaler.simulator import EmbeddedCloud, SimulatedWorld
from tests.simulator.droplets import pydo_client
from tests.support.sim_http import Http

RULE = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
NEW = {"name": "web", "region": "fra1", "tag": "lb-web", "forwarding_rules": [RULE]}


def test_a_selector_selects_servers_as_they_are_now(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    balancers = hetzner.load_balancers
    made = balancers.create("web", LoadBalancerType(name="lb11"), location=Location(name="fsn1"))
    made.action.wait_until_finished()
    web = made.load_balancer
    assert web.id
    web.add_service(LoadBalancerService(protocol="http", listen_port=80, destination_port=8080))
    selector = LoadBalancerTargetLabelSelector(selector="lb=web")
    web.add_target(LoadBalancerTarget(type="label_selector", label_selector=selector))

    def targets() -> list[int]:
        [target] = balancers.get_by_id(web.id or 0).targets or []
        return [each.server.id or 0 for each in target.targets or [] if each.server]

    assert targets() == []
    first, _ = (world.add_server("hetzner", f"web-{n}", labels={"lb": "web"} if n == 1 else {}) for n in (1, 2))
    assert targets() == [first.id]
    world.relabel("hetzner", first.id, labels={})
    assert targets() == []
    [service] = balancers.get_by_id(web.id).services or []
    assert (service.destination_port, service.health_check and service.health_check.port) == (8080, 8080)
    with pytest.raises(hcloud.APIException, match="already defined"):
        web.add_target(LoadBalancerTarget(type="label_selector", label_selector=selector))
    assert balancers.get_by_name("web")
    web.delete()
    assert balancers.get_all() == []


@pytest.fixture
def digitalocean(cloud: EmbeddedCloud) -> Iterator[pydo.Client]:
    with pydo_client(cloud) as client:
        yield client


def test_a_tag_selects_droplets_as_they_are_now(digitalocean: pydo.Client, world: SimulatedWorld, http: Http) -> None:
    balancers = digitalocean.load_balancers
    assert http.post("/v2/load_balancers", json=NEW).status_code == 422, "there is no such tag yet"
    digitalocean.tags.create({"name": "lb-web"})
    known = balancers.create(NEW)["load_balancer"]["id"]
    first, _ = (world.add_server("digitalocean", f"web-{n}", tags=["lb-web"] if n == 1 else []) for n in (1, 2))
    assert balancers.get(known)["load_balancer"]["droplet_ids"] == [first.id]
    world.relabel("digitalocean", first.id, tags=[])
    assert [each["droplet_ids"] for each in balancers.list()["load_balancers"]] == [[]]
    balancers.delete(known)
    assert balancers.list()["load_balancers"] == []
    assert http.get(f"/v2/load_balancers/{known}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/load_balancers", {"name": "web", "location": "fsn1"}),
        ("/v1/load_balancers", {"name": "web", "load_balancer_type": "lb11"}),
        ("/v1/load_balancers", {"name": "web", "load_balancer_type": "lb11", "location": "fsn1", "targets": [{}]}),
        ("/v1/load_balancers", {"name": "web", "load_balancer_type": 1, "location": 1, "services": [{}]}),
        ("/v2/load_balancers", {"name": "web", "region": "fra1"}),
        ("/v2/load_balancers", {"region": "fra1", "forwarding_rules": [RULE]}),
        ("/v2/load_balancers", {"name": "web", "region": "fra1", "forwarding_rules": [{**RULE, "entry_port": 0}]}),
        ("/v2/load_balancers", {"name": "web", "region": "fra1", "tag": "a", "droplet_ids": [1]}),
    ],
)
def test_what_is_no_load_balancer_is_refused(http: Http, path: str, body: object) -> None:
    assert http.post(path, json=body).status_code == 422
