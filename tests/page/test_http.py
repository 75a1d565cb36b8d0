"""What a watch serves over HTTP, to whom, and what strangers cannot do to it."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from scaler.autoscale.exposition import Exposition
from scaler.errors import UsageError
from scaler.model.lifecycle import Status
from scaler.output.render import render_status
from scaler.page.access import read_token
from scaler.page.address import listen
from scaler.records.state_file import StateFile
from tests.support import servers
from tests.support.fakes import FakeClock
from tests.support.records import NOW, server, state
from tests.support.served import served

pytestmark = pytest.mark.server

TOKEN = "correct-horse"
PATHS = ("/metrics", "/healthz", "/targets", "/api/status", "/api/status/prod", "/", "/nothing")


@pytest.fixture
def exposition() -> Exposition:
    shown = Exposition(timedelta(seconds=10), FakeClock())
    shown.of("prod").settle(None)
    return shown


@pytest.fixture
def url(exposition: Exposition, tmp_path: Path) -> Iterator[str]:
    with served(exposition, tmp_path) as address:
        yield address


def get(url: str, **more: Any) -> requests.Response:
    return requests.get(url, timeout=30, **more)


def record(folder: Path, *recorded: Any) -> None:
    StateFile(folder, "prod").save(state(*recorded))


def test_targets_are_the_servers_that_have_been_ready(exposition: Exposition, tmp_path: Path) -> None:
    record(
        tmp_path,
        server("prod-worker-1", ipv4="192.0.2.1", private_ip="10.0.0.1", type="cx23", location="fsn1"),
        server("prod-worker-2", Status.UNHEALTHY, ipv6="2001:db8::2"),
        server("prod-worker-3", Status.STARTING, ipv4="192.0.2.3"),
        server("prod-worker-4", Status.DELETED, ipv4="192.0.2.4"),
    )
    with served(exposition, tmp_path) as url:
        first, second = get(f"{url}/targets").json()
        assert first == {
            "targets": ["192.0.2.1:9100"],
            "labels": {
                "__meta_scaler_stack": "prod",
                "__meta_scaler_group": "worker",
                "__meta_scaler_server": "prod-worker-1",
                "__meta_scaler_status": "running",
                "__meta_scaler_type": "cx23",
                "__meta_scaler_location": "fsn1",
            },
        }
        assert second["targets"] == ["[2001:db8::2]:9100"]
        [private] = get(f"{url}/targets?stack=prod&address=private&port=8080").json()
        assert private["targets"] == ["10.0.0.1:8080"]
        for query, code in (("port=x", 400), ("port=0", 400), ("address=mine", 400), ("stack=other", 404)):
            assert get(f"{url}/targets?{query}").status_code == code


def test_the_status_is_the_document_of_the_command(exposition: Exposition, tmp_path: Path) -> None:
    record(tmp_path, server(ipv4="192.0.2.1"))
    exposition.of("test")
    shown = json.loads(render_status(StateFile(tmp_path, "prod").load(), "json", stack="prod", now=NOW))
    with served(exposition, tmp_path) as url:
        document = get(f"{url}/api/status").json()
        assert document["schema"] == 1
        assert list(document["stacks"]) == ["prod", "test"]
        assert document["stacks"]["prod"] == shown == get(f"{url}/api/status/prod").json()
        assert document["stacks"]["test"]["servers"] == []
        assert get(f"{url}/api/status/nothing").status_code == 404


def test_records_that_cannot_be_read_are_an_error_and_no_empty_answer(exposition: Exposition, tmp_path: Path) -> None:
    (tmp_path / "prod.json").write_text("{")
    with served(exposition, tmp_path) as url:
        for path in ("/targets", "/api/status"):
            answer = get(f"{url}{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "state_corrupt")
        assert get(f"{url}/healthz").status_code == 200


def test_nothing_can_be_written(url: str) -> None:
    for path in PATHS[:5]:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert requests.request(method, url + path, timeout=30).status_code == 405
    assert get(f"{url}/etc/passwd").status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9410", "192.0.2.1", "localhost.evil.example", "[", ""])
def test_a_page_of_another_site_that_leads_its_own_name_here_reads_nothing(url: str, host: str) -> None:
    for path in PATHS:
        answer = get(url + path, headers={"Host": host})
        assert answer.status_code in (400, 403)
        assert "scaler" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:9410", "127.0.0.1:1", "[::1]:9410", "127.1.2.3"])
def test_this_machine_goes_by_all_of_its_own_names(url: str, host: str) -> None:
    assert get(f"{url}/healthz", headers={"Host": host}).status_code == 200


def test_every_answer_has_strict_headers(url: str) -> None:
    for path in PATHS:
        headers = get(url + path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_with_a_token_nobody_reads_anything_without_it(exposition: Exposition, tmp_path: Path) -> None:
    with served(exposition, tmp_path, token=TOKEN) as url:
        for path in PATHS:
            for wrong in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": TOKEN},
                {"Authorization": "Basic x"},
            ):
                answer = get(url + path, headers=wrong)
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert get(f"{url}/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert get(f"{url}/healthz", auth=("anybody", TOKEN)).status_code == 200, "as a browser asks for it"


def test_other_machines_get_in_with_a_token_alone(exposition: Exposition, tmp_path: Path) -> None:
    for address in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(UsageError) as refused:
            listen(address, has_token=False)
        assert "--token-file" in str(refused.value.fix)
    with served(exposition, tmp_path, address="0.0.0.0:0", token=TOKEN) as url:
        port = url.rpartition(":")[2]
        answer = get(
            f"http://127.0.0.1:{port}/healthz",
            headers={"Host": "metrics.example", "Authorization": f"Bearer {TOKEN}"},
        )
        assert answer.status_code == 200, "there, any name may lead here"


def test_a_token_file_without_a_token_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for content in (None, b"", b" \n", b"two words", b"two\nlines", b"\xff", b"x" * 5000):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(UsageError, match="token file"):
            read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN


def test_strangers_who_say_nothing_or_no_http_hold_nobody_up(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    before = threading.active_count()
    with ExitStack() as stack:
        for number in range(100):
            stranger = stack.enter_context(socket.create_connection((host, int(port)), 30))
            stranger.sendall((b"GET /metr", b"\x16\x03\x01\x02\x00\x01" * 90, b"")[number % 3])
            # Closing it sends a reset.
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert get(f"{url}/healthz").status_code == 200
        first = stack.enter_context(socket.create_connection((host, int(port)), 30))
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 200_000)
        servers.await_true(lambda: _is_over(first), "the end of a header without an end")
        assert get(f"{url}/healthz").status_code == 200
        assert threading.active_count() <= before + 5, "a stranger takes no thread"
    assert capfd.readouterr().err == ""


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1000) == b""
    except ConnectionError:
        return True


def test_clients_that_hang_do_not_hold_up_the_end(exposition: Exposition, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with served(exposition, tmp_path) as url:
            host, _, port = url.removeprefix("http://").partition(":")
            client = stack.enter_context(socket.create_connection((host, int(port)), 30))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metr")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert [thread.name for thread in threading.enumerate() if thread.name == "page"] == []
        servers.await_true(lambda: _is_over(client), "the end of the connection")
        with pytest.raises(requests.ConnectionError):
            get(f"{url}/healthz")


def test_a_taken_port_and_an_invalid_address_are_usage_errors(url: str) -> None:
    with pytest.raises(UsageError, match="Cannot listen on"):
        listen(url.removeprefix("http://"), has_token=False)
    for text in (
        "",
        "9410",
        ":9410",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        f"127.0.0.1:{'9' * 5000}",
        "[::1]",
        "[::1",
        "::1:9410",
        "[127.0.0.1:9410",
        "a]:9410",
    ):
        with pytest.raises(UsageError, match="not an address to listen on"):
            listen(text, has_token=False)
    with pytest.raises(UsageError):
        listen("a..b:1", has_token=False)


def test_it_is_served_at_an_ipv6_address(exposition: Exposition, tmp_path: Path) -> None:
    try:
        with served(exposition, tmp_path, address="[::1]:0") as url:
            assert url.startswith("http://[::1]:")
            assert get(f"{url}/healthz").status_code == 200
    except UsageError as error:
        pytest.skip(f"this machine has no IPv6: {error.why}")


def test_prometheus_discovers_the_servers(exposition: Exposition, tmp_path: Path) -> None:
    record(tmp_path, server("prod-worker-1", ipv4="127.0.0.1"))
    config = tmp_path / "prometheus.yml"
    with served(exposition, tmp_path) as url:
        config.write_text(
            f"scrape_configs: [{{job_name: servers, http_sd_configs: [{{url: '{url}/targets?port=9100'}}],"
            " relabel_configs: [{source_labels: [__meta_scaler_server], target_label: instance}]}]\n"
        )
        command = [servers.needs("promtool", "prometheus"), "check", "service-discovery", "--timeout=5s"]
        ran = subprocess.run([*command, config, "servers"], check=True, capture_output=True, text=True, timeout=60)
    [found] = json.loads(ran.stdout)
    assert found["labels"]["instance"] == "prod-worker-1"
    assert found["labels"]["__address__"] == "127.0.0.1:9100"
