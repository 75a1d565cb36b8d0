"""What people do to the stack with Pulumi's own commands: no server is lost, and none is made twice."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.project import Project


def pulumi(project: Project, *arguments: str) -> None:
    """Run the engine by hand, as a person would."""
    backend = f"file://{project.state_dir / 'pulumi'}"
    environ = {**project.environ, "PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_BACKEND_URL": backend}
    subprocess.run([str(project.engine), "--non-interactive", *arguments], cwd=project.folder, env=environ, check=True)


@pytest.mark.one_cloud
def test_an_older_checkpoint_a_deleted_entry_and_a_renamed_stack(project: Project) -> None:
    project.ensure("2")
    older = str(project.folder / "older.json")
    pulumi(project, "stack", "export", "--stack", "demo", "--file", older)
    project.ensure("3")
    three = project.agreed()
    project.world.clear_log()

    pulumi(project, "stack", "import", "--stack", "demo", "--file", older)
    ran = project.ensure("3")
    assert {(action, server) for action, server, _ in ran.steps} == {("adopt", "demo-worker-3")}
    assert project.agreed() == three

    resources = {resource.name: resource.urn for resource in project.checkpoint.resources}
    pulumi(project, "state", "delete", resources["demo-worker-1"], "--stack", "demo", "--yes")
    ran = project.ensure("3")
    assert {(action, server) for action, server, _ in ran.steps} == {("adopt", "demo-worker-1")}
    assert project.agreed() == three

    # Under its old name, the stack has lost its state, and not its records.
    pulumi(project, "stack", "rename", "other", "--stack", "demo")
    project.ensure("3")
    assert project.machines == three
    assert project.asked_for == []
    assert [request for request in project.changes if request.method == "DELETE"] == []
    assert json.loads(project.state_path.read_text(encoding="utf-8"))["identity"]["id"]
    assert project.agreed() == three


@pytest.mark.one_cloud
def test_a_server_that_is_protected_in_the_stack(project: Project) -> None:
    """Pulumi's protection is protection: another server goes, and no later run takes it off."""
    project.ensure("3")
    newest = project.by_age[-1]
    urns = {resource.name: resource.urn for resource in project.checkpoint.resources}
    pulumi(project, "state", "protect", urns[newest], "--stack", "demo", "--yes")

    for count in ("2", "3", "1"):
        project.ensure(count)
        assert newest in project.agreed()
    for command in (["replace", newest], ["stop", newest], ["ensure", "0", "--allow-zero"], ["destroy"]):
        refused = project.run(*command, "--yes", "-o", "json", code=3).error
        assert (refused["code"], newest in refused["message"] + refused["why"]) == ("protected", True)
        assert "pulumi state unprotect" in refused["fix"]
    assert list(project.agreed()) == [newest]

    pulumi(project, "state", "unprotect", "--all", "--stack", "demo", "--yes")
    project.ensure("0", "--allow-zero")
    assert project.agreed() == {}


@pytest.mark.one_cloud
def test_a_server_that_is_tainted_in_the_stack(project: Project) -> None:
    """The engine would replace it in whichever operation comes next; it also raises the checkpoint's version."""
    project.ensure("2")
    two = project.agreed()
    urns = {resource.name: resource.urn for resource in project.checkpoint.resources}
    pulumi(project, "state", "taint", urns["demo-worker-1"], "--stack", "demo", "--yes")
    project.world.clear_log()
    for command in (["preview", "3"], ["ensure", "3", "--yes"], ["destroy", "--yes"]):
        refused = project.run(*command, "-o", "json", code=3).error
        assert (refused["code"], "demo-worker-1" in refused["why"]) == ("tainted_servers", True)
        assert "pulumi state untaint" in refused["fix"]
    assert project.changes == []

    pulumi(project, "state", "untaint", "--all", "--stack", "demo", "--yes")
    project.ensure("2")
    assert project.agreed() == two


def test_servers_that_are_renamed_resized_and_switched_off_in_the_console(project: Project) -> None:
    project.ensure("3")
    three = project.agreed()
    world, cloud = project.world, project.vendor.name
    larger = {"hetzner": "cx33", "digitalocean": "s-1vcpu-2gb"}[cloud]
    world.rename(cloud, int(three["demo-worker-1"]), "database")
    world.resize(cloud, int(three["demo-worker-2"]), larger)
    world.power_off(cloud, int(three["demo-worker-3"]))
    project.catch_up()
    world.clear_log()
    ran = project.ensure("3")
    assert {action for action, _, _ in ran.steps} <= {"power_on", "update"}
    assert sorted(str(thing.id) for thing in world.servers(cloud)) == sorted(three.values())
    assert project.asked_for == []
    assert project.ensure("3").steps == []
    project.ensure("4")
    assert {thing.name for thing in world.servers(cloud)} >= {"database", "demo-worker-2", "demo-worker-3"}
    project.run("destroy", "--yes")
    assert world.servers(cloud) == []
