"""Telling of events: a real HTTP server in every mood, and real commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import scaler.hooks.notify
from scaler.hooks.notify import Notifier
from scaler.model import NotifyTarget
from scaler.model.events import Event
from scaler.model.lifecycle import Status
from scaler.records.codec import event_to_json
from tests.support.processes import NOW, HttpServer, is_alive, script, wait_until

ROOT = Path(scaler.hooks.notify.__file__).parents[2]


def event(name: str = "server.running", **fields: Any) -> dict[str, object]:
    return event_to_json(Event(event=name, server="prod-worker-1", group="worker", at=NOW, run="9f2c", **fields))


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause that no test looks at; an attempt has time enough on a busy machine."""
    monkeypatch.setattr(scaler.hooks.notify, "_ATTEMPT_WITHIN_S", 60.0)
    monkeypatch.setattr(scaler.hooks.notify, "_RETRY_AFTER_S", 0.05)


Open = Callable[..., Notifier]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def notifier(tmp_path: Path, warnings: list[str]) -> Iterator[Open]:
    opened: list[Notifier] = []

    def start(*targets: NotifyTarget, linger_s: float = 60.0, services: dict[str, str] | None = None) -> Notifier:
        opened.append(
            Notifier("prod", targets, folder=tmp_path, warn=warnings.append, linger_s=linger_s, services=services)
        )
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.mark.server
def test_each_event_is_posted_once_and_in_order(notifier: Open, warnings: list[str]) -> None:
    with HttpServer(200) as http:
        opened = notifier(NotifyTarget(url=f"{http.url}/hook?key=1"))
        names = [f"server.{word}" for word in ("creating", "running", "deleting", "deleted")]
        opened.send([event(name) for name in names])
        opened.close()
        assert [(method, path) for method, path, _ in http.asked] == [("POST", "/hook?key=1")] * 4
        assert [json.loads(body)["event"] for _, _, body in http.asked] == names
    assert warnings == []


