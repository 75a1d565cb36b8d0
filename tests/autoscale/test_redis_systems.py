"""The presets of the redis source, on queues that the systems' own libraries have filled.

Celery, RQ and Dramatiq come from the package index. arq 0.28 needs an older redis client than ours, and BullMQ and
asynq are of other languages: `redis_keys.json` holds the keys that they wrote. Sidekiq's and Laravel's are written
as recorded from Sidekiq 6.5, 7.3 and 8, and Laravel 13.
"""

from __future__ import annotations

import importlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from scaler.model.autoscaling import RedisSource
from tests.autoscale.reading import number, refusal

HOUR = 3600


def source(url: str, system: Any, *queues: str, **rest: Any) -> RedisSource:
    return RedisSource(url=url, system=system, queues=queues, **rest)


def age(url: str, system: Any, *queues: str, **rest: Any) -> float:
    return number(source(url, system, *queues, measure="age", **rest))


# ---------------------------------------------------------------------------------------------
# Libraries


def test_celery(client: Any, url: str) -> None:
    celery = pytest.importorskip("celery", reason="celery is not installed (make test installs it)")
    app = celery.Celery("shop", broker=url)
    app.conf.broker_transport_options = {"queue_order_strategy": "priority"}
    for _ in range(3):
        app.send_task("work", args=[1])
    app.send_task("work", args=[2], priority=9)
    app.send_task("other", queue="mail")
    assert number(source(url, "celery", missing="error")) == 4, "with the list of priority 9"
    assert number(source(url, "celery", "celery", "mail")) == 5
    assert refusal(source(url, "celery", measure="age")).startswith("the messages of Celery have no time")


def test_celery_messages_that_a_lost_worker_took_wait_again_after_the_visibility_time_out(
    client: Any, url: str
) -> None:
    celery = pytest.importorskip("celery", reason="celery is not installed (make test installs it)")
    app = celery.Celery("shop", broker=url)
    for queue in ("celery", "celery", "mail"):
        app.send_task("work", queue=queue)
    with app.connection_for_read() as connection, connection.channel() as channel:
        # Taken, and never acknowledged: the consumer dies with the connection still open.
        messages = [channel.basic_get(queue) for queue in ("celery", "celery", "mail")]
        assert all(messages)
        assert number(source(url, "celery")) == 0
        for tag in client.zrange("unacked_index", 0, -1):
            client.zadd("unacked_index", {tag: time.time() - 2 * HOUR})
        assert number(source(url, "celery")) == 2
        assert number(source(url, "celery", "mail")) == 1
        client.delete("unacked", "unacked_index")


def test_celery_with_a_global_prefix(client: Any, url: str) -> None:
    celery = pytest.importorskip("celery", reason="celery is not installed (make test installs it)")
    app = celery.Celery("shop", broker=url)
    app.conf.broker_transport_options = {"global_keyprefix": "shop:"}
    app.send_task("work")
    assert number(source(url, "celery", prefix="shop:")) == 1
    assert number(source(url, "celery")) == 0


def test_rq(client: Any, url: str) -> None:
    rq = pytest.importorskip("rq", reason="rq is not installed (make test installs it)")
    connection = redis.Redis.from_url(url)
    queue = rq.Queue("default", connection=connection)
    first = queue.enqueue("os.getpid")
    queue.enqueue("os.getpid")
    queue.enqueue_in(timedelta(hours=1), "os.getpid")
    assert number(source(url, "rq", missing="error")) == 2, "the scheduled one is not due"
    client.hset(f"rq:job:{first.id}", "enqueued_at", (datetime.now(UTC) - timedelta(seconds=90)).isoformat())
    assert age(url, "rq") == pytest.approx(90, abs=20)
    [scheduled] = client.zrange("rq:scheduled:default", 0, -1)
    client.zadd("rq:scheduled:default", {scheduled: time.time() - 300})
    assert number(source(url, "rq")) == 3
    assert age(url, "rq") == pytest.approx(300, abs=20)
    connection.close()


