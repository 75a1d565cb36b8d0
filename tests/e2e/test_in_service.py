"""The load balancers of the how-to page, which follow `in_service`, send nothing to a server that cannot answer."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from scaler.simulator.world import Thing, address
from tests.support.load_balancers import group_of_page, has_program, make_balancer, targets_of
from tests.support.project import HETZNER, Project, Ran, finish


@dataclass
class Balancer:
    """Sends requests to every target all the time; a server answers while it runs and is not drained."""

    project: Project
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    fewest: int = 99

    def send(self) -> None:
        # First who has begun to drain, then who is a target: what drains was none before.
        drained = self.lines("drained")
        targets, now = targets_of(self.project), self.project.world.now
        self.fewest = min(self.fewest, len(targets))
        for machine in targets:
            self.sent += 1
            if self.address(machine) in drained or machine.status(now) not in ("running", "active"):
                self.failed.append(f"{machine.name}, {machine.status(now)}")

    def address(self, machine: Thing) -> str:
        """A machine's public address; its name may be another's later."""
        if self.project.vendor is HETZNER:
            return str(machine.body["ipv4"]["ip"])
        return address("digitalocean", machine.id)

    def lines(self, name: str) -> list[str]:
        path = self.project.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def during(self, *arguments: str) -> Ran:
        """Run a command, and send requests all the time; afterwards exactly the ready servers get some."""
        run: subprocess.Popen[str] = self.project.start(*arguments)
        try:
            while run.poll() is None:
                self.send()
        finally:
            if run.poll() is None:
                run.terminate()
        ran = finish(run)
        assert ran.code == 0, ran.stderr
        self.agree()
        return ran

    def agree(self) -> None:
        """Exactly the ready servers are targets, and the records say so."""
        assert {machine.name for machine in targets_of(self.project)} == set(self.project.agreed())
        assert {record["in_service"] for record in self.project.records.values()} <= {True}


def labelling(project: Project) -> list[tuple[str, str]]:
    """The requests that label servers."""
    if project.vendor is HETZNER:
        return [(one.method, one.path) for one in project.requests("PUT")]
    return [(one.method, one.path) for one in project.changes if "/v2/tags/" in one.path]


def describe(project: Project, in_service: dict[str, str]) -> None:
    """Describe a group whose servers are ill if there is a file that says so, and tell of their drains."""
    for name, text in (("drain.sh", 'echo "$1" >> drained'), ("healthy.sh", '[ ! -e "ill-$1" ]')):
        script = project.folder / name
        script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        script.chmod(0o755)
    worker: dict[str, Any] = {
        "labels": {"team": "shop"},
        "stop": {"drain": ["./drain.sh", "{ip}"]},
        "healthy": {"command": ["./healthy.sh", "{name}"], "every": "1s", "failures": 1},
        "in_service": in_service,
    }
    project.describe(groups={"worker": worker})


@pytest.mark.calm("it counts requests, and lets single answers be lost")
@pytest.mark.acceptance("T12", "S15")
def test_no_request_fails_while_servers_come_and_go(served: Project) -> None:
    if not has_program(served):
        pytest.skip("hcloud is not installed: apt-get install hcloud-cli")
    in_service = group_of_page(served)["in_service"]
    describe(served, in_service)
    make_balancer(served)
    balancer = Balancer(served)
    balancer.during("ensure", "4", "--yes")
    is_hetzner = served.vendor is HETZNER
    assert len(labelling(served)) == 4 if is_hetzner else len(labelling(served)) <= 4
    balancer.fewest = 4

    # A run with nothing to do labels nothing, and the engine sees no change in what it does.
    served.world.clear_log()
    assert served.ensure("4").document["outcome"] == "unchanged"
    assert served.changes == []

    # The answer to the first request that takes it off is lost.
    path = r"/v1/servers/[0-9]+$" if is_hetzner else f"/v2/tags/{in_service['tag']}/resources$"
    served.world.add_fault("accept_then_drop", method="PUT" if is_hetzner else "DELETE", path=path)
    balancer.during("ensure", "2", "--yes")
    assert len(balancer.lines("drained")) == 2
    assert not set(balancer.lines("drained")) & {record["ipv4"] for record in served.records.values()}
    assert is_hetzner or labelling(served)[-1][0] == "DELETE"
    assert len(labelling(served)) <= 3
    assert balancer.fewest == 2

    balancer.during("replace", served.by_age[0], "--yes")
    assert balancer.fewest == 2, "the new one serves before the old one leaves"

    name = served.by_age[0]
    served.world.clear_log()
    balancer.during("reboot", name, "--yes")
    order = [
        one.path for one in served.changes if "actions" in one.path or one.path in dict(labelling(served)).values()
    ]
    assert "actions" in order[1] and "actions" not in order[0] + order[2], order
    assert balancer.fewest == 1

    # Labels that people put remain, and one that is missing is put back.
    machine = served.machine(name)
    labels = served.vendor.labels_of(machine)
    served.world.relabel(
        served.vendor.name,
        machine.id,
        **served.vendor.owned({**{k: v for k, v in labels.items() if k not in ("lb", "lb-web")}, "by": "hand"}),
    )
    served.catch_up()
    served.ensure("2")
    balancer.agree()
    assert served.vendor.labels_of(served.machine(name))["by"] == "hand"
    status = served.run("status").stdout
    assert "IN SERVICE" in status and status.count(" yes ") == 2

    # One that falls ill gets nothing any more, and another one serves before it is gone.
    ill, other = served.by_age
    (served.folder / f"ill-{ill}").touch()
    time.sleep(1.1)  # It is checked once a second.
    balancer.fewest = 2
    balancer.during("ensure", "2", "--yes")
    assert balancer.fewest == 1
    assert ill not in served.machines and other in served.machines

    served.run("destroy", "--yes")
    assert targets_of(served) == []
    assert balancer.failed == []
    assert balancer.sent > 0