@pytest.mark.server
def test_a_webhook_gets_no_password_from_netrc(
    notifier: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """The spec chooses its host."""
    (tmp_path / "netrc").write_text("default login someone password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with HttpServer(200) as http:
        opened = notifier(NotifyTarget(url=http.url))
        opened.send([event()])
        opened.close()
        assert len(http.asked) == 1
        assert http.authorized == []


@pytest.mark.server
def test_the_payload_is_the_documented_one(notifier: Open) -> None:
    page = (ROOT / "docs/reference/notifications.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    with HttpServer(200) as http:
        opened = notifier(NotifyTarget(url=http.url))
        opened.send(
            [
                event(
                    "server.hanging",
                    previous=Status.STARTING,
                    status=Status.HANGING,
                    reason="starting for longer than 10m",
                    cause="ensure worker=5",
                )
            ]
        )
        opened.close()
        ((_, _, body),) = http.asked
    assert json.loads(body) == json.loads(example)
    assert all(f"| `{key}` |" in page or f"`{key}`" in page for key in json.loads(body))


@pytest.mark.server
@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (("*",), ["run.started", "server.running", "server.errored", "limit.hit"]),
        (("server.errored", "limit.hit"), ["server.errored", "limit.hit"]),
        (("server.*",), ["server.running", "server.errored"]),
        (("drift.found",), []),
    ],
)
def test_a_target_gets_the_events_that_its_patterns_name(
    notifier: Open, patterns: tuple[str, ...], told: list[str]
) -> None:
    with HttpServer(200) as http:
        opened = notifier(NotifyTarget(url=http.url, events=patterns))
        opened.send([event(name) for name in ("run.started", "server.running", "server.errored", "limit.hit")])
        opened.close()
        assert [json.loads(body)["event"] for _, _, body in http.asked] == told


@pytest.mark.server
def test_a_failed_post_is_repeated_once(notifier: Open, warnings: list[str]) -> None:
    with HttpServer(503, 200) as http:
        opened = notifier(NotifyTarget(url=http.url))
        opened.send([event("run.started"), event("run.finished")])
        opened.close()
        told = [json.loads(body)["event"] for _, _, body in http.asked]
    assert told == ["run.started", "run.started", "run.finished"]
    assert warnings == []


@pytest.mark.server
@pytest.mark.parametrize("status", [302, 307, 400, 404, 500])
def test_an_event_that_fails_twice_is_dropped_with_one_warning(
    notifier: Open, warnings: list[str], status: int
) -> None:
    with HttpServer(status) as http:
        opened = notifier(NotifyTarget(url=f"{http.url}/secret-path"))
        opened.send([event("run.started"), event("run.finished")])
        opened.close()
        assert [(method, path) for method, path, _ in http.asked] == [("POST", "/secret-path")] * 4
    assert warnings == [f"an event could not be sent to 127.0.0.1: HTTP {status}"]


@pytest.mark.server
def test_an_unreachable_target_is_a_warning_without_the_url(notifier: Open, warnings: list[str]) -> None:
    with HttpServer(200) as http:
        url = f"{http.url}/secret-path"
    opened = notifier(NotifyTarget(url=url))
    opened.send([event()])
    opened.close()
    assert warnings == ["an event could not be sent to 127.0.0.1: ConnectionError"]


@pytest.mark.server
def test_the_body_of_an_answer_is_not_read(notifier: Open, warnings: list[str]) -> None:
    with HttpServer(200, endless=True) as http:
        opened = notifier(NotifyTarget(url=http.url))
        opened.send([event("run.started"), event("run.finished")])
        opened.close()
        assert len(http.asked) == 2
    assert warnings == []


@pytest.mark.server
def test_people_get_a_sentence_by_every_service_that_the_variable_names(notifier: Open, warnings: list[str]) -> None:
    """Apprise's `json://` is a service of one's own: what it gets is what a chat would."""
    with HttpServer(200) as one, HttpServer(200) as other:
        services = {"ALERTS": f"json://127.0.0.1:{one.port}/ops json://127.0.0.1:{other.port}/night"}
        opened = notifier(NotifyTarget(apprise_env="ALERTS", events=("server.hanging",)), services=services)
        moved = {"previous": Status.STARTING, "status": Status.HANGING}
        opened.send([event("server.hanging", reason="starting for longer than 10m", **moved), event("server.running")])
        opened.close()
        for http, path in ((one, "/ops"), (other, "/night")):
            ((method, asked, body),) = http.asked
            message = json.loads(body)
            assert (method, asked.rstrip("/"), message["title"]) == ("POST", path, "prod: server.hanging")
            assert message["message"] == "prod-worker-1 starting → hanging; starting for longer than 10m"
    assert warnings == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "the variable is not set"),
        ("nonsense", "it holds no URL that Apprise knows"),
        ("json://user:s3cr3t@127.0.0.1:1/", "a service did not take it (1 named)"),
    ],
)
def test_messages_that_cannot_be_sent_are_one_warning_without_the_url(
    notifier: Open, warnings: list[str], caplog: pytest.LogCaptureFixture, value: str | None, problem: str
) -> None:
    opened = notifier(NotifyTarget(apprise_env="ALERTS"), services={"ALERTS": value} if value else {})
    opened.send([event(), event()])
    opened.close()
    assert warnings == [f"an event could not be sent to ALERTS: {problem}"]
    assert "s3cr3t" not in caplog.text


@pytest.mark.server
def test_a_target_that_hangs_delays_no_other(notifier: Open) -> None:
    with HttpServer(None) as hanging, HttpServer(200) as good:
        opened = notifier(NotifyTarget(url=hanging.url), NotifyTarget(url=good.url), linger_s=0)
        opened.send([event(f"server.{number}") for number in range(50)])
        wait_until(lambda: len(good.asked) == 50, "all events at the good one")
        assert len(hanging.asked) < 50
        assert [json.loads(body)["event"] for _, _, body in good.asked] == [f"server.{number}" for number in range(50)]


@pytest.mark.server
def test_events_that_take_too_long_are_dropped_at_the_end_of_the_run(notifier: Open, warnings: list[str]) -> None:
    with HttpServer(None) as http:
        opened = notifier(NotifyTarget(url=http.url), NotifyTarget(url=http.url), linger_s=0.2)
        opened.send([event("run.started"), event("run.finished")])
        wait_until(lambda: len(http.asked) == 2, "a request of each")
        opened.close()
        assert warnings == ["2 events could not be sent to 127.0.0.1 in time"] * 2
        assert len(http.asked) == 2