def test_a_job_that_is_gone_hides_no_other(client: Any, url: str) -> None:
    """RQ's jobs with a `ttl` expire, and their ids stay in the list until a worker comes."""
    client.rpush("rq:queue:default", "gone", "expired", "there")
    client.hset("rq:job:there", "enqueued_at", (datetime.now(UTC) - timedelta(seconds=90)).isoformat())
    assert age(url, "rq") == pytest.approx(90, abs=20)
    client.lpush("bull:mail:wait", "1", "2", "3")
    client.hset("bull:mail:2", "timestamp", int((time.time() - 90) * 1000))
    assert age(url, "bullmq", "mail") == pytest.approx(90, abs=20)


def test_dramatiq(client: Any, url: str) -> None:
    dramatiq = pytest.importorskip("dramatiq", reason="dramatiq is not installed (make test installs it)")
    broker = importlib.import_module("dramatiq.brokers.redis").RedisBroker(url=url)

    @dramatiq.actor(broker=broker)  # type: ignore[untyped-decorator]
    def work() -> None:
        """Nothing runs it: the test has no worker."""

    work.send()
    work.send()
    work.send_with_options(delay=1)
    work.send_with_options(delay=HOUR * 1000)
    time.sleep(0.05)
    assert number(source(url, "dramatiq", missing="error")) == 3, "two, and the delayed one that is due"
    assert 0 <= age(url, "dramatiq") < 30
    first = client.lindex("dramatiq:default", 0)
    message = json.loads(client.hget("dramatiq:default.msgs", first))
    message["message_timestamp"] -= 90_000
    client.hset("dramatiq:default.msgs", first, json.dumps(message))
    assert age(url, "dramatiq") == pytest.approx(90, abs=20)
    broker.close()


def test_dramatiq_messages_of_a_dead_worker_wait_again(client: Any, url: str) -> None:
    dramatiq = pytest.importorskip("dramatiq", reason="dramatiq is not installed (make test installs it)")
    broker = importlib.import_module("dramatiq.brokers.redis").RedisBroker(url=url)

    @dramatiq.actor(broker=broker)  # type: ignore[untyped-decorator]
    def work() -> None:
        """Nothing runs it: the consumers only take the messages."""

    for _ in range(3):
        work.send()
    work.send_with_options(delay=1)
    work.send_with_options(delay=HOUR * 1000)
    # Taken, and never acknowledged.
    for queue in ("default", "default.DQ"):
        consumer = broker.consume(queue, prefetch=2, timeout=1000)
        assert all(next(consumer) for _ in range(2))
    time.sleep(0.05)
    assert number(source(url, "dramatiq")) == 1
    [worker] = {key.split(".")[1] for key in client.keys("dramatiq:__acks__.*")}
    client.zadd("dramatiq:__heartbeats__", {worker: time.time() * 1000 - 50_000})
    assert number(source(url, "dramatiq")) == 1
    client.zadd("dramatiq:__heartbeats__", {worker: time.time() * 1000 - 61_000})
    assert number(source(url, "dramatiq")) == 4, "without the delayed one that is not due"
    client.delete("dramatiq:default")
    assert 0 < age(url, "dramatiq") < 30
    broker.close()


def test_rq_jobs_of_a_dead_worker_wait_again_if_they_may_be_retried(client: Any, url: str) -> None:
    rq = pytest.importorskip("rq", reason="rq is not installed (make test installs it)")
    connection = redis.Redis.from_url(url)
    queue = rq.Queue("default", connection=connection)
    jobs = [queue.enqueue("os.getpid", retry=rq.Retry(max=1)), queue.enqueue("os.getpid")]
    worker = rq.SimpleWorker([queue], connection=connection)
    for _ in jobs:
        job, _ = worker.dequeue_job_and_maintain_ttl(timeout=None)
        worker.prepare_execution(job)
        worker.prepare_job_execution(job)
    assert number(source(url, "rq")) == 0, "they run"
    for entry in client.zrange("rq:wip:default", 0, -1):
        client.zadd("rq:wip:default", {entry: time.time() - 90})
    assert number(source(url, "rq")) == 1
    assert age(url, "rq") == pytest.approx(90, abs=20)
    queue.enqueue("os.getpid")
    importlib.import_module("rq.suspension").suspend(connection)
    assert number(source(url, "rq")) == 0, "no worker takes a job while all are suspended"
    connection.close()


# ---------------------------------------------------------------------------------------------
# Recorded keys


RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("redis_keys.json").read_text("utf-8"))


