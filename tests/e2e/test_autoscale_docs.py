"""The tutorial's commands are run in their order, and its specs and the how-to's are good."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.config.spec import load
from tests.support import servers
from tests.support.project import ROOT, Project

TUTORIAL = ROOT / "docs/tutorial/autoscale.md"
HORIZON = ROOT / "docs/how-to/from-laravel-horizon.md"


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    servers.needs("redis-cli", "redis-tools")
    folder = tmp_path / "redis"
    folder.mkdir()
    with servers.redis_server(folder) as port:
        yield port


def test_the_tutorial_does_what_it_says(hetzner: Project, redis_port: int) -> None:
    hetzner.spec_path.unlink()
    [spec] = blocks(TUTORIAL, "yaml")
    (hetzner.folder / "stacks" / "dev.yaml").write_text(spec.replace(":6379", f":{redis_port}"))
    program = hetzner.folder / "bin" / "scaler"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scaler "$@"\n')
    program.chmod(0o755)
    told = ""
    for block in blocks(TUTORIAL, "sh"):
        ran = subprocess.run(
            ["sh", "-ec", block.replace("-p 6379", f"-p {redis_port}")],
            check=False,
            cwd=hetzner.folder,
            env={**hetzner.environ, "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, f"{block}\n{ran.stdout}\n{ran.stderr}"
        told += ran.stdout
    for line in (
        "worker: 1 → 4 (0 of 0 ready)",
        "  backlog jobs        4: jobs is 35, at 10 per server: 3.5",
        "Plan: 4 to add, 0 to change, 0 to remove.",
        "worker: 4 stays (4 of 4 ready)",
        "worker: 4 → 1 (4 of 4 ready)",
    ):
        assert line in told
        assert line in TUTORIAL.read_text(encoding="utf-8") or line.startswith("worker: 4 → 1")
    # The page's words, or those that a slow machine gets, on which the four were asked for more than ten seconds ago.
    assert "  stabilisation       0 becomes 4: asked for less than 10s yet" in TUTORIAL.read_text(encoding="utf-8")
    assert re.search("^  stabilisation       0 becomes 4: (asked for less than 10s yet|4 is the mildest)", told, re.M)
    prices = re.findall(r"^cost +([0-9.]+) EUR +([0-9.]+) EUR$", told, re.MULTILINE)
    [(eager, calm)] = prices
    assert float(calm) < float(eager), "the page says that the calmer policy is cheaper"
    assert (hetzner.folder / "report.html").exists()


def test_every_policy_on_the_pages_is_good(tmp_path: Path) -> None:
    start = (
        "cloud: hetzner\ngroups:\n  worker:\n    {count: 1, max: 9, image: a, type: b, location: c, autoscale: %s}\n"
    )
    page = TUTORIAL.read_text(encoding="utf-8") + HORIZON.read_text(encoding="utf-8")
    rules = re.findall(r"`((?:backlog|wait|target|schedule|steps): \{.*\})`", page)
    assert len(rules) >= 9
    for rule in rules:
        names = sorted(set(re.findall(r"metric: (\w+)", rule)))
        metrics = ", ".join(f"{name}: {{fixed: 1}}" for name in names)
        path = tmp_path / "prod.yaml"
        path.write_text(start % f"{{metrics: {{{metrics}}}, rules: [{{{rule}}}]}}")
        assert load(path, "shop").groups["worker"].autoscale


def test_the_how_tos_blocks_are_good(tmp_path: Path) -> None:
    head = "cloud: hetzner\ngroups:\n  worker:\n    count: 1\n    max: 9\n    image: a\n    type: b\n    location: c\n"
    policy, stop = blocks(HORIZON, "yaml")
    path = tmp_path / "prod.yaml"
    path.write_text(head + "".join(f"    {line}\n" for line in (policy + stop).splitlines()))
    group = load(path, "shop").groups["worker"]
    assert group.autoscale
    assert group.stop.drain


def test_the_units_command_line_is_one(hetzner: Project) -> None:
    unit = (ROOT / "ci/scaler-watch.service").read_text(encoding="utf-8")
    [command] = re.findall(r"^ExecStart=\S+/scaler (.*)$", unit, re.MULTILINE)
    ran = hetzner.run(*command.replace("--stack prod", "--stack demo").split(), "-o", "json", code=64)
    assert ran.error["code"] == "no_policy", "all its options are known: only the policy is missing"
