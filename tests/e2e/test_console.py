"""What people do in the vendor's console, and what the vendor does by itself: respected, from the command line."""

from __future__ import annotations

import pytest

from tests.support.project import Project


def protect_at_cloud(project: Project, name: str) -> None:
    """Turn a server's delete protection on, as its owner does in the console."""
    machine = project.machine(name)
    machine.body["protected"] = True
    project.world.save(machine)


@pytest.mark.acceptance("T06")
def test_delete_protection_set_in_the_console(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"stop": {"drain": ["./drain.sh", "{name}"], "shutdown_within": "60s"}}})
    drained = hetzner.folder / "drained"
    drain = hetzner.folder / "drain.sh"
    drain.write_text(f'#!/bin/sh\necho "$1" >> {drained}\n', encoding="utf-8")
    drain.chmod(0o755)
    hetzner.ensure("3")
    newest = hetzner.by_age[-1]
    protect_at_cloud(hetzner, newest)

    hetzner.world.clear_log()
    for command in ("replace", "stop"):
        refused = hetzner.run(command, newest, "--yes", "-o", "json", code=3).error
        assert (refused["code"], newest in refused["message"]) == ("protected", True)
        assert "delete protection" in refused["why"]
    assert hetzner.changes == []

    hetzner.ensure("2")
    assert newest in hetzner.agreed()
    assert len(hetzner.agreed()) == 2
    assert newest not in drained.read_text(encoding="utf-8").split()

    refused = hetzner.ensure("0", "--allow-zero", code=3).error
    assert (refused["code"], newest in refused["why"]) == ("protected", True)
    refused = hetzner.run("destroy", "--yes", "-o", "json", code=3).error
    assert (refused["code"], newest in refused["message"]) == ("protected", True)
    assert len(hetzner.agreed()) == 2
