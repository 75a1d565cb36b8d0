"""`scaler metrics`: every source read once, with what its number was made of."""

import json
from pathlib import Path
from typing import Any

import pytest

from scaler.commands.main import main

SPEC = """\
cloud: hetzner
endpoint: embedded
groups:
  worker:
    {count: 1, min: 0, max: 9, image: a, type: cx23, location: fsn1, autoscale: BLOCK}
"""
RULES = "rules: [{backlog: {metric: jobs, per_server: 5}}, {backlog: {metric: five, per_server: 5}}]"
GOOD = (
    '{metrics: {five: {fixed: 5}, jobs: {command: {run: [echo, \'{"n": 3, "at": 1764345000}\'], pointer: /n}}}, '
    f"{RULES}}}"
)


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCALER_STACK", "SCALER_STATE_DIR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def project(block: str) -> None:
    Path("Pulumi.yaml").write_text("name: shop\n")
    Path("stacks").mkdir()
    Path("stacks/prod.yaml").write_text(SPEC.replace("BLOCK", block))


def document(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert main(["metrics", "-o", "json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_values_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    project(GOOD)
    assert main(["metrics"]) == 0
    head, five, jobs = capsys.readouterr().out.splitlines()
    assert head.split() == ["GROUP", "METRIC", "SOURCE", "VALUE", "AGE", "TOOK", "STATE"]
    assert five.split()[:5] == ["worker", "five", "fixed", "5", "0s"]
    assert jobs.split()[:5] == ["worker", "jobs", "command", "3", "0s"]
    assert five.split()[-1] == jobs.split()[-1] == "ok"


def test_a_value_that_is_not_used_has_its_reason_and_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    project(GOOD.replace("pointer: /n", "pointer: /n, time_pointer: /at"))
    assert main(["metrics"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "stale: " in lines[2]
    Path("stacks/prod.yaml").write_text(SPEC.replace("BLOCK", GOOD.replace("[echo,", "[/no/such,")))
    [_, jobs] = document(capsys, code=1)["metrics"]
    assert (jobs["value"], jobs["state"]) == (None, "missing")
    assert jobs["error"] == "/no/such cannot be run: No such file or directory"


def test_what_a_number_was_made_of(capsys: pytest.CaptureFixture[str], client: Any, url: str) -> None:
    client.rpush("queues:a", "1", "2")
    client.rpush("queues:b", "3")
    source = f'{{redis: {{url: "{url}", match: "queues:*"}}}}'
    project(f"{{metrics: {{jobs: {source}}}, rules: [{{backlog: {{metric: jobs, per_server: 5}}}}]}}")
    [jobs] = document(capsys)["metrics"]
    assert (jobs["source"], jobs["value"], jobs["parts"]) == ("redis", 3, {"queues:a": 2, "queues:b": 1})
    assert main(["metrics", "-o", "markdown"]) == 0
    assert "queues:a | " in capsys.readouterr().out
    assert main(["metrics"]) == 0
    _, first, second, third = capsys.readouterr().out.splitlines()
    assert first.split()[:4] == ["worker", "jobs", "redis", "3"]
    assert (second.split(), third.split()) == (["queues:a", "2"], ["queues:b", "1"])


def test_horizons_wait_shows_jobs_run_times_and_processes(
    capsys: pytest.CaptureFixture[str], client: Any, url: str
) -> None:
    client.rpush("shop_queues:default", *["{}"] * 30)
    client.hset("shop_horizon:queue:default", "runtime", "2000")
    client.hset("shop_horizon:supervisor:a", "processes", '{"redis:default": 3}')
    client.zadd("shop_horizon:supervisors", {"a": 1})
    source = f'{{horizon: {{url: "{url}", prefix: "shop_horizon:", queue_prefix: "shop_"}}}}'
    project(f"{{metrics: {{jobs: {source}}}, rules: [{{wait: {{metric: jobs, within: 30s}}}}]}}")
    [jobs] = document(capsys)["metrics"]
    assert jobs["value"] == 20
    assert jobs["parts"] == {"jobs of default": 30, "run time of default, s": 2, "processes of default": 3}


def test_a_stack_without_metrics_and_nothing_is_recorded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    project("{rules: [{schedule: {timezone: UTC, windows: [{cron: '0 0 * * *', for: 1h, min: 2}]}}]}")
    before = sorted(tmp_path.rglob("*"))
    assert main(["metrics"]) == 0
    assert capsys.readouterr().out == "No group of prod has a metric.\n"
    assert document(capsys) == {"schema": 1, "stack": "prod", "metrics": []}
    assert sorted(tmp_path.rglob("*")) == before
