"""The presets of the redis source, on queues that the systems' own libraries have filled.

Celery, RQ and Dramatiq come from the package index. arq 0.28 needs an older redis client than ours, and BullMQ,
Sidekiq and asynq are of other languages: their keys are written as recorded from arq 0.28, BullMQ 6.7,
Sidekiq 6.5, 7.3 and 8, and asynq 0.26.
"""

from __future__ import annotations

import importlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
    assert number(source(url, "celery")) == 4, "with the list of priority 9"
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
    import redis

    connection = redis.Redis.from_url(url)
    queue = rq.Queue("default", connection=connection)
    first = queue.enqueue("os.getpid")
    queue.enqueue("os.getpid")
    queue.enqueue_in(timedelta(hours=1), "os.getpid")
    assert number(source(url, "rq")) == 2, "the scheduled one is not due"
    client.hset(f"rq:job:{first.id}", "enqueued_at", (datetime.now(UTC) - timedelta(seconds=90)).isoformat())
    assert age(url, "rq") == pytest.approx(90, abs=20)
    [scheduled] = client.zrange("rq:scheduled:default", 0, -1)
    client.zadd("rq:scheduled:default", {scheduled: time.time() - 300})
    assert number(source(url, "rq")) == 3
    assert age(url, "rq") == pytest.approx(300, abs=20)
    connection.close()


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
    assert number(source(url, "dramatiq")) == 3, "two, and the delayed one that is due"
    assert 0 <= age(url, "dramatiq") < 30
    first = client.lindex("dramatiq:default", 0)
    message = json.loads(client.hget("dramatiq:default.msgs", first))
    message["message_timestamp"] -= 90_000
    client.hset("dramatiq:default.msgs", first, json.dumps(message))
    assert age(url, "dramatiq") == pytest.approx(90, abs=20)
    broker.close()


# ---------------------------------------------------------------------------------------------
# Recorded keys


def test_bullmq(client: Any, url: str) -> None:
    now = time.time() * 1000
    client.lpush("bull:mail:wait", "1", "2")
    client.zadd("bull:mail:prioritized", {"3": 21474836481})
    client.zadd("bull:mail:delayed", {"4": (now - 1000) * 4096, "5": (now + HOUR * 1000) * 4096})
    client.zadd("bull:mail:marker", {"0": 0})
    for job, created in (("1", now - 90_000), ("2", now - 5_000), ("3", now - 200_000)):
        client.hset(f"bull:mail:{job}", mapping={"name": "a", "timestamp": str(int(created)), "delay": "0"})
    assert number(source(url, "bullmq", "mail")) == 4
    assert age(url, "bullmq", "mail") == pytest.approx(200, abs=20)
    client.delete("bull:mail:prioritized")
    assert age(url, "bullmq", "mail") == pytest.approx(90, abs=20), "the oldest is the last of the list"


def test_the_marker_of_older_versions_of_bullmq_is_no_job(client: Any, url: str) -> None:
    client.lpush("bull:mail:wait", "0:1795883413859")
    assert number(source(url, "bullmq", "mail")) == 0


def test_arq(client: Any, url: str) -> None:
    now = time.time() * 1000
    client.zadd("arq:queue", {"running": now - 300_000, "one": now - 90_000, "two": now - 1000, "later": now + 3.6e6})
    client.set("arq:in-progress:running", "1")
    assert number(source(url, "arq")) == 2
    assert age(url, "arq") == pytest.approx(90, abs=20)


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


def test_asynq(client: Any, url: str) -> None:
    now = time.time()
    client.lpush("asynq:{default}:pending", "one", "two")
    client.zadd("asynq:{default}:scheduled", {"due": now - 5, "later": now + HOUR})
    client.zadd("asynq:{default}:retry", {"again": now - 5})
    client.hset("asynq:{default}:t:one", "pending_since", int((now - 90) * 1e9))
    assert number(source(url, "asynq")) == 4
    assert age(url, "asynq") == pytest.approx(90, abs=20)


def test_laravel_without_horizon(client: Any, url: str) -> None:
    now = time.time()
    client.rpush("shop_queues:default", json.dumps({"createdAt": int(now - 90)}), json.dumps({"createdAt": int(now)}))
    client.zadd("shop_queues:default:delayed", {"due": now - 5, "later": now + HOUR})
    client.zadd("shop_queues:default:reserved", {"lost": now - 5, "running": now + 60})
    assert number(source(url, "laravel", prefix="shop_")) == 4
    assert age(url, "laravel", prefix="shop_") == pytest.approx(90, abs=20)
    client.rpush("shop_queues:old", json.dumps({"job": "Laravel 11"}))
    assert "hold no time" in refusal(source(url, "laravel", "old", prefix="shop_", measure="age"))


@pytest.mark.parametrize("system", ["sidekiq", "celery", "rq", "dramatiq", "arq", "asynq", "laravel"])
def test_an_empty_redis_is_an_empty_queue(client: Any, url: str, system: str) -> None:
    assert number(source(url, system)) == 0
    if system != "celery":
        assert age(url, system) == 0
