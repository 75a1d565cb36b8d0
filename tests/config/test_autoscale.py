"""The autoscale block: what a good one becomes, and what is said of a bad one."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from scaler.config.schema.generate import json_schema
from scaler.config.spec import load
from scaler.config.strict_yaml import read
from scaler.errors import InvalidSpecError
from scaler.model.autoscaling import (
    Backlog,
    CloudSource,
    CommandSource,
    Direction,
    FixedSource,
    ForgejoSource,
    GiteaSource,
    GithubApp,
    GithubSource,
    GitlabSource,
    HorizonSource,
    HttpSource,
    Learned,
    Metric,
    Policy,
    PrometheusSource,
    RabbitmqSource,
    RedisSource,
    Schedule,
    SqlSource,
    SqsSource,
    Steps,
    Target,
    Threshold,
    Wait,
    Window,
    WoodpeckerSource,
)

SCHEMA = jsonschema.Draft202012Validator(json_schema())
ROOT = Path(__file__).parents[2]

START = """\
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

EVERYTHING = """\
      metrics:
        wait: {horizon: {url: "redis://127.0.0.1", queues: [a, b], prefix: "shop:", queue_prefix: "", runtime: 3s}}
        jobs: {redis: {url: unix:///run/redis.sock, key: "queues:a", password_env: PW}, timeout: 1s, highest: 5000}
        done: {http: {url: "http://stats/x", pointer: /a/0, time_pointer: /at, token_env: TOKEN}, max_age: 1m}
        cpu: {prometheus: {url: "http://prom:9090", query: avg(cpu), window: 5m, step: 30s, aggregate: max}}
        own: {command: {run: [cat, "5"], pointer: /n}, distrust_zero: 0s}
        five: {fixed: 2.5}
        load: {cloud: cpu, timeout: 20s}
        mail: {rabbitmq: {url: "http://r:15672", queues: mail, vhost: shop, messages: ready, password_env: PW}}
        sent: {sqs: {queue_url: "https://sqs.eu-central-1.amazonaws.com/1/jobs", measure: age}}
        rows: {sql: {url: "postgresql://me@db/shop?sslmode=require", password_env: PW, query: "select 1;"}}
      rules:
        - wait: {metric: wait, within: 30s}
        - backlog: {metric: jobs, within: 1m, learn: {metric: done, initial: 0.5}}
        - backlog: {metric: jobs, per_server: 50, tolerance: 5%}
        - target: {metric: cpu, value: 60, tolerance: 12.5%}
        - target: {metric: load, value: 70}
        - backlog: {metric: rows, per_server: 3}
        - backlog: {metric: mail, per_server: 3}
        - wait: {metric: sent, within: 40s}
        - steps: {metric: own, table: [{from: 0, count: 1}, {from: 2.5, count: 3}]}
        - steps: {metric: five, table: [{from: 0, change: -1}, {from: 10, change: 2}]}
        - schedule: {timezone: Europe/Berlin, windows: [{cron: "0 8 * * mon-fri", for: 10h, min: 3, max: 8}]}
      up: {step: 3, cooldown: 1m}
      down: {stabilise: 0s, step: 1}
      on_error: max
"""


def write(folder: Path, block: str, start: str = START) -> Path:
    path = folder / "prod.yaml"
    path.write_text(start + block)
    return path


