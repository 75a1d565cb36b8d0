"""Whatever is in a file or an answer, its reader gives a value or one of scaler's errors: no other exception.

`make test` tries a few hundred documents of each kind, `make fuzz` as many as it can in an hour.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.autoscale.memory import Memory
from scaler.autoscale.metrics import Sources
from scaler.autoscale.metrics.php_values import unserialized
from scaler.autoscale.trace import load_trace
from scaler.clouds import Cloud, CloudError
from scaler.clouds.registry import open_cloud
from scaler.commands.main import main
from scaler.config.project import Project
from scaler.config.schema.cloud_init import cloud_init_problem
from scaler.config.spec import load
from scaler.engine.backend import LocalBackend
from scaler.engine.binary import version_of
from scaler.engine.locks import is_stale, locks_in
from scaler.engine.secrets import chosen_provider, require_allowed_settings
from scaler.engine.stack import PulumiStack
from scaler.engine.yaml_file import read_yaml
from scaler.errors import ScalerError
from scaler.model import ImageRef, Spec
from scaler.model.autoscaling import (
    ForgejoSource,
    GithubSource,
    GitlabSource,
    HttpSource,
    Metric,
    PrometheusSource,
    RabbitmqSource,
    WoodpeckerSource,
)
from scaler.model.ownership import Owner
from scaler.records.plan_file import _digest, check_plan_file, read_plan_file
from scaler.records.run_lock import RunLock
from scaler.records.shortages import Shortages
from scaler.support.clock import SystemClock
from tests.fuzz.documents import almost, almost_json, almost_text, as_json
from tests.support.http_stub import HurriedClock, Stub, reply
from tests.support.project import ROOT
from tests.support.vendors import ENVIRON, VENDORS, Vendor

EXAMPLES = int(os.environ.get("SCALER_FUZZ_EXAMPLES", "25"))

some = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def accepted(read: Callable[[], Any]) -> Any:
    """Return what a reader gives; None if it refuses with one of scaler's errors. Other exceptions fail the test."""
    try:
        return read()
    except ScalerError as error:
        assert error.what
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "project"
    (folder / "stacks").mkdir(parents=True)
    (folder / ".scaler").mkdir()
    (folder / "Pulumi.yaml").write_bytes((ROOT / "Pulumi.yaml").read_bytes())
    (folder / "stacks" / "demo.yaml").write_bytes((ROOT / "stacks" / "demo.yaml").read_bytes())
    return folder


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return load(folder / "stacks" / "demo.yaml", "scaler")


def run(folder: Path, *arguments: str) -> None:
    """Run a command in this process: it must end, and not with an internal error."""
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        code = main([*arguments, "-C", str(folder), "--stack", "demo"])
    assert "internal error" not in said.getvalue(), said.getvalue()
    assert code in (0, 1, 5, 64, 65), said.getvalue()


# -- the spec --------------------------------------------------------------------------------------

SPEC: dict[str, Any] = {
    "cloud": "hetzner",
    "endpoint": "embedded",
    "limit": 20,
    "budget": {"per_month": 150},
    "env": ["DEPLOY_KEY"],
    "notify": [
        {"url": "https://example.com/x", "events": ["server.errored"]},
        {"command": ["/bin/true"], "events": ["*"]},
    ],
    "groups": {
        "worker": {
            "count": 3,
            "max": 10,
            "image": {"selector": "role=worker"},
            "type": ["cx23", "cpx22"],
            "location": "fsn1",
            "ssh_keys": ["deploy"],
            "user_data_inline": "#cloud-config\n",
            "labels": {"role": "worker"},
            "ready": {"tcp": 22},
            "start_within": "10m",
            "stop": {"drain": ["/bin/true", "{name}"], "drain_within": "5m"},
            "scale_down": "oldest",
            "autoscale": {
                "metrics": {"jobs": {"fixed": 5}, "wait": {"prometheus": {"url": "http://localhost:9", "query": "up"}}},
                "rules": [{"target": {"metric": "jobs", "value": 2}}, {"wait": {"metric": "wait", "within": "30s"}}],
            },
        }
    },
}  # fmt: skip


