"""The number from the load, end to end: a real Redis with Horizon's keys, the real command line, the embedded cloud."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.support import servers
from tests.support.project import Project, finish, is_alive, wait_until

redis = pytest.importorskip("redis", reason="the extra pulumi-scaler[autoscale] is not installed")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Any]:
    """A Redis server's client; the queue is Horizon's `default`, under the prefixes of an application `shop`."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with servers.redis_server(folder) as port:
        client = redis.Redis(port=port, decode_responses=True)
        client.port = port
        yield client
        client.close()


def push(client: Any, count: int) -> None:
    client.rpush("shop_database_queues:default", *[json.dumps({"pushedAt": time.time()})] * count)
    # Horizon notes each job when it is pushed; jobs without such a note are of another application.
    client.zadd("shop_horizon:recent_jobs", {"a job": -time.time()})


def drain(client: Any) -> None:
    client.delete("shop_database_queues:default")


def follow(project: Project, client: Any, *, down: dict[str, str] | None = None, **block: Any) -> None:
    """Give the stack a policy: ten pending jobs per server, and two seconds' calm before it shrinks."""
    source = {
        "url": f"redis://127.0.0.1:{client.port}/0",
        "measure": "pending",
        "prefix": "shop_horizon:",
        "queue_prefix": "shop_database_",
    }
    policy = {
        "metrics": {"jobs": {"horizon": source}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
        "down": down or {"stabilise": "2s", "cooldown": "1s"},
        **block,
    }
    project.describe(groups={"worker": {"count": 1, "min": 1, "max": 6, "autoscale": policy}})


def decisions(project: Project) -> list[dict[str, Any]]:
    return [event["decision"] for event in project.events if event["event"] == "autoscale.decided"]


def autoscale(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    return project.run("autoscale", *arguments, "-o", "json", code=code).document


def test_jobs_raise_the_servers_and_their_end_lowers_them_again(project: Project, queue: Any) -> None:
    follow(project, queue)
    push(queue, 45)
    watching = project.start("autoscale", "--watch", "1s", "--metrics-listen", "127.0.0.1:0")
    assert watching.stderr
    address = re.search(r"http://[0-9.:]+", watching.stderr.readline())
    assert address
    wait_until(lambda: _shown(address[0], "scaler_ready") == 5, "five ready servers")
    assert set(project.records) == {f"demo-worker-{number}" for number in range(1, 6)}
    oldest, *_, youngest = project.by_age
    drain(queue)
    wait_until(lambda: _shown(address[0], "scaler_ready") == 1, "one ready server")
    wait_until(project.agrees, "the end of the others' deletion, and its record")
    assert requests.get(f"{address[0]}/healthz", timeout=5).json()["error"] is None
    assert "All wanted servers are ready: worker 1 of 1." in requests.get(f"{address[0]}/", timeout=5).text
    shown = requests.get(f"{address[0]}/api/status", timeout=5).json()["stacks"]["demo"]
    assert shown.keys() == project.run("status", "-o", "json").document.keys()
    assert requests.get(f"{address[0]}/targets", timeout=5).json()[0]["labels"]["__meta_scaler_stack"] == "demo"
    watching.send_signal(signal.SIGTERM)
    ended = finish(watching)
    assert (ended.code, ended.stderr) == (0, "stopped\n")
    assert list(project.agreed()) == [oldest]

    up, down = [decision for decision in decisions(project) if decision["from"] != decision["to"]]
    assert (up["from"], up["to"], up["metrics"]["jobs"]["value"]) == (1, 5, 45)
    assert (down["from"], down["to"], down["metrics"]["jobs"]["value"]) == (5, 1, 0)
    calm = next(one for one in decisions(project) if [cap["name"] for cap in one["caps"]] == ["stabilisation"])
    assert _moment(down) - _moment(calm) >= timedelta(seconds=2), "asked for that long before it was done"

    born = project.run("why", youngest, "-o", "json").document
    [told] = [event for event in born["run"]["events"] if event["event"] == "autoscale.decided"]
    assert told["decision"] == down
    text = project.run("why", youngest).stdout
    assert "1 instead of 5: jobs is 0, at 10 per server: 0" in text
    assert "5 instead of 1: jobs is 45, at 10 per server: 4.5" in project.run("why", oldest).stdout
    assert "5 instead of 1: jobs is 45" in ended.stdout


def _shown(address: str, name: str) -> float | None:
    try:
        text = requests.get(f"{address}/metrics", timeout=5).text
    except requests.ConnectionError:
        return None
    found = re.search(rf"^{name}\{{.*\}} ([0-9.]+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def _moment(decision: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(decision["at"])


@pytest.mark.acceptance("T09")
def test_a_watch_ticks_on_while_a_server_drains_and_the_next_watch_finds_the_result(
    project: Project, queue: Any
) -> None:
    follow(project, queue)
    (project.folder / "drain.sh").write_text(
        "#!/bin/sh\necho $$ >> pids; while [ ! -e over ]; do sleep 0.1; done; echo done >> drained\n", encoding="utf-8"
    )
    (project.folder / "drain.sh").chmod(0o755)
    worker = yaml.safe_load(project.spec_path.read_text(encoding="utf-8"))["groups"]["worker"]
    project.describe(groups={"worker": {**worker, "stop": {"drain": ["./drain.sh"], "drain_within": "1h"}}})
    push(queue, 20)
    assert autoscale(project, "--yes", "--wait")["outcome"] == "converged"
    drain(queue)
    with watching(project):
        wait_until((project.folder / "pids").exists, "the drain")
        pid = int(lines(project, "pids")[0])
        push(queue, 30)
        wait_until(lambda: len(project.machines) == 4, "two more")
        assert is_alive(pid)
    # The watch was killed; its drain goes on.
    assert is_alive(pid)
    with watching(project):
        (project.folder / "over").touch()
        wait_until(lambda: len(project.machines) == 3, "the drained one gone")
    assert (lines(project, "pids"), lines(project, "drained")) == ([str(pid)], ["done"])


def lines(project: Project, name: str) -> list[str]:
    return (project.folder / name).read_text(encoding="utf-8").split()


@contextmanager
def watching(project: Project) -> Iterator[None]:
    """A watch at work, which is killed in the end."""
    watch = project.start("autoscale", "--watch", "2s")
    try:
        yield
        assert watch.poll() is None
    finally:
        watch.kill()
        finish(watch)


def test_from_cron_it_decides_as_it_does_in_a_watch(hetzner: Project, queue: Any) -> None:
    follow(hetzner, queue, down={"stabilise": "1h"})
    push(queue, 30)
    told = autoscale(hetzner, "--yes")
    assert told["decisions"]["worker"]["to"] == 3
    assert len(hetzner.machines) == 3
    assert autoscale(hetzner, "--yes", "--wait")["outcome"] in ("converged", "unchanged")
    drain(queue)
    starts = len(hetzner.engine_runs)
    told = autoscale(hetzner, "--yes")
    assert told["decisions"]["worker"]["caps"][0]["name"] == "stabilisation"
    assert (told["outcome"], told["result"]) == ("unchanged", None)
    assert len(hetzner.engine_runs) == starts, "nothing to do needs no engine"
    assert len(hetzner.agreed()) == 3


def test_a_preview_tells_all_and_changes_nothing(hetzner: Project, queue: Any) -> None:
    follow(hetzner, queue)
    push(queue, 25)
    told = autoscale(hetzner, "--preview")
    assert told["outcome"] == "planned"
    assert [step["action"] for step in told["result"]["steps"]] == ["create"] * 3
    decision = told["decisions"]["worker"]
    assert decision["proposals"] == [
        {"rule": "backlog jobs", "count": 3, "reason": "jobs is 25, at 10 per server: 2.5"}
    ]
    assert hetzner.machines == {}
    assert not (hetzner.state_dir / "demo.autoscale.json").exists()
    text = hetzner.run("autoscale", "--preview").stdout
    assert "worker: 1 → 3 (0 of 0 ready)" in text
    assert "Plan: 3 to add" in text


def test_a_dead_source_holds_and_says_so(hetzner: Project, queue: Any) -> None:
    follow(hetzner, queue)
    push(queue, 30)
    autoscale(hetzner, "--yes", "--wait")
    queue.shutdown(nosave=True)
    ran = hetzner.run("autoscale", "--yes", "-o", "json")
    assert ran.document["decisions"]["worker"]["to"] == 3
    assert "metric jobs is missing" in ran.stderr
    assert "metric jobs is missing" not in hetzner.run("autoscale", "--yes").stderr
    assert [event["reason"].partition(":")[0] for event in hetzner.events if event["event"] == "autoscale.metric"] == [
        "metric jobs is missing"
    ]
    assert len(hetzner.agreed()) == 3


def test_the_clouds_own_cpu_metric_moves_the_count(project: Project) -> None:
    digitalocean = project.vendor.name == "digitalocean"
    policy = {
        "metrics": {"cpu": {"cloud": "cpu", "timeout": "20s"}},
        "rules": [{"target": {"metric": "cpu", "value": 40}}],
        "down": {"stabilise": "0s", "cooldown": "0s"},
    }
    worker = {"count": 1, "min": 1, "max": 4, "autoscale": policy} | ({"monitoring": True} if digitalocean else {})
    project.describe(groups={"worker": worker})
    first = autoscale(project, "--yes", "--wait")
    assert first["decisions"]["worker"]["metrics"]["cpu"]["error"] == (
        "of 0 running servers of worker none was measured yet"
    )
    load_servers(project, 0.78)
    wait_until(lambda: _cpu(project) == pytest.approx(78, abs=1), "the load in the cloud's measurements")
    told = autoscale(project, "--yes", "--wait")
    assert told["decisions"]["worker"]["to"] == 2
    assert len(project.agreed()) == 2
    load_servers(project, 0.1)
    wait_until(lambda: _cpu(project) == pytest.approx(10, abs=1), "the idleness in the cloud's measurements")
    autoscale(project, "--yes", "--wait")
    assert len(project.agreed()) == 1


def load_servers(project: Project, share: float) -> None:
    for server in project.world.servers(project.vendor.name):
        project.world.set_cpu(project.vendor.name, server.id, share)


def _cpu(project: Project) -> float | None:
    preview = autoscale(project, "--preview")
    value: float | None = preview["decisions"]["worker"]["metrics"]["cpu"]["value"]
    return value


def test_a_function_within_a_budget(hetzner: Project) -> None:
    (hetzner.folder / "fleet.py").write_text("def count(load):\n    return {1: 9}.get(load.current, 'many')\n")
    worker = {"count": 1, "min": 1, "max": 20, "autoscale": {"function": "fleet:count"}}
    hetzner.describe(budget={"per_month": 20}, groups={"worker": worker})
    told = autoscale(hetzner, "--yes", "--wait")["decisions"]["worker"]
    assert (told["to"], [cap["name"] for cap in told["caps"]]) == (3, ["budget"])
    assert len(hetzner.agreed()) == 3
    ran = hetzner.run("autoscale", "--yes", "-o", "json")
    error = "it answered 'many', which is no whole number"
    assert ran.document["decisions"]["worker"]["metrics"]["fleet:count"]["error"] == error
    assert ran.stderr.count(error) == 1
    assert len(hetzner.agreed()) == 3
    told = hetzner.run("why", "demo-worker-3").stdout
    assert "3 instead of 1: fleet:count says 9; the budget is EUR 20 a month: at most 3" in told
    hetzner.run("preview", "4", "--out", "plan.json", code=3)
    hetzner.run("preview", "2", "--out", "plan.json")
    hetzner.run("apply", "plan.json")
    assert len(hetzner.agreed()) == 2


@pytest.mark.acceptance("Q08")
def test_without_a_policy_nothing_happens(hetzner: Project) -> None:
    told = autoscale(hetzner, "--yes")
    assert (told["outcome"], told["decisions"]) == ("unchanged", {})
    assert "Nothing to do." in hetzner.run("autoscale", "--yes").stdout
    assert hetzner.machines == {}
    assert hetzner.engine_runs == []


def test_a_watch_takes_a_changed_spec_and_keeps_the_good_one(hetzner: Project, queue: Any) -> None:
    follow(hetzner, queue)
    push(queue, 20)
    watching = hetzner.start("autoscale", "--watch", "1s")
    wait_until(lambda: len(hetzner.machines) == 2, "two servers")
    good = hetzner.spec_path.read_text()
    hetzner.spec_path.write_text(good.replace("per_server: 10", "per_server: ten"))
    assert watching.stderr
    told = iter(watching.stderr.readline, "")
    assert "the spec as it was stays in force" in next(line for line in told if "spec" in line)
    hetzner.spec_path.write_text(good.replace("per_server: 10", "per_server: 5"))
    wait_until(lambda: len(hetzner.machines) == 4, "four servers")
    watching.send_signal(signal.SIGINT)
    ended = finish(watching)
    assert ended.code == 0
    assert "stays in force" not in ended.stderr, "it is told once"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "would ask before it acts"),
        (("--watch", "0s"), "--watch must be more than 0"),
        (("--watch", "1s", "--preview"), "--preview shows one decision"),
        (("--yes", "--metrics-listen", "127.0.0.1:1"), "--metrics-listen needs --watch"),
        (("--watch", "1s", "--token-file", "token"), "--token-file needs --metrics-listen"),
        (("--watch", "1s"), "No group of demo has an autoscale block"),
    ],
)
def test_what_makes_no_sense(hetzner: Project, arguments: tuple[str, ...], message: str) -> None:
    ran = hetzner.run("autoscale", *arguments, "-o", "json", code=64)
    assert message in ran.error["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("0.0.0.0:0",), "Other machines reach 0.0.0.0"),
        (("127.0.0.1:0", "--token-file", "no"), "The token file no cannot be read"),
        (("9410",), "not an address to listen on"),
    ],
)
def test_where_a_watch_does_not_listen(hetzner: Project, queue: Any, arguments: tuple[str, ...], message: str) -> None:
    follow(hetzner, queue)
    ran = hetzner.run("autoscale", "--watch", "1s", "-o", "json", "--metrics-listen", *arguments, code=64)
    assert message in ran.error["message"]
    assert hetzner.machines == {}


