"""Every kind of source against the real thing: Redis, Prometheus, web servers and programs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import sleep
from typing import Literal

import pytest
from requests import Session

from scaler.autoscale.decide import decide_stack
from scaler.autoscale.decision import Supply
from scaler.autoscale.metrics import MetricError, Sources, read
from scaler.autoscale.metrics.http import post
from scaler.autoscale.tick import read_samples
from scaler.model.autoscaling import (
    Backlog,
    CommandSource,
    FixedSource,
    ForgejoSource,
    GitlabSource,
    HttpSource,
    Metric,
    PrometheusSource,
)
from scaler.support.clock import SystemClock
from tests.autoscale.load import group as server_group
from tests.autoscale.load import policy, spec
from tests.autoscale.reading import number, refusal, request
from tests.support import servers

pytestmark = pytest.mark.server

# ---------------------------------------------------------------------------------------------
# Prometheus


def test_prometheus_now(prometheus: str) -> None:
    assert number(PrometheusSource(url=prometheus, query="sum(jobs)")) == 42
    assert number(PrometheusSource(url=prometheus, query="scalar(max(jobs))")) == 30
    assert math.isnan(number(PrometheusSource(url=prometheus, query="odd")))
    moment = read(PrometheusSource(url=prometheus + "/", query="sum(jobs)"), request()).at
    assert moment is not None
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("aggregate", ["last", "mean", "max", "min"])
def test_prometheus_over_a_window(prometheus: str, aggregate: Literal["last", "mean", "max", "min"]) -> None:
    source = PrometheusSource(
        url=prometheus,
        query="sum(jobs)",
        window=timedelta(minutes=5),
        step=timedelta(seconds=1),
        aggregate=aggregate,
    )
    assert number(source) == 42


def test_what_prometheus_has_no_number_for(prometheus: str) -> None:
    assert refusal(PrometheusSource(url=prometheus, query="nothing")) == "the query gives no series"
    assert "2 series: aggregate" in refusal(PrometheusSource(url=prometheus, query="jobs"))
    assert "bad_data: " in refusal(PrometheusSource(url=prometheus, query="sum("))
    odd = PrometheusSource(url=prometheus, query="odd", window=timedelta(minutes=1))
    assert refusal(odd) == "the query gives no point in its window"


def test_a_number_over_a_window_is_as_old_as_its_last_number(pages: servers.Pages) -> None:
    values = [[1_700_000_000, "7"], [1_700_000_200, "NaN"]]
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    pages.pages["/api/v1/query_range"] = (200, {}, json.dumps({"status": "success", "data": data}))
    value = read(PrometheusSource(url=pages.url, query="x", window=timedelta(minutes=5)), request())
    assert (value.number, value.at) == (7, datetime.fromtimestamp(1_700_000_000, UTC))


TWO_SERIES = "the query gives 2 series: aggregate them with sum() or max()"


def test_something_else_than_prometheus(pages: servers.Pages) -> None:
    assert refusal(PrometheusSource(url=pages.url, query="up")) == "HTTP 404, and no answer of Prometheus"
    no_answer, no_number = "HTTP 200, and no answer of Prometheus", "the query gives no number"
    for odd, words in (
        ({}, no_answer),
        ({"data": None}, no_answer),
        ({"data": {"resultType": "string", "result": [1, "a"]}}, TWO_SERIES),
        ({"data": {"resultType": "scalar", "result": [1, "many"]}}, no_number),
        ({"data": {"resultType": "vector", "result": [{"histogram": [1, {}]}]}}, no_number),
    ):
        pages.pages["/api/v1/query"] = (200, {}, json.dumps({"status": "success", **odd}))
        assert refusal(PrometheusSource(url=pages.url, query="up")).startswith(words), odd


# ---------------------------------------------------------------------------------------------
# HTTP


def test_a_number_in_a_document(pages: servers.Pages) -> None:
    document = {"queues": [{"a/b": {"waiting": 7}}], "at": 1_700_000_000, "text": "8.5", "iso": "2026-01-01T00:00:00Z"}
    pages.pages["/stats"] = (200, {"Content-Type": "application/json"}, json.dumps(document))
    pages.pages["/bare"] = (200, {}, "12\n")
    url = f"{pages.url}/stats"
    assert number(HttpSource(url=url, pointer="/queues/0/a~1b/waiting")) == 7
    assert number(HttpSource(url=url, pointer="/text")) == 8.5
    assert number(HttpSource(url=f"{pages.url}/bare")) == 12
    dated = read(HttpSource(url=url, pointer="/text", time_pointer="/at"), request())
    assert dated.at == datetime.fromtimestamp(1_700_000_000, UTC)
    for name, moment in (("/ms", 1_700_000_000_000), ("/text_ms", "1700000000000"), ("/ns", 1_700_000_000 * 10**9)):
        document[name[1:]] = moment
        pages.pages["/stats"] = (200, {"Content-Type": "application/json"}, json.dumps(document))
        dated = read(HttpSource(url=url, pointer="/text", time_pointer=name), request())
        assert dated.at == datetime.fromtimestamp(1_700_000_000, UTC)
    dated = read(HttpSource(url=url, pointer="/text", time_pointer="/iso"), request())
    assert dated.at == datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_no_number(pages: servers.Pages) -> None:
    pages.pages["/stats"] = (200, {}, '{"a": {"b": true}, "n": null}')
    pages.pages["/html"] = (200, {}, "<html>")
    pages.pages["/huge"] = (200, {}, "1" * (2 << 20))
    assert refusal(HttpSource(url=f"{pages.url}/stats", pointer="/a/b")) == "/a/b is no number but 'true'"
    assert refusal(HttpSource(url=f"{pages.url}/stats", pointer="/n")) == "/n is no number but 'null'"
    assert refusal(HttpSource(url=f"{pages.url}/stats", pointer="/a/c")) == "the document has no /a/c"
    assert "no JSON: '<html>'" in refusal(HttpSource(url=f"{pages.url}/html"))
    assert refusal(HttpSource(url=f"{pages.url}/gone")) == "HTTP 404"
    assert refusal(HttpSource(url=f"{pages.url}/huge")) == "the answer is larger than 1 MiB"
    assert refusal(HttpSource(url=f"http://127.0.0.1:{servers.free_port()}/")) == "Connection refused"


def test_an_answer_that_comes_in_drops_is_late(pages: servers.Pages) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "60000")
        handler.end_headers()
        with suppress(OSError):
            for _ in range(60):
                handler.wfile.write(b"1")
                sleep(0.05)

    pages.pages["/drops"] = drip
    assert refusal(HttpSource(url=f"{pages.url}/drops"), seconds=0.3) == "no answer within 0.3s"


def test_headers_that_come_in_drops_are_late(pages: servers.Pages) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-More: %s\r\n\r\n1" % (b"x" * 60):
                handler.wfile.write(bytes([byte]))
                sleep(0.02)

    pages.pages["/drops"] = drip
    assert refusal(HttpSource(url=f"{pages.url}/drops"), seconds=0.3) == "no answer within 0.3s"


def test_a_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://user:hunter2@")
    assert refusal(HttpSource(url="http://a.test/")) == "http_proxy is no URL of a proxy: it has no host"


def test_a_token_is_sent(pages: servers.Pages) -> None:
    pages.pages["/stats"] = (200, {}, "1")
    source = HttpSource(url=f"{pages.url}/stats", token_env="STATS_TOKEN")
    assert number(source, STATS_TOKEN="s3cret") == 1
    assert pages.seen[-1][1]["Authorization"] == "Bearer s3cret"
    assert refusal(source) == "the environment variable STATS_TOKEN is not set"


def test_no_source_gets_the_cloud_s_token_or_one_in_clear_text(pages: servers.Pages) -> None:
    pages.pages["/stats"] = (200, {}, "1")
    before = len(pages.seen)
    for name in (
        "HCLOUD_TOKEN",
        "PULUMI_CONFIG_PASSPHRASE",
        "DIGITALOCEAN_ACCESS_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_KEY",
        "GOOGLE_CREDENTIALS",
        "PGPASSWORD",
        "VAULT_TOKEN",
    ):
        source = HttpSource(url=f"{pages.url}/stats", token_env=name)
        assert refusal(source, 5, **{name: "x"}) == f"{name} is not for sources of metrics: name another variable"
    source = HttpSource(url="http://stats.invalid/", token_env="STATS_TOKEN")
    told = (
        "credentials would be sent in clear text to stats.invalid: use https, or set SCALER_ALLOW_HOSTS=stats.invalid"
    )
    assert refusal(source, STATS_TOKEN="s3cret") == told
    gitlab = GitlabSource(url="http://stats.invalid", projects=("shop/web",), token_env="STATS_TOKEN")
    assert refusal(gitlab, STATS_TOKEN="s3cret") == told
    with pytest.raises(MetricError, match="credentials would be sent in clear text"):
        post("http://stats.invalid/app", request(), headers={"Authorization": "Bearer s3cret"})
    assert len(pages.seen) == before


def test_a_page_that_needs_no_credentials_is_read_over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "get", lambda *_, **__: pytest.fail("asked for"))
    for source in (HttpSource(url="http://stats.invalid/"), PrometheusSource(url="http://stats.invalid", query="up")):
        with pytest.raises(pytest.fail.Exception, match="asked for"):
            read(source, request())


def test_no_credentials_come_from_netrc(pages: servers.Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry for a forge's host would replace the token of the spec."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    pages.pages["/stats"] = (200, {}, "1")
    pages.pages["/api/v1/admin/actions/runners/jobs"] = (200, {}, "null")
    assert number(HttpSource(url=f"{pages.url}/stats")) == 1
    assert "Authorization" not in pages.seen[-1][1]
    assert number(ForgejoSource(url=pages.url, token_env="TOKEN", labels=("a",)), TOKEN="one") == 0
    assert pages.seen[-1][1]["Authorization"] == "token one"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "127.0.0.1"])
def test_no_redirect_to_another_host_is_followed(pages: servers.Pages, host: str) -> None:
    with servers.pages() as elsewhere:
        elsewhere.pages["/"] = (200, {}, "secret words of the metadata service")
        target = elsewhere.url.replace("127.0.0.1", host)
        pages.pages["/stats"] = (302, {"Location": f"{target}/"}, "")
        words = refusal(HttpSource(url=f"{pages.url}/stats"))
        assert words == f"it redirects to {target}, which is not followed: write that URL"
        assert elsewhere.seen == []
        query = PrometheusSource(url=pages.url, query="up")
        pages.pages["/api/v1/query"] = (307, {"Location": f"{target}/"}, "")
        assert f"it redirects to {target}, which" in refusal(query)
        assert elsewhere.seen == []


def test_no_redirect_is_followed_that_names_two_hosts(pages: servers.Pages) -> None:
    """What urllib takes for the same host, requests would ask at the other."""
    with servers.pages() as elsewhere:
        place = elsewhere.url.removeprefix("http://")
        pages.pages["/stats"] = (302, {"Location": f"http://{place}\\@{pages.url.removeprefix('http://')}/"}, "")
        assert "which is not followed" in refusal(HttpSource(url=f"{pages.url}/stats"))
        assert elsewhere.seen == []


def test_what_comes_with_a_redirect_is_not_read(pages: servers.Pages) -> None:
    """It may be endless."""
    refused = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/number")
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b"x" * (1 << 20))
        except OSError:
            refused.set()

    pages.pages["/stats"] = endless
    pages.pages["/number"] = (200, {}, "5")
    assert number(HttpSource(url=f"{pages.url}/stats")) == 5
    assert refused.wait(5)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://me:s3cret@x.invalid/", "it redirects to http://x.invalid, which is not followed: write that URL"),
        ("http://[::1", "it redirects to what is no URL"),
    ],
)
def test_a_redirect_s_password_is_not_shown(pages: servers.Pages, location: str, words: str) -> None:
    pages.pages["/stats"] = (302, {"Location": location}, "")
    assert refusal(HttpSource(url=f"{pages.url}/stats")) == words


def test_a_redirect_on_the_same_host_is_followed_with_the_token(pages: servers.Pages) -> None:
    pages.pages["/stats"] = (302, {"Location": "/new"}, "")
    pages.pages["/new"] = (200, {}, "2")
    assert number(HttpSource(url=f"{pages.url}/stats", token_env="STATS_TOKEN"), STATS_TOKEN="s3cret") == 2
    assert pages.seen[-1][1]["Authorization"] == "Bearer s3cret"
    pages.pages["/new"] = (302, {"Location": "/stats"}, "")
    assert refusal(HttpSource(url=f"{pages.url}/stats")) == "more than 5 redirects"


def test_the_words_of_a_source_are_cleaned(pages: servers.Pages) -> None:
    pages.pages["/stats"] = (200, {}, "\x1b[31mred\n::error::no\r##[error]no ##vso[a]b")
    words = refusal(HttpSource(url=f"{pages.url}/stats"))
    assert words.isprintable()
    assert "::" not in words
    assert "##[" not in words
    assert "##vso[" not in words
    code = "import sys; sys.stderr.write('\\x1b]0;title\\x07::set-env name=A::' + 'x' * 5000); sys.exit(1)"
    words = refusal(python(code))
    assert words.isprintable()
    assert "::" not in words
    assert len(words) < 320


def test_a_server_that_never_answers(pages: servers.Pages) -> None:
    released = threading.Event()
    pages.pages["/slow"] = lambda handler: released.wait(30)
    assert refusal(HttpSource(url=f"{pages.url}/slow"), seconds=0.2) == "no answer within 0.2s"
    released.set()


# ---------------------------------------------------------------------------------------------
# Commands


def python(code: str, **rest: str) -> CommandSource:
    return CommandSource(command=(sys.executable, "-c", code), **rest)


def test_a_command_prints_a_number_or_a_document() -> None:
    assert number(python("print(4.5)")) == 4.5
    assert number(python("print('{\"jobs\": 3}')", pointer="/jobs")) == 3
    assert number(python("import os; print(len(os.environ['LC_QUEUE']))"), LC_QUEUE="abc") == 3
    assert "without QUEUE (`env` of the spec" in refusal(python("import os; os.environ['QUEUE']"), QUEUE="abc")
    assert number(python("import os; print(len(os.environ.get('HCLOUD_TOKEN', '')))"), HCLOUD_TOKEN="abc") == 0


def test_what_a_command_does_wrong() -> None:
    assert refusal(python("import sys; sys.exit('no queue')")).endswith("exited with 1: no queue")
    assert "no number and no JSON: ''" in refusal(python("pass"))
    assert "cannot be run: No such file" in refusal(CommandSource(command=("/no/such/program",)))


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"""
import pathlib, subprocess
child = subprocess.Popen(["sleep", "600"])
pathlib.Path({str(pid)!r}).write_text(str(child.pid))
child.wait()
"""
    source = python(code)
    # A time-out that is long enough for the child to be there.
    assert "took longer than" in refusal(source, seconds=3)
    child = Path(f"/proc/{pid.read_text()}/stat")
    servers.await_true(lambda: not child.exists() or child.read_text().split()[2] == "Z", "the child's end")


def test_a_command_that_prints_without_end_is_killed_and_its_output_is_not_kept(tmp_path: Path) -> None:
    """`yes` writes gigabytes a second: the memory stays far below that."""
    code = """
