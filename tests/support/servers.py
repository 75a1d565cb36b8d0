"""Real Redis and Prometheus servers on loopback, for as long as a test session needs them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
import requests


def needs(program: str, package: str) -> str:
    """The program's path; skips the test, and says why, where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {package})")
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process
    finally:
        # With its children: some programs are shell scripts that start the server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_true(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """A Redis server that keeps nothing on the disk; its port."""
    program = needs("redis-server", "redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options]
    with running(command, folder):
        await_true(lambda: listens(port), "redis-server")
        yield port


POSTGRESQL_PASSWORD = "open-sesame"


@contextlib.contextmanager
def postgresql_server() -> Iterator[int]:
    """PostgreSQL on loopback with the user and database `postgres` and the password above; its port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    if not programs:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    port = free_port()
    # Not in the test's own folder, which only this user may enter: the server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="scaler-postgresql-"))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    owner: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid} if user else {}

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs[0] / program), "-D", str(folder / "data"), *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            **owner,
        )

    (folder / "password").write_text(POSTGRESQL_PASSWORD)
    if user:
        shutil.chown(folder, "nobody")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    try:
        run("initdb", "-A", "scram-sha-256", "-U", "postgres", "-N", f"--pwfile={folder / 'password'}")
        run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield port
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def rabbitmq_server(folder: Path) -> Iterator[str]:
    """RabbitMQ with its management API on loopback; the API's URL, for the user and password guest."""
    needs("rabbitmq-server", "rabbitmq-server")
    broker, management, distribution, mapper = (free_port() for _ in range(4))
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{broker}\nmanagement.tcp.port = {management}\nmanagement.tcp.ip = 127.0.0.1\n"
        "collect_statistics_interval = 500\n"
    )
    (folder / "enabled_plugins").write_text("[rabbitmq_management].")
    environ = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"test{broker}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(mapper),
    }
    url = f"http://127.0.0.1:{management}"
    (folder / "mapper").mkdir()
    # Erlang's port mapper would be started as a daemon that outlives the server. The server's program of the package
    # changes the user; this one is what it starts.
    with (
        running(["epmd", "-address", "127.0.0.1", "-port", str(mapper)], folder / "mapper"),
        running(["/usr/lib/rabbitmq/bin/rabbitmq-server"], folder, environ),
    ):
        await_true(lambda: _manages(url), "RabbitMQ's management API", 180)
        yield url


def _manages(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/api/overview", auth=("guest", "guest"), timeout=2).status_code == 200
    return False


@contextlib.contextmanager
def redis_cluster(folder: Path, nodes: int = 2) -> Iterator[int]:
    """A Redis Cluster whose nodes share the slots evenly; the port of the first."""
    with contextlib.ExitStack() as stack:
        ports = []
        for number in range(nodes):
            (folder / str(number)).mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(free_port()))
            ports.append(stack.enter_context(redis_server(folder / str(number), *options)))
        clients = [stack.enter_context(redis.Redis(port=port, decode_responses=True)) for port in ports]
        for number, client in enumerate(clients):
            first, last = 16384 * number // nodes, 16384 * (number + 1) // nodes - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            bus = clients[0].config_get("cluster-port")["cluster-port"]
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], bus)
        for client in clients:
            await_true(partial(_is_whole, client, nodes), "a whole cluster")
        yield ports[0]


def _is_whole(client: redis.Redis, nodes: int) -> bool:
    info: str = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    return "cluster_state:ok" in info and f"cluster_known_nodes:{nodes}" in info


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Pages(ThreadingHTTPServer):
    """A web server whose answers a test sets: path → (status, headers, body) or a function that writes."""

    daemon_threads = True
    request_queue_size = 128  # connections that come at once; the fifth waited for a second otherwise

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.seen.append((self.path, dict(self.headers)))
        answer = self.server.pages.get(path, (404, {}, ""))
        if callable(answer):
            answer(self)
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def pages() -> Iterator[Pages]:
    server = Pages()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def prometheus_server(folder: Path, exporter: str, awaited: str = "jobs") -> Iterator[str]:
    """Prometheus that scrapes `exporter` (host:port) every second; its URL, once it has what is awaited."""
    program = needs("prometheus", "prometheus")
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: test, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
    )
    url = f"http://127.0.0.1:{port}"
    command = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder):
        await_true(lambda: _has_samples(url, awaited), "a sample in prometheus")
        yield url


def _has_samples(url: str, awaited: str) -> bool:
    try:
        answer = requests.get(f"{url}/api/v1/query", params={"query": awaited}, timeout=2).json()
    except (requests.RequestException, ValueError):
        return False
    return bool(answer["data"]["result"])
