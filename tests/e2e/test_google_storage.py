"""The engine's state and the shared records in one bucket of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.google_storage import google_bucket
from tests.support.project import HETZNER, Project, Vendor


def test_two_machines_share_a_stack_and_its_records(make_served: Callable[[Vendor], Project]) -> None:
    elsewhere = ("--state-dir", "elsewhere", "-o", "json")
    with google_bucket() as backend:
        project = make_served(HETZNER)
        project.environ |= backend.environ
        project.describe(backend=backend.url)
        assert "warning" not in project.ensure("2").stderr
        status = project.run("status", *elsewhere).document
        assert {server["name"] for server in status["servers"]} == set(project.machines)
        project.run("ensure", "1", "--yes", *elsewhere)
        assert len(project.machines) == 1
        # The first machine has everything that the second one did.
        history = project.run("history", "-n", "1000", "-o", "json").document["events"]
        assert "server.deleted" in [event["event"] for event in history]
        assert project.ensure("1").document["outcome"] == "unchanged"
