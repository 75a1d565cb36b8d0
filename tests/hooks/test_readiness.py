"""Readiness: real sockets, a real HTTP server, real commands; time is moved by hand."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.hooks.readiness import ReadinessChecker, Unreachable, fill_in
from scaler.model import CheckResult, Readiness, Server
from scaler.support.clock import SystemClock
from scaler.support.text import visible
from tests.support.processes import HandClock, HttpServer, is_alive, script, server, wait_until, waiting_ends

NAP_S = 1.0
"""What lies between two looks of a run."""


class Looks:
    """A run's looks at servers: each look sees a reading's result and lets the next begin."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.checks = ReadinessChecker(self.clock, folder)

    def read(self, how: Readiness, *servers: Server) -> list[bool]:
        """Take one reading of each, to its end; which of the servers are ready then."""
        self.clock.sleep(NAP_S)
        for one in servers:
            self.checks.is_ready(how, one)
        for thread in threading.enumerate():
            if thread.name == "ready":
                thread.join(60)
                assert not thread.is_alive()
        return [self.checks.is_ready(how, one) for one in servers]


@pytest.fixture
def looks(tmp_path: Path) -> Looks:
    return Looks(tmp_path)


def test_without_a_check_a_running_server_is_ready(looks: Looks) -> None:
    assert looks.checks.is_ready(Readiness(), server())


