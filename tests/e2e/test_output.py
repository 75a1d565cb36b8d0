"""What a person, a log and a program get to read, and what nobody may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.project import HETZNER, ROOT, TOKEN, Project, everything_written, wait_until
from tests.support.terminal import read_to_end, read_until, terminal

# ---------------------------------------------------------------------------------------------
# Logs and documents


@pytest.mark.acceptance("P28", "P31", "P32")
def test_log_and_status(hetzner: Project) -> None:
    none = hetzner.run("status")
    assert "no servers" in none.stdout.lower()

    hetzner.world.set_knobs(boot_s=1)
    ran = hetzner.run("ensure", "2", "--yes")
    # One line of result; the progress is elsewhere, a line per change, without any control codes.
    assert ran.stdout.splitlines()[0].startswith("demo: 2 of 2 ready (+2, -0)")
    lines = ran.stderr.splitlines()
    assert all(line.startswith("scaler: ") and line.isprintable() for line in lines), lines
    for phase in ("observing", "applying", "confirming", "recording"):
        assert f"scaler: {phase}" in lines
    for name in ("demo-worker-1", "demo-worker-2"):
        assert sum(name in line and "running" in line for line in lines) == 1

    quiet = hetzner.run("ensure", "2", "--yes", "-q")
    assert quiet.stderr == ""

    table = hetzner.run("status").stdout
    assert "NAME" in table.upper()
    assert "demo-worker-1" in table
    counts = hetzner.run("status", "-o", "json").document["counts"]
    assert list(counts) == [
        *("new", "starting", "running", "unhealthy", "rebooting", "stopping"),
        *("stopped", "deleting", "deleted", "hanging", "errored"),
    ]
    assert counts["running"] == 2
    assert sum(counts.values()) == 2

    for output in ("yaml", "markdown"):
        assert "demo-worker-1" in hetzner.run("status", "-o", output).stdout
    assert set(json.loads(hetzner.run("ensure", "2", "--yes", "-o", "json", "-v").stdout)) >= {"schema", "outcome"}


# ---------------------------------------------------------------------------------------------
# A terminal


def test_a_person_sees_the_plan_and_is_asked(hetzner: Project) -> None:
    with terminal(hetzner, "ensure", "2") as (here, process):
        shown = read_until(here, "[y/N]")
        assert "demo-worker-1" in shown
        assert "demo-worker-2" in shown
        assert hetzner.changes == []
        os.write(here, b"n\n")
        read_to_end(here)
    assert process.returncode == 0
    assert hetzner.changes == []
    assert "up" not in [operation for _, operation in hetzner.engine_runs]

    with terminal(hetzner, "ensure", "2") as (here, process):
        read_until(here, "[y/N]")
        os.write(here, b"y\n")
        assert "2 of 2 ready" in read_to_end(here)
    assert process.returncode == 0
    assert len(hetzner.agreed()) == 2

    # To remove everything, the stack's name has to be typed; anything else changes nothing.
    for typed, left in ((b"yes\n", 2), (b"demo\n", 0)):
        with terminal(hetzner, "destroy") as (here, process):
            read_until(here, "Type demo")
            os.write(here, typed)
            read_to_end(here)
        assert process.returncode == 0
        assert len(hetzner.machines) == left
    assert hetzner.agreed() == {}


# ---------------------------------------------------------------------------------------------
# What nobody may read


@pytest.mark.acceptance("S12")
def test_the_token_is_nowhere(served: Project) -> None:
    """Not in what a good, a failed or a refused run says or writes, nor in what the engine is told."""
    project = served
    said = [project.run("ensure", "2", "--yes", "-vv", "--debug")]
    # A cloud that repeats the token in its own words.
    project.fault("respond", "POST", status=422, code="invalid_input", message=f"who is {TOKEN}?")
    said.append(project.run("ensure", "4", "--yes", "-vv", "--debug", code=1))
    project.fault("respond", "GET", times=None, status=401, code="unauthorized", message=f"bad token {TOKEN}")
    said.append(project.run("status", "--refresh", "--debug", code=77))
    assert project.machines
    for ran in said:
        assert TOKEN not in ran.stdout
        assert TOKEN not in ran.stderr
    written = everything_written(project.folder) + everything_written(project.cache)
    assert b"demo-worker-1" in written
    assert b"ENGINE_LOG" in written, "the engine's environment is among what was looked through"
    assert TOKEN.encode() not in written


def test_status_loads_nothing_heavy(hetzner: Project) -> None:
    hetzner.ensure("1")
    driver = (
        "import sys; from scaler.commands.main import main; code = main(['status']); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", driver],
        cwd=hetzner.folder,
        env={**hetzner.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "demo-worker-1" in ran.stdout
    heavy = {"pulumi", "grpc", "hcloud", "pydo", "pydantic", "requests", "starlette", "uvicorn", "pulumi_hcloud"}
    loaded = set(ran.stderr.split())
    assert {"scaler", "click"} <= loaded
    assert heavy.isdisjoint(loaded)


@pytest.mark.acceptance("S13")
@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
@pytest.mark.parametrize(
    ("number", "code", "output"),
    [(signal.SIGINT, 130, "text"), (signal.SIGTERM, 143, "json"), (signal.SIGHUP, 129, "text")],
    ids=["int", "term", "hup"],
)
def test_interrupted_while_servers_boot(served: Project, number: int, code: int, output: str) -> None:
    served.world.set_knobs(boot_s=3600)
    reports = {name: served.folder / name for name in ("report.json", "report.env", "report.md", "github")}
    files = ("--json-file", "report.json", "--dotenv", "report.env", "--summary", "report.md")
    environ = {"GITHUB_OUTPUT": str(reports["github"])}
    process = served.start("ensure", "2", "--yes", "-o", output, *files, environ=environ)
    wait_until(lambda: len(served.creates) == 2, "the creates")
    seen = len(served.lists)
    wait_until(lambda: len(served.lists) > seen + 1, "a look at what boots")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    error = {
        "code": "interrupted",
        "message": "Interrupted.",
        "why": "2 servers are on their way",
        "fix": "The same command goes on.",
    }
    if output == "json":
        assert json.loads(stdout) == {"schema": 1, "error": error}
    else:
        assert "Interrupted. 2 servers are on their way. The same command goes on." in stderr.splitlines()
    assert json.loads(reports["report.json"].read_text()) == {"schema": 1, "error": error}
    assert f"SCALER_EXIT_CODE={code}\n" in reports["report.env"].read_text()
    outputs = dict(line.split("=", 1) for line in reports["github"].read_text().splitlines())
    told = ("error", "changed", "stack", "wanted", "before", "ready", "created", "deleted", "pending")
    assert [outputs[name] for name in told] == ["interrupted", "true", "demo", "2", "0", "0", "2", "0", "2"]
    assert {server["name"]: server["id"] for server in json.loads(outputs["servers"])} == served.machines
    assert "SCALER_CHANGED=true\n" in reports["report.env"].read_text()
    assert "2 servers are on their way" in reports["report.md"].read_text()
    assert {name: (server["status"], server["id"]) for name, server in served.records.items()} == {
        name: ("starting", number) for name, number in served.machines.items()
    }
    served.world.advance(3600)
    served.ensure("2")
    assert len(served.agreed()) == 2
    assert len(served.creates) == 2


@pytest.mark.acceptance("S13")
@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
def test_interrupted_between_creates_the_records_have_what_was_accepted(served: Project) -> None:
    """The vendor answers the second of three creates with a wait of four minutes."""
    fault = served.fault("rate_limit", "POST", skip=1, times=None, headers={"retry-after": "240"})
    process = served.start("ensure", "3", "--yes")
    wait_until(lambda: served.world.fired(fault), "the refusal")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    [(name, known)] = served.machines.items()
    assert (served.records[name]["status"], served.records[name]["id"]) == ("starting", known)
    served.world.clear_faults()
    served.ensure("3")
    assert len(served.agreed()) == 3
