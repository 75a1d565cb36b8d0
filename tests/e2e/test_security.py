"""What others on the machine may not do, and what nobody may read."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.listener import listening
from tests.support.project import HETZNER, Project, Vendor, everything_written, finish, wait_until

MARKER = "M4RK3R"
AUTOSCALED = {
    "max": 5,
    "autoscale": {"metrics": {"load": {"fixed": 1}}, "rules": [{"backlog": {"metric": "load", "per_server": 1}}]},
}


def below(folder: Path) -> Iterator[Path]:
    """Every file and folder under a folder."""
    for root, folders, names in os.walk(folder):
        yield from (Path(root) / name for name in (*folders, *names))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
def test_whatever_the_umask_no_file_is_writable_by_others(served: Project, vendor: Vendor) -> None:
    project = served
    made_here = set(below(project.folder))
    temporary = project.folder / "tmp"
    temporary.mkdir()
    environ = {"XDG_CACHE_HOME": str(project.folder / "home" / "cache"), "TMPDIR": str(temporary)}
    reports = ("--json-file", "out/result.json", "--dotenv", "out/result.env", "--summary", "out/summary.md")

    def run(*arguments: str) -> None:
        ran = finish(project.start(*arguments, environ=environ, umask=0))
        assert ran.code == 0, ran.stderr

    (project.folder / "command").write_text("#!/bin/sh\numask > home/of-command\n", encoding="utf-8")
    (project.folder / "command").chmod(0o755)
    made_here.add(project.folder / "command")
    (project.folder / "home").mkdir(mode=0o755)
    project.describe(
        groups={"worker": {"type": ["cx23", "cx33"]}}, notify=[{"command": ["./command"], "events": ["run.finished"]}]
    )
    project.fault("respond", "POST", status=412, code="resource_unavailable")
    run("ensure", "2", "--yes", *reports)
    run("preview", "3", "--out", "plan.json")
    run("apply", "plan.json")
    run("refresh")
    # The embedded cloud's world, and the memory of autoscaling; a stack that holds servers would not move there.
    run("destroy", "--yes")
    project.describe(endpoint="embedded", groups={"worker": AUTOSCALED})
    run("autoscale", "--yes", "--state-dir", "second/state")
    run("init", "-C", "second")

    made = set(below(project.folder)) - made_here - {temporary}
    names = {path.name for path in made}
    expected = {"demo.json", "demo.lock", "demo.events.jsonl", "demo.shortages.json", "demo.autoscale.json"}
    expected |= {"embedded.sqlite", "plan.json", "result.json", "result.env", "summary.md", "versions.json", ".pulumi"}
    assert expected <= names
    # The test's own log of engine processes, written by the engine's wrapper, is among the engine's files.
    assert [str(path) for path in made if mode(path) & 0o022 and not path.is_symlink()] == []
    assert (project.folder / "home" / "of-command").read_text() == "0022\n"

    secret = [project.state_dir / "pulumi" / ".pulumi", project.state_dir, project.folder / "second" / "state"]
    secret += [project.folder / "second" / "state" / "embedded.sqlite", project.folder / "plan.json"]
    secret += list(below(secret[0]))
    assert [str(path) for path in secret if mode(path) & stat.S_IRWXO] == []
    # Not even to enter, where the checkpoints are.
    assert [str(path) for path in below(secret[0]) if mode(path) & stat.S_IRWXG] == []


def describe_with_user_data(project: Project) -> None:
    """The stack's user data holds the marker, and comes from a file and from the spec itself."""
    (project.spec_path.parent / "worker.cloud-init.yaml").write_text(f"#cloud-config\n# {MARKER}\n", encoding="utf-8")
    project.describe(
        groups={
            "worker": {"user_data": "worker.cloud-init.yaml"},
            "other": {"user_data_inline": f"#!/bin/sh\necho {MARKER}\n", "count": 1},
        },
        notify=[{"command": ["sh", "-c", "cat >> told.jsonl"], "events": ["*"]}],
    )


def test_user_data_is_nowhere(served: Project) -> None:
    """Only in the cloud: in no file, argument or variable, and in no output, of good and failed and killed runs."""
    project = served
    describe_with_user_data(project)
    (project.folder / "tmp").mkdir()
    project.environ["TMPDIR"] = str(project.folder / "tmp")
    said = [
        project.run("ensure", "worker=2", "--yes", "-vv", "--debug", "--json-file", "result.json"),
        project.run("preview", "worker=3", "--out", "plan.json", "-vv", "--debug"),
        project.run("apply", "plan.json", "-vv", "--debug"),
        project.run("refresh", "-vv", "--debug"),
    ]
    assert {MARKER in machine.body["user_data"] for machine in project.world.servers(project.vendor.name)} == {True}
    # Killed in the middle of a create: the engine's temporary files stay.
    fault = project.fault("hang_forever", "POST")
    killed = project.start("ensure", "worker=4", "--yes", "-vv", "--debug")
    wait_until(lambda: project.world.fired(fault), "the request that hangs")
    for pid, _ in project.engine_runs[-1:]:
        os.kill(pid, signal.SIGKILL)
    killed.kill()
    finish(killed)
    project.world.clear_faults()
    said.append(project.run("ensure", "worker=4", "--yes", "-vv", "--debug"))
    said.append(project.run("why", "demo-worker-1", "-vv", "--debug"))
    said.append(project.run("history", "-vv", "--debug", "-o", "json"))
    for ran in said:
        assert MARKER not in ran.stdout
        assert MARKER not in ran.stderr
    # The two files that it was given in.
    (project.spec_path.parent / "worker.cloud-init.yaml").unlink()
    project.spec_path.unlink()
    written = everything_written(project.folder) + everything_written(project.cache)
    for trace in (b"ENGINE_LOG", b"demo-worker-4", b"server.creating", b"userData", b"ciphertext"):
        assert trace in written, "what was looked through is not what it should be"
    assert MARKER.encode() not in written