def test_a_spec_with_every_source_and_rule_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, EVERYTHING)
    second = timedelta(seconds=1)
    assert load(path, "shop").groups["worker"].autoscale == Policy(
        metrics={
            "wait": Metric(
                name="wait",
                source=HorizonSource(
                    url="redis://127.0.0.1", queues=("a", "b"), prefix="shop:", queue_prefix="", runtime=3 * second
                ),
            ),
            "jobs": Metric(
                name="jobs",
                source=RedisSource(url="unix:///run/redis.sock", key="queues:a", password_env="PW"),
                timeout=second,
                highest=5000,
            ),
            "done": Metric(
                name="done",
                source=HttpSource(url="http://stats/x", pointer="/a/0", time_pointer="/at", token_env="TOKEN"),
                max_age=60 * second,
            ),
            "cpu": Metric(
                name="cpu",
                source=PrometheusSource(
                    url="http://prom:9090", query="avg(cpu)", window=300 * second, step=30 * second, aggregate="max"
                ),
            ),
            "own": Metric(
                name="own", source=CommandSource(command=("cat", "5"), pointer="/n"), distrust_zero=timedelta(0)
            ),
            "five": Metric(name="five", source=FixedSource(value=2.5)),
            "load": Metric(name="load", source=CloudSource(), timeout=20 * second),
            "mail": Metric(
                name="mail",
                source=RabbitmqSource(
                    url="http://r:15672", queues=("mail",), vhost="shop", messages="ready", password_env="PW"
                ),
            ),
            "sent": Metric(
                name="sent",
                source=SqsSource(queue_url="https://sqs.eu-central-1.amazonaws.com/1/jobs", measure="age"),
            ),
            "rows": Metric(
                name="rows",
                source=SqlSource(url="postgresql://me@db/shop?sslmode=require", password_env="PW", query="select 1"),
            ),
        },
        rules=(
            Wait(metric="wait", within=30 * second),
            Backlog(metric="jobs", within=60 * second, throughput=Learned(metric="done", initial=0.5)),
            Backlog(metric="jobs", per_server=50, tolerance=0.05),
            Target(metric="cpu", value=60, tolerance=0.125),
            Target(metric="load", value=70),
            Backlog(metric="rows", per_server=3),
            Backlog(metric="mail", per_server=3),
            Wait(metric="sent", within=40 * second),
            Steps(metric="own", steps=(Threshold(0, 1), Threshold(2.5, 3))),
            Steps(metric="five", steps=(Threshold(0, -1), Threshold(10, 2)), relative=True),
            Schedule(
                timezone="Europe/Berlin",
                windows=(Window(cron="0 8 * * mon-fri", length=timedelta(hours=10), min=3, max=8),),
            ),
        ),
        up=Direction(step=3, cooldown=60 * second),
        down=Direction(stabilise=timedelta(0), cooldown=timedelta(minutes=5), step=1),
        on_error="max",
    )
    SCHEMA.validate(read(path).value)


def test_a_rule_alone_is_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path, "      rules: [{schedule: {timezone: UTC, windows: [{cron: '0 0 * * *', for: 1h, min: 2}]}}]\n"
    )
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    assert policy.down == Direction(stabilise=timedelta(minutes=5), cooldown=timedelta(minutes=5))
    assert (policy.up, policy.on_error, policy.metrics) == (Direction(), "hold", {})


def test_droplets_are_measured_only_if_they_are_monitored(tmp_path: Path) -> None:
    start = START.replace("hetzner", "digitalocean").replace("cx23", "s-1vcpu-1gb").replace("fsn1", "fra1")
    start = start.replace("image: ubuntu-24.04", "image: ubuntu-24-04-x64")
    block = "      metrics: {load: {cloud: cpu}}\n      rules: [{target: {metric: load, value: 60}}]\n"
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path, block, start), "shop")
    [problem] = caught.value.problems
    assert problem.message == "groups.worker.autoscale.metrics.load.cloud is measured of monitored droplets only"
    assert (problem.line, problem.fix) == (10, "add monitoring: true to the group")
    monitored = start.replace("    autoscale:", "    monitoring: true\n    autoscale:")
    assert load(write(tmp_path, block, monitored), "shop").groups["worker"].monitoring


def test_every_key_of_redis(tmp_path: Path) -> None:
    block = """\
      metrics:
        keys: {redis: {url: "redis://x", keys: [a, b], due: ms, cluster: true, missing: error}}
        many: {redis: {url: "redis://x", match: "q:*", entry: "job:{id}", age_field: /a/b, unit: us, measure: age}}
        jobs: {redis: {url: "redis://x", system: bullmq, queues: [mail], prefix: shop}}
        some: {redis: {url: "redis://x", key: events, group: workers, username: me, password_env: PW}}
        hash: {redis: {url: "redis://x", key: h, field: waiting, due: 4096000, oldest: last}}
      rules:
"""
    rules = "".join(
        f"        - backlog: {{metric: {name}, per_server: 5}}\n" for name in ("keys", "many", "jobs", "some", "hash")
    )
    path = write(tmp_path, block + rules)
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    metrics = policy.metrics
    assert {name: metric.source for name, metric in metrics.items()} == {
        "keys": RedisSource(url="redis://x", keys=("a", "b"), due="ms", cluster=True, missing="error"),
        "many": RedisSource(url="redis://x", match="q:*", entry="job:{id}", age_field="/a/b", unit="us", measure="age"),
        "jobs": RedisSource(url="redis://x", system="bullmq", queues=("mail",), prefix="shop"),
        "some": RedisSource(url="redis://x", key="events", group="workers", username="me", password_env="PW"),
        "hash": RedisSource(url="redis://x", key="h", field="waiting", due=4_096_000.0, oldest="last"),
    }
    SCHEMA.validate(read(path).value)


