"""The examples of the pages about queues: each is a valid spec, and reads what its system has written."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scaler.config.spec import load
from scaler.model.autoscaling import (
    ForgejoSource,
    GiteaSource,
    GithubSource,
    GitlabSource,
    HorizonSource,
    Metric,
    RedisSource,
    WoodpeckerSource,
)
from tests.autoscale.reading import number
from tests.support import servers

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


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
CREDENTIALS = {"GITHUB_APP_KEY": RSA_KEY.decode()} | {
    f"{name}_TOKEN": "one" for name in ("GITLAB", "FORGEJO", "GITEA", "WOODPECKER")
}

ANSWERS: dict[str, Any] = {
    "/app/installations/7654321/access_tokens": {"token": "ghs", "expires_at": "2100-01-01T00:00:00Z"},
    "/orgs/shop/repos": [{"full_name": "shop/web"}],
    "/repos/shop/web/actions/runs": {"workflow_runs": [{"id": 7}]},
    "/repos/shop/web/actions/runs/7/jobs": {"jobs": [{"status": "queued", "labels": ["self-hosted", "hetzner"]}]},
    "/api/v4/groups/shop/projects": [{"path_with_namespace": "shop/web"}],
    "/api/v4/projects/shop%2Fweb/jobs": [{"status": "pending", "tag_list": ["docker", "hetzner"]}],
    "/api/v1/orgs/shop/actions/runners/jobs": [{"status": "waiting", "runs_on": ["docker"]}],
    "/api/v1/orgs/shop/actions/jobs": {"jobs": [{"id": 7, "status": "queued", "labels": ["docker"]}], "total_count": 1},
    "/api/queue/info": {"pending": [{"labels": {"gpu": "yes"}}], "running": None, "stats": {}, "paused": False},
}
"""One job for the runners of each page, with the fields that are read. The sources' own tests have whole answers."""


def served(pages: servers.Pages, source: Any) -> Any:
    """The source of an example, whose server is this one."""
    pages.pages.update({path: (200, {}, json.dumps(document)) for path, document in ANSWERS.items()})
    return replace(source, **{"api" if isinstance(source, GithubSource) else "url": pages.url})


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("github-runners", GithubSource),
        ("gitlab-runners", GitlabSource),
        ("forgejo-runners", ForgejoSource),
        ("gitea-runners", GiteaSource),
        ("woodpecker-agents", WoodpeckerSource),
    ],
)
def test_the_example_about_runners_is_a_whole_group_and_reads_one_job(
    pages: servers.Pages, tmp_path: Path, page: str, kind: type
) -> None:
    [block] = re.findall(r"^```yaml\n([\s\S]*?)^```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.M)
    path = tmp_path / "prod.yaml"
    path.write_text("cloud: hetzner\ngroups:\n  runner:\n" + "".join(f"    {line}\n" for line in block.splitlines()))
    group = load(path, "shop").groups["runner"]
    assert group.min == 0
    assert group.stop.drain
    assert group.autoscale is not None
    found = group.autoscale.metrics["jobs"].source
    assert isinstance(found, kind)
    assert number(served(pages, found), **CREDENTIALS) == 1


def test_the_example_about_horizon(client: Any, url: str, tmp_path: Path) -> None:
    """Ten jobs of two seconds, for four processes."""
    [block] = re.findall(r"^```yaml\nautoscale:\n([\s\S]*?)^```", (PAGES / "from-laravel-horizon.md").read_text(), re.M)
    lines = [line.removeprefix("  ") for line in block.splitlines()]
    [metric] = metrics(tmp_path, "\n".join(lines)).values()
    assert isinstance(metric.source, HorizonSource)
    client.rpush("shop_database_queues:mail", *["{}"] * 10)
    client.hset("shop_horizon:queue:mail", "runtime", "2000")
    client.hset("shop_horizon:supervisor:a", "processes", '{"redis:mail": 4}')
    client.zadd("shop_horizon:supervisors", {"a": 1})
    assert number(replace(metric.source, url=url, password_env=None)) == 5