def replay(client: Any, system: str) -> None:
    """Write the keys that a system's own library has written, byte for byte."""
    raw = redis.Redis(port=client.connection_pool.connection_kwargs["port"])
    for key, kinds in RECORDED[system]["keys"].items():
        [(kind, value)] = kinds.items()
        if kind == "list":
            raw.rpush(key, *value)
        elif kind == "hash":
            raw.hset(key, mapping={field: text.encode("latin-1") for field, text in value.items()})
        elif kind == "zset":
            raw.zadd(key, value)
        else:
            raw.set(key, value.encode("latin-1"))
    raw.close()


def since(moment: float) -> Any:
    return pytest.approx(time.time() - moment, abs=20)


def test_bullmq(client: Any, url: str) -> None:
    replay(client, "bullmq")
    assert number(source(url, "bullmq", "mail", missing="error")) == 4, "without the one that is not due"
    assert age(url, "bullmq", "mail") == since(1_700_096_351), "the oldest is the last of the list"
    client.hset("bull:mail:3", "timestamp", 1_600_000_000_000)
    assert age(url, "bullmq", "mail") == since(1_600_000_000), "the one with a priority"
    assert number(source(url, "bullmq", "paused")) == 0
    assert age(url, "bullmq", "paused") == 0


def test_a_job_of_bullmq_whose_worker_is_dead_waits_again(client: Any, url: str) -> None:
    replay(client, "bullmq")
    client.set("bull:taken:1:lock", "token", px=600_000)
    assert number(source(url, "bullmq", "taken")) == 1
    client.delete("bull:taken:1:lock")
    assert number(source(url, "bullmq", "taken")) == 2
    client.delete("bull:taken:wait")
    assert age(url, "bullmq", "taken") == since(1_700_096_351)


def test_a_paused_queue_of_bull(client: Any, url: str) -> None:
    client.lpush("bull:mail:paused", "1")
    client.set("bull:mail:meta-paused", "1")
    client.zadd("bull:mail:delayed", {"2": 1})
    assert number(source(url, "bullmq", "mail")) == 0
    client.delete("bull:mail:meta-paused")
    assert number(source(url, "bullmq", "mail")) == 1


def test_the_marker_of_older_versions_of_bullmq_is_no_job(client: Any, url: str) -> None:
    client.lpush("bull:mail:wait", "0:1795883413859")
    assert number(source(url, "bullmq", "mail")) == 0


def test_arq(client: Any, url: str) -> None:
    replay(client, "arq")
    assert number(source(url, "arq")) == 2
    assert age(url, "arq") == since(1_700_097_102)
    assert number(source(url, "arq", "arq:queue", "arq:mail")) == 3
    for job, _ in client.zrange("arq:queue", 0, 0, withscores=True):
        client.set(f"arq:in-progress:{job}", "1")
    assert number(source(url, "arq")) == 1, "a worker has taken the other one"


def test_asynq(client: Any, url: str) -> None:
    replay(client, "asynq")
    assert number(source(url, "asynq")) == 3
    assert age(url, "asynq") == since(1_700_096_910)
    assert number(source(url, "asynq", "paused")) == 0
    assert age(url, "asynq", "paused") == 0
    assert number(source(url, "asynq", "lost")) == 2, "with the one whose server was killed"
    client.zadd("asynq:{lost}:lease", {"ede4d22f-3988-4f4d-bce6-11bbbbb74877": time.time() + 30})
    assert number(source(url, "asynq", "lost")) == 1


def test_tasks_of_asynq_that_wait_in_groups(client: Any, url: str) -> None:
    """As `internal/rdb` of asynq writes them (`AddToGroup`). Only a server joins them."""
    client.sadd("asynq:{default}:groups", "mails", "bills")
    client.zadd("asynq:{default}:g:mails", {"one": time.time() - 90, "two": time.time()})
    client.zadd("asynq:{default}:g:bills", {"three": time.time() - 5})
    assert number(source(url, "asynq")) == 3
    assert age(url, "asynq") == pytest.approx(90, abs=20)