def test_every_key_of_github(tmp_path: Path) -> None:
    block = """\
      metrics:
        all: {github: {organization: shop, labels: [linux, x64], app: {id: 12, installation: 77, key_env: KEY}}}
        some: {github: {repositories: shop/web, labels: gpu, token_env: T, jobs: queued, api: "https://gh.x/api/v3"}}
      rules:
        - backlog: {metric: all, per_server: 1}
        - backlog: {metric: some, per_server: 1}
"""
    path = write(tmp_path, block)
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    assert {name: metric.source for name, metric in policy.metrics.items()} == {
        "all": GithubSource(
            organization="shop",
            labels=("linux", "x64"),
            app=GithubApp(id="12", installation=77, key_env="KEY"),
        ),
        "some": GithubSource(
            repositories=("shop/web",), labels=("gpu",), token_env="T", jobs="queued", api="https://gh.x/api/v3"
        ),
    }
    SCHEMA.validate(read(path).value)


def test_every_key_of_forgejo(tmp_path: Path) -> None:
    block = """\
      metrics:
        one: {forgejo: {url: "https://f", labels: docker, token_env: T, repository: shop/web, jobs: running}}
        all: {forgejo: {url: "https://f", labels: [docker, gpu], token_env: T, organization: shop}}
        gitea: {gitea: {url: "https://f", labels: [docker], token_env: T}}
      rules:
        - backlog: {metric: gitea, per_server: 1}
        - backlog: {metric: one, per_server: 1}
        - backlog: {metric: all, per_server: 1}
"""
    path = write(tmp_path, block)
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    assert {name: metric.source for name, metric in policy.metrics.items()} == {
        "one": ForgejoSource(url="https://f", labels=("docker",), token_env="T", repository="shop/web", jobs="running"),
        "all": ForgejoSource(url="https://f", labels=("docker", "gpu"), token_env="T", organization="shop"),
        "gitea": GiteaSource(url="https://f", labels=("docker",), token_env="T"),
    }
    SCHEMA.validate(read(path).value)


def test_every_key_of_woodpecker(tmp_path: Path) -> None:
    block = """\
      metrics:
        jobs: {woodpecker: {url: "https://ci", labels: {gpu: "yes", platform: linux/amd64}, jobs: queued, token_env: T}}
      rules:
        - backlog: {metric: jobs, per_server: 1}
"""
    path = write(tmp_path, block)
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    source = WoodpeckerSource(
        url="https://ci", labels={"gpu": "yes", "platform": "linux/amd64"}, jobs="queued", token_env="T"
    )
    assert policy.metrics["jobs"].source == source
    assert hash(policy.metrics["jobs"].source) == hash(source), "readers that still run are found by their source"
    SCHEMA.validate(read(path).value)


def test_every_key_of_gitlab(tmp_path: Path) -> None:
    block = """\
      metrics:
        all: {gitlab: {group: shop, tags: [docker, gpu], token_env: T, jobs: running}}
        one: {gitlab: {projects: shop/web, untagged: true, token_env: T, url: "https://gl"}}
      rules:
        - backlog: {metric: all, per_server: 1}
        - backlog: {metric: one, per_server: 1}
"""
    path = write(tmp_path, block)
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    assert {name: metric.source for name, metric in policy.metrics.items()} == {
        "all": GitlabSource(group="shop", tags=("docker", "gpu"), token_env="T", jobs="running"),
        "one": GitlabSource(projects=("shop/web",), untagged=True, token_env="T", url="https://gl"),
    }
    SCHEMA.validate(read(path).value)