def test_the_stack_s_user_data_can_be_read_with_the_passphrase_alone(hetzner: Project) -> None:
    describe_with_user_data(hetzner)
    hetzner.environ["PULUMI_CONFIG_PASSPHRASE"] = "correct horse"
    hetzner.ensure("worker=1")
    wrong = hetzner.run("ensure", "worker=2", "--yes", code=1, environ={"PULUMI_CONFIG_PASSPHRASE": "wrong"})
    assert wrong.stderr.count("incorrect passphrase") == 1
    doctor = hetzner.run("doctor", "-o", "json", code=1, environ={"PULUMI_CONFIG_PASSPHRASE": "wrong"})
    [backend] = [found for found in doctor.document["checks"] if found["check"].startswith("backend")]
    assert "incorrect passphrase" in backend["message"]
    assert len(hetzner.machines) == 2
    # The settings file with the passphrase's salt is lost with the checkout, as in a pipeline's next job.
    (hetzner.folder / "Pulumi.demo.yaml").unlink()
    hetzner.ensure("worker=2")
    assert len(hetzner.agreed()) == 3


def test_no_name_leads_out_of_the_project_folder(hetzner: Project) -> None:
    """A stack or a group that is named like a path: nothing is read or written there."""
    beside = hetzner.folder.parent / "beside.yaml"
    beside.write_bytes(hetzner.spec_path.read_bytes())
    before = set(below(hetzner.folder.parent))
    for command in (["ensure", "--yes"], ["status"], ["history"], ["prune"], ["unlock"], ["destroy", "--yes"]):
        refused = hetzner.run(*command, "--stack", "../../beside", "-o", "json", code=64)
        assert "../../beside" in refused.error["message"]
    hetzner.describe(groups={"../../beside": {}})
    assert "../../beside" in hetzner.run("ensure", "--yes", code=65).stderr
    (hetzner.folder / "Pulumi.yaml").write_text("name: ../../beside\nruntime: python\n", encoding="utf-8")
    assert "../../beside" in hetzner.run("ensure", "--yes", code=65).stderr
    assert {path for path in set(below(hetzner.folder.parent)) - before if "embedded.sqlite" not in path.name} == set()


def test_a_pipe_in_the_place_of_a_file_holds_no_command_up(hetzner: Project) -> None:
    """Of the engine, which would wait in it for ever, and of scaler; each is named, and gives way to the file again."""
    hetzner.ensure("worker=1")
    backend = hetzner.state_dir / "pulumi/.pulumi"
    places = {
        backend / "meta.yaml": 1,
        backend / "stacks/scaler/demo.json.attrs": 1,
        backend / "locks/organization/scaler/demo/x.json.attrs": 1,
        hetzner.folder / "Pulumi.demo.yaml": 1,
        hetzner.folder / "Pulumi.yaml": 65,
        hetzner.spec_path: 65,
        hetzner.state_path: 1,
    }
    for path, code in places.items():
        there = path.exists()
        if there:
            path.rename(path.with_name("kept"))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        error = hetzner.ensure("worker=2", code=code).error
        assert "a pipe, a device or a socket" in json.dumps(error), path
        if path.name == "meta.yaml":
            assert "a pipe, a device or a socket" in hetzner.run("doctor", code=1).stdout, path
        path.unlink()
        if there:
            path.with_name("kept").rename(path)
    hetzner.ensure("worker=2")
    assert len(hetzner.agreed()) == 2


def test_no_key_of_the_stack_goes_to_a_host_that_only_files_name(hetzner: Project) -> None:
    """A secrets provider in the stack's settings file, and one in the state of a backend that came with the project.

    The listener is named as 0.0.0.0, which is not one of the addresses that need no permission.
    """
    hetzner.environ |= {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}
    settings, anywhere = hetzner.folder / "Pulumi.demo.yaml", "0.0.0.0"  # noqa: S104 - to connect to
    with listening() as listener:
        provider = f"awskms://alias/scaler?region=eu-central-1&endpoint=http://{anywhere}:{listener.port}"
        settings.write_text(f"secretsprovider: {provider}\n", encoding="utf-8")
        assert hetzner.ensure("worker=1", code=3).error["code"] == "provider_not_allowed"
        assert "Pulumi.demo.yaml" in hetzner.run("doctor", code=3).stdout
        settings.unlink()
        hetzner.ensure("worker=1")

        saved = hetzner.state_dir / "pulumi/.pulumi/stacks/scaler/demo.json"
        document = json.loads(saved.read_bytes())
        state = {"type": "cloud", "state": {"url": provider, "encryptedkey": "AAAA"}}
        document["checkpoint"]["latest"]["secrets_providers"] = state
        saved.write_text(json.dumps(document), encoding="utf-8")
        assert hetzner.ensure("worker=2", code=3).error["code"] == "provider_not_allowed"
        assert listener.connections == 0
        # The host is allowed, and over plain HTTP it is still refused; on this machine both are fine.
        allowed = {"SCALER_ALLOW_HOSTS": anywhere}
        hetzner.run("ensure", "worker=2", "--yes", code=3, environ=allowed)
        assert listener.connections == 0
        saved.write_text(json.dumps(document).replace(anywhere, "127.0.0.1"), encoding="utf-8")
        hetzner.run("ensure", "worker=2", "--yes", code=1)
        assert listener.connections > 0
    assert len(hetzner.machines) == 1
