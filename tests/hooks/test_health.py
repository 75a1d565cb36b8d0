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
def test_a_command_that_cannot_tell_gives_no_answer(tmp_path: Path) -> None:
    """It hangs, was killed, lacks its program, or ends as `ssh` and `timeout` do where they do not get through."""
    bodies = [
        "sleep 60",
        "kill -9 $$",
        "exec no-such-program",
        "exit 124",
        "exit 126",
        "exit 255",
        "exit 1",
        "exit 254",
    ]
    programs = [script(tmp_path, f"check-{number}.sh", body) for number, body in enumerate(bodies)]
    asked = [
        (Readiness(kind="command", command=(program,)), one)
        for program, one in zip(programs, servers(len(programs)), strict=True)
    ]
    found = HealthChecker(tmp_path).check(asked)
    results = [found[one.name].result for _, one in asked]
    assert results == [CheckResult.NO_ANSWER] * 6 + [CheckResult.FAILED] * 2
    assert found["prod-worker-1"].problem == f"{programs[0]} did not end within 5s"


def test_a_check_that_breaks_gives_no_answer(tmp_path: Path) -> None:
    def check(how: Readiness, one: Server) -> str | None:
        raise LookupError("no such table")

    found = HealthChecker(tmp_path, {"tcp": check}).check([(Readiness(kind="tcp"), server())])
    assert found == {"prod-worker-1": CheckReport(CheckResult.NO_ANSWER, "LookupError: no such table")}


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
