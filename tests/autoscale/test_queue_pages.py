"""The examples of the pages about queues: each is a valid spec, and reads what its system has written."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaler.config.spec import load
from scaler.model.autoscaling import ForgejoSource, GithubSource, GitlabSource, Metric, RedisSource, WoodpeckerSource
from tests.autoscale.reading import number

PAGES = Path(__file__).parents[2] / "docs/how-to"
BLOCK = re.compile(r"^## (.+)\n(?:(?!^## )[\s\S])*?^```yaml\n([\s\S]*?)^```", re.MULTILINE)

SPEC = """\
cloud: hetzner
groups:
  worker:
    count: 1
    max: 10
    image: ubuntu-24.04
    type: cx23
    location: fsn1
    autoscale:
"""


def examples(page: str) -> dict[str, str]:
    """The example of each section of a page."""
    return dict(BLOCK.findall((PAGES / page).read_text(encoding="utf-8")))


def metrics(folder: Path, block: str) -> dict[str, Metric]:
    """The metrics of an example, as part of a whole spec."""
    path = folder / "prod.yaml"
    path.write_text(SPEC + "".join(f"      {line}\n" for line in block.splitlines()))
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    assert policy.rules
    return dict(policy.metrics)


def sidekiq(client: Any, now: float) -> None:
    client.lpush("queue:mailers", json.dumps({"queue": "mailers", "enqueued_at": now - 90}))


def celery(client: Any, now: float) -> None:
    del now
    client.lpush("celery", "{}")
    client.lpush("mail\x06\x163", "{}")


def rq(client: Any, now: float) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 90))
    for queue in ("default", "high"):
        client.rpush(f"rq:queue:{queue}", queue)
        client.hset(f"rq:job:{queue}", "enqueued_at", moment)


def bullmq(client: Any, now: float) -> None:
    del now
    client.lpush("bull:mail:wait", "1")
    client.zadd("bull:video:prioritized", {"2": 1})


def dramatiq(client: Any, now: float) -> None:
    del now
    client.rpush("dramatiq:default", "one", "two")


def arq(client: Any, now: float) -> None:
    client.zadd("arq:queue", {"one": now * 1000 - 1, "two": now * 1000 - 1, "later": now * 2000})


def asynq(client: Any, now: float) -> None:
    client.lpush("asynq:{critical}:pending", "one")
    client.zadd("asynq:{default}:retry", {"two": now - 1})


def laravel(client: Any, now: float) -> None:
    client.rpush("shop_database_queues:default", "{}")
    client.zadd("shop_database_queues:default:delayed", {"{}": now - 1})


def stream(client: Any, now: float) -> None:
    del now
    client.xgroup_create("orders", "workers", "0", mkstream=True)
    for _ in range(2):
        client.xadd("orders", {"a": 1})


def other(client: Any, now: float) -> None:
    client.rpush("jobs:a:waiting", "1")
    client.rpush("jobs:b:waiting", "2")
    client.zadd("jobs:delayed", {"one": now * 1000 - 1, "two": now * 1000 - 1, "later": now * 2000})


FILLED: dict[str, Callable[[Any, float], None]] = {
    "Sidekiq": sidekiq,
    "Celery": celery,
    "RQ": rq,
    "BullMQ and Bull": bullmq,
    "Dramatiq": dramatiq,
    "arq": arq,
    "asynq": asynq,
    "Laravel without Horizon": laravel,
    "A stream with a consumer group": stream,
    "Another system": other,
}


def test_every_example_about_redis_is_tested() -> None:
    assert set(examples("queues-in-redis.md")) == set(FILLED)


@pytest.mark.parametrize("name", FILLED)
def test_an_example_about_redis(client: Any, url: str, tmp_path: Path, name: str) -> None:
    """Two jobs wait, or the oldest waits for 90 s."""
    FILLED[name](client, time.time())
    for metric in metrics(tmp_path, examples("queues-in-redis.md")[name]).values():
        assert isinstance(metric.source, RedisSource)
        found = number(replace(metric.source, url=url, password_env=None))
        assert found == pytest.approx(90, abs=20) if metric.source.measure == "age" else found == 2


def test_the_examples_about_brokers_are_valid(tmp_path: Path) -> None:
    found = {name: set(metrics(tmp_path, block)) for name, block in examples("queues-of-brokers.md").items()}
    assert found == {"RabbitMQ": {"jobs"}, "Amazon SQS": {"jobs", "age"}}


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("github-runners", GithubSource),
        ("gitlab-runners", GitlabSource),
        ("forgejo-runners", ForgejoSource),
        ("woodpecker-agents", WoodpeckerSource),
    ],
)
def test_the_example_about_runners_is_a_whole_group(tmp_path: Path, page: str, kind: type) -> None:
    [block] = re.findall(r"^```yaml\n([\s\S]*?)^```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.M)
    path = tmp_path / "prod.yaml"
    path.write_text("cloud: hetzner\ngroups:\n  runner:\n" + "".join(f"    {line}\n" for line in block.splitlines()))
    group = load(path, "shop").groups["runner"]
    assert group.min == 0
    assert group.stop.drain
    assert group.autoscale is not None
    assert isinstance(group.autoscale.metrics["jobs"].source, kind)


def test_the_example_about_horizon_is_valid(tmp_path: Path) -> None:
    [block] = re.findall(r"^```yaml\nautoscale:\n([\s\S]*?)^```", (PAGES / "from-laravel-horizon.md").read_text(), re.M)
    lines = [line.removeprefix("  ") for line in block.splitlines()]
    assert set(metrics(tmp_path, "\n".join(lines))) == {"wait"}