# ---------------------------------------------------------------------------------------------
# Simulation


def test_a_simulation_compares_policies_and_writes_its_reports(hetzner: Project, queue: Any) -> None:
    follow(hetzner, queue)
    good = hetzner.spec_path.read_text()
    (hetzner.folder / "calm.yaml").write_text(good.replace("per_server: 10", "per_server: 40"))
    rows = [f"{1767225600 + 60 * minute},{4 if 60 < minute < 120 else 0.5}" for minute in range(300)]
    (hetzner.folder / "load.csv").write_text("\n".join(["time,arrivals", *rows]) + "\n")
    simulate = ("simulate", "--metrics", "load.csv", "--policy", "calm.yaml", "--throughput", "1", "--boot", "90s")
    ran = hetzner.run(*simulate, "--html", "report.html", "--json", "report.json", "-o", "json")
    eager, calm = ran.document["simulations"]
    assert (eager["policy"], calm["policy"]) == ("demo", "calm")
    assert eager["servers"] == {"least": 1, "most": 6}
    assert eager["cost"] > 0
    assert eager["currency"] == "EUR"
    assert eager["changes"]["up"] > 0 < calm["changes"]["up"]
    assert eager["server_hours"] != calm["server_hours"]
    assert min(one["wait_s"]["worst"] for one in (eager, calm)) > 90, "nobody is served by what still boots"
    assert json.loads((hetzner.folder / "report.json").read_text()) == ran.document
    page = (hetzner.folder / "report.html").read_text()
    assert page.count('class="plot"') == 3
    sentence = r"calm costs \d+ % (?:less|more) and lets \d+ jobs wait longer than 60 s \(demo: \d+ jobs\)\."
    assert re.search(sentence, page)
    text = hetzner.run(*simulate, "--price", "1").stdout
    assert re.search(r"^cost +[0-9]+\.00 EUR +[0-9]+\.00 EUR$", text, re.MULTILINE)
    assert hetzner.machines == {}, "nothing was created"


