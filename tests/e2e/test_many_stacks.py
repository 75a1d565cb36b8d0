"""One process for all stacks of a project: `autoscale --all`, once and as a watch, with all kinds of trouble beside."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.test_autoscale_docs import blocks
from tests.support.project import HETZNER, ROOT, Project, finish, wait_until

SERVE, ONCE = blocks(ROOT / "docs/how-to/many-stacks.md", "sh")
"""The page's commands: as a service, and once."""

_FOLLOW = {
    "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
    "down": {"stabilise": "1s", "cooldown": "1s"},
}


def add(project: Project, stack: str, *, metric: Any = None, policy: bool = True, **top: Any) -> Path:
    """Write the spec of one more stack that follows the number in the file with its name."""
    load = project.folder / f"{stack}.jobs"
    load.write_text("10")
    block = {**_FOLLOW, "metrics": {"jobs": metric or {"command": {"run": ["cat", load.name]}}}}
    group = {
        **{"count": 1, "min": 1, "max": 3, "image": {"selector": "role=worker"}, "type": "cx23", "location": "fsn1"},
        **({"autoscale": block} if policy else {}),
    }
    spec = {"cloud": "hetzner", "endpoint": "embedded", "limit": 10, **top, "groups": {"worker": group}}
    path = project.folder / "stacks" / f"{stack}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in spec.items() if value is not None}))
    return path


def ready(project: Project, stack: str) -> int:
    """How many servers of a stack run, by its state file."""
    path = project.state_dir / f"{stack}.json"
    if not path.exists():
        return 0
    return sum(server["status"] == "running" for server in json.loads(path.read_text())["servers"])


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def project(hetzner: Project) -> Project:
    hetzner.spec_path.unlink()
    hetzner.environ["HCLOUD_TOKEN"] = "7" * 64
    return hetzner


def test_a_service_serves_each_stack_whatever_happens_to_the_others(project: Project, silent: int) -> None:
    good = [add(project, stack) for stack in ("good", "other")]
    add(project, "cloudless", endpoint=f"http://127.0.0.1:{silent}/v1")
    add(project, "backendless", backend=f"postgres://nobody@127.0.0.1:{silent}/x")
    add(project, "measureless", metric={"command": {"run": ["sleep", "600"]}, "timeout": "2s"})
    add(project, "lazy", policy=False)
    broken = add(project, "broken")
    valid = broken.read_text()
    broken.write_text(valid.replace("per_server: 10", "per_server: ten"))
    project.environ["SCALER_HTTP_TIMEOUT"] = "600s"
    log = project.folder / "log"
    with log.open("w") as output:
        quick = SERVE.replace("60s", "2s").replace(":9410", ":0")
        service = project.start(*shlex.split(quick)[1:], stdout=output, stderr=output)
    try:
        address = wait_until(lambda: re.search(r"http://[0-9.:]+", log.read_text()), "the address")[0]
        served = ("good", "other", "measureless")
        wait_until(lambda: [ready(project, stack) for stack in served] == [1, 1, 1], "a server of each")
        (project.folder / "good.jobs").write_text("30")
        wait_until(lambda: ready(project, "good") == 3, "three servers")
        # What was broken is put right, one stack comes, and one goes.
        broken.write_text(valid)
        add(project, "late")
        good[1].unlink()
        wait_until(lambda: ready(project, "broken") == 1, "a server of the stack with the mended spec")
        wait_until(lambda: ready(project, "late") == 1, "a server of the new stack")
        wait_until(lambda: "other: its spec is gone" in log.read_text(), "the end of the removed one")
        facts = requests.get(f"{address}/healthz", timeout=30).json()
        shown = requests.get(f"{address}/metrics", timeout=30).text
        assert set(facts["stacks"]) == {
            *("backendless", "broken", "cloudless", "good", "late", "lazy", "measureless"),
        }
        assert re.findall(r'scaler_runs_total\{.*stack="cloudless"', shown) == [], "its first tick still hangs"
        assert re.search(r'scaler_metric_ok\{group="worker",metric="jobs",stack="measureless"\} 0.0', shown)
        assert 'stack="other"' not in shown
        assert facts["stacks"]["good"]["error"] is None
        assert ready(project, "other") == 1, "its server is left alone"
        assert not (project.state_dir / "lazy.json").exists()
        # The first signal lets ticks end, and one of them hangs; the second one ends it.
        service.send_signal(signal.SIGTERM)
        wait_until(lambda: re.search("stopping: the ticks of .*cloudless.* are still at work", log.read_text()), "that")
        assert service.poll() is None
        service.send_signal(signal.SIGTERM)
        assert finish(service).code == 143
    finally:
        service.kill()
        service.wait()
    text = log.read_text()
    assert re.search(r"^good: served from now on$", text, re.M)
    assert re.search(r"^broken: Error: it is served once its spec is valid: .*per_server", text, re.M)
    assert text.count("it is served once its spec is valid") == 1
    assert re.search(r"^lazy: lazy.yaml has no group with an autoscale block", text, re.M)
    assert re.search(r"^\S+Z good: worker: 3 instead of 1: jobs is 30", text, re.M)


