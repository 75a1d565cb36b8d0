"""The redis source on keys of every kind, on a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from scaler.autoscale.metrics import MetricError, Sources, read
from scaler.autoscale.metrics.redis import _keys
from scaler.autoscale.metrics.redis_client import connected
from scaler.model.autoscaling import Metric, RedisSource
from scaler.support.clock import SystemClock
from tests.autoscale.reading import number, refusal, request
from tests.support import servers

pytestmark = pytest.mark.server


@pytest.fixture
def make(url: str) -> Callable[..., RedisSource]:
    return lambda *keys, **rest: RedisSource(url=url, **({"keys": keys} if len(keys) > 1 else {"key": keys[0]}), **rest)


def test_the_length_of_a_list_and_of_a_stream(client: redis.Redis, url: str) -> None:
    client.rpush("queues:default", "a", "b", "c")
    client.xadd("events", {"a": 1})
    assert number(RedisSource(url=url, key="queues:default")) == 3
    assert number(RedisSource(url=url, key="events")) == 1
    assert number(RedisSource(url=url, key="nothing")) == 0


def test_the_age_of_the_oldest_entry(client: redis.Redis, url: str) -> None:
    now = time.time()
    client.rpush("jobs", json.dumps({"pushedAt": str(now - 90)}), json.dumps({"pushedAt": str(now - 5)}))
    assert number(RedisSource(url=url, key="jobs", measure="age")) == pytest.approx(90, abs=20)
    assert number(RedisSource(url=url, key="jobs", measure="age", oldest="last")) == pytest.approx(5, abs=4.9)
    client.xadd("events", {"a": 1}, id=f"{int((now - 60) * 1000)}-0")
    client.xadd("events", {"a": 2})
    assert number(RedisSource(url=url, key="events", measure="age")) == pytest.approx(60, abs=20)
    assert number(RedisSource(url=url, key="nothing", measure="age")) == 0


def test_what_redis_has_no_number_for(client: redis.Redis, url: str) -> None:
    client.rpush("bare", "not json")
    client.rpush("undated", "{}")
    assert refusal(RedisSource(url=url, key="bare", measure="age")) == "an entry of bare is no JSON: 'not json'"
    client.rpush("long", "s3cret " * 10)
    said = refusal(RedisSource(url=url, key="long", measure="age"))
    assert said == "an entry of long is no JSON: a text of 70 characters"
    assert refusal(RedisSource(url=url, key="undated", measure="age")) == "the document has no /pushedAt"


def test_redis_with_a_password(tmp_path: Path) -> None:
    with servers.redis_server(tmp_path, "--requirepass", "open-sesame") as port:
        source = RedisSource(url=f"redis://127.0.0.1:{port}", key="jobs", password_env="REDIS_PASSWORD")
        assert number(source, REDIS_PASSWORD="open-sesame") == 0
        told = refusal(source, REDIS_PASSWORD="wrong-guess")
        assert "invalid username-password pair" in told
        assert "wrong-guess" not in told
        assert refusal(source) == "the environment variable REDIS_PASSWORD is not set"


def test_no_redis() -> None:
    told = refusal(RedisSource(url=f"redis://127.0.0.1:{servers.free_port()}", key="jobs"))
    assert "Connection refused" in told


# ---------------------------------------------------------------------------------------------
# Several keys, and other kinds


def test_several_keys_are_summed_and_the_oldest_age_counts(
    client: redis.Redis, make: Callable[..., RedisSource]
) -> None:
    now = time.time()
    client.rpush("a", json.dumps({"pushedAt": now - 10}), "x")
    client.rpush("b", json.dumps({"pushedAt": now - 90}))
    assert number(make("a", "b", "none")) == 3
    assert number(make("a", "b", "none", measure="age")) == pytest.approx(90, abs=20)
    assert read(make("a", "b", "none"), request()).parts == {"a": 2, "b": 1, "none": 0}


def test_keys_by_a_pattern(client: redis.Redis, url: str) -> None:
    client.rpush("queues:a", "1", "2")
    client.rpush("queues:b", "1")
    client.rpush("other", "1")
    assert number(RedisSource(url=url, match="queues:*")) == 3
    assert number(RedisSource(url=url, match="none:*")) == 0
    assert refusal(RedisSource(url=url, match="none:*", missing="error")) == "no key matches none:*"
    client.mset({f"n:{index}": 1 for index in range(1001)})
    assert refusal(RedisSource(url=url, match="n:*")) == "more than 1000 keys match n:*"


def test_keys_whose_names_nobody_should_print(client: Any, url: str, tmp_path: Path) -> None:
    raw = redis.Redis(port=client.connection_pool.connection_kwargs["port"])
    for key in (b"queues:\xff", b"queues:\xfe", b"queues:\x1b[31m::error::x", "queues:käse".encode()):
        raw.rpush(key, b"1")
    raw.close()
    metric = Metric(name="jobs", source=RedisSource(url=url, match="queues:*"))
    [found] = Sources({}, tmp_path, SystemClock()).measure({("worker", "jobs"): metric}).values()
    assert found.sample.value == 4
    assert len(found.parts) == 4
    assert "queues:käse" in found.parts
    assert all(name.isprintable() for name in found.parts)


def test_looking_for_keys_ends_with_the_time_limit(client: Any, url: str) -> None:
    client.mset({f"other:{index}": 1 for index in range(3000)})
    assert "takes longer than 1e-09s: name the keys" in refusal_of_match(url)


def refusal_of_match(url: str) -> str:
    """With a limit that is over at once, whatever the machine does. The client itself has another."""
    source = RedisSource(url=url, match="other:*")
    with connected(source, request()) as opened, pytest.raises(MetricError) as caught:
        _keys(opened, source, request(1e-9))
    return str(caught.value)


def test_sets_hashes_and_strings(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.sadd("set", "a", "b")
    client.hset("hash", mapping={"a": 1, "waiting": "7.5"})
    client.set("number", "12")
    assert number(make("set")) == 2
    assert number(make("hash")) == 2
    assert number(make("hash", field="waiting")) == 7.5
    assert number(make("hash", field="none")) == 0
    assert number(make("number")) == 12
    assert refusal(make("set", measure="age")) == "set is a set, whose entries have no age"
    assert refusal(make("hash", field="none", missing="error")) == "hash has no field none"
    client.set("large", "1" * (2 << 20))
    assert refusal(make("large")) == "large is longer than 1 MiB"
    client.set("text", "many")
    assert refusal(make("text")) == "text is no number but '\"many\"'"


def test_a_time_in_a_hash_and_in_a_string(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.hset("hash", "last", int((time.time() - 90) * 1000))
    client.set("string", str(time.time() - 90))
    assert number(make("hash", field="last", measure="age")) == pytest.approx(90, abs=20)
    assert number(make("string", measure="age")) == pytest.approx(90, abs=20)


@pytest.mark.parametrize(
    ("due", "per_second"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9), (4_096_000.0, 4.096e6)]
)
def test_entries_of_a_sorted_set_that_are_due(
    client: redis.Redis, make: Callable[..., RedisSource], due: str | float, per_second: float
) -> None:
    now = time.time()
    client.zadd("delayed", {"a": (now - 90) * per_second, "b": (now - 5) * per_second, "c": (now + 3600) * per_second})
    assert number(make("delayed")) == 3
    assert number(make("delayed", due=due)) == 2
    assert number(make("delayed", due=due, measure="age")) == pytest.approx(90, abs=20)
    client.zremrangebyrank("delayed", 0, 1)
    assert number(make("delayed", due=due, measure="age")) == 0


@pytest.mark.parametrize("per_second", [1, 1e3, 1e6, 1e9])
def test_the_unit_of_a_time_is_told_by_its_size(
    client: redis.Redis, make: Callable[..., RedisSource], per_second: float
) -> None:
    client.rpush("jobs", json.dumps({"meta": {"at": int((time.time() - 90) * per_second)}}))
    assert number(make("jobs", measure="age", age_field="/meta/at")) == pytest.approx(90, abs=20)


def test_the_unit_can_be_said(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.rpush("jobs", json.dumps({"at": 5000}))
    assert number(make("jobs", measure="age", age_field="at", unit="ms")) == pytest.approx(time.time() - 5, abs=20)


def test_a_time_as_rfc_3339(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 90))
    client.rpush("jobs", json.dumps({"at": moment}))
    assert number(make("jobs", measure="age", age_field="at")) == pytest.approx(90, abs=20)
    client.rpush("odd", json.dumps({"at": "noon"}))
    assert "is not a time: 'noon'" in refusal(make("odd", measure="age", age_field="at"))


def test_a_list_of_ids_whose_records_are_elsewhere(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    moment = int(time.time() - 90)
    client.rpush("ids", "7", "8")
    client.hset("job:7", "at", moment)
    client.set("doc:7", json.dumps({"at": moment}))
    client.hset("messages", "7", json.dumps({"at": moment}))
    for entry in ("job:{id}", "doc:{id}", "messages"):
        assert number(make("ids", measure="age", entry=entry, age_field="at")) == pytest.approx(90, abs=20)
    assert "job:7 has no field when" in refusal(make("ids", measure="age", entry="job:{id}", age_field="when"))
    assert "none:7 does not exist" in refusal(make("ids", measure="age", entry="none:{id}", age_field="at"))


# ---------------------------------------------------------------------------------------------
# Streams


def test_a_group_that_has_done_all_is_empty_whatever_the_streams_length(
    client: Any, make: Callable[..., RedisSource]
) -> None:
    client.xgroup_create("events", "workers", "0", mkstream=True)
    for _ in range(10):
        client.xadd("events", {"a": 1})
    assert number(make("events", group="workers")) == 10
    [[_, entries]] = client.xreadgroup("workers", "one", {"events": ">"}, count=4)
    assert number(make("events", group="workers")) == 10, "six undelivered, four pending"
    client.xack("events", "workers", *[entry for entry, _ in entries])
    assert number(make("events", group="workers")) == 6
    [[_, rest]] = client.xreadgroup("workers", "one", {"events": ">"})
    client.xack("events", "workers", *[entry for entry, _ in rest])
    assert number(make("events", group="workers")) == 0
    assert number(make("events", group="workers", measure="age")) == 0
    assert number(make("events")) == 10


def test_a_lag_that_redis_does_not_know_is_counted(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.xadd("events", {"a": 1})
    client.xgroup_create("events", "late", "$")
    ids = [client.xadd("events", {"a": 1}) for _ in range(3)]
    client.xdel("events", ids[1])
    [group] = client.xinfo_groups("events")
    assert group["lag"] is None, "else this test shows nothing"
    assert number(make("events", group="late")) == 2


def test_entries_that_were_trimmed_before_they_were_read_do_not_wait(
    client: Any, make: Callable[..., RedisSource]
) -> None:
    """Redis 7 keeps them in the group's lag, also when all others are done."""
    client.xgroup_create("events", "workers", "0", mkstream=True)
    client.xadd("events", {"a": 1})
    client.xreadgroup("workers", "one", {"events": ">"}, noack=True)
    for _ in range(9):
        client.xadd("events", {"a": 1}, maxlen=3, approximate=False)
    [group] = client.xinfo_groups("events")
    assert group["lag"] == 9, "else this test shows nothing"
    assert number(make("events", group="workers")) == 3
    client.xreadgroup("workers", "one", {"events": ">"}, count=1, noack=True)
    for _ in range(5):
        client.xadd("events", {"a": 1}, maxlen=3, approximate=False)
    client.xreadgroup("workers", "one", {"events": ">"}, noack=True)
    assert number(make("events", group="workers")) == 0
    for _ in range(1_500):
        client.xadd("events", {"a": 1}, maxlen=1_200, approximate=False)
    assert number(make("events", group="workers")) == 1_200