@pytest.mark.server
def test_tcp_must_pass_twice_in_a_row(looks: Looks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        how = Readiness(kind="tcp", port=listener.getsockname()[1])
        assert [looks.read(how, server()) for _ in range(2)] == [[False], [True]]
        # It stays ready, and is not asked again.
        connections = count_waiting(listener)
        assert looks.read(how, server()) == [True]
        assert (connections, count_waiting(listener)) == (2, 0)


def count_waiting(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.server
def test_tcp_reports_what_is_wrong(looks: Looks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert looks.read(Readiness(kind="tcp", port=port), server()) == [False]
    assert looks.checks.trouble(server()) == f"port {port}: Connection refused"


@pytest.mark.server
def test_a_server_without_an_address_is_not_looked_up_on_this_machine(looks: Looks) -> None:
    homeless = server(ipv4=None)
    with HttpServer(200) as http:
        for how in (Readiness(kind="tcp", port=http.port), Readiness(kind="http", url=f"http://{{ip}}:{http.port}/")):
            assert [looks.read(how, homeless) for _ in range(3)] == [[False]] * 3
            assert looks.checks.trouble(homeless) == "it has no address"
        assert http.asked == []


@pytest.mark.server
def test_a_check_starts_only_when_the_run_observes_and_after_a_pause(looks: Looks) -> None:
    with HttpServer(200) as http:
        how = Readiness(kind="http", url=http.url, successes=5)
        looks.read(how, server())
        for _ in range(10):
            assert not looks.checks.is_ready(how, server())
        assert len(http.asked) == 1
        looks.read(how, server())
        assert len(http.asked) == 2


@pytest.mark.server
def test_http_fills_in_address_and_name(looks: Looks) -> None:
    with HttpServer(204) as http:
        how = Readiness(kind="http", url=f"http://{{ip}}:{http.port}/up/{{name}}?a=1")
        assert [looks.read(how, server()) for _ in range(2)] == [[False], [True]]
        assert http.asked == [("GET", "/up/prod-worker-1?a=1", b"")] * 2


@pytest.mark.server
@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_http_error_statuses_are_not_ready(looks: Looks, status: int) -> None:
    with HttpServer(status) as http:
        how = Readiness(kind="http", url=http.url, successes=1)
        assert looks.read(how, server()) == [False]
        assert looks.checks.trouble(server()) == f"{http.url}: HTTP {status}"


@pytest.mark.server
def test_http_sends_no_password_from_netrc(looks: Looks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login someone password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with HttpServer(200) as http:
        assert looks.read(Readiness(kind="http", url=http.url, successes=1), server()) == [True]
        assert http.authorized == []


@pytest.mark.server
def test_http_follows_no_redirect_and_reads_no_body(looks: Looks) -> None:
    with HttpServer(302) as http:
        assert looks.read(Readiness(kind="http", url=http.url, successes=1), server()) == [True]
        assert [path for _, path, _ in http.asked] == ["/"]
    for status in (200, 302):
        with HttpServer(status, endless=True) as http:
            assert looks.read(Readiness(kind="http", url=http.url, successes=1), server(id=f"{status}")) == [True]


def test_an_address_in_a_url_has_brackets_if_it_needs_them() -> None:
    six = server(ipv4=None, ipv6="2001:db8::1")
    assert fill_in("http://{ip}:80/{name}", six, bracketed=True) == "http://[2001:db8::1]:80/prod-worker-1"
    assert fill_in("root@{ip}", six) == "root@2001:db8::1"
    assert fill_in("http://{ip}/", server(), bracketed=True) == "http://127.0.0.1/"
    assert fill_in("http://{private_ip}/", server(private_ip="fd00::1"), bracketed=True) == "http://[fd00::1]/"


def test_a_server_without_a_public_address_is_at_its_private_one() -> None:
    both, inner = server(private_ip="10.0.0.2"), server(ipv4=None, private_ip="10.0.0.2")
    assert [fill_in("{ip} {private_ip} {name}", one) for one in (both, inner, server())] == [
        "127.0.0.1 10.0.0.2 prod-worker-1",
        "10.0.0.2 10.0.0.2 prod-worker-1",
        "127.0.0.1  prod-worker-1",
    ]


@pytest.mark.server
def test_a_check_of_a_private_address_waits_until_there_is_one(looks: Looks, tmp_path: Path) -> None:
    program = script(tmp_path, "ready.sh", 'echo "$1" >> seen')
    with HttpServer(200) as http:
        url = f"http://{{private_ip}}:{http.port}/"
        for how in (Readiness(kind="http", url=url), Readiness(kind="command", command=(program, "{private_ip}"))):
            assert looks.read(how, server(id=how.kind)) == [False]
            assert looks.checks.trouble(server(id=how.kind)) == "it has no private address"
            there = server(id=how.kind, ipv4=None, private_ip="127.0.0.1")
            looks.read(how, there)
            looks.read(how, there)
            assert looks.checks.is_ready(how, there)
        assert len(http.asked) == 2
    assert (tmp_path / "seen").read_text() == "127.0.0.1\n" * 2


def test_a_command_runs_in_the_project_folder_with_the_servers_name_and_address(looks: Looks, tmp_path: Path) -> None:
    program = script(tmp_path, "ready.sh", 'echo "$PWD $@" >> seen')
    how = Readiness(kind="command", command=(program, "{name}", "at={ip}", "a b; echo $HOME"))
    assert [looks.read(how, server()) for _ in range(2)] == [[False], [True]]
    assert (tmp_path / "seen").read_text() == f"{tmp_path} prod-worker-1 at=127.0.0.1 a b; echo $HOME\n" * 2


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("echo not yet >&2; exit 3", "./ready.sh ended with 3: not yet"),
        ("kill -9 $$", "./ready.sh was ended by signal 9"),
        (r"printf 'a\033[31mred\n\nb'; exit 1", "./ready.sh ended with 1: a\\x1b[31mred b"),
    ],
)
def test_a_failing_command_reports_its_last_output(looks: Looks, tmp_path: Path, text: str, trouble: str) -> None:
    how = Readiness(kind="command", command=(script(tmp_path, "ready.sh", text),), successes=1)
    assert looks.read(how, server()) == [False]
    assert looks.checks.trouble(server()) == trouble


@pytest.mark.parametrize(
    ("program", "reason"), [("./absent", "No such file or directory"), ("a\0b", "embedded null byte")]
)
def test_a_command_that_cannot_be_run_fails_the_check(looks: Looks, program: str, reason: str) -> None:
    how = Readiness(kind="command", command=(program,))
    assert looks.read(how, server()) == [False]
    assert looks.checks.trouble(server()) == f"{visible(program)} cannot be run: {reason}"


@pytest.mark.server
def test_a_server_that_passes_every_other_check_is_not_ready(looks: Looks) -> None:
    with HttpServer(200, 500, 200, 200, 503, 200, 200, 200) as http:
        how = Readiness(kind="http", url=http.url, successes=3)
        readings = [looks.read(how, server())[0] for _ in range(8)]
    assert readings == [False] * 7 + [True]


@pytest.mark.server
def test_a_reboot_or_a_new_machine_with_the_name_starts_again(looks: Looks) -> None:
    with HttpServer(200) as http:
        how = Readiness(kind="http", url=http.url, successes=2)
        first = server()
        assert [looks.read(how, first) for _ in range(2)] == [[False], [True]]
        for other in (server(id="8"), replace(first, since=first.since + timedelta(minutes=5))):
            assert [looks.read(how, other) for _ in range(2)] == [[False], [True]]
        assert looks.read(how, first) == [True]


def test_checks_that_hang_delay_no_other_server(tmp_path: Path) -> None:
    """A hundred checks never end; one more server is as ready as if it were alone."""
    clock = HandClock()
    with waiting_ends() as wait:
        checks = ReadinessChecker(
            clock, tmp_path, {"command": lambda how, one: wait() if one.name.startswith("stuck") else None}
        )
        how = Readiness(kind="command", command=("true",))
        stuck = [server(f"stuck-{number}") for number in range(100)]
        good = server("good")

        def look() -> bool:
            clock.sleep(NAP_S)
            assert {checks.is_ready(how, one) for one in stuck} == {False}
            return checks.is_ready(how, good)

        wait_until(look, "the good server ready")
        # A check that hangs is not started again beside itself.
        assert sum(1 for thread in threading.enumerate() if thread.name == "ready") <= 101


def test_a_tick_of_a_watch_waits_for_the_checks_that_go_well_and_for_none_that_hangs(tmp_path: Path) -> None:
    begun: list[str] = []
    with waiting_ends() as wait:

        def check(how: Readiness, one: Server) -> str | None:
            begun.append(one.name)
            return wait() if one.name == "stuck" else None

        checks = ReadinessChecker(SystemClock(), tmp_path, {"command": check}, share_s=0.5)
        how = Readiness(kind="command", command=("true",), successes=2)
        asked = [(how, server("stuck")), (how, server("good"))]
        assert checks.finish(asked) == {"good"}
        # The next tick asks the same checker, and is not held up either.
        assert checks.finish(asked) == {"good"}
        assert begun.count("stuck") == 1
    wait_until(lambda: checks.finish(asked) == {"good", "stuck"}, "the one that hung")


def test_a_check_that_raises_has_failed(tmp_path: Path) -> None:
    def broken(how: Readiness, one: Server) -> str | None:
        raise RuntimeError("of the user's own")

    looks = Looks(tmp_path)
    looks.checks = ReadinessChecker(looks.clock, tmp_path, {"tcp": broken})
    assert looks.read(Readiness(kind="tcp", port=1), server()) == [False]
    assert looks.checks.trouble(server()) == "RuntimeError: of the user's own"


def test_a_command_that_hangs_is_killed_with_its_children(
    looks: Looks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.hooks.readiness.CHECK_WITHIN_S", 0.3)
    program = script(
        tmp_path, "ready.sh", "trap '' TERM; sleep 1000 & echo $! > child; echo thinking; wait; sleep 1000"
    )
    assert looks.read(Readiness(kind="command", command=(program,)), server()) == [False]
    assert looks.checks.trouble(server()) == "./ready.sh did not end within 0.3s: thinking"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child), "the child's end")


def test_a_check_that_hangs_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    program = f"""
import threading
from pathlib import Path
from tests.support.processes import HandClock, server
from scaler.model import Readiness
from scaler.hooks.readiness import ReadinessChecker
started = threading.Event()
def hang(how, one):
    started.set()
    threading.Event().wait()
checker = ReadinessChecker(HandClock(), Path({str(tmp_path)!r}), {{"tcp": hang}})
checker.is_ready(Readiness(kind="tcp", port=1), server())
started.wait()
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "done\n"


# ---------------------------------------------------------------------------------------------
# Reached from here, or not


def probed(looks: Looks, how: Readiness, *servers: Server) -> list[CheckResult]:
    return list(looks.checks.probe(how, servers or [server()]).values())


@pytest.mark.server
def test_a_server_that_answers_badly_or_refuses_a_connection_is_reached(looks: Looks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert probed(looks, Readiness(kind="tcp", port=port)) == [CheckResult.FAILED]
    assert probed(looks, Readiness(kind="http", url=f"http://127.0.0.1:{port}/")) == [CheckResult.FAILED]
    for status in (404, 503):
        with HttpServer(status) as http:
            assert probed(looks, Readiness(kind="http", url=http.url)) == [CheckResult.FAILED]
    with HttpServer(200) as plain:
        assert probed(looks, Readiness(kind="http", url=f"https://127.0.0.1:{plain.port}/")) == [CheckResult.FAILED]
        assert probed(looks, Readiness(kind="http", url=plain.url)) == [CheckResult.PASSED]


@pytest.mark.server
def test_each_server_is_probed_for_itself_and_one_without_an_address_gives_no_answer(looks: Looks) -> None:
    homeless = server("prod-worker-2", ipv4=None)
    with HttpServer(200) as http:
        for how in (Readiness(kind="tcp", port=http.port), Readiness(kind="http", url=f"http://{{ip}}:{http.port}/")):
            assert probed(looks, how, homeless, server()) == [CheckResult.NO_ANSWER, CheckResult.PASSED]


@pytest.mark.server
def test_a_connection_that_nobody_accepts_gives_no_answer(looks: Looks) -> None:
    """The listener's queue is full, so that further connections wait until their time is up."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = queue.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        assert probed(looks, Readiness(kind="tcp", port=port)) == [CheckResult.NO_ANSWER]
        assert probed(looks, Readiness(kind="http", url=f"http://127.0.0.1:{port}/")) == [CheckResult.NO_ANSWER]


@pytest.mark.server
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_does_not_get_through_gives_no_answer(
    looks: Looks, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    how = Readiness(kind="http", url="http://{name}.test/health", successes=1)
    with HttpServer(status) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert probed(looks, how) == [CheckResult.NO_ANSWER]
        assert looks.read(how, server()) == [False]
        assert looks.checks.trouble(server()) == f"http://prod-worker-1.test/health: HTTP {status} of a proxy"
        gone = proxy.url
    monkeypatch.setenv("http_proxy", gone)
    assert probed(looks, how) == [CheckResult.NO_ANSWER]
    with HttpServer(404) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert probed(looks, how) == [CheckResult.FAILED]
    monkeypatch.setenv("http_proxy", "http://")
    assert probed(looks, how) == [CheckResult.NO_ANSWER], "it is this machine's fault, not the server's"


def test_a_probe_that_outlasts_a_ticks_share_has_its_results_at_a_later_tick(tmp_path: Path) -> None:
    ends, begun = threading.Event(), []

    def check(how: Readiness, one: Server) -> str | None:
        begun.append(one.name)
        if one.name == "prod-worker-2":
            ends.wait()
            return Unreachable("it does not answer")
        return None

    checks = ReadinessChecker(HandClock(), tmp_path, {"tcp": check}, share_s=0.2)
    how, two = Readiness(kind="tcp", port=22), [server("prod-worker-1"), server("prod-worker-2", id="2")]
    try:
        for _ in range(3):
            checks.forget_unasked()
            assert checks.probe(how, two) == checks.probe(how, two) == {}
        assert sorted(begun) == ["prod-worker-1", "prod-worker-2"], "nobody is probed twice at a time"
    finally:
        ends.set()
    results = wait_until(lambda: checks.probe(how, two), "the results")
    assert results == {"prod-worker-1": CheckResult.PASSED, "prod-worker-2": CheckResult.NO_ANSWER}
    # The next probe is a new one.
    assert checks.probe(how, two)["prod-worker-2"] is CheckResult.NO_ANSWER
    assert len(begun) == 4


def test_a_probe_that_nobody_asked_for_any_more_is_forgotten(tmp_path: Path) -> None:
    begun = []
    with waiting_ends() as wait:

        def check(how: Readiness, one: Server) -> None:
            begun.append(one.name)
            wait()

        checks = ReadinessChecker(HandClock(), tmp_path, {"tcp": check}, share_s=0.1)
        how = Readiness(kind="tcp", port=22)
        checks.probe(how, [server()])
        checks.forget_unasked()
        checks.forget_unasked()
        checks.probe(how, [server()])
    assert len(begun) == 2
