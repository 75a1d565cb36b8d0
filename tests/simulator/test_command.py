"""The command that serves an embedded cloud until a signal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.simulator import SimulatedWorld
from tests.support.sim_http import Http

ROOT = Path(__file__).parents[2]
PAGE = "docs/reference/embedded-cloud.md"


def serve(*arguments: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scaler", "sim", "serve", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_what_to_export_and_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    server = serve("--world", "my.db", "--profile", "instant", directory=tmp_path)
    assert server.stdout
    lines = [server.stdout.readline().removeprefix("export ").strip() for _ in range(4)]
    exports = dict(line.split("=", 1) for line in lines)
    assert list(exports) == ["HCLOUD_ENDPOINT", "DIGITALOCEAN_API_URL", "HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN"]
    assert exports["HCLOUD_ENDPOINT"] == exports["DIGITALOCEAN_API_URL"] + "/v1"
    with Http(exports["DIGITALOCEAN_API_URL"], exports["HCLOUD_TOKEN"]) as http:
        assert http.create().status_code == 201
    server.send_signal(number)
    rest, errors = server.communicate(timeout=20)
    assert (server.returncode, rest) == (0, "")
    assert errors == f"scaler: serving {tmp_path / 'my.db'}; stop with Ctrl-C\n"
    assert [row.name for row in SimulatedWorld(tmp_path / "my.db").servers()] == ["web-1"]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _, errors = serve("--port", str(port), directory=tmp_path).communicate(timeout=20)
    assert f"port {port}" in errors


def test_a_world_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("nothing that SQLite would know" * 100)
    server = serve("--world", "notes.db", directory=tmp_path)
    _, errors = server.communicate(timeout=20)
    assert server.returncode == 1
    assert "not a database" in errors


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    """What the page types in two shells: the server, and a client that was given what the server printed."""
    if not shutil.which("hcloud"):
        pytest.skip("hcloud is not installed: make tools")
    serving, controlling = re.findall(r"^```sh\n(.*?)^```", (ROOT / PAGE).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for line in serving.splitlines()]
    assert lines == ["pip install 'pulumi-scaler[simulator]'", "scaler sim serve", "hcloud server list"]
    server = serve(*lines[1].split()[3:], directory=tmp_path)
    assert server.stdout
    exports = "".join(server.stdout.readline() for _ in range(4))
    try:
        assert run_shell(exports + lines[2], tmp_path).split()[:3] == ["ID", "NAME", "STATUS"]
        url = exports.split("DIGITALOCEAN_API_URL=")[1].split()[0]
        with Http(url, exports.split("HCLOUD_TOKEN=")[1].split()[0]) as http:
            machine = str(http.create().json()["server"]["id"])
        assert machine in run_shell(exports + lines[2], tmp_path)
        run_shell(controlling.replace("http://127.0.0.1:PORT", url).replace("4000003", machine), tmp_path)
        assert machine not in run_shell(exports + lines[2], tmp_path)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)


def run_shell(script: str, home: Path) -> str:
    """Run a script and return what it printed; what it complained of is in the failure."""
    shell = ["sh", "-ec", script]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(shell, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
