"""Health checks: real sockets, a real HTTP server, real commands, all side by side."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from scaler.hooks.health import HealthChecker
from scaler.model import CheckReport, CheckResult, Readiness, Server
from tests.support.processes import HttpServer, script, server, wait_until


def servers(count: int) -> list[Server]:
    return [server(f"prod-worker-{number}", id=str(number)) for number in range(1, count + 1)]


@pytest.mark.server
def test_each_server_gets_its_own_answer_and_its_own_words(tmp_path: Path) -> None:
    with HttpServer(500) as bad, HttpServer(200) as good:
        how = [
            Readiness(kind="http", url=good.url),
            Readiness(kind="http", url=bad.url),
            Readiness(kind="command", command=("false",)),
            Readiness(kind="command", command=("no-such-program",)),
        ]
        found = HealthChecker(tmp_path).check(list(zip(how, servers(4), strict=True)))
    assert found == {
        "prod-worker-1": CheckReport(CheckResult.PASSED),
        "prod-worker-2": CheckReport(CheckResult.FAILED, f"{bad.url}: HTTP 500"),
        "prod-worker-3": CheckReport(CheckResult.FAILED, "false ended with 1"),
        # A program that is not there says nothing about the server.
        "prod-worker-4": CheckReport(CheckResult.NO_ANSWER, "no-such-program cannot be run: No such file or directory"),
    }


def test_checks_run_side_by_side_and_never_longer_than_one_may(tmp_path: Path) -> None:
    """More checks than may be under way at once, and each of them hangs."""
    count = 300
    free = threading.Event()
    begun: list[str] = []

    def hang(how: Readiness, one: Server) -> str | None:
        begun.append(one.name)
        if len(begun) == 1:
            return None
        free.wait()
        return None

    # Whoever waits for one of them waits for ever.
    asked = [(Readiness(kind="tcp"), one) for one in servers(count)]
    found = HealthChecker(tmp_path, {"tcp": hang}).check(asked)
    free.set()
    assert set(found) == set(begun), "one that was not begun has no result"
    assert 100 < len(found) < count
    assert sorted(report.result.name for report in found.values())[-1] == "PASSED"
    assert CheckReport(CheckResult.NO_ANSWER, "no answer within 5s") in found.values()


@pytest.mark.server
def test_a_command_that_does_not_end_is_killed_and_has_failed(tmp_path: Path) -> None:
    program = script(tmp_path, "slow.sh", "sleep 60")
    one = server()
    found = HealthChecker(tmp_path).check([(Readiness(kind="command", command=(program,)), one)])
    assert found[one.name] == CheckReport(CheckResult.FAILED, f"{program} did not end within 5s")


def test_nothing_to_check_takes_no_thread(tmp_path: Path) -> None:
    assert HealthChecker(tmp_path).check([]) == {}


def test_a_check_that_outlasts_its_share_goes_on_and_is_reported_when_it_has_ended(tmp_path: Path) -> None:
    """What a tick of a watch does: it waits for none that hangs, and no server has two under way."""
    free = threading.Event()
    begun: list[str] = []

    def check(how: Readiness, one: Server) -> str | None:
        begun.append(one.name)
        if one.name == "prod-worker-1":
            free.wait()
        return "it is full"

    asked = [(Readiness(kind="tcp"), one) for one in servers(2)]
    checker = HealthChecker(tmp_path, {"tcp": check}, share_s=0.5)
    full = CheckReport(CheckResult.FAILED, "it is full")
    assert checker.check(asked) == {"prod-worker-2": full}
    assert checker.check(asked) == {"prod-worker-2": full}
    assert begun.count("prod-worker-1") == 1
    free.set()
    wait_until(lambda: checker.check(asked).get("prod-worker-1") == full, "the result of the check that hung")
    assert checker.check([]) == {}
