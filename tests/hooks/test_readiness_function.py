"""`ready: {function: …}`, and the example of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from socket import create_server
from typing import Any

import pytest

import scaler.config.spec
from scaler.hooks.readiness import ReadinessChecker
from scaler.model import Outcome, Readiness, Server
from tests.hooks.user_functions import extension
from tests.support.fakes import Setting, group, spec
from tests.support.processes import HandClock, server, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"


@pytest.mark.acceptance("Q11")
@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (lambda item: f"{item.name} has no queue", "prod-worker-1 has no queue"),
        (lambda item: True, "fleet:function answered True, not None or what is wrong"),
        (lambda item: "", "fleet:function answered '', not None or what is wrong"),
        (lambda item: dict[str, str]()["queue"], "fleet:function: KeyError: 'queue'"),
    ],
)
def test_only_none_passes_the_check(tmp_path: Path, answer: Callable[[Server], Any], trouble: str) -> None:
    checks = ReadinessChecker(HandClock(), tmp_path)
    how = Readiness(kind="function", function=extension(answer), successes=1)
    one = server()
    assert not checks.is_ready(how, one)
    wait_until(lambda: checks.is_ready(how, one) or checks.trouble(one), "a reading")
    assert checks.trouble(one) == trouble
    assert not checks.is_ready(how, one)


@pytest.mark.acceptance("Q11")
def test_a_readiness_function_makes_a_server_ready(tmp_path: Path) -> None:
    clock = HandClock()
    checks = ReadinessChecker(clock, tmp_path)
    seen: list[Server] = []
    how = Readiness(kind="function", function=extension(seen.append), successes=2)
    one = server()

    def is_ready() -> bool:
        clock.sleep(1.0)
        return checks.is_ready(how, one)

    wait_until(is_ready, "ready")
    assert seen == [one, one]


@pytest.mark.server
@pytest.mark.acceptance("Q11")
def test_the_documented_example_does_what_the_page_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name, text in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace(", 22)", f", {port})"), encoding="utf-8")
    found = scaler.config.spec.load(tmp_path / "stacks" / "prod.yaml", "shop")
    worker = found.groups["worker"]
    setting = Setting(spec(group(naming=worker.naming, scale_down=worker.scale_down, protect=worker.protect)))
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-001", "prod-worker-002", "prod-worker-003"]
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-001"]
    assert worker.ready.function is not None
    assert worker.ready.function(server()).startswith("no answer: ")
    with create_server(("127.0.0.1", port)):
        assert worker.ready.function(server()) is None
