"""`scaler ssh`: how the user's own program is called, and that its exit code is the command's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.project import Project

STAND_IN = """#!/bin/sh
# In place of OpenSSH, since nothing listens at the embedded cloud's addresses: one argument a line, and an own code.
printf '%s\\n' "$@"
exit 7
"""


def own_ssh(project: Project) -> Path:
    folder = project.folder / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(STAND_IN, encoding="utf-8")
    (folder / "ssh").chmod(0o755)
    project.environ["PATH"] = f"{folder}{os.pathsep}{project.environ['PATH']}"
    return folder


def change_address(project: Project, **addresses: str | None) -> None:
    state = project.state
    state["servers"][0] |= addresses
    project.state_path.write_text(json.dumps(state), encoding="utf-8")


def test_ssh_gets_the_address_and_the_right_options(hetzner: Project) -> None:
    own_ssh(hetzner)
    hetzner.ensure("1")
    server = hetzner.records["demo-worker-1"]
    always = ["-o", "StrictHostKeyChecking=accept-new", "-o", f"HostKeyAlias=demo-worker-1.{server['id']}"]

    logged_in = hetzner.run("ssh", "demo-worker-1", code=7)
    assert logged_in.stdout.splitlines() == [*always, "-l", "root", "--", server["ipv4"]]
    ran = hetzner.run("ssh", "demo-worker-1", "-l", "deploy", "--", "uptime", "-p", code=7)
    asked_nothing = [*always, "-o", "BatchMode=yes", "-l", "deploy"]
    assert ran.stdout.splitlines() == [*asked_nothing, "--", server["ipv4"], "uptime", "-p"]

    change_address(hetzner, ipv4=None, ipv6=None, private_ip="10.0.0.2")
    assert hetzner.run("ssh", "demo-worker-1", code=7).stdout.splitlines()[-1] == "10.0.0.2"
    change_address(hetzner, private_ip=None)
    assert "has no address yet" in hetzner.run("ssh", "demo-worker-1", "-o", "json", code=64).error["message"]
    (hetzner.folder / "bin" / "ssh").unlink()
    hetzner.environ["PATH"] = str(hetzner.folder / "bin")
    assert hetzner.run("ssh", "demo-worker-1", "-o", "json", code=1).error["code"] == "ssh_missing"


def test_v_prints_each_request_and_each_steps_reason(hetzner: Project) -> None:
    usual = hetzner.run("ensure", "1", "--yes")
    assert "/v1/servers" not in usual.stderr
    told = hetzner.run("ensure", "2", "--yes", "-v")
    assert "scaler: POST /v1/servers: 201" in told.stderr.splitlines()
    assert "scaler: GET /v1/servers: 200" in told.stderr.splitlines()
    assert "+ demo-worker-2  create  cx23  fsn1  worker wants 2, has 1" in told.stdout
    assert "worker wants 1" not in usual.stdout
