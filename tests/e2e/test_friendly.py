"""What a person is told: the nearest name, the next command, what a question is about, and what came of a no."""

from __future__ import annotations

import json
import os
import pty
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import HETZNER, Project, Ran


def at_a_terminal(project: Project, typed: str, *arguments: str, **environ: str) -> Ran:
    """Run with a terminal for all streams, at which this has been typed; what it shows is the output."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        process = project.start(
            *arguments, environ={"TERM": "dumb", **environ}, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        # A question that nobody answers must fail the test, and not hold it up.
        bound = threading.Timer(120, process.kill)
        bound.start()
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:
                break
        bound.cancel()
        return Ran(process.wait(timeout=120), shown.decode(errors="replace"), "")
    finally:
        os.close(ours)


WRONG_NAMES = [
    (("status", "--stack", "dmeo"), 64, "Did you mean demo?"),
    (("ensure", "wroker=2", "--yes"), 64, "Did you mean worker?"),
    (("increase", "--group", "wroker", "--yes"), 64, "Did you mean worker?"),
    (("reboot", "--group", "wroker", "--yes"), 64, "Did you mean worker?"),
    (("reboot", "demo-wroker-1"), 64, "Did you mean demo-worker-1?"),
    (("protect", "demo-wroker-1"), 64, "Did you mean demo-worker-1?"),
    (("stop", "demo-worker1", "--yes"), 64, "Did you mean demo-worker-1?"),
    (("remove", "demo-worker1", "--yes"), 64, "Did you mean demo-worker-1?"),
    (("ssh", "demo-worker1"), 64, "Did you mean demo-worker-1?"),
    (("replace", "demo-worker1", "--yes"), 64, "Did you mean demo-worker-1?"),
    (("why", "demo-worker1"), 64, "Did you mean demo-worker-1?"),
    (("history", "--server", "demo-worker1"), 64, "Did you mean demo-worker-1?"),
]


def test_the_nearest_name_is_told(hetzner: Project) -> None:
    hetzner.ensure("1")
    changes = hetzner.changes
    for arguments, code, cure in WRONG_NAMES:
        ran = hetzner.run(*arguments, "-o", "json", code=code)
        assert ran.error["fix"] == cure, arguments
    assert hetzner.changes == changes


@pytest.mark.parametrize(
    ("top", "group", "cure"),
    [
        ({"limt": 5}, {}, "did you mean limit?"),
        ({}, {"cuont": 2}, "did you mean count?"),
        ({"cloud": "hetzer"}, {}, "did you mean hetzner?"),
    ],
    ids=["a key", "a group's key", "a cloud"],
)
def test_the_nearest_key_of_a_spec_is_told(
    hetzner: Project, top: dict[str, Any], group: dict[str, Any], cure: str
) -> None:
    hetzner.describe(groups={"worker": group}, **top)
    problems = hetzner.run("validate", "-o", "json", code=65).document["error"]["problems"]
    assert cure in [problem["fix"] for problem in problems]


@pytest.mark.parametrize(("key", "wrong", "right"), [("type", "cpx222", "cpx22"), ("location", "fns1", "fsn1")])
def test_the_nearest_type_and_location_are_told(hetzner: Project, key: str, wrong: str, right: str) -> None:
    hetzner.describe(groups={"worker": {key: wrong}})
    ran = hetzner.run("preview", "1", "-o", "json", code=65)
    assert ran.error["fix"].startswith(f"Did you mean {right}")


def test_a_question_tells_who_is_ready_and_a_no_changes_nothing(hetzner: Project) -> None:
    assert "demo: declined; nothing was changed." in at_a_terminal(hetzner, "n\n", "ensure", "2").stdout
    left = [path for path in hetzner.folder.rglob("*") if path.name in ("demo.json", "Pulumi.demo.yaml")]
    assert left == [], "a stack that nobody wanted"
    hetzner.ensure("2")
    changes, records = hetzner.changes, hetzner.records
    for arguments in (("ensure", "3"), ("increase",), ("decrease", "6"), ("remove", "demo-worker-2"), ("destroy",)):
        ran = at_a_terminal(hetzner, "n\n", *arguments)
        assert ran.code == 0
        assert "have 2 ready of 2" in ran.stdout, ran.stdout
        assert "demo: declined; nothing was changed." in ran.stdout
        assert "Nothing to do" not in ran.stdout
        assert "To do this" not in ran.stdout
        assert ("Delete demo-worker-2 for good?" in ran.stdout) is (arguments[0] == "remove")
    rebooted = at_a_terminal(hetzner, "n\n", "reboot", "--group", "worker")
    assert "demo: declined; nothing was changed." in rebooted.stdout
    assert (hetzner.changes, hetzner.records) == (changes, records)


def test_the_next_command_is_told(hetzner: Project) -> None:
    """That which does what a preview shows is for a person alone: a pipeline has a step for it."""
    for arguments, hint, is_for_all in (
        (("init",), "Next: scaler preview", True),
        (("preview", "2"), "To do this: scaler ensure worker=2 --stack demo", False),
        (("status",), "To ask the cloud: scaler status --refresh --stack demo", True),
    ):
        given = arguments if arguments == ("init",) else (*arguments, "--stack", "demo")
        # A question of `init` gets its default.
        assert hint in at_a_terminal(hetzner, "\n", *given).stdout
        assert (hint in at_a_terminal(hetzner, "", *given, CI="true").stdout) is is_for_all
        ran = hetzner.run(*given)
        assert (hint in ran.stdout + ran.stderr) is is_for_all


def test_colour_is_for_terminals_that_want_it(hetzner: Project) -> None:
    hetzner.ensure("1")
    colours = "\x1b["
    assert colours not in hetzner.run("status").stdout
    assert colours in hetzner.run("status", "--color", "always").stdout
    assert colours in hetzner.run("status", environ={"FORCE_COLOR": "1"}).stdout
    assert colours not in hetzner.run("status", environ={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert colours not in hetzner.run("status", "-o", "json", "--color", "always").stdout
    assert colours in at_a_terminal(hetzner, "", "status", TERM="xterm").stdout
    assert colours not in at_a_terminal(hetzner, "", "status", TERM="xterm", NO_COLOR="1").stdout
    assert colours not in at_a_terminal(hetzner, "", "status").stdout


@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
def test_documents_tell_every_failure(served: Project) -> None:
    served.ensure("1")
    served.fault("respond", "POST", times=None, status=422, code="invalid_input", message="no such thing")
    ran = served.ensure("2", code=1)
    [failure, *_] = ran.document["failures"]
    assert set(failure) == {"code", "message", "why", "fix"}
    assert "no such thing" in failure["why"] + failure["message"]
    assert served.run("status", "-o", "json").document["counts"]["running"] == 1


def test_every_end_writes_a_pipelines_files(hetzner: Project) -> None:
    """Also where nothing scales, the spec is wrong, the command line cannot be read, or no servers are counted."""
    written = hetzner.folder / "result.json"
    github = hetzner.folder / "github"

    def run(*arguments: str, code: int = 0) -> tuple[dict[str, Any], dict[str, str]]:
        github.unlink(missing_ok=True)
        hetzner.run(*arguments, "--json-file", str(written), code=code, environ={"GITHUB_OUTPUT": str(github)})
        outputs = dict(line.split("=", 1) for line in github.read_text(encoding="utf-8").splitlines())
        return json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}, outputs

    for arguments in (("autoscale", "--yes"), ("autoscale", "--all", "--yes")):
        result, outputs = run(*arguments)
        assert (result["outcome"], outputs["outcome"], outputs["stack"]) == ("unchanged", "unchanged", "demo")
    _, outputs = run("ensure", "--yes", "--no-such-option", code=64)
    assert (outputs["outcome"], outputs["error"], outputs["exit_code"]) == ("failed", "usage", "64")
    for output, code in (("json", 1), ("text", 0)):
        github.unlink()
        words = ("ensure", "--yes", "--allow-zero", "0", "-o", output, "--json-file", str(written))
        with Path("/dev/full").open("w") as full:
            process = hetzner.start(*words, environ={"GITHUB_OUTPUT": str(github)}, stdout=full)
            _, said = process.communicate(timeout=60)
        assert (process.returncode, "No space left on device" in said) == (code, True), "only a document is lost"
        assert json.loads(written.read_text(encoding="utf-8"))["outcome"] == "unchanged"
        assert f"exit_code={code}\n" in github.read_text(encoding="utf-8")
    result, outputs = run("pause", "--for", "1h")
    assert (bool(result["pause"]["until"]), outputs["outcome"]) == (True, "converged")
    result, outputs = run("orphans")
    assert (result["orphans"], outputs["changed"]) == ([], "false")
    hetzner.describe(groups={"worker": {"cuont": 2}})
    for command in ("autoscale", "reboot", "snapshot", "protect", "roll", "destroy"):
        names = ("demo-worker-1",) if command in ("snapshot", "protect") else ()
        consent = () if command == "protect" else ("--yes",)
        result, outputs = run(command, *names, *consent, code=65)
        assert (result["error"]["code"], outputs["error"]) == ("spec_invalid", "spec_invalid"), command


def test_autoscaling_writes_a_pipelines_files(hetzner: Project) -> None:
    policy = {"metrics": {"load": {"fixed": 25}}, "rules": [{"backlog": {"metric": "load", "per_server": 10}}]}
    hetzner.describe(groups={"worker": {"count": 1, "max": 5, "autoscale": policy}})
    files = [hetzner.folder / name for name in ("result.json", "result.md", "result.env")]
    options = [f"--{name}={path}" for name, path in zip(("json-file", "summary", "dotenv"), files, strict=True)]
    for outcome in ("converged", "unchanged"):
        hetzner.run("autoscale", "--yes", "--wait", *options)
        assert json.loads(files[0].read_text(encoding="utf-8"))["outcome"] == outcome
        assert "demo" in files[1].read_text(encoding="utf-8")
        told = dict(line.split("=", 1) for line in files[2].read_text(encoding="utf-8").splitlines())
        assert (told["SCALER_OUTCOME"], told["SCALER_WANTED"], told["SCALER_READY"]) == (outcome, "3", "3")