def test_without_events_no_thread_or_process_starts(notifier: Open, warnings: list[str]) -> None:
    opened = notifier(NotifyTarget(url="http://127.0.0.1:1/", events=("limit.hit",)))
    opened.send([event()])
    opened.close()
    assert warnings == []


# ---------------------------------------------------------------------------------------------
# Commands


def test_a_command_gets_each_event_on_standard_input_in_the_project_folder(notifier: Open, tmp_path: Path) -> None:
    program = script(tmp_path, "on-event.sh", 'cat >> "told-$1"')
    opened = notifier(NotifyTarget(command=(program, "{name}")))
    opened.send([event("run.started"), event("server.errored", reason="grüße; $(touch oops)")])
    opened.close()
    told = [json.loads(line) for line in (tmp_path / "told-{name}").read_text(encoding="utf-8").splitlines()]
    assert [(one["event"], one["stack"], one["reason"]) for one in told] == [
        ("run.started", "prod", None),
        ("server.errored", "prod", "grüße; $(touch oops)"),
    ]
    assert not (tmp_path / "oops").exists()


def test_a_command_may_ignore_its_input(notifier: Open, tmp_path: Path, warnings: list[str]) -> None:
    program = script(tmp_path, "on-event.sh", "exec <&-; echo told >> told")
    opened = notifier(NotifyTarget(command=(program,)))
    opened.send([event(reason="x" * 500_000)] * 3)
    opened.close()
    assert (tmp_path / "told").read_text() == "told\n" * 3
    assert warnings == []


@pytest.mark.parametrize(
    ("text", "trouble"),
    [("echo no route; exit 2", "ended with 2: no route"), ("sleep 1000", "did not end within 1s")],
)
def test_a_failing_command_is_repeated_once_with_one_warning(
    notifier: Open, tmp_path: Path, warnings: list[str], text: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaler.hooks.notify, "_ATTEMPT_WITHIN_S", 1.0)
    program = script(tmp_path, "on-event.sh", f"echo >> tried; {text}")
    opened = notifier(NotifyTarget(command=(program,)))
    opened.send([event(), event()])
    opened.close()
    assert (tmp_path / "tried").read_text() == "\n" * 4
    assert warnings == [f"an event could not be sent to ./on-event.sh: {trouble}"]


def test_a_command_that_cannot_be_run_is_a_warning(notifier: Open, warnings: list[str]) -> None:
    opened = notifier(NotifyTarget(command=("./absent",)), NotifyTarget(command=("a\0b",)))
    opened.send([event()])
    opened.close()
    assert sorted(warnings) == [
        "an event could not be sent to ./absent: cannot be run: No such file or directory",
        "an event could not be sent to a\0b: cannot be run: embedded null byte",
    ]


def test_a_command_that_hangs_is_killed_at_the_end_of_the_run(
    notifier: Open, tmp_path: Path, warnings: list[str]
) -> None:
    program = script(tmp_path, "on-event.sh", "trap '' TERM; echo $$ >> pids; sleep 1000")
    opened = notifier(NotifyTarget(command=(program,)), linger_s=0.2)
    opened.send([event(), event()])
    pids = wait_until(lambda: (path := tmp_path / "pids").exists() and path.read_text().split(), "the command")
    opened.close()
    wait_until(lambda: not any(is_alive(int(pid)) for pid in pids), "the command's end")
    assert (tmp_path / "pids").read_text().split() == pids
    assert warnings == ["2 events could not be sent to ./on-event.sh in time"]


@pytest.mark.server
def test_a_webhook_that_hangs_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    with HttpServer(None) as http:
        program = f"""
from pathlib import Path
from scaler.model import NotifyTarget
from scaler.hooks.notify import Notifier
opened = Notifier("prod", [NotifyTarget(url={http.url!r})], folder=Path({str(tmp_path)!r}), warn=print, linger_s=0.5)
opened.send([{{"event": "run.started"}}])
opened.close()
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert done.stdout == "1 event could not be sent to 127.0.0.1 in time\n"