def test_the_good_spec_is_good(folder: Path) -> None:
    """Else what is almost right would be stopped at the first check."""
    path = folder / "stacks" / "good.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    assert load(path, "scaler").groups["worker"].autoscale
    path.unlink()


@some
@given(
    content=st.one_of(almost(SPEC).map(lambda value: yaml.safe_dump(value).encode()), almost_text(yaml.safe_dump(SPEC)))
)
def test_spec(folder: Path, content: bytes) -> None:
    path = folder / "stacks" / "other.yaml"
    path.write_bytes(content)
    accepted(lambda: load(path, "scaler"))
    path.unlink()


@some
@given(content=almost_text((ROOT / "Pulumi.yaml").read_text()))
def test_project_file_and_stack_settings(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("Pulumi.yaml", "Pulumi.demo.yaml"):
        (folder / name).write_bytes(content)
    accepted(lambda: Project.find(folder))
    accepted(lambda: chosen_provider(folder, "demo"))
    accepted(lambda: require_allowed_settings(folder, "demo", {}))
    with contextlib.suppress(ValueError):
        read_yaml(folder / "Pulumi.demo.yaml")


USER_DATA = (
    "#cloud-config\npackages: [nginx]\nruncmd:\n- [systemctl, start, nginx]\n- echo: b\nusers: []\n",
    "#cloud-config-archive\n- type: text/x-shellscript\n  content: echo\n- 'write_files: [{path: /a}]'\n",
    "## template: jinja\n#cloud-config\n{% if a %}b: {{ c }}\n{% endif %}\n",
    "#include\nhttps://example.com/a\n",
    "#cloud-boothook\n#!/bin/sh\nexec true\n",
)


@some
@given(content=st.sampled_from(USER_DATA).flatmap(almost_text), part=st.booleans())
def test_user_data(content: bytes, part: bool) -> None:
    text = content.decode(errors="replace")
    mail = f"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/cloud-config\n\n{text}\n--x--\n"
    problem, fix = cloud_init_problem(mail if part else text)
    assert problem or not fix


# -- records ---------------------------------------------------------------------------------------

SERVER = {
    "name": "demo-worker-1", "group": "worker", "id": "1", "status": "running", "since": "2026-11-24T22:10:00Z",
    "previous": "starting", "ipv4": "203.0.113.7", "ipv6": None, "type": "cx23", "location": "fsn1", "image": "343",
    "created": "2026-11-24T22:09:00Z", "error": None, "protected": False, "set_aside": False, "reboot_asked": False,
    "currency": "EUR", "price_per_hour": "0.0066", "price_per_month": "3.99",
}  # fmt: skip
IDENTITY = {
    "id": "abcd1234",
    "project": "scaler",
    "cloud": "hetzner",
    "endpoint": "embedded",
    "account": "",
    "tokens": ["x"],
}
STATE = {
    "schema": 1, "stack": "demo", "project": "scaler", "cloud": "hetzner", "serial": 3,
    "updated": "2026-11-24T22:10:00Z", "wanted": {"worker": 1}, "servers": [SERVER], "identity": IDENTITY,
}  # fmt: skip


@some
@given(content=almost_json(STATE))
def test_state_file(folder: Path, content: bytes) -> None:
    path = folder / ".scaler" / "demo.json"
    path.write_bytes(content)
    for arguments in (
        ("status",),
        ("status", "-o", "json"),
        ("why", "demo-worker-1"),
        ("report", "--html", str(folder / "r")),
    ):
        run(folder, *arguments)
    path.unlink()


EVENT = {
    "at": "2026-11-24T22:10:00Z", "run": "r1", "event": "server.running", "server": "demo-worker-1", "group": "worker",
    "from": "starting", "to": "running", "reason": "it is ready", "cause": "ensure 1",
}  # fmt: skip
DECISION = {"current": 1, "wanted": 2, "rules": [{"rule": "r", "wants": 2}]}
RESULT = {"outcome": "converged", "groups": {"worker": {"wanted": 1}}, "requests": {"total": 3}, "elapsed_s": 3}
EVENTS = [
    {**EVENT, "event": "server.creating", "to": "starting", "from": None, "at": "2026-11-24T22:09:00Z"},
    EVENT,
    {**EVENT, "event": "autoscale.decided", "decision": DECISION},
    {**EVENT, "event": "run.finished", "result": RESULT},
]  # fmt: skip


@some
@given(lines=st.lists(st.sampled_from(EVENTS).flatmap(almost_json), min_size=1, max_size=4))
def test_event_log(folder: Path, lines: list[bytes]) -> None:
    path = folder / ".scaler" / "demo.events.jsonl"
    path.write_bytes(b"\n".join(lines))
    for arguments in (
        ("history",),
        ("history", "-o", "json"),
        ("why", "demo-worker-1"),
        ("report", "--html", str(folder / "r")),
    ):
        run(folder, *arguments)
    path.unlink()


NOTE = {"pid": 4711, "host": "h", "since": "2026-11-24T22:10:00Z", "cause": "ensure 1"}
LOCK = {"pid": 4711, "username": "u", "hostname": os.uname().nodename, "timestamp": "2026-11-24T22:10:00.5Z"}


@some
@given(note=almost_json(NOTE), lock=almost_json(LOCK))
def test_locks(folder: Path, note: bytes, lock: bytes) -> None:
    (folder / ".scaler" / "demo.lock.json").write_bytes(note)
    locks = folder / ".scaler" / "pulumi" / ".pulumi" / "locks" / "organization" / "scaler" / "demo"
    locks.mkdir(parents=True, exist_ok=True)
    path = locks / "0.json"
    path.write_bytes(lock)
    RunLock(folder / ".scaler", "demo").holder()
    run(folder, "unlock", "--yes")
    run(folder, "unlock", "--yes", "--force")
    assert not path.exists()


@some
@given(pid=st.integers(0, 10**30), time=st.sampled_from(("2026-11-24T22:10:00Z", "noon", "9999-12-31T23:59:59-23:59")))
def test_locks_that_the_engine_names(pid: int, time: str) -> None:
    for lock in locks_in(f"the stack is locked: created by u@{os.uname().nodename} (pid {pid}) at {time}"):
        is_stale(lock)


HISTORY = {
    "asked": [["2026-11-24T22:10:00Z", 3]], "count": 3, "meant": 3, "raised": "2026-11-24T22:10:00Z", "lowered": None,
    "by_hand": None, "health": {"jobs": {"state": "ok", "since": "2026-11-24T22:10:00Z"}},
    "rates": {"jobs": {"finished": 3.5, "at": "2026-11-24T22:10:00Z", "busy": True, "per_server": None}}, "logged": "x",
}  # fmt: skip
SHORTAGES = {
    "schema": 1, "no_capacity": [{"type": "cx23", "location": "fsn1", "at": "2026-11-24T22:10:00Z"}],
    "quota": {"servers": 5, "at": "2026-11-24T22:10:00Z"},
}  # fmt: skip


@some
@given(memory=almost_json({"schema": 1, "groups": {"worker": HISTORY}}), shortages=almost_json(SHORTAGES))
def test_what_is_remembered(folder: Path, memory: bytes, shortages: bytes) -> None:
    now = datetime.now(UTC)
    path = folder / ".scaler" / "demo.autoscale.json"
    path.write_bytes(memory)
    remembered = accepted(Memory.of(folder / ".scaler", "demo", lambda text: None).load)
    assert remembered is not None
    remembered.none_after(now)
    path = folder / ".scaler" / "demo.shortages.json"
    path.write_bytes(shortages)
    found = Shortages(path)
    found.full(now)
    found.quota(now)


PLAN = {
    "schema": 1, "kind": "scaler-plan", "stack": "demo", "project": "scaler", "wanted": {"worker": 1}, "spec": "0",
    "seen": {"demo-worker-1": "1"},
    "steps": [{"action": "create", "server": "demo-worker-1", "group": "worker", "reason": "wanted"}],
    "cost": None, "made_at": "2026-11-24T22:10:00Z", "scaler": "0.1.0", "engine": None,
}  # fmt: skip


def _signed(content: Any) -> bytes:
    """A plan whose digest is right, so that its values are read."""
    if not isinstance(content, dict):
        return as_json(content)
    with contextlib.suppress(TypeError, ValueError):
        content = {**content, "digest": _digest(content)}
    return as_json(content)


@some
@given(content=st.one_of(almost(PLAN).map(_signed), almost_json(PLAN)))
def test_plan_file(folder: Path, spec: Spec, content: bytes) -> None:
    path = folder / "plan.json"
    path.write_bytes(content)
    plan = accepted(lambda: read_plan_file(path))
    if plan is not None:
        accepted(lambda: check_plan_file(plan, spec, now=datetime.now(UTC), max_age=timedelta(hours=1)))


@some
@given(known=almost_json({"/usr/bin/pulumi:1:2": "v3.274.1"}))
def test_known_engines(folder: Path, known: bytes) -> None:
    cache = folder / "cache" / "scaler" / "engine"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "versions.json").write_bytes(known)
    version_of(Path("/bin/true"), {"XDG_CACHE_HOME": str(folder / "cache"), "PATH": "/bin"})


