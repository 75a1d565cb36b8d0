"""Commands that only look leave every file of the project and of its backend as it was: on a first run, beside a
running stack, and with the locks that dead runs left.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scaler.support.clock import SystemClock, format_time
from tests.support.project import HETZNER, Project, Vendor

PLAN = "from scaler import Scaler; print(Scaler().plan(4).outcome)"


def content(folder: Path) -> dict[str, bytes | None]:
    """Each file with its content, and each folder, but for the notes that the test's engine takes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.startswith(("engine.log", "embedded.sqlite-"))
    }


def put_dead_lock(project: Project) -> Path:
    """Put the lock of an engine that was killed on this machine."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pid = ended.pid
    lock = project.state_dir / "pulumi/.pulumi/locks/organization/scaler/demo/0b1c.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    since = format_time(SystemClock().now())
    document = {"pid": pid, "username": "me", "hostname": socket.gethostname(), "timestamp": since}
    lock.write_text(json.dumps(document), encoding="utf-8")
    return lock


def tear_checkpoint(project: Project) -> None:
    """Cut the engine's saved state off, as a full disk does; the copy beside it is whole."""
    checkpoint = project.state_dir / "pulumi/.pulumi/stacks/scaler/demo.json"
    checkpoint.with_name("demo.json.bak").write_bytes(checkpoint.read_bytes())
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])


def looked(project: Project, *commands: Sequence[str]) -> None:
    """Run commands that only look; each must leave everything as it was."""
    before = content(project.folder)
    for command in commands:
        project.run(*command)
        assert content(project.folder) == before, command
    ran = subprocess.run(
        [sys.executable, "-c", PLAN],
        cwd=project.folder,
        env=project.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "planned\n"), ran.stderr
    assert content(project.folder) == before, "Scaler.plan"


AUTOSCALE = {"metrics": {"load": {"fixed": 40}}, "rules": [{"backlog": {"metric": "load", "per_server": 10}}]}


@pytest.mark.acceptance("T08")
def test_looking_changes_no_file(make_served: Callable[[Vendor], Project]) -> None:
    served = make_served(HETZNER)
    served.describe(groups={"worker": {"max": 5, "autoscale": AUTOSCALE}})
    quick = (("orphans",), ("status",), ("history",), ("report",), ("metrics",))
    always = (("preview", "4", "--adopt"), ("autoscale", "--preview"), ("roll", "--preview"), ("doctor",))
    looked(served, *quick, *always)
    assert not served.state_dir.exists()
    assert served.machines == {}

    served.ensure("3")
    assert served.run("preview", "3", "-o", "json").document["outcome"] == "unchanged"
    looked(served, *quick, *always, ("why", "demo-worker-1"))

    # No secret is in this stack's state, and no operation would begin all the same.
    wrong = served.run("doctor", "-o", "json", code=1, environ={"PULUMI_CONFIG_PASSPHRASE": "wrong"}).document
    [backend] = [check for check in wrong["checks"] if check["check"].startswith("backend")]
    assert (backend["result"], "incorrect passphrase" in backend["message"]) == ("fail", True)

    lock = put_dead_lock(served)
    looked(served, *always)
    assert "dead run's lock" in served.run("preview", "3").stderr
    lock.unlink()

    tear_checkpoint(served)
    looked(served, ("status",), ("doctor",))
    # What a preview left as it was, the next run heals.
    assert served.ensure("4").document["outcome"] == "converged"
    assert len(served.agreed()) == 4


def test_a_first_look_makes_no_embedded_cloud(hetzner: Project) -> None:
    hetzner.close()
    for path in hetzner.state_dir.glob("*"):
        path.unlink()
    hetzner.state_dir.rmdir()
    before = content(hetzner.folder)
    shown = hetzner.run("preview", "2", "-o", "json").document
    assert [step["action"] for step in shown["steps"]] == ["create", "create"]
    hetzner.run("doctor")
    assert content(hetzner.folder) == before


def test_a_preview_that_shows_no_step_has_nothing_to_do(make_served: Callable[[Vendor], Project]) -> None:
    """The exit code, the document and the text say the same."""
    project = make_served(HETZNER)
    project.fault(HETZNER.stuck, "POST")
    project.run("ensure", "2", "--no-wait", "--yes", code=4)
    booting = project.run("preview", "2", "--detailed-exitcode", "-o", "json", code=0).document
    assert (booting["outcome"], booting["steps"]) == ("unchanged", [])
    assert "Nothing to do but wait" in project.run("preview", "2", "--detailed-exitcode", code=0).stdout
    more = project.run("preview", "3", "--detailed-exitcode", "-o", "json", code=2).document
    assert (more["outcome"], len(more["steps"])) == ("planned", 1)
