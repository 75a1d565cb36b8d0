"""`plugin: official`: the engine starts the plugin itself, and scaler's commands do with it what they promise.

The plugin is a stand-in (`tests/support/official/plugin.py`). Where `SCALER_TEST_PLUGINS` names a folder
with `pulumi-resource-hcloud` and `pulumi-resource-digitalocean`, stacks change to and from the real ones too.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.conftest import Make
from tests.support.profile import IS_CALM
from tests.support.project import DIGITALOCEAN, HETZNER, ROOT, TOKEN, Project, Ran, Vendor, finish, wait_until

pytestmark = pytest.mark.engine

PACKAGES = {"hetzner": "hcloud", "digitalocean": "digitalocean"}


def plug_in(project: Project, plugins: Path | None = None) -> Project:
    """Put the official plugin where the engine finds it: the stand-in, or the real one of a folder."""
    if plugins is None:
        plugins = project.folder / "plugins"
        plugins.mkdir()
        program = plugins / f"pulumi-resource-{PACKAGES[project.vendor.name]}"
        module = f"tests.support.official.plugin {project.vendor.name}"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -m {module}\n", encoding="utf-8")
        program.chmod(0o755)
    project.environ["PATH"] = f"{plugins}:{project.environ['PATH']}"
    project.describe(plugin="official")
    return project


def real_plugins(vendor: Vendor) -> Path:
    """The folder of the real plugin; skips the test without one."""
    name = f"pulumi-resource-{PACKAGES[vendor.name]}"
    folder = os.environ.get("SCALER_TEST_PLUGINS", "")
    if not shutil.which(name, path=folder):
        pytest.skip(f"there is no {name}: set SCALER_TEST_PLUGINS to a folder that holds it")
    return Path(folder)


@pytest.fixture
def official(project: Project) -> Project:
    """A project at the embedded cloud, whose servers the official plugin makes."""
    return plug_in(project)


def every_set(project: Project, plugin: str, **more: dict[str, Any]) -> None:
    """Describe one group for each recorded set of properties."""
    usual: dict[str, dict[str, Any]] = {"plain": {"ssh_keys": []}}
    full = {"user_data_inline": "#cloud-config\n", "labels": {"team": "shop"}, "in_service": {"label": "lb=web"}}
    if project.vendor is HETZNER:
        linked = {"networks": ["inner"], "firewalls": ["wall"], "placement_group": "spread"}
        usual |= {"full": {**full, **linked}, "nov4": {**full, **linked, "public_ipv4": False}}
        usual |= {"nov6": {"ssh_keys": [], "public_ipv6": False}}
    else:
        usual |= {"full": {**full, "vpc": "inner", "monitoring": True, "ipv6": True}}
    groups = {name: {"count": 1, **group, **more.get(name, {})} for name, group in usual.items()}
    assert project.served
    project.describe(plugin=plugin, limit=20, endpoint=project.vendor.endpoint_of(project.served), groups=groups)


def furnish(project: Project) -> None:
    """Make what the groups of `every_set` refer to."""
    assert project.served
    endpoint = project.vendor.endpoint_of(project.served)

    def post(path: str, body: dict[str, Any]) -> None:
        requests.post(
            endpoint + path, json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        ).raise_for_status()

    if project.vendor is DIGITALOCEAN:
        post("/v2/vpcs", {"name": "inner", "region": "fra1"})
        return
    subnet = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central"}
    post("/networks", {"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [subnet]})
    post("/firewalls", {"name": "wall"})
    post("/placement_groups", {"name": "spread", "type": "spread"})


def raised(project: Project, by: int) -> list[str]:
    """The arguments that ask for so many servers in each group."""
    groups = yaml.safe_load(project.spec_path.read_text())["groups"]
    return [f"{name}={1 + by}" for name in groups]


def keys_of(project: Project) -> set[str]:
    return {key for resource in project.checkpoint.resources for key in resource.outputs}


def actions(ran: Ran) -> set[str]:
    return {action for action, _, _ in ran.steps}


def did(ran: Ran, *wanted: str) -> bool:
    """Whether the run did this; on an unpleasant cloud the one before it may have: then its servers are adopted."""
    return actions(ran) == {*wanted} if IS_CALM else actions(ran) <= {*wanted, "adopt"}


def did_nothing(ran: Ran) -> bool:
    """Whether nothing was to be done; on an unpleasant cloud the run may have waited for a list to show that."""
    return actions(ran) == set() and (not IS_CALM or ran.document["outcome"] == "unchanged")


def refuse_another_place(project: Project) -> None:
    """What would win over the spec's endpoint and the environment's token is refused."""
    settings = project.folder / "Pulumi.demo.yaml"
    before = settings.read_text() if settings.exists() else ""
    settings.write_text(f"{before}\nconfig:\n  {PACKAGES[project.vendor.name]}:token: another\n")
    refused = project.ensure(*raised(project, 1), code=3)
    assert refused.error["code"] == "plugin_config"
    assert "Pulumi.demo.yaml" in refused.error["message"]
    settings.write_text(before)


@pytest.fixture(params=["stand-in", "real"])
def stocked(request: pytest.FixtureRequest, make_served: Make, vendor: Vendor) -> Project:
    """A project with networks and the like, whose endpoint is in the spec, and whose token is in a file."""
    project = plug_in(make_served(vendor), real_plugins(vendor) if request.param == "real" else None)
    furnish(project)
    token = project.folder / "token"
    token.write_text(f"{TOKEN}\n")
    del project.environ[vendor.token], project.environ[vendor.endpoint]
    project.environ[f"{vendor.token}_FILE"] = str(token)
    return project


@pytest.mark.acceptance("S15")
def test_the_way_back_and_the_way_there(stocked: Project) -> None:
    """Every set of properties, made and refreshed by one plugin and taken over by the other: all commands work."""
    every_set(stocked, "official")
    stocked.ensure()
    made = stocked.agreed()
    assert "__pulumi_raw_state_delta" in keys_of(stocked)
    assert TOKEN not in everything_saved(stocked)
    refuse_another_place(stocked)

    # Ours takes it over: nothing to do is nothing to do, and whatever is done is only that.
    every_set(stocked, "scaler")
    assert did_nothing(stocked.ensure())
    stocked.run("refresh")
    grown = stocked.ensure(*raised(stocked, 1))
    assert did(grown, "create")
    assert made.items() < stocked.agreed().items()
    every_set(stocked, "scaler", full={"labels": {"team": "other"}})
    assert did(stocked.ensure(*raised(stocked, 1)), "update")
    assert {stocked.vendor.labels_of(stocked.machine(f"demo-full-{n}"))["team"] for n in (1, 2)} == {"other"}
    stocked.run("protect", "demo-plain-1")
    replaced = stocked.run("replace", "demo-full-1", "--yes", "-o", "json")
    assert did(replaced, "create", "delete")
    left = dict(stocked.agreed())
    assert made.items() - left.items() == {("demo-full-1", made["demo-full-1"])}

    # The official one takes over what both of them made.
    every_set(stocked, "official", full={"labels": {"team": "other"}})
    assert did_nothing(stocked.ensure(*raised(stocked, 1)))
    grown = stocked.ensure(*raised(stocked, 2))
    assert did(grown, "create")
    assert left.items() < stocked.agreed().items()
    shrunk = stocked.ensure(*raised(stocked, 0))
    assert did(shrunk, "delete")
    every_set(stocked, "scaler")
    stocked.run("destroy", "--yes")
    assert stocked.agreed() == {}


def everything_saved(project: Project) -> str:
    return "\n".join(path.read_text("utf-8", "replace") for path in project.state_dir.rglob("*.json"))


def test_it_works_where_scaler_does_and_adopts_what_is_lost(official: Project) -> None:
    """Also with the token of a real account around: it is not used, and neither is the endpoint of the environment."""
    vendor = official.vendor
    official.environ |= {vendor.token: "real" * 16, vendor.endpoint: "http://127.0.0.1:9"}
    official.fault("accept_then_drop", "POST")
    ran = official.ensure("2")
    assert ran.document["outcome"] == "converged"
    assert actions(ran) == {"create", "adopt"}
    machines = official.agreed()
    assert len(machines) == 2
    assert did_nothing(official.ensure("2"))
    assert not any(token in everything_saved(official) for token in ("real" * 16, "embedded" * 8))

    # The whole backend is lost.
    shutil.rmtree(official.state_dir / "pulumi")
    assert actions(official.ensure("3")) == {"adopt", "create"}
    agreed = official.agreed()
    assert len(agreed) == 3
    assert machines.items() < agreed.items()
    official.run("destroy", "--yes")
    assert official.machines == {}


def test_servers_of_a_killed_run_are_adopted(make_served: Make) -> None:
    """The plugin waits for two servers when everything is killed: they are in no state."""
    official = plug_in(make_served(HETZNER))
    official.world.set_knobs("hetzner", boot_s=3600.0)
    run = official.start("ensure", "2", "--yes")
    wait_until(lambda: len(official.machines) == 2, "two servers")
    engine = next(pid for pid, word in reversed(official.engine_runs) if word == "up")
    for pid in (run.pid, engine):
        os.kill(pid, signal.SIGKILL)
    finish(run)
    made = official.machines
    official.world.advance(2 * 3600)  # On a hostile cloud boots differ by a half.
    ran = official.ensure("2")
    assert actions(ran) == {"adopt"}
    assert official.agreed() == made


def test_the_next_type_is_tried_without_capacity_and_a_refusal_is_about_credentials(make_project: Make) -> None:
    official = plug_in(make_project(HETZNER))
    official.fault("respond", "POST", status=403, code="forbidden", message="not allowed", times=1)
    assert official.ensure("1", code=77).error["code"] == "credentials"
    assert official.machines == {}
    official.describe(plugin="official", groups={"worker": {"type": ["cx23", "cpx22"]}})
    official.fault("respond", "POST", status=412, code="resource_unavailable", message="none", times=1)
    official.ensure("1")
    assert {server["type"] for server in official.records.values()} == {"cpx22"}
    assert len(official.agreed()) == 1


_PACK = """
from pulumi_policy import EnforcementLevel, PolicyPack, StackValidationPolicy

