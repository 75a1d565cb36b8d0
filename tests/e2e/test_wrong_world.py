"""Pointed at a world that is not the stack's, every command stops and changes nothing, there and here."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaler.commands.cli import COMMANDS
from scaler.simulator import EmbeddedCloud
from tests.support.accounts import one_endpoint
from tests.support.foreign import VOLUME, add_foreign_volume
from tests.support.project import HETZNER, TOKEN, Project, finish, wait_until

OTHERS_TOKEN = "an0ther" + "8" * 57

OPENING = (
    ("ensure", "3", "--yes"),
    ("ensure", "5", "--yes"),
    ("increase", "--yes"),
    ("decrease", "--yes"),
    ("preview", "2"),
    ("apply", "plan.json"),
    ("status", "--refresh"),
    ("refresh",),
    ("reboot", "--yes"),
    ("remove", "demo-worker-2", "--yes"),
    ("stop", "demo-worker-1", "--yes"),
    ("replace", "demo-worker-1", "--yes"),
    ("roll", "--preview"),
    ("roll", "--yes"),
    ("roll", "--abandon", "--yes"),
    ("snapshot", "demo-worker-1", "--preview"),
    ("snapshot", "demo-worker-1", "--keep", "1", "--yes"),
    ("protect", "demo-worker-1"),
    ("unprotect", "demo-worker-2"),
    ("autoscale", "--preview"),
    ("autoscale", "--yes"),
    ("pause", "--for", "1h"),
    ("resume",),
    ("orphans",),
    ("orphans", "--adopt", "--yes"),
    ("orphans", "--delete", "--yes"),
    ("destroy", "--yes"),
    ("adopt", "--yes"),
)
"""Every command that opens a stack."""

OPENING_NO_STACK = {
    *("history", "why", "report", "ssh", "metrics", "simulate", "unlock", "prune"),
    *("init", "validate", "doctor", "engine", "sim", "completion", "version", "help"),
}

LOAD = {"metrics": {"load": {"fixed": 40}}, "rules": [{"backlog": {"metric": "load", "per_server": 10}}]}


@pytest.fixture
def others(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    """Another account."""
    with EmbeddedCloud(tmp_path / "others.db") as cloud:
        yield cloud


@pytest.fixture
def shared_endpoint(served: Project, others: EmbeddedCloud) -> Iterator[Project]:
    """A project whose endpoint leads to another account with another token."""
    assert served.served
    with one_endpoint({TOKEN: served.served.url, OTHERS_TOKEN: others.url}) as url:
        path = served.vendor.endpoint_of(served.served).removeprefix(served.served.url)
        served.environ[served.vendor.endpoint] = url + path
        yield served


def recorded(project: Project) -> dict[str, bytes]:
    """All files of the project, its state and its backend, but for the run's lock and the log of events."""
    passing = (
        ".lock",
        "demo.lock",
        "demo.roll.lock",
        "roll.lease.json",
        "demo.events.jsonl",
        "demo.json.lock",
        "engine.log",
    )
    files = [path for path in project.folder.rglob("*") if path.is_file() and not path.name.startswith(passing)]
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in files}


def world_of(project: Project, cloud: EmbeddedCloud) -> list[object]:
    """What there is in an account, and the requests that meant to change something."""
    there: list[object] = [(thing.id, thing.name, thing.body) for thing in cloud.world.servers(project.vendor.name)]
    return there + [(entry.method, entry.path) for entry in cloud.world.log() if entry.method != "GET"]


@dataclass(frozen=True)
class Wrong:
    """One way to point a project at another world."""

    code: str
    says: str
    """What the refusal says was recorded, and what is found now; a pattern."""
    ways: tuple[str, ...]
    """The ways on, of which it names one or more."""


WRONG = {
    "token": Wrong(
        "account_changed",
        r"missing: demo-worker-1, demo-worker-2, demo-worker-3|account \S+ recorded, \S+ now",
        ("another stack name", "--accept-loss"),
    ),
    "endpoint": Wrong("identity_moved", r"endpoint: {ours} recorded, {others} now", ("scaler destroy",)),
    "project": Wrong("identity_moved", r"project: scaler recorded, other-scaler now", ("scaler adopt",)),
}

A_PLAN_OF_ANOTHER_PROJECT = Wrong("usage", "of project scaler, and this is .* of project other-scaler", ("preview",))
"""A plan file is held against the project before its stack is opened; exit 64."""


def point(project: Project, others: EmbeddedCloud, wrong: str) -> Mapping[str, str]:
    """Point the project at another world; return what the environment has for that."""
    vendor = project.vendor
    if wrong == "token":
        return {vendor.token: OTHERS_TOKEN}
    if wrong == "endpoint":
        return {vendor.endpoint: vendor.endpoint_of(others)}
    pulumi = project.folder / "Pulumi.yaml"
    pulumi.write_text(pulumi.read_text(encoding="utf-8").replace("name: ", "name: other-", 1), encoding="utf-8")
    return {}


def test_every_command_is_in_the_matrix() -> None:
    assert {command[0] for command in OPENING} | OPENING_NO_STACK == set(COMMANDS)