@pytest.mark.parametrize("scale", [1, 1000], ids=["sidekiq 6 and 7: seconds", "sidekiq 8: milliseconds"])
def test_sidekiq(client: Any, url: str, scale: Any) -> None:
    now = time.time()

    def job(queue: str, before: float) -> str:
        moment = now - before
        enqueued = round(moment * 1000) if scale == 1000 else moment
        return json.dumps({"class": "Work", "queue": queue, "jid": str(before), "enqueued_at": enqueued})

    client.lpush("queue:default", job("default", 90), job("default", 5))
    client.zadd("schedule", {job("default", 1): now - 1, job("mail", 2): now - 2, job("default", 3): now + HOUR})
    client.zadd("retry", {job("default", 4): now - 200})
    assert number(source(url, "sidekiq")) == 4
    assert number(source(url, "sidekiq", "mail")) == 1
    assert age(url, "sidekiq") == pytest.approx(200, abs=20)
    client.delete("retry")
    assert age(url, "sidekiq") == pytest.approx(90, abs=20)


def test_laravel_without_horizon(client: Any, url: str) -> None:
    now = time.time()
    client.rpush("shop_queues:default", json.dumps({"createdAt": int(now - 90)}), json.dumps({"createdAt": int(now)}))
    client.zadd("shop_queues:default:delayed", {"due": now - 5, "later": now + HOUR})
    client.zadd("shop_queues:default:reserved", {"lost": now - 5, "running": now + 60})
    assert number(source(url, "laravel", prefix="shop_")) == 4
    assert age(url, "laravel", prefix="shop_") == pytest.approx(90, abs=20)
    client.rpush("shop_queues:old", json.dumps({"job": "Laravel 11"}))
    assert "hold no time" in refusal(source(url, "laravel", "old", prefix="shop_", measure="age"))


def test_laravel_with_a_queue_in_the_form_of_a_cluster(client: Any, url: str) -> None:
    client.rpush("shop_queues:{default}", json.dumps({"createdAt": int(time.time() - 90)}))
    client.zadd("shop_queues:{default}:delayed", {"due": time.time() - 5})
    client.zadd("shop_queues:{default}:reserved", {"lost": time.time() - 5})
    for name in ("default", "{default}"):
        assert number(source(url, "laravel", name, prefix="shop_")) == 3
        assert age(url, "laravel", name, prefix="shop_") == pytest.approx(90, abs=20)


def test_a_prefix_and_a_queue_of_any_name(client: Any, url: str) -> None:
    client.rpush("MY_QUEUE_queues:PREFIX", "{}")
    assert number(source(url, "laravel", "PREFIX", prefix="MY_QUEUE_")) == 1


@pytest.mark.parametrize(
    ("system", "mark", "kind"),
    [
        ("sidekiq", "queues", "set"),
        ("celery", "_kombu.binding.celery", "set"),
        ("rq", "rq:queues", "set"),
        ("bullmq", "bull:mail:meta", "hash"),
        ("dramatiq", "dramatiq:__heartbeats__", "zset"),
        ("asynq", "asynq:queues", "set"),
    ],
)
def test_a_redis_without_a_trace_of_the_system_is_an_error_if_the_spec_says_so(
    client: Any, url: str, system: str, mark: str, kind: str
) -> None:
    queues = ("mail",) if system == "bullmq" else ()
    missing = source(url, system, *queues, missing="error")
    assert refusal(missing).startswith(f"there is nothing of {system} with these queues: compare `queues`")
    add = {"set": lambda: client.sadd(mark, "a"), "hash": lambda: client.hset(mark, "a", 1)}
    add.get(kind, lambda: client.zadd(mark, {"a": time.time() * 1000}))()
    assert number(missing) == 0


@pytest.mark.parametrize(("system", "mark"), [("bullmq", "bull:mail:meta"), ("celery", "_kombu.binding.mail")])
def test_one_misspelt_queue_beside_a_right_one_is_an_error_if_the_spec_says_so(
    client: Any, url: str, system: str, mark: str
) -> None:
    client.hset(mark, "a", 1)
    assert number(source(url, system, "mail", missing="error")) == 0
    assert f"nothing of {system} with the queue 'mial'" in refusal(source(url, system, "mail", "mial", missing="error"))
    assert number(source(url, system, "mail", "mial")) == 0


@pytest.mark.parametrize("system", ["sidekiq", "celery", "rq", "dramatiq", "arq", "asynq", "laravel"])
def test_an_empty_redis_is_an_empty_queue(client: Any, url: str, system: str) -> None:
    assert number(source(url, system)) == 0
    if system != "celery":
        assert age(url, system) == 0