def test_the_age_of_the_oldest_pending_or_undelivered_entry(client: Any, make: Callable[..., RedisSource]) -> None:
    now = time.time()
    for before in (300, 200, 90):
        client.xadd("events", {"a": 1}, id=f"{int((now - before) * 1000)}-0")
    client.xgroup_create("events", "workers", "0")
    [[_, [(first, _)]]] = client.xreadgroup("workers", "one", {"events": ">"}, count=1)
    assert number(make("events", group="workers", measure="age")) == pytest.approx(300, abs=20), "pending"
    client.xack("events", "workers", first)
    assert number(make("events", group="workers", measure="age")) == pytest.approx(200, abs=20), "undelivered"


def test_a_group_that_is_not_there(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.xadd("events", {"a": 1})
    client.xgroup_create("events", "workers", "0")
    assert refusal(make("events", group="worker")) == "the stream events has no group worker; it has workers"


def test_options_that_do_not_fit_the_kind_of_the_key(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.rpush("jobs", "a")
    assert refusal(make("jobs", group="a")) == "jobs is a list, and only a stream has a `group`"
    assert refusal(make("jobs", due="s")) == "jobs is a list, and only a sorted set has entries that are `due`"
    assert refusal(make("jobs", field="a")) == "jobs is a list, and only a hash has a `field`"
    assert refusal(make("none", missing="error")) == "none does not exist"


# ---------------------------------------------------------------------------------------------
# Servers


def test_a_cluster(tmp_path: Path) -> None:
    with servers.redis_cluster(tmp_path) as port:
        writer = redis.RedisCluster("127.0.0.1", port)
        for index in range(20):
            writer.rpush(f"queues:{index}", "a")
        writer.lpush("bull:mail:wait", "1", "2")
        writer.rpush("large", b"x" * (33 << 20))
        writer.close()
        url = f"redis://127.0.0.1:{port}"
        large = RedisSource(url=url, key="large", measure="age", cluster=True)
        assert refusal(large) == "an answer of Redis is larger than 32 MiB"
        assert number(RedisSource(url=url, match="queues:*", cluster=True)) == 20
        assert number(RedisSource(url=url, keys=("queues:1", "queues:2"), cluster=True)) == 2
        assert number(RedisSource(url=url, system="bullmq", queues=("mail",), cluster=True)) == 2


def test_a_server_without_hello_and_client(tmp_path: Path) -> None:
    """As Redis 5 and some proxies are."""
    with servers.redis_server(tmp_path, "--rename-command", "HELLO", "", "--rename-command", "CLIENT", "") as port:
        assert number(RedisSource(url=f"redis://127.0.0.1:{port}", key="jobs")) == 0


def test_a_user_that_may_only_read_keys(client: Any, url: str) -> None:
    """TIME is no command of the category read: then the time is ours."""
    client.execute_command("ACL", "SETUSER", "reader", "on", ">open-sesame", "~*", "+@read")
    client.zadd("delayed", {"one": time.time() - 5, "later": time.time() + 3600})
    source = RedisSource(url=url, key="delayed", due="s", username="reader", password_env="P")
    assert number(source, P="open-sesame") == 1
    client.execute_command("ACL", "DELUSER", "reader")


def test_an_entry_that_is_too_large_is_not_kept(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    """Redis tells the size of a list's entry only by sending it."""
    client.rpush("jobs", b"x" * (33 << 20))
    client.hset("hash", "field", b"x" * (33 << 20))
    assert refusal(make("jobs", measure="age")) == "an answer of Redis is larger than 32 MiB"
    assert refusal(make("hash", field="field")) == "an answer of Redis is larger than 32 MiB"
    assert number(make("jobs")) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN"])
def test_a_time_that_is_no_number(client: redis.Redis, make: Callable[..., RedisSource], value: str) -> None:
    """Without this, the age would be 0: nothing waits."""
    client.set("last", value)
    client.rpush("jobs", json.dumps({"pushedAt": value}))
    assert "is not a time" in refusal(make("last", measure="age"))
    assert "is not a time" in refusal(make("jobs", measure="age"))


def test_what_only_python_calls_a_number(client: redis.Redis, make: Callable[..., RedisSource]) -> None:
    client.set("number", "1_000")
    assert refusal(make("number")) == "number is no number but '\"1_000\"'"