def test_boot_times_are_learned_from_what_happened(hetzner: Project, queue: Any) -> None:
    follow(hetzner, queue)
    push(queue, 10)
    autoscale(hetzner, "--yes", "--wait")
    (hetzner.folder / "load.csv").write_text("time,jobs\n0,10\n3600,60\n7200,60\n")
    [one] = hetzner.run("simulate", "--metrics", "load.csv", "-o", "json").document["simulations"]
    assert one["series"]["ready"] == [1, 1, 6]
    assert one["wait_s"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics", "none.csv"), "none.csv cannot be read"),
        (("--metrics", "load.csv"), "The trace has no column for the metric jobs"),
        (("--metrics", "load.csv", "--group", "web"), "no group 'web'"),
        (("--metrics", "prometheus"), "Not all metrics of worker are from Prometheus"),
        (("--metrics", "load.csv", "--policy", "stacks/demo.yaml"), "Two policies are named demo"),
    ],
)
def test_what_cannot_be_simulated(hetzner: Project, queue: Any, arguments: tuple[str, ...], message: str) -> None:
    follow(hetzner, queue)
    (hetzner.folder / "load.csv").write_text("time,cpu\n0,10\n")
    assert message in hetzner.run("simulate", *arguments, "-o", "json", code=64).error["message"]


def test_the_load_of_prometheus_is_replayed(hetzner: Project, tmp_path: Path) -> None:
    with servers.pages() as exporter:
        exporter.pages["/metrics"] = (200, {"Content-Type": "text/plain; version=0.0.4"}, "jobs 45\n")
        folder = tmp_path / "prometheus"
        folder.mkdir()
        with servers.prometheus_server(folder, exporter.url.removeprefix("http://")) as url:
            wait_until(lambda: _asked(url, "count_over_time(jobs[1m])") >= 3, "some recorded seconds")
            metrics = {"jobs": {"prometheus": {"url": url, "query": "sum(jobs)"}}}
            policy = {"metrics": metrics, "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}]}
            hetzner.describe(groups={"worker": {"count": 1, "max": 6, "autoscale": policy}})
            ran = hetzner.run("simulate", "--metrics", "prometheus", "--since", "2m", "--step", "1s", "-o", "json")
    [one] = ran.document["simulations"]
    assert one["servers"]["most"] == 5
    assert one["decisions"][0]["metrics"]["jobs"]["state"] == "missing", "it was not there yet two minutes ago"


def _asked(url: str, query: str) -> float:
    [series] = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=5).json()["data"]["result"]
    return float(series["value"][1])