def test_a_group_without_a_block_has_no_policy(tmp_path: Path) -> None:
    assert load(write(tmp_path, "", START.replace("    autoscale:\n", "")), "shop").groups["worker"].autoscale is None


METRIC = "      metrics: {jobs: {fixed: 1}}\n"
RULE = "      rules: [{backlog: {metric: jobs, per_server: 5}}]\n"


def metric(text: str) -> str:
    return f"      metrics: {{jobs: {{{text}}}}}\n{RULE}"


def rule(text: str) -> str:
    return f"{METRIC}      rules: [{{{text}}}]\n"


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("      metrics: {}\n", "autoscale must have rules or a function; add rules"),
        ("      rules: []\n", "autoscale.rules must not be empty; name at least one"),
        (metric("fixed: 1, http: {url: 'http://x'}"), "jobs must have exactly one of the keys prometheus, redis,"),
        (metric("timeout: 1s"), "metrics.jobs must have exactly one of the keys prometheus, redis,"),
        (metric("cloud: ram"), "metrics.jobs.cloud must be cpu, not 'ram'"),
        (metric("fixed: -1"), "metrics.jobs.fixed must be a number such as 60 or 0.75, not -1"),
        (metric("fixed: true"), "metrics.jobs.fixed must be a number such as 60 or 0.75, not true"),
        (metric("htp: {url: 'http://x'}"), "metrics.jobs.htp is not a known key; did you mean http?"),
        (metric("http: {url: ftp://x}"), "http.url must be an http(s) URL; write it as https://host/path"),
        (metric("http: {url: 'http://x', pointer: a/b}"), "http.pointer must be a JSON pointer"),
        (metric("http: {url: 'http://x', token_env: 'a b'}"), "token_env must be the name of an environment variable"),
        (metric("redis: {url: 'redis://:pw@x', key: a}"), "redis.url must not hold credentials; name the environment"),
        (metric("redis: {url: 'http://x', key: a}"), "redis.url must be a Redis URL; write it as redis://host:6379/0"),
        (
            metric("horizon: {url: 'redis://x/1', cluster: true}"),
            "horizon.cluster needs a URL with a host and without a database; write it as redis://host:6379",
        ),
        (metric("horizon: {url: 'unix:///run/r.sock', cluster: true}"), "horizon.cluster needs a URL with a host"),
        (metric("redis: {url: 'redis://x'}"), "redis must have exactly one of the keys key, keys, match and system"),
        (metric("redis: {url: 'redis://x', key: a, match: b}"), "redis must have exactly one of the keys key, keys,"),
        (
            metric("redis: {url: 'redis://x', system: rq, group: a}"),
            "redis.group is not a key beside system: it belongs to key, keys and match; remove it",
        ),
        (metric("redis: {url: 'redis://x', key: a, queues: b}"), "redis.queues is not a key beside key: it belongs"),
        (
            metric("redis: {url: 'redis://x', system: bullmq}"),
            "redis must name its queues: BullMQ has no default queue",
        ),
        (
            metric("redis: {url: 'redis://x', system: celery, measure: age}"),
            "redis.measure cannot be age: the messages of Celery hold no time; measure the length",
        ),
        (
            metric("redis: {url: 'redis://x', system: qless}"),
            "redis.system must be sidekiq or celery or rq or bullmq or dramatiq",
        ),
        (metric("redis: {url: 'redis://x', key: a, due: hours}"), "redis.due must be s, ms, us, ns or the number of"),
        (metric("redis: {url: 'redis://x', key: a, missing: 1}"), "redis.missing must be 0 or error, not 1"),
        (metric("redis: {url: 'redis://x', key: a, measure: size}"), "measure must be length or age, not 'size'"),
        (
            metric("rabbitmq: {url: 'http://a:b@x', queues: mail}"),
            "rabbitmq.url must not hold credentials; keep them in",
        ),
        (metric("rabbitmq: {url: 'http://x'}"), "metrics.jobs.rabbitmq.queues is missing; add it"),
        (metric("sqs: {queue_url: 'https://sqs.x.amazonaws.com/'}"), "sqs.queue_url must be the URL of a queue; write"),
        (metric("github: {labels: a, token_env: T}"), "github must have exactly one of the keys repositories and"),
        (metric("github: {labels: a, organization: o}"), "github must have exactly one of the keys token_env and app"),
        (
            metric("github: {labels: a, repositories: [o/r, o], token_env: T}"),
            "repositories[1] must be owner/name, not",
        ),
        (
            metric("forgejo: {url: 'https://f', labels: a, token_env: T, repository: a/b, organization: o}"),
            "jobs.forgejo must not have both repository and organization; remove one of them",
        ),
        (
            metric("redis: {url: 'redis://h/0?password=s3cret', key: a}"),
            "jobs.redis.url may have no options but db and those of TLS (ssl_…); write it as redis://host:6379/0",
        ),
        (
            metric("redis: {url: 'redis://h/0', system: arq, missing: error}"),
            "jobs.redis.missing cannot be error: arq leaves nothing in Redis while no job waits; remove it",
        ),
        (
            metric("forgejo: {url: 'https://f', labels: a, token_env: T, repository: a}"),
            "forgejo.repository must be owner/name, not 'a'",
        ),
        (metric("gitlab: {tags: a, token_env: T}"), "jobs.gitlab must have exactly one of the keys projects and group"),
        (metric("gitlab: {group: a, token_env: T}"), "gitlab counts no job; add tags, or untagged: true"),
        (metric("sql: {query: 'select 1'}"), "jobs.sql must have exactly one of the keys url and url_env"),
        (metric("sql: {url: 'postgresql://a:b@x/y', query: 'select 1'}"), "sql.url must not hold a password; name the"),
        (
            metric("sql: {url: 'postgresql://x/y?password=b', query: 'select 1'}"),
            "sql.url must not hold a password; name",
        ),
        (metric("sql: {url: 'oracle://x/y', query: 'select 1'}"), "sql.url must be the URL of a database; write it as"),
        (metric("sql: {url_env: A, query: 'select 1; drop table x'}"), "sql.query must be one statement, without a ;"),
        (metric("prometheus: {url: 'http://x', query: ''}"), "prometheus.query must not be empty"),
        (metric("command: {run: []}"), "command.run must not be empty"),
        (metric("fixed: 1, timeout: 5"), "jobs.timeout needs a unit, which 5 has not; write 5s"),
        ("      metrics: {Jobs: {fixed: 1}}\n" + RULE, "metrics.Jobs must be lower-case letters, digits and _"),
        (rule("backlog: {metric: job, per_server: 5}"), "rules[0].backlog.metric names no metric: 'job'; did you mean"),
        (
            rule("schedule: {timezone: UTC, windows: [{cron: '0 0 * * *', for: 1h}]}"),
            "rules use not every metric: jobs",
        ),
        (rule("backlog: {metric: jobs}"), "backlog must have exactly one of the keys per_server and within"),
        (rule("backlog: {metric: jobs, within: 1m}"), "must have exactly one of the keys throughput and learn"),
        (rule("backlog: {metric: jobs, per_server: 0}"), "backlog.per_server must be more than 0"),
        (
            rule("backlog: {metric: jobs, per_server: 1, throughput: 1}"),
            "has a throughput, which per_server has no use",
        ),
        (
            rule("backlog: {metric: jobs, within: 1m, learn: {metric: don}}"),
            "rules[0].backlog.learn.metric names no metric: 'don'; known: jobs",
        ),
        (rule("target: {metric: jobs, value: 60, tolerance: 0.1}"), "tolerance must be a percentage below 100%"),
        (rule("target: {metric: jobs, value: 60, tolerance: 100%}"), "tolerance must be a percentage below 100%"),
        (
            rule("target: {metric: jobs, value: 60, tolerence: 5%}"),
            "target.tolerence is not a known key; did you mean tolerance?",
        ),
        (rule("wait: {metric: jobs, within: 0s}"), "wait.within must be more than 0s"),
        (rule("steps: {metric: jobs, table: []}"), "steps.table must not be empty"),
        (rule("steps: {metric: jobs, table: [{from: 1, count: 1}]}"), "table[0].from must be 0"),
        (
            rule("steps: {metric: jobs, table: [{from: 0, count: 1}, {from: 0, count: 2}]}"),
            "table[1].from must be more than the step before it",
        ),
        (
            rule("steps: {metric: jobs, table: [{from: 0, count: 2}, {from: 5, count: 1}]}"),
            "table[1] must not be fewer than in the step before it",
        ),
        (
            rule("steps: {metric: jobs, table: [{from: 0, count: 2}, {from: 5, change: 3}]}"),
            "steps.table must have either counts or changes, not both",
        ),
        (
            rule("schedule: {timezone: Europe/Berln, windows: [{cron: '0 0 * * *', for: 1h}]}"),
            "timezone must be a time zone such as Europe/Berlin, not 'Europe/Berln'; did you mean Europe/Berlin?",
        ),
        (
            rule("schedule: {timezone: UTC, windows: [{cron: '61 * * * *', for: 1h}]}"),
            "windows[0].cron must be a cron expression that comes true",
        ),
        (
            rule("schedule: {timezone: UTC, windows: [{cron: '0 0 * * *', for: 1h, min: 3, max: 2}]}"),
            "windows[0].max must be at least min (3), not 2",
        ),
        (rule("{}".strip("{}")), "rules[0] must have exactly one of the keys target, backlog, wait, steps"),
        (METRIC + RULE + "      up: {step: 0}\n", "up.step must be 1 or more, not 0"),
        (METRIC + RULE + "      down: {stabilise: 25h}\n", "down.stabilise must be at most 24h, not '25h'"),
        (METRIC + RULE + "      down: {stabilize: 1m}\n", "down.stabilize is not a known key; did you mean stabilise?"),
        (METRIC + RULE + "      on_error: min\n", "on_error must be hold or max, not 'min'; known: hold, max"),
    ],
)
def test_a_problem_is_reported_with_its_line(tmp_path: Path, block: str, problem: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path, block), "shop")
    [told] = caught.value.problems
    assert problem in str(told)
    assert told.line >= 9


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    block = (
        EVERYTHING.replace("fixed: 2.5", "fixed: x").replace("within: 30s", "within: 30").replace("min: 3", "min: -3")
    )
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path, block), "shop")
    assert [problem.line for problem in caught.value.problems] == [16, 22, 32]


