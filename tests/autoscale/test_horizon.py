"""Laravel Horizon's queues, on a real Redis with the records that Horizon 5 writes.

The comments `H1` to `H10` number the defects that a comparison with a real Horizon found.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from scaler.model.autoscaling import HorizonSource
from tests.autoscale.reading import number, refusal
from tests.support import servers

pytestmark = pytest.mark.server

PREFIXES = {"prefix": "shop_horizon:", "queue_prefix": "shop_database_"}


def supervise(
    client: redis.Redis | redis.RedisCluster,
    name: str,
    processes: object,
    *,
    alive: bool = True,
    prefix: str = "shop_horizon:",
) -> None:
    """Write what a supervisor writes every second. Redis deletes the record 30 s later; its name stays a while."""
    if alive:
        client.hset(f"{prefix}supervisor:{name}", mapping={"name": name, "processes": json.dumps(processes)})
    client.zadd(f"{prefix}supervisors", {name: time.time()})


def push(client: redis.Redis, queue: str, count: int) -> None:
    client.rpush(f"shop_database_queues:{queue}", *[json.dumps({"pushedAt": "1"})] * count)
    client.zadd("shop_horizon:recent_jobs", {f"{queue}-{count}": 1})


def measure(client: redis.Redis, queue: str, runtime_ms: object) -> None:
    client.hset(f"shop_horizon:queue:{queue}", mapping={"throughput": 12, "runtime": str(runtime_ms)})


def snapshot(client: redis.Redis, queue: str, *runtimes: object) -> None:
    """Write snapshots, the newest last. Without a finished job, the run time is false."""
    for moment, runtime in enumerate(runtimes):
        document = json.dumps({"throughput": 0, "runtime": runtime, "wait": 1, "time": moment})
        client.zadd(f"shop_horizon:snapshot:queue:{queue}", {document: moment})


def source(url: str, *queues: str, **rest: Any) -> HorizonSource:
    known: dict[str, Any] = {"queues": queues or ("default",), **PREFIXES}
    return HorizonSource(url=url, **(known | rest))


def test_the_wait_is_jobs_times_run_time_over_processes(client: redis.Redis, url: str) -> None:
    push(client, "default", 300)
    measure(client, "default", 1550.5)
    supervise(client, "web-1:supervisor-1", {"redis:default": 3, "redis:mail": 1})
    supervise(client, "web-2:supervisor-1", {"redis:default": 2})
    assert number(source(url)) == pytest.approx(300 * 1.5505 / 5)
    push(client, "mail", 7)
    assert number(source(url, "default", "mail", measure="pending")) == 307
    assert number(source(url, "mail", "default")) == pytest.approx(300 * 1.5505 / 5), "the longest"


def test_processes_of_another_connection_do_not_count(client: redis.Redis, url: str) -> None:
    push(client, "default", 10)
    measure(client, "default", 1000)
    supervise(client, "a", {"redis:default": 1, "redis-long:default": 4})
    assert number(source(url)) == 10
    assert number(source(url, connection="redis-long")) == 2.5


# H1
def test_the_newest_snapshot_that_has_a_run_time_counts(client: redis.Redis, url: str) -> None:
    """Thirty jobs of 20 minutes on three processes: no job finished between the last two snapshots."""
    push(client, "default", 30)
    supervise(client, "a", {"redis:default": 3})
    snapshot(client, "default", "900000", "1200000", False, False)
    assert number(source(url)) == 12_000


# H1
def test_without_any_run_time_the_configured_one_counts(client: redis.Redis, url: str) -> None:
    push(client, "default", 10)
    supervise(client, "a", {"redis:default": 2})
    snapshot(client, "default", *[False] * 24)
    assert number(source(url, runtime=timedelta(seconds=3))) == 15


def test_the_measured_run_time_counts_before_the_snapshots(client: redis.Redis, url: str) -> None:
    push(client, "default", 10)
    measure(client, "default", 2000)
    snapshot(client, "default", "9000")
    assert number(source(url)) == 20


# H2
def test_the_wait_is_not_rounded(client: redis.Redis, url: str) -> None:
    push(client, "default", 2)
    measure(client, "default", 200)
    assert number(source(url)) == pytest.approx(0.4)


# H3
def test_due_and_expired_jobs_wait(client: redis.Redis, url: str) -> None:
    now = time.time()
    client.zadd("shop_database_queues:default:delayed", {"a": now - 5, "b": now - 1, "c": now - 1, "later": now + 3600})
    client.zadd("shop_database_queues:default:reserved", {"lost": now - 60, "running": now + 3600})
    client.zadd("shop_horizon:recent_jobs", {"a": 1})
    assert number(source(url, measure="pending")) == 4
    assert number(source(url)) == 4, "at a second a job and one process"


# Written by phpredis 5.3.7 with hMSet and zAdd, as Laravel calls them, for three processes of `default`.
SERIALIZED = {
    "php": (
        b's:23:"web-1-aBcD:supervisor-1";',
        b's:34:"{"redis:default":3,"redis:mail":1}";',
        b's:61:"{"throughput":12,"runtime":1550.5,"wait":3,"time":1764345000}";',
    ),
    "igbinary": (
        b"\x00\x00\x00\x02\x11\x17web-1-aBcD:supervisor-1",
        b'\x00\x00\x00\x02\x11"{"redis:default":3,"redis:mail":1}',
        b'\x00\x00\x00\x02\x11={"throughput":12,"runtime":1550.5,"wait":3,"time":1764345000}',
    ),
    "json": (
        b'"web-1-aBcD:supervisor-1"',
        b'"{\\"redis:default\\":3,\\"redis:mail\\":1}"',
        b'"{\\"throughput\\":12,\\"runtime\\":1550.5,\\"wait\\":3,\\"time\\":1764345000}"',
    ),
}
COMPRESSED = {
    "lzf": (b"\x16web-1-aBcD:supervisor-1", b'\x12{"redis:default":3,\xa0\x11\x07mail":1}'),
    "zstd": (
        b"(\xb5/\xfd \x17\xb9\x00\x00web-1-aBcD:supervisor-1",
        b'(\xb5/\xfd "\x11\x01\x00{"redis:default":3,"redis:mail":1}',
    ),
}


# H4
@pytest.mark.parametrize("serializer", SERIALIZED)
def test_what_phpredis_serializes_is_read(client: redis.Redis, url: str, serializer: str) -> None:
    name, processes, document = SERIALIZED[serializer]
    push(client, "default", 30)
    client.hset("shop_horizon:supervisor:web-1-aBcD:supervisor-1", "processes", processes)
    client.zadd("shop_horizon:supervisors", {name: 1})
    client.zadd("shop_horizon:snapshot:queue:default", {document: 1})
    assert number(source(url)) == pytest.approx(30 * 1.5505 / 3)


# H4
@pytest.mark.parametrize(
    "runtime", [b"d:1550.5;", b's:6:"1550.5";', b"\x00\x00\x00\x02\x0c@\x98:\x00\x00\x00\x00\x00", b'"1550.5"']
)
def test_a_serialized_run_time(client: redis.Redis, url: str, runtime: bytes) -> None:
    push(client, "default", 2)
    client.hset("shop_horizon:queue:default", "runtime", runtime)
    assert number(source(url)) == pytest.approx(3.101)


# H4
@pytest.mark.parametrize("stored", [b"i:70000;", b"\x00\x00\x00\x02\n\x00\x01\x11p"])
def test_a_serialized_whole_run_time(client: redis.Redis, url: str, stored: bytes) -> None:
    push(client, "default", 1)
    client.hset("shop_horizon:queue:default", "runtime", stored)
    assert number(source(url)) == 70


# H4
@pytest.mark.parametrize("compression", COMPRESSED)
def test_compressed_records_are_an_error_that_names_the_options(
    client: redis.Redis, url: str, compression: str
) -> None:
    name, processes = COMPRESSED[compression]
    push(client, "default", 30)
    client.hset("shop_horizon:supervisor:web-1-aBcD:supervisor-1", "processes", processes)
    client.zadd("shop_horizon:supervisors", {name: 1})
    assert "`serializer` or a `compression`" in refusal(source(url))
    client.delete("shop_horizon:supervisors")
    client.zadd("shop_horizon:supervisors", {"web-1-aBcD:supervisor-1": 1})
    assert "`serializer` or a `compression`" in refusal(source(url))


# H5
@pytest.mark.parametrize("spelled", ["default", "{default}"])
def test_a_queue_in_braces_has_its_run_time_and_its_processes(client: redis.Redis, url: str, spelled: str) -> None:
    push(client, "{default}", 32)
    measure(client, "{default}", 4000)
    supervise(client, "a", {"redis:{default}": 8})
    assert number(source(url, spelled)) == 16
    assert number(source(url, spelled, measure="pending")) == 32


# H6
@pytest.mark.server
@pytest.mark.parametrize("prefix", ["shop_horizon:", "{shop_horizon:}"])
def test_a_cluster_is_read_with_cluster_true(tmp_path: Path, prefix: str) -> None:
    with servers.redis_cluster(tmp_path) as port:
        url = f"redis://127.0.0.1:{port}"
        writer = redis.RedisCluster("127.0.0.1", port)
        for queue, count in (("default", 30), ("mail", 4)):
            writer.rpush(f"shop_database_queues:{{{queue}}}", *["{}"] * count)
        writer.zadd("shop_database_queues:{mail}:delayed", {"due": 1})
        writer.hset(f"{prefix}queue:{{default}}", "runtime", "2000")
        supervise(writer, "a", {"redis:{default}": 3}, prefix=prefix)
        writer.close()
        assert number(source(url, cluster=True)) == 20
        assert number(source(url, "default", "mail", measure="pending", cluster=True)) == 35
        assert "add `cluster: true`" in refusal(source(url))


# H6
def test_cluster_true_for_a_single_server_is_an_error(client: redis.Redis, url: str) -> None:
    assert "remove `cluster: true`" in refusal(source(url, cluster=True))


# H7
def test_jobs_without_a_key_of_horizon_are_an_error(client: redis.Redis, url: str) -> None:
    client.rpush("shop_database_queues:default", "{}")
    for kind in ("wait", "pending"):
        assert "nothing of Horizon under the prefix 'shop_horizon:'" in refusal(source(url, measure=kind))


# H7
@pytest.mark.parametrize("mark", ["recent_jobs", "measured_queues", "supervisors"])
def test_one_key_of_horizon_is_enough(client: redis.Redis, url: str, mark: str) -> None:
    client.rpush("shop_database_queues:default", "{}")
    client.zadd(f"shop_horizon:{mark}", {"a": 1})
    assert number(source(url)) == 1


# H8
def test_the_members_of_an_unbalanced_supervisor_share_its_processes(client: redis.Redis, url: str) -> None:
    push(client, "high", 10)
    push(client, "low", 20)
    measure(client, "high", 1000)
    measure(client, "low", 2000)
    supervise(client, "a", {"redis:high,low": 5})
    for queues in (("high,low",), ("high", "low"), ("low", "high")):
        assert number(source(url, *queues)) == 10, "as Horizon shows it for high,low"
        assert number(source(url, *queues, measure="pending")) == 30
    assert number(source(url, "high")) == 2


# H8
def test_queues_of_different_supervisors_are_apart(client: redis.Redis, url: str) -> None:
    push(client, "high", 10)
    push(client, "low", 20)
    supervise(client, "a", {"redis:high": 5, "redis:low": 2})
    assert number(source(url, "high", "low")) == 10


# H9
def test_a_supervisor_is_gone_when_its_record_has_expired(client: redis.Redis, url: str) -> None:
    push(client, "default", 45)
    supervise(client, "alive", {"redis:default": 5})
    supervise(client, "gone", {"redis:default": 95}, alive=False)
    # An application's clock that is 40 s late does not make it gone.
    client.zadd("shop_horizon:supervisors", {"alive": time.time() - 40})
    assert number(source(url)) == 9


# H10
def test_a_hundred_supervisors_are_read_in_a_few_round_trips(client: redis.Redis, url: str) -> None:
    push(client, "default", 100)
    for index in range(100):
        supervise(client, f"web-{index}", {"redis:default": 1})
    before = client.info("stats")["total_reads_processed"]
    assert number(source(url)) == 1
    assert client.info("stats")["total_reads_processed"] - before < 12


def test_no_supervisor_is_a_wait_as_for_one_process(client: redis.Redis, url: str) -> None:
    push(client, "default", 10)
    measure(client, "default", 1000)
    assert number(source(url)) == 10


def test_an_empty_horizon(client: redis.Redis, url: str) -> None:
    assert number(source(url)) == 0
    assert number(source(url, measure="pending")) == 0
    supervise(client, "a", [])
    assert number(source(url)) == 0