def validate(args, report):
    for resource in args.resources:
        if resource.resource_type.startswith(("hcloud:", "digitalocean:")) and resource.props["ipv4Address"] == "x":
            report("never")

PolicyPack("addresses", [StackValidationPolicy("addresses", "Judges what is not known yet.", validate)],
           enforcement_level=EnforcementLevel.{level})
"""


def test_a_mandatory_policy_that_cannot_be_judged_refuses(make_project: Make) -> None:
    official = plug_in(make_project(HETZNER))
    pack = official.folder / "unknown"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (pack / "__main__.py").write_text(_PACK.replace("{level}", "MANDATORY"))
    official.describe(plugin="official", policies=["unknown"])
    refused = official.ensure("2", code=3)
    assert refused.document["outcome"] == "refused"
    (found,) = refused.document["violations"]
    assert (found["policy"], found["level"]) == ("addresses", "mandatory")
    assert "can't be known" in found["message"]
    assert official.changes == []

    # The same policy where the pack itself says that it only advises.
    (pack / "__main__.py").write_text(_PACK.replace("{level}", "ADVISORY"))
    official.describe(plugin="official", policies=["unknown"])
    assert official.run("preview", "2", "-o", "json").document["violations"][0]["level"] == "advisory"


def test_our_own_rules_are_judged_with_the_official_plugin_too(make_project: Make) -> None:
    """DigitalOcean's does not know before the change whether a droplet has a public address."""
    official = plug_in(make_project(DIGITALOCEAN))
    shutil.copytree(ROOT / "policies", official.folder / "policies", ignore=shutil.ignore_patterns("__pycache__"))
    config = {"largest-stack": {"most": 1}, "public-ipv4": {"allowed": True}}
    official.describe(plugin="official", policies=[{"path": "policies", "config": config}])
    refused = official.ensure("2", code=3)
    assert [(found["policy"], found["level"]) for found in refused.document["violations"]] == [
        ("largest-stack", "mandatory")
    ]
    assert "2 servers are 1 more than 1" in refused.document["violations"][0]["message"]
