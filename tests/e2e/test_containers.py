"""A run where little is there: no home, no entry in passwd, everything read-only, proxies set, no standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.engine import binary
from tests.support.project import Project, Ran

PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"), "http://127.0.0.1:9")
"""Nobody listens there."""

_CELL = """
mount --bind "$1" "$1" && mount -o remount,bind,ro / && cd "$2" && shift 2 &&
exec unshare --user --map-user=12345 --map-group=12345 -- "$@" <&-
"""
_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "--")


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    probe = [*_UNSHARE, "sh", "-c", _CELL, "sh", str(folder), str(folder), "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine gives no namespaces of its own to a user: {tried.stderr.strip()}")
    return folder


def run_in_cell(project: Project, writable: Path, *arguments: str) -> Ran:
    """Run `scaler ...` as user 12345, with one folder that can be written."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": project.environ["PYTHONPATH"],
        "SCALER_ENGINE": str(binary.find(os.environ)),
        "SCALER_STATE_DIR": str(writable / "state"),
        "PULUMI_BACKEND_URL": f"file://{writable}/backend",
        **PROXIES,
    }
    words = [*_UNSHARE, "sh", "-c", _CELL, "sh", str(writable), str(project.folder), sys.executable, "-m", "scaler"]
    done = subprocess.run([*words, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.engine
def test_a_run_converges_in_a_container_with_one_folder_to_write_to(hetzner: Project, writable: Path) -> None:
    done = run_in_cell(hetzner, writable, "ensure", "2", "--yes", "-o", "json")
    assert done.code == 0, done.stderr
    assert done.document["outcome"] == "converged"
    assert done.named("running") == {"demo-worker-1", "demo-worker-2"}
    # The checkout is as it was, and what the engine would have written there is in the state folder.
    assert {path.name for path in hetzner.folder.iterdir()} == {"Pulumi.yaml", "stacks", ".scaler"}
    assert (writable / "state" / "engine" / "project" / "Pulumi.demo.yaml").exists()
    checked = run_in_cell(hetzner, writable, "doctor", "-o", "json")
    assert checked.code == 0, checked.stdout
    assert {check["result"] for check in json.loads(checked.stdout)["checks"]} <= {"ok", "warn"}


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("ensure", "1", "--yes"), 1, "--state-dir"),
        (("engine", "install"), 69, "XDG_CACHE_HOME"),
        (("init",), 1, "Read-only file system"),
        (("sim", "serve"), 1, "Read-only file system"),
        (("status", "--refresh"), 1, "--state-dir"),
    ],
)
def test_what_a_command_needs_is_named(
    hetzner: Project, writable: Path, arguments: tuple[str, ...], code: int, what: str
) -> None:
    done = run_in_cell(hetzner, writable, *arguments, "--state-dir", str(hetzner.folder / "none"))
    assert done.code == code, done.stderr
    assert what in done.stderr
    assert "internal" not in done.stderr
