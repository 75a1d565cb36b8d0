"""Write spec files and read their problems."""

from pathlib import Path

import jsonschema
import pytest

from scaler.config.schema.generate import json_schema
from scaler.config.spec import load
from scaler.config.strict_yaml import read
from scaler.errors import InvalidSpecError
from scaler.model import Group

SCHEMA = jsonschema.Draft202012Validator(json_schema())
HETZNER = "cloud: hetzner\ngroups:\n  worker: {count: 3, image: ubuntu-24.04, type: cx23, location: fsn1"
OCEAN = "cloud: digitalocean\ngroups:\n  worker: {count: 3, image: ubuntu-24-04-x64, type: s-1vcpu-1gb, location: fra1"


def write(folder: Path, text: str, stack: str = "prod") -> Path:
    path = folder / f"{stack}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidSpecError) as caught:
        load(path, "shop")
    assert {problem.file for problem in caught.value.problems} == {str(path)}
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def worker(folder: Path, keys: str, start: str = HETZNER) -> Group:
    """The group of a spec that has these keys besides the necessary ones."""
    return load(write(folder, f"{start}, {keys}}}"), "shop").groups["worker"]


EVERYTHING_AT_HETZNER = """\
cloud: hetzner
endpoint: http://127.0.0.1:8080/v1
backend: s3://states/scaler
plugin: official
limit: 20
budget: {per_month: 99.90}
groups:
  worker:
    count: 3
    min: 1
    max: 10
    image: {selector: "role=worker"}
    type: [cx23, cpx22]
    location: [fsn1, nbg1]
    ssh_keys: [deploy, 4711]
    user_data: worker.cloud-init.yaml
    labels: {role: worker, team.example.com/cost-centre: 0042, release: 1.10, live: yes, old: false, empty: ""}
    networks: [internal]
    firewalls: [web]
    placement_group: spread
    public_ipv4: false
    public_ipv6: true
    ready: none
    start_within: 1h30m
    in_service: {label: lb=web}
    protect: [prod-worker-1, prod-worker-12]
    spread: true
    scale_down: billing
    image_changes: new
  web-2: {count: 0, image: 161547269, type: cx23, location: fsn1}
"""


EVERYTHING_AT_DIGITALOCEAN = """\
cloud: digitalocean
endpoint: embedded
groups:
  worker:
    count: 1
    image: {name: worker-golden}
    type: s-1vcpu-1gb
    location: fra1
    user_data_inline: |
      #cloud-config
      packages: [git]
    labels: {role: worker, "a_b-1": "x:y_z"}
    vpc: internal
    monitoring: true
    ipv6: true
    in_service: {tag: "lb:web"}
"""


GROUP_LINES = {"count": "3", "image": "ubuntu-24.04", "type": "cx23", "location": "fsn1"}


def spec_with(group_line: str, cloud: str = "hetzner") -> tuple[str, int]:
    """A spec whose group has this line, or several, last; and the number of their last one."""
    lines = [f"cloud: {cloud}", "groups:", "  worker:"]
    lines += [f"    {key}: {value}" for key, value in GROUP_LINES.items() if f" {key}:" not in f" {group_line}"]
    lines += [f"    {group_line}"]
    text = "\n".join(lines)
    return text, text.count("\n") + 1


def check(path: Path, expected: list[str], schema_sees: bool) -> None:
    assert problems(path) == expected
    assert SCHEMA.is_valid(read(path).value) is not schema_sees
