"""`scaler init` at a terminal: what it asks, what it checks in the account, and that a run follows from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.project import Project
from tests.support.terminal import read_to_end, read_until, terminal


@pytest.fixture
def folder(served: Project) -> Iterator[Path]:
    path = served.folder / "empty"
    path.mkdir()
    yield path


def answer(here: int, question: str, text: str) -> str:
    shown = read_until(here, question)
    os.write(here, f"{text}\n".encode())
    return shown


def test_init_asks_what_the_account_can_answer_and_the_project_works(served: Project, folder: Path) -> None:
    with terminal(served, "init", "-C", str(folder), "--cloud", served.vendor.name) as (here, _):
        answer(here, "[Y/n]:", "")
        answer(here, "Location (", "moon")
        answer(here, "it is one of ", served.vendor.location)
        types = answer(here, "Server type [", "huge")
        assert " a month, " in types
        answer(here, "it is one of ", served.vendor.type)
        answer(here, "Image: ", "nothing-of-this-name")
        answer(here, "Error: ", "worker-golden")
        answer(here, "SSH keys", "nobody")
        answer(here, "Error: ", "deploy")
        assert "Next: scaler doctor, then scaler preview" in read_to_end(here)
    spec = yaml.safe_load((folder / "stacks/dev.yaml").read_text(encoding="utf-8"))
    assert "endpoint" not in spec
    group = spec["groups"]["worker"]
    assert (group["type"], group["location"]) == ([served.vendor.type], [served.vendor.location])
    assert (group["image"], group["ssh_keys"]) == ({"name": "worker-golden"}, ["deploy"])
    assert served.changes == []

    assert served.run("validate", "-C", str(folder)).code == 0
    assert served.run("preview", "-C", str(folder), "-o", "json").document["outcome"] == "planned"

    # What is there is kept, and nothing is asked.
    with terminal(served, "init", "-C", str(folder)) as (here, process):
        assert "kept     stacks/dev.yaml" in read_to_end(here)
    assert process.returncode == 0


def test_without_a_token_init_asks_for_the_cloud_alone(hetzner: Project) -> None:
    folder = hetzner.folder / "empty"
    folder.mkdir()
    with terminal(hetzner, "init", "-C", str(folder)) as (here, _):
        answer(here, "Cloud (hetzner, digitalocean) [hetzner]:", "digitalocean")
        assert "Next: scaler preview" in read_to_end(here)
    spec = yaml.safe_load((folder / "stacks/dev.yaml").read_text(encoding="utf-8"))
    assert (spec["cloud"], spec["endpoint"]) == ("digitalocean", "embedded")


@pytest.mark.one_cloud
def test_an_account_that_cannot_be_read_leaves_the_embedded_cloud(served: Project, folder: Path) -> None:
    served.world.set_tokens(served.vendor.name, revoked=True)
    with terminal(served, "init", "-C", str(folder), "--cloud", served.vendor.name) as (here, process):
        answer(here, "[Y/n]:", "")
        told = read_to_end(here)
    assert process.returncode == 0
    assert "The spec uses the embedded cloud." in " ".join(told.split())
    assert yaml.safe_load((folder / "stacks/dev.yaml").read_text(encoding="utf-8"))["endpoint"] == "embedded"


def without_engine(project: Project) -> None:
    """Take the engine away, and the place where one could be installed."""
    del project.environ["SCALER_ENGINE"]
    blocked = project.folder / "a-file"
    blocked.write_text("", encoding="utf-8")
    project.environ["XDG_CACHE_HOME"] = str(blocked)


def test_init_asks_whether_to_install_a_missing_engine(hetzner: Project) -> None:
    without_engine(hetzner)
    folder = hetzner.folder / "empty"
    folder.mkdir()
    with terminal(hetzner, "init", "-C", str(folder), "--cloud", "hetzner") as (here, process):
        answer(here, "The Pulumi engine is missing.", "n")
        assert "Next: scaler engine install, then scaler preview" in read_to_end(here)
    assert process.returncode == 0
    with terminal(hetzner, "init", "-C", str(folder)) as (here, process):
        answer(here, "The Pulumi engine is missing.", "")
        assert "The Pulumi engine cannot be installed." in read_to_end(here)
    assert process.returncode == 69

    # Without anybody to ask, nothing is fetched, unless --yes says so.
    assert hetzner.run("init", "-C", str(folder)).code == 0
    assert hetzner.run("init", "-C", str(folder), "--yes", code=69).stdout.startswith("kept ")
    assert (folder / "stacks/dev.yaml").is_file()