import pathlib, resource, subprocess, sys
from datetime import UTC, datetime
from scaler.autoscale.metrics import MetricError, MetricRead, read
from scaler.model.autoscaling import CommandSource
from scaler.support.clock import SystemClock
request = MetricRead(3, datetime.now(UTC), {"PATH": "/usr/bin:/bin"}, pathlib.Path("/"), SystemClock())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for command in (("yes",), ("sh", "-c", "yes >&2")):
    try:
        read(CommandSource(command=command), request)
    except MetricError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, grown = ran.stdout.splitlines()
    assert first == "yes printed more than 1 MiB"
    assert second == "sh took longer than 3s"
    assert int(grown) < 50_000, "KiB"


def test_a_child_that_keeps_the_output_open_does_not_hide_the_value() -> None:
    source = CommandSource(command=("sh", "-c", "sleep 20 & echo 7"))
    assert number(source) == 7
    code = "import os, subprocess; subprocess.Popen(['sleep', '20']); os._exit(3)"
    assert refusal(python(code)).endswith("exited with 3")


def test_fixed() -> None:
    assert number(FixedSource(value=5)) == 5


# ---------------------------------------------------------------------------------------------
# All together


def test_all_are_read_at_once_and_none_waits_for_another(pages: servers.Pages, tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=30)

    def together(handler: BaseHTTPRequestHandler) -> None:
        meeting.wait()
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"3")

    pages.pages["/a"] = pages.pages["/b"] = together
    released = threading.Event()
    pages.pages["/hang"] = lambda handler: released.wait(60)
    sources = Sources({}, tmp_path, SystemClock())
    metrics = {
        ("worker", name): Metric(name=name, source=HttpSource(url=f"{pages.url}/{name}"), timeout=timedelta(seconds=30))
        for name in ("a", "b")
    }
    metrics["worker", "hang"] = Metric(
        name="hang", source=HttpSource(url=f"{pages.url}/hang"), timeout=timedelta(milliseconds=300)
    )
    samples = sources.read(metrics)
    released.set()
    assert [samples["worker", name].value for name in ("a", "b", "hang")] == [3, 3, None]
    assert samples["worker", "hang"].error == "no answer within 0.3s"