# -- the engine's state ----------------------------------------------------------------------------

STACK = "urn:pulumi:demo::scaler::pulumi:pulumi:Stack::scaler-demo"
GROUP = "urn:pulumi:demo::scaler::scaler:index:ServerGroup::worker"
MACHINE = "urn:pulumi:demo::scaler::scaler:index:ServerGroup$hcloud:index/server:Server::demo-worker-1"
LABELS = {"managed-by": "scaler", "scaler-group": "worker"}
CHECKPOINT = {
    "version": 3,
    "checkpoint": {
        "latest": {
            "manifest": {},
            "resources": [
                {"urn": STACK, "custom": False, "type": "pulumi:pulumi:Stack",
                 "outputs": {"demo-worker-1": SERVER, "scaler": {"identity": IDENTITY}}},
                {"urn": GROUP, "custom": False, "type": "scaler:index:ServerGroup", "parent": STACK},
                {"urn": MACHINE, "custom": True, "type": "hcloud:index/server:Server", "id": "1", "parent": GROUP,
                 "inputs": {"name": "demo-worker-1"}, "outputs": {"labels": LABELS, "name": "demo-worker-1"}},
            ],
            "pending_operations": [{"type": "creating", "resource": {"urn": MACHINE}}],
        }
    },
}  # fmt: skip