@pytest.mark.calm("exit codes depend on what the cloud refuses")
def test_once_for_all_stacks_ends_with_the_worst_code_and_one_report(project: Project) -> None:
    for stack in ("first", "second"):
        add(project, stack)
    add(project, "lazy", policy=False)
    ran = project.run("autoscale", "--all", "--yes", "--wait", "-o", "json", "--dotenv", "out.env", "--json-file", "r")
    assert (ran.document["outcome"], ran.document["exit_code"]) == ("converged", 0)
    assert {name: stack["outcome"] for name, stack in ran.document["stacks"].items()} == {
        "first": "converged",
        "lazy": "unchanged",
        "second": "converged",
    }
    assert ran.document["stacks"]["first"]["decisions"]["worker"]["to"] == 1
    outputs = dict(line.split("=", 1) for line in (project.folder / "out.env").read_text().splitlines())
    assert (outputs["SCALER_STACK"], outputs["SCALER_WANTED"]) == ("first,lazy,second", "2")
    assert outputs["SCALER_CREATED"] == "2"
    assert set(json.loads((project.folder / "r").read_text())["stacks"]) == {"first", "lazy", "second"}

    # One spec is broken, one stack may hold fewer than it has: the others are served.
    (project.folder / "first.jobs").write_text("20")
    (project.folder / "stacks" / "second.yaml").write_text("cloud: hetzner\n")
    ran = project.run(*shlex.split(ONCE)[1:], "--summary", "s.md", code=65)
    stacks = ran.document["stacks"]
    assert (ran.document["outcome"], ran.document["exit_code"]) == ("failed", 65)
    assert (stacks["second"]["error"]["code"], stacks["second"]["exit_code"]) == ("spec_invalid", 65)
    assert stacks["second"]["error"]["problems"]
    assert stacks["first"]["decisions"]["worker"]["to"] == 2
    summary = (project.folder / "s.md").read_text()
    assert summary.index("## first") < summary.index("## second")

    # Named ones only.
    text = project.run("autoscale", "-s", "first", "--stack", "lazy", "--preview").stdout
    assert text.startswith("== first ==\n")
    assert text.endswith("== lazy ==\n\nNo group of lazy has an autoscale block. Nothing to do.\n")
    assert "second" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--all",), "Nobody is asked about several stacks"),
        (("--all", "--yes", "-s", "demo"), "--all means every stack"),
        (("-s", "demo", "-s", "nope", "--yes"), "There is no stack 'nope'"),
    ],
)
def test_what_makes_no_sense_for_several_stacks(hetzner: Project, arguments: tuple[str, ...], message: str) -> None:
    assert hetzner.vendor is HETZNER
    assert message in hetzner.run("autoscale", *arguments, "-o", "json", code=64).error["message"]


def test_a_command_for_one_stack_refuses_several(hetzner: Project) -> None:
    for arguments, environ in ((("-s", "demo", "-s", "test"), {}), ((), {"SCALER_STACK": "demo test"})):
        ran = hetzner.run("ensure", "1", "--yes", *arguments, "-o", "json", code=64, environ=environ)
        assert ran.error["message"] == "This command works on one stack, and 2 are named: demo, test."
    assert hetzner.engine_runs == []