def test_a_block_needs_the_groups_max(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path, METRIC + RULE, START.replace("    max: 10\n", "")), "shop")
    assert "autoscale needs the group's max" in str(caught.value.problems[0])


def test_a_block_belongs_in_a_group(tmp_path: Path) -> None:
    text = START.replace("    autoscale:\n", "") + "autoscale: {}\n"
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path, "", text), "shop")
    assert "autoscale is not a key here; it belongs in a group" in str(caught.value.problems[0])


def test_the_page_describes_every_key_and_its_example_is_good(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/autoscale.md").read_text()
    definitions = json_schema()["$defs"]
    names = (
        "Autoscale",
        "Metric",
        "Prometheus",
        "Redis",
        "Horizon",
        "Sql",
        "Rabbitmq",
        "Sqs",
        "Github",
        "GithubApp",
        "Gitlab",
        "Forgejo",
        "Gitea",
        "Woodpecker",
        "Http",
        "Command",
        "Direction",
        "Rule",
        "Backlog",
    )
    for name in (*names, "Target", "Wait", "Steps", "Step", "Schedule", "Window", "Learn"):
        for key in definitions[f"{name}Schema"]["properties"].keys() - {"username"}:
            assert re.search(rf"\b{key}\b", page), f"docs/reference/autoscale.md does not tell of {name}'s {key}"
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    example = found.group(1)
    path = tmp_path / "prod.yaml"
    path.write_text(
        "cloud: hetzner\n" + example.replace("    count: 2", "    image: x\n    type: a\n    location: b\n    count: 2")
    )
    policy = load(path, "shop").groups["worker"].autoscale
    assert policy is not None
    assert policy.rules


def test_the_published_schema_is_the_generated_one() -> None:
    assert json.loads((ROOT / "scaler/config/schema/spec.schema.json").read_text()) == json_schema()