@pytest.mark.acceptance("T01", "T02")
def test_no_command_acts_in_another_world(shared_endpoint: Project, others: EmbeddedCloud) -> None:
    """W1, W2 and W5: each command with another token, endpoint and project name."""
    project, ours = shared_endpoint, shared_endpoint.served
    assert ours
    project.describe(groups={"worker": {"max": 5, "autoscale": LOAD}})
    project.ensure("3")
    project.run("protect", "demo-worker-2")
    project.run("preview", "4", "--out", "plan.json")
    pulumi = (project.folder / "Pulumi.yaml").read_bytes()
    worlds = world_of(project, ours), world_of(project, others)
    for name, wrong in WRONG.items():
        environ = point(project, others, name)
        before = recorded(project)
        urls = {"ours": project.environ[project.vendor.endpoint], "others": project.vendor.endpoint_of(others)}
        places = {key: re.escape(url) for key, url in urls.items()}
        for command in OPENING:
            if (name, command[0]) == ("project", "adopt"):
                # All servers are seen there: it would record the new name, and is right to.
                continue
            ran = finish(project.start(*command, "-o", "json", environ=environ))
            told = f"{name}: {command}: {ran}"
            is_plan = (name, command[0]) == ("project", "apply")
            expected = A_PLAN_OF_ANOTHER_PROJECT if is_plan else wrong
            assert ran.code == (64 if is_plan else 3), told
            assert ran.error["code"] == expected.code, told
            said = " ".join(map(str, ran.error.values()))
            assert re.search(expected.says.format(**places), said), told
            assert any(way in said for way in expected.ways), told
            assert recorded(project) == before, told
        (project.folder / "Pulumi.yaml").write_bytes(pulumi)
        assert (world_of(project, ours), world_of(project, others)) == worlds, name
    again = project.ensure("3")
    assert again.document["outcome"] == "unchanged"
    assert {server["name"] for server in again.document["servers"] if server["protected"]} == {"demo-worker-2"}


@pytest.mark.acceptance("T01")
def test_a_watch_holds_while_its_token_is_another_accounts(
    shared_endpoint: Project, others: EmbeddedCloud, tmp_path: Path
) -> None:
    project, vendor, ours = shared_endpoint, shared_endpoint.vendor, shared_endpoint.served
    assert ours
    project.describe(groups={"worker": {"max": 5, "autoscale": LOAD}})
    project.ensure("4")
    token = tmp_path / "token"
    token.write_text(TOKEN, encoding="utf-8")
    del project.environ[vendor.token]
    before, worlds = recorded(project), (world_of(project, ours), world_of(project, others))

    def lists_of(cloud: EmbeddedCloud) -> int:
        return sum(entry.method == "GET" for entry in cloud.world.log())

    def wait_for_ticks(cloud: EmbeddedCloud, count: int) -> None:
        asked = lists_of(cloud)
        wait_until(lambda: lists_of(cloud) >= asked + count, "the watch's ticks")

    watch = project.start("autoscale", "--watch", "1s", environ={f"{vendor.token}_FILE": str(token)})
    wait_for_ticks(ours, 1)
    token.write_text(OTHERS_TOKEN, encoding="utf-8")
    wait_for_ticks(others, 8)
    token.write_text(TOKEN, encoding="utf-8")
    wait_for_ticks(ours, 3)
    watch.send_signal(signal.SIGTERM)
    ended = finish(watch)
    assert ended.code == 0, ended
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if "nothing was changed" in line]
    assert len(said) == 1, ended
    assert (world_of(project, ours), world_of(project, others)) == worlds
    assert project.state["servers"]
    kept = {path: text for path, text in recorded(project).items() if not path.endswith("demo.autoscale.json")}
    assert kept == {path: text for path, text in before.items() if not path.endswith("demo.autoscale.json")}


@pytest.mark.acceptance("T02")
def test_another_cloud(make_served: Callable[..., Project]) -> None:
    """W4: the commands that were fatal once; the matrix above has all of them at three other places."""
    project = make_served(HETZNER)
    project.ensure("3")
    before = recorded(project)
    spec = project.spec_path
    kept = spec.read_text(encoding="utf-8")
    text = kept.replace("cloud: hetzner", "cloud: digitalocean")
    spec.write_text(text.replace("cx23", "s-1vcpu-1gb").replace("fsn1", "fra1"), encoding="utf-8")
    project.environ["DIGITALOCEAN_TOKEN"] = TOKEN
    for command in (("ensure", "3", "--yes"), ("destroy", "--yes"), ("status", "--refresh")):
        ran = project.run(*command, "-o", "json", code=3)
        assert ran.error["code"] == "identity_moved", (command, ran.error)
        assert "cloud: hetzner recorded, digitalocean now" in ran.error["why"]
    spec.write_text(kept, encoding="utf-8")
    assert recorded(project) == before
    assert project.ensure("3").document["outcome"] == "unchanged"


@pytest.mark.acceptance("T05")
def test_a_resource_of_somebody_elses(hetzner: Project) -> None:
    hetzner.ensure("2")
    checkpoint = next((hetzner.folder / ".scaler").glob("pulumi/.pulumi/stacks/**/demo.json"))
    add_foreign_volume(checkpoint)
    before = checkpoint.read_bytes()
    for command in (("ensure", "3", "--yes"), ("preview", "3"), ("destroy", "--yes"), ("refresh",)):
        ran = hetzner.run(*command, "-o", "json", code=3)
        assert (ran.error["code"], VOLUME in ran.error["why"]) == ("foreign_resources", True), command
        assert checkpoint.read_bytes() == before
