"""The load balancers of the how-to page, made by its own commands, and the machines that they send requests to."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

import yaml

from scaler.simulator.digitalocean.shapes import Shapes as DigitalOceanShapes
from scaler.simulator.hetzner.shapes import Shapes as HetznerShapes
from scaler.simulator.world import Thing
from tests.support.project import HETZNER, ROOT, TOKEN, Project

_PAGE = "docs/how-to/load-balancers.md"

_DOCTL = '''#!{python}
"""Sends what doctl sends for the page's commands (its commands/load_balancers.go and commands/tags.go)."""

import argparse
import os

import requests

parser = argparse.ArgumentParser()
compute = parser.add_subparsers(required=True).add_parser("compute")
what = compute.add_subparsers(dest="what", required=True)
tag = what.add_parser("tag").add_subparsers(required=True).add_parser("create")
tag.add_argument("name")
balancer = what.add_parser("load-balancer").add_subparsers(required=True).add_parser("create")
for flag in ("name", "region", "forwarding-rules"):
    balancer.add_argument(f"--{{flag}}", required=True)
balancer.add_argument("--tag-name", default="")
asked = parser.parse_args()


def rule(text):
    pairs = dict(pair.split(":") for pair in text.split(","))
    return {{key: int(value) if key.endswith("_port") else value for key, value in pairs.items()}}


if asked.what == "tag":
    path, body = "tags", {{"name": asked.name}}
else:
    path, body = "load_balancers", {{
        "name": asked.name,
        "algorithm": "round_robin",
        "region": asked.region,
        "tag": asked.tag_name,
        "forwarding_rules": [rule(text) for text in asked.forwarding_rules.split(" ")],
    }}
token = {{"authorization": f"Bearer {{os.environ['DIGITALOCEAN_TOKEN']}}"}}
answer = requests.post(f"{{os.environ['DIGITALOCEAN_API_URL']}}/v2/{{path}}", json=body, headers=token, timeout=60)
answer.raise_for_status()
'''


def group_of_page(project: Project) -> dict[str, Any]:
    """The group that the page describes for this cloud."""
    for block in re.findall(r"^```yaml\n(.*?)^```", _text(), re.MULTILINE | re.DOTALL):
        spec = yaml.safe_load(block)
        if spec["cloud"] == project.vendor.name:
            group: dict[str, Any] = spec["groups"]["web"]
            return group
    raise AssertionError(f"{_PAGE} describes no group at {project.vendor.name}")


def make_balancer(project: Project) -> None:
    """Run the page's commands for this cloud, with Hetzner's own program and a stand-in for DigitalOcean's."""
    assert project.served
    program = "hcloud" if project.vendor is HETZNER else "doctl"
    blocks = re.findall(r"^```sh\n(.*?)^```", _text(), re.MULTILINE | re.DOTALL)
    commands = [block for block in blocks if block.startswith(program)] + re.findall(rf"`({program} [^`\n]+)`", _text())
    # What a sentence names comes first: the tag must exist.
    script = "\n".join(["set -e", *reversed(commands)])
    folder = project.folder / "bin"
    folder.mkdir()
    if program == "doctl":
        path = folder / program
        path.write_text(_DOCTL.format(python=sys.executable), encoding="utf-8")
        path.chmod(0o755)
    environ = {
        **project.environ,
        "PATH": f"{folder}:{project.environ['PATH']}",
        "HCLOUD_ENDPOINT": project.served.hetzner_endpoint,
        "HCLOUD_TOKEN": TOKEN,
    }
    ran = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, f"{shlex.quote(script)}\n{ran.stdout}\n{ran.stderr}"


def has_program(project: Project) -> bool:
    """Whether the page's commands can be run for this cloud: `make tools` installs Hetzner's program."""
    return project.vendor is not HETZNER or shutil.which("hcloud", path=project.environ["PATH"]) is not None


def targets_of(project: Project) -> list[Thing]:
    """The machines that the project's only load balancer sends requests to now."""
    world = project.world
    (balancer,) = world.things(project.vendor.name, "load_balancer")
    if project.vendor is HETZNER:
        return HetznerShapes(world, world.now).targets_of(balancer)
    return DigitalOceanShapes(world, world.now, "").targets_of(balancer)


def _text() -> str:
    return (ROOT / _PAGE).read_text(encoding="utf-8")