@some
@given(content=almost_json(CHECKPOINT), zipped=st.booleans(), cut=st.booleans())
def test_checkpoint(folder: Path, spec: Spec, content: bytes, zipped: bool, cut: bool) -> None:
    backend = LocalBackend(folder / "backend" / ".pulumi", "scaler", "demo")
    path = backend.root / "stacks" / "scaler" / ("demo.json.gz" if zipped else "demo.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = gzip.compress(content, 1) if zipped else content
    path.write_bytes(whole[:-9] if cut else whole)

    def no_engine() -> Any:
        raise AssertionError

    nothing: Any = None
    accepted(PulumiStack(spec, no_engine, backend, nothing, SystemClock()).read)
    path.unlink()


# -- recorded load ---------------------------------------------------------------------------------

SERIES = {"metric": {"__name__": "jobs"}, "values": [[1767225600, "3"], [1767225660, "4"]]}
MATRIX = {"status": "success", "data": {"resultType": "matrix", "result": [SERIES]}}
ROWS = [{"time": 1767225600, "jobs": 3, "cpu": 0.5}, {"time": "2026-01-01T00:01:00Z", "jobs": None, "cpu": 0.75}]


@some
@given(
    content=st.one_of(
        almost_json(MATRIX), almost_json(ROWS), almost_text("time,jobs\n2026-01-01T00:00:00Z,3\n1767225660,\n")
    )
)
def test_recorded_load(folder: Path, content: bytes) -> None:
    path = folder / "load"
    path.write_bytes(content)
    trace = accepted(lambda: load_trace(path))
    if trace is not None:
        json.dumps([trace.columns, [str(trace.moment(index)) for index in range(len(trace.times))]], allow_nan=False)


# -- answers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub(reply(200, "")) as stub:
        yield stub


def answer(stub: Stub, content: bytes) -> None:
    """Have the stub answer everything with this."""

    def write(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    stub.requests.clear()
    stub.set_answer(write)


SAMPLE = {"metric": {}, "value": [1767225600, "3"]}
INSTANT = {"status": "success", "data": {"resultType": "vector", "result": [SAMPLE]}}
JOB = {"id": 1, "status": "queued", "labels": ["x"], "tag_list": ["x"], "runs_on": ["x"], "created_at": 1767225600}
JOBS = {"total_count": 1, "jobs": [JOB], "workflow_runs": [JOB], "pending": [JOB], "running": []}
QUEUE = {"messages": 3, "messages_ready": 2, "name": "a"}
ANSWERS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "http": (
        lambda url: HttpSource(url=url, pointer="/a/0", time_pointer="/t"),
        {"a": [3], "t": "2026-11-24T22:10:00Z"},
    ),
    "prometheus": (lambda url: PrometheusSource(url=url, query="up"), INSTANT),
    "range": (lambda url: PrometheusSource(url=url, query="up", window=timedelta(minutes=5)), MATRIX),
    "rabbitmq": (lambda url: RabbitmqSource(url=url, queues=("a",)), QUEUE),
    "gitlab": (lambda url: GitlabSource(url=url, token_env="T", projects=("a/b",)), [JOB]),
    "github": (lambda url: GithubSource(api=url, repositories=("a/b",), token_env="T"), JOBS),
    "forgejo": (lambda url: ForgejoSource(url=url, token_env="T", labels=("x",)), [JOB]),
    "woodpecker": (lambda url: WoodpeckerSource(url=url, token_env="T"), JOBS),
}


@pytest.mark.server
@pytest.mark.parametrize("kind", ANSWERS)
@settings(some, max_examples=max(10, EXAMPLES // 3))
@given(data=st.data())
def test_answers_of_metrics(folder: Path, stub: Stub, kind: str, data: st.DataObject) -> None:
    source, good = ANSWERS[kind]
    answer(stub, data.draw(almost_json(good)))
    metric = Metric(name="m", source=source(stub.url), timeout=timedelta(seconds=30))
    measured = Sources({"T": "t"}, folder, SystemClock()).measure({("worker", "m"): metric})["worker", "m"]
    assert measured.seconds < 30
    sample = measured.sample
    assert sample.value is not None or sample.error


@some
@given(stored=st.one_of(st.binary(max_size=60), st.sampled_from((b's:999:"', b"i:1e999;", b"\x00\x00\x00\x02\x13"))))
def test_values_of_php(stored: bytes) -> None:
    with contextlib.suppress(ValueError):
        unserialized(stored)


@pytest.fixture(scope="module", params=VENDORS, ids=lambda vendor: vendor.name)
def opened(request: pytest.FixtureRequest, stub: Stub) -> Iterator[tuple[Vendor, Cloud]]:
    vendor: Vendor = request.param
    cloud = open_cloud(vendor.name, endpoint=stub.url + vendor.base, environ=ENVIRON, clock=HurriedClock())
    yield vendor, cloud
    cloud.close()


OWNER = Owner(project="scaler", stack="demo")


@pytest.mark.server
@settings(some, max_examples=max(10, EXAMPLES // 2))
@given(data=st.data())
def test_answers_of_clouds(opened: tuple[Vendor, Cloud], stub: Stub, data: st.DataObject) -> None:
    vendor, cloud = opened
    machine = vendor.machine(4711, "demo-worker-1", LABELS)
    calls: dict[str, tuple[Any, Callable[[], Any]]] = {
        "list": (vendor.page([machine]), lambda: cloud.list_owned(OWNER)),
        "get": (vendor.read(machine), lambda: cloud.get("4711")),
        "delete": (vendor.ok_delete[1] or {}, lambda: cloud.delete("4711")),
        "shutdown": (vendor.ok_action[1], lambda: cloud.shutdown("4711")),
        "image": (
            {"images": [], "snapshots": []},
            lambda: cloud.find_image(ImageRef("selector", "a=b"), "x86", "fsn1"),
        ),
        "catalogue": ({"server_types": [], "sizes": [], "locations": [], "regions": []}, cloud.catalogue),
        "cpu": ({"metrics": {"time_series": {}}, "data": {"result": []}}, lambda: cloud.cpu("4711")),
    }
    good, call = calls[data.draw(st.sampled_from(sorted(calls)))]
    answer(stub, data.draw(almost_json(good)))
    with contextlib.suppress(CloudError):
        call()
