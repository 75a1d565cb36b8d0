"""Pointed at a world that is not the stack's, every command stops and changes nothing, there and here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.simulator import EmbeddedCloud
from tests.support.accounts import one_endpoint
from tests.support.foreign import VOLUME, add_foreign_volume
from tests.support.project import HETZNER, TOKEN, Project

OTHERS_TOKEN = "an0ther" + "8" * 57

COMMANDS = (
    ("ensure", "3", "--yes"),
    ("ensure", "5", "--yes"),
    ("preview", "2"),
    ("destroy", "--yes"),
    ("status", "--refresh"),
    ("refresh",),
    ("replace", "demo-worker-1", "--yes"),
    ("stop", "demo-worker-1", "--yes"),
    ("reboot", "--yes"),
    ("protect", "demo-worker-1"),
    ("orphans", "--delete", "--yes"),
)


@pytest.fixture
def others(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    """Another account."""
    with EmbeddedCloud(tmp_path / "others.db") as cloud:
        yield cloud


def recorded(project: Project) -> dict[str, bytes]:
    """All that is recorded of the stack: the state file, and the engine's checkpoint."""
    state = project.folder / ".scaler"
    files = [state / "demo.json", *state.glob("pulumi/.pulumi/stacks/**/demo.json")]
    return {str(path): path.read_bytes() for path in files}


def changes(cloud: EmbeddedCloud) -> list[str]:
    """The requests that meant to change something."""
    return [f"{entry.method} {entry.path}" for entry in cloud.world.log() if entry.method != "GET"]


@pytest.mark.acceptance("T01")
def test_another_accounts_token(served: Project, others: EmbeddedCloud) -> None:
    assert served.served
    vendor = served.vendor
    ours = served.served
    with one_endpoint({TOKEN: ours.url, OTHERS_TOKEN: others.url}) as url:
        path = vendor.endpoint_of(ours).removeprefix(ours.url)
        served.environ[vendor.endpoint] = url + path
        served.ensure("3")
        served.run("protect", "demo-worker-2")
        before, asked = recorded(served), changes(ours)
        for command in COMMANDS:
            ran = served.run(*command, "-o", "json", code=3, environ={vendor.token: OTHERS_TOKEN})
            assert ran.error["code"] == "account_changed", command
            assert recorded(served) == before, command
        assert changes(ours) == asked
        assert changes(others) == []
        again = served.ensure("3")
        assert again.document["outcome"] == "unchanged"
        assert {server["name"] for server in again.document["servers"] if server["protected"]} == {"demo-worker-2"}


@pytest.mark.acceptance("T02")
@pytest.mark.parametrize("moved", ["endpoint", "project", "cloud"])
def test_another_place(make_served: object, moved: str) -> None:
    project: Project = make_served(HETZNER)  # type: ignore[operator]
    project.ensure("3")
    before = recorded(project)
    spec = project.folder / "stacks" / "demo.yaml"
    pulumi = project.folder / "Pulumi.yaml"
    kept = {path: path.read_text(encoding="utf-8") for path in (spec, pulumi)}
    if moved == "endpoint":
        spec.write_text(f"{kept[spec]}\nendpoint: embedded\n", encoding="utf-8")
    elif moved == "project":
        pulumi.write_text(kept[pulumi].replace("name: ", "name: other-", 1), encoding="utf-8")
    else:
        text = kept[spec].replace("cloud: hetzner", "cloud: digitalocean")
        spec.write_text(text.replace("cx23", "s-1vcpu-1gb").replace("fsn1", "fra1"), encoding="utf-8")
        project.environ["DIGITALOCEAN_TOKEN"] = TOKEN
    for command in (("ensure", "3", "--yes"), ("destroy", "--yes"), ("status", "--refresh")):
        ran = project.run(*command, "-o", "json", code=3)
        assert ran.error["code"] == "identity_moved", (command, ran.error)
    for path, text in kept.items():
        path.write_text(text, encoding="utf-8")
    assert {path: content for path, content in recorded(project).items() if path in before} == before
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