def test_forty_sources_of_ten_groups_are_read_at_once_and_one_that_hangs_holds_its_own_group_only(
    pages: servers.Pages, tmp_path: Path
) -> None:
    """Each answer waits until all 39 others were asked: one after the other, none would ever come."""
    meeting = threading.Barrier(39, timeout=60)

    def together(handler: BaseHTTPRequestHandler) -> None:
        meeting.wait()
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"90")

    released = threading.Event()
    keys = [(f"group{group}", f"metric{index}") for group in range(10) for index in range(4)]
    for group, name in keys:
        pages.pages[f"/{group}/{name}"] = together
    pages.pages["/group3/metric2"] = lambda handler: released.wait(60)
    policies = {}
    for group in dict.fromkeys(group for group, _ in keys):
        rules = [Backlog(metric=name, per_server=10) for owner, name in keys if owner == group]
        made = policy(*rules)
        metrics = {
            name: replace(one, source=HttpSource(url=f"{pages.url}/{group}/{name}"), timeout=timedelta(seconds=10))
            for name, one in made.metrics.items()
        }
        policies[group] = server_group(replace(made, metrics=metrics), name=group)
    stack = spec(*policies.values())
    samples = read_samples(stack, Sources({}, tmp_path, SystemClock()))
    released.set()
    supplies = dict.fromkeys(policies, Supply(12, 12, 12))
    decisions = decide_stack(stack, samples, supplies, {}, datetime.now(UTC))
    assert {name: decision.count for name, decision in decisions.items()} == {
        **dict.fromkeys(policies, 9),
        "group3": 12,
    }


def test_a_source_that_drips_is_given_up_and_not_asked_again_while_it_does(
    pages: servers.Pages, tmp_path: Path
) -> None:
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not released.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    pages.pages["/drip"] = drip
    sources = Sources({}, tmp_path, SystemClock())
    # 64 KiB never come, so that only the outer deadline ends the wait.
    metric = Metric(name="drip", source=HttpSource(url=f"{pages.url}/drip"), timeout=timedelta(milliseconds=300))
    first = sources.read({("worker", "drip"): metric})["worker", "drip"]
    second = sources.read({("worker", "drip"): metric})["worker", "drip"]
    released.set()
    assert (first.value, first.error) == (None, "no answer within 0.3s")
    assert (second.value, second.error) == (None, "the last request is still not answered")
    assert len(pages.seen) == 1
