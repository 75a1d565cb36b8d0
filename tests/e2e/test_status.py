"""`scaler status`: over all stacks, and as a watch at terminals that can be redrawn and others."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.project import Project
from tests.support.terminal import read_to_end, read_until, terminal


def test_one_line_for_each_stack_and_what_a_watch_shows(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"protect": ["demo-worker-2"]}})
    hetzner.ensure("2")
    (hetzner.spec_path.with_name("next.yaml")).write_text(hetzner.spec_path.read_text(), encoding="utf-8")
    hetzner.run("protect", "demo-worker-1", "-s", "demo")

    lines = hetzner.run("status").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["STACK", "CLOUD", "READY"],
        ["demo", "hetzner", "2"],
        ["next", "-", "0"],
    ]
    stacks = hetzner.run("status", "-o", "json").document["stacks"]
    assert {stack: len(document["servers"]) for stack, document in stacks.items()} == {"demo": 2, "next": 0}
    assert len(hetzner.run("status", "-s", "demo", "-o", "json").document["servers"]) == 2

    table = hetzner.run("status", "-s", "demo").stdout.splitlines()
    assert [line.split()[3] for line in table if line.startswith("demo-worker")] == ["yes", "yes"]
    for wrong in (("--watch", "0s"), ("--watch", "--refresh"), ("--watch", "-o", "json")):
        hetzner.run("status", *wrong, code=64)


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_a_watch_redraws_only_where_a_terminal_can(hetzner: Project, kind: str) -> None:
    with terminal(hetzner, "status", "--watch", "1s", environ={"TERM": kind}) as (here, process):
        shown = read_until(here, "scaler ensure --stack demo")
        hetzner.state_dir.mkdir(exist_ok=True)
        state = {"schema": 1, "stack": "demo", "project": "scaler", "cloud": "hetzner", "serial": 1}
        state |= {"updated": "2026-11-24T22:10:00Z", "wanted": {"worker": 7}, "servers": []}
        hetzner.state_path.write_text(json.dumps(state), encoding="utf-8")
        shown += read_until(here, "0 of 7 ready")
        process.send_signal(signal.SIGTERM)
        shown += read_to_end(here)
    assert process.returncode == 143
    assert ("\x1b" in shown) is (kind == "xterm")
