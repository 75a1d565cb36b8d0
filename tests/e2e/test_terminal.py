"""How runs look at a terminal of 80 and of 120 columns."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.project import Project
from tests.support.terminal import lines_of, read_to_end, read_until, shown_by, terminal

WORKERS = [f"demo-worker-{number}" for number in range(1, 13)]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_plan_of_sixty_servers_fits_a_screen(hetzner: Project, columns: int) -> None:
    hetzner.describe(limit=80)
    hetzner.ensure("3")
    lines = shown_by(hetzner, "preview", "60", columns=columns)
    plan = lines[lines.index("demo") :]
    assert "  + 57 create demo-worker-4 … -60, cx23 in fsn1: worker wants 60, has 3" in plan
    assert len(plan) < 24
    assert all(len(line) <= columns for line in plan)
    assert "57: demo-worker-4 … -60" in hetzner.run("preview", "60", "-o", "markdown").stdout
    assert len(hetzner.run("preview", "60", "-o", "json").document["steps"]) == 57


def test_servers_in_natural_order_within_eighty_columns(hetzner: Project) -> None:
    hetzner.describe(limit=80, groups={"worker": {"type": "cx23"}})
    # A view of many servers: one screen, a bar, and one time.
    with terminal(hetzner, "ensure", "12", "--yes", columns=80, rows=24) as (here, process):
        lines = lines_of(read_to_end(here))
    assert process.returncode == 0
    assert any("of 12 ready (" in line for line in lines)
    # Nobody is asked, and the plan is shown all the same.
    assert "  + 12 create demo-worker-1 … -12, cx23 in fsn1: worker wants 12, has 0" in lines
    assert not any("[y/N]" in line for line in lines)
    assert not any("running" in line for line in lines), "the bar counts what is ready"
    assert all(len(line) <= 80 for line in lines)

    for columns in (60, 80, 120):
        lines = shown_by(hetzner, "status", columns=columns)
        assert [line.split()[0] for line in lines if line.startswith("demo-worker-")] == WORKERS
        assert all(len(line) <= columns for line in lines)
    assert "IPV4" in next(line for line in shown_by(hetzner, "status", columns=60) if line.startswith("NAME"))
    assert any("Too wide for this terminal: ID" in line for line in shown_by(hetzner, "status", columns=60))
    documents = hetzner.run("status", "-o", "json").document["servers"]
    assert [server["name"] for server in documents] == WORKERS
    assert list(hetzner.records) == WORKERS


def test_who_is_not_asked_sees_the_plan_too(hetzner: Project) -> None:
    """`ensure --yes` is above; a stack of its own, since a policy would scale that one."""
    policy = {"metrics": {"load": {"fixed": 15}}, "rules": [{"backlog": {"metric": "load", "per_server": 10}}]}
    hetzner.describe(groups={"worker": {"count": 1, "type": "cx23", "location": "fsn1", "max": 5, "autoscale": policy}})
    scaled = shown_by(hetzner, "autoscale", "--yes", "--wait")
    assert "Plan: 2 to add, 0 to change, 0 to remove." in scaled
    assert max(map(len, scaled)) <= 80
    assert "  ~ reboot demo-worker-2 (running)" in shown_by(hetzner, "reboot", "demo-worker-2")
    assert "  ~ reboot demo-worker-1 (running)" in shown_by(hetzner, "reboot", "--yes", "--at-once")
    made = "\n".join(shown_by(hetzner, "snapshot", "demo-worker-1", "--yes", columns=120))
    assert " would be made of demo-worker-1: role=worker" in made
    assert made.index("would be made of") < made.index("was made of")
    # A server of nobody's, with the stack's id.
    labels = hetzner.vendor.labels_of(hetzner.machine("demo-worker-1"))
    hetzner.world.add_server("hetzner", "demo-worker-7", labels=labels)
    for columns, left_out in ((60, True), (80, False)):
        lines = shown_by(hetzner, "orphans", columns=columns)
        assert any(line.startswith("demo-worker-7") for line in lines)
        assert any(line.startswith("Too wide for this terminal:") for line in lines) is left_out
        assert max(map(len, lines)) <= columns
    assert not any("~ reboot" in line for line in hetzner.run("reboot", "--yes").stderr.splitlines()), "a log"


def test_a_signal_at_the_question_ends_with_its_code_and_all_reports(hetzner: Project) -> None:
    # By its records, another run's servers are on their way.
    hetzner.world.set_knobs(boot_s=3600)
    hetzner.run("ensure", "1", "--yes", "--no-wait", code=4)
    made = len(hetzner.changes)
    with terminal(hetzner, "ensure", "2", "--json-file", "report.json", "--dotenv", "report.env") as (here, process):
        read_until(here, "[y/N]")
        process.send_signal(signal.SIGTERM)
        assert "\r\nInterrupted.\r\n" in read_to_end(here), "on a line of its own; nothing is on its way by this run"
    assert process.returncode == 143
    assert json.loads((hetzner.folder / "report.json").read_text())["error"]["code"] == "interrupted"
    told = (hetzner.folder / "report.env").read_text().splitlines()
    assert {"SCALER_EXIT_CODE=143", "SCALER_CHANGED=false", "SCALER_CREATED=0"} <= {*told}
    assert len(hetzner.changes) == made
