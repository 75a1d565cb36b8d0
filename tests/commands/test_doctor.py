"""`scaler doctor`, in a process of its own, against the embedded cloud over HTTP."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from scaler.commands.checks.backend import require_writable
from scaler.commands.checks.commands import check_commands
from scaler.commands.checks.finding import Finding, Level
from scaler.config.project import Project as Config
from scaler.config.spec import load
from scaler.errors import UnavailableError
from scaler.model import Server
from scaler.model.identity import Identity
from scaler.model.lifecycle import Status
from scaler.model.ownership import Owner
from scaler.records.state import State
from scaler.records.state_file import StateFile
from scaler.simulator import EmbeddedCloud
from tests.support import launcher, servers
from tests.support.http_stub import Stub, reply

pytestmark = pytest.mark.server

TOKEN = "0123456789abcdef" * 4
NOW = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)
SPEC = """
cloud: hetzner
endpoint: {endpoint}
groups:
  worker: {{count: 2, image: {{selector: "role=worker"}}, type: cx23, location: fsn1}}
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as cloud:
        yield cloud


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A token, and an engine that tells its version."""
    engine = tmp_path / "pulumi"
    engine.write_text("#!/bin/sh\necho v3.274.1\n")
    engine.chmod(0o755)
    return {**launcher.ENVIRON, "HOME": str(tmp_path), "SCALER_ENGINE": str(engine), "HCLOUD_TOKEN": TOKEN}


@pytest.fixture
def project(tmp_path: Path, cloud: EmbeddedCloud) -> Path:
    folder = tmp_path / "project"
    (folder / "stacks").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (folder / "stacks" / "prod.yaml").write_text(SPEC.format(endpoint=cloud.hetzner_endpoint))
    return folder


def doctor(project: Path, environ: dict[str, str], *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the findings by check."""
    done = launcher.run(("doctor", "-o", "json", *arguments), cwd=project, env=environ)
    assert TOKEN not in done.stdout + done.stderr
    findings = json.loads(done.stdout)["checks"]
    return done.returncode, {finding["check"]: finding for finding in findings}


def test_where_everything_is_there_all_is_well(project: Path, environ: dict[str, str]) -> None:
    code, findings = doctor(project, environ)
    assert code == 0
    at_the_cloud = [f"hetzner {what}" for what in ("token", "API", "limits", "catalogue", "notices", "rights")]
    here = ["engine", "project", "state", "spec prod", "plugin prod", "backend prod", "lock prod", "identity prod"]
    expected = [*here, *at_the_cloud, "names prod worker"]
    assert [check for check, finding in findings.items() if finding["result"] == "ok"] == expected


def test_a_type_that_is_about_to_go_is_a_warning_with_its_day(
    project: Path, environ: dict[str, str], cloud: EmbeddedCloud
) -> None:
    cloud.world.deprecate("hetzner", "cx23")
    code, findings = doctor(project, environ)
    assert code == 65, "the embedded cloud sells it no more, so no server can be created"
    assert findings["hetzner catalogue"]["result"] == "warn"
    assert "cx23 in fsn1 is deprecated, and not sold from 20" in findings["hetzner catalogue"]["message"]


def test_a_type_that_is_not_sold_is_named(project: Path, environ: dict[str, str]) -> None:
    path = project / "stacks" / "prod.yaml"
    path.write_text(path.read_text().replace("fsn1", "fns1"))
    _, findings = doctor(project, environ)
    assert findings["names prod worker"]["message"].splitlines()[0] == "There is no location fns1."
    assert findings["hetzner catalogue"]["result"] == "ok", "it is said once"


def test_an_official_plugin_is_looked_for_where_the_engine_does(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    path = project / "stacks" / "prod.yaml"
    path.write_text(path.read_text() + "plugin: official\n")
    _, findings = doctor(project, {**environ, "PATH": str(tmp_path)})
    assert findings["plugin prod"]["result"] == "warn"
    assert findings["plugin prod"]["fix"].endswith("pulumi plugin install resource hcloud")
    (tmp_path / ".pulumi" / "plugins" / "resource-hcloud-v1.35.0").mkdir(parents=True)
    _, findings = doctor(project, {**environ, "PATH": str(tmp_path)})
    assert "resource-hcloud-v1.35.0" in findings["plugin prod"]["message"]
    (project / "Pulumi.prod.yaml").write_text("config: {hcloud:token: another}\n")
    code, findings = doctor(project, {**environ, "PATH": str(tmp_path)})
    assert (code, findings["plugin prod"]["result"]) == (3, "fail")
    assert findings["plugin prod"]["message"].startswith("Pulumi.prod.yaml says where the official plugin works")


def test_it_changes_nothing(project: Path, environ: dict[str, str], cloud: EmbeddedCloud) -> None:
    before = sorted(project.rglob("*"))
    doctor(project, environ)
    assert sorted(project.rglob("*")) == before
    changing = [request for request in cloud.world.log() if request.method not in ("GET", "HEAD")]
    assert [request.path for request in changing] == ["/v1/servers/0/actions/poweron"], "a server that does not exist"


def test_an_account_is_asked_once_for_all_its_specs(
    project: Path, environ: dict[str, str], cloud: EmbeddedCloud
) -> None:
    spec = (project / "stacks" / "prod.yaml").read_text()
    (project / "stacks" / "test.yaml").write_text(spec)
    code, _ = doctor(project, environ)
    assert code == 0
    asked = [request.path for request in cloud.world.log()]
    # A list is one stack's; all else is of the account.
    assert (asked.count("/v1/servers"), asked.count("/v1/servers/0/actions/poweron")) == (2, 1)


def record(project: Path, name: str, endpoint: str, *ids: str) -> None:
    """Write a state file with these servers."""
    servers = tuple(
        Server(name=f"{name}-worker-{one}", group="worker", id=one, status=Status.RUNNING, since=NOW) for one in ids
    )
    known = Identity(id="1d1d1d1d", project="demo", cloud="hetzner", endpoint=endpoint)
    StateFile(project / ".scaler", name).save(
        State(stack=name, project="demo", cloud="hetzner", updated=NOW, wanted={}, servers=servers, identity=known)
    )


def test_the_identity_is_shown_and_servers_are_counted_by_it(
    project: Path, environ: dict[str, str], cloud: EmbeddedCloud
) -> None:
    owner, world = Owner("demo", "prod"), cloud.world
    ours, other, nobodys = (
        world.add_server("hetzner", name, labels=owner.with_id(known).group_labels("worker", "t")).id
        for name, known in (("prod-worker-1", "1d1d1d1d"), ("prod-worker-2", "0ther1d0"), ("prod-worker-3", ""))
    )
    _, findings = doctor(project, environ)
    assert "a spec without a stack" in findings["identity prod"]["message"]
    record(project, "prod", cloud.hetzner_endpoint, str(ours))
    code, findings = doctor(project, environ)
    assert (code, findings["identity prod"]["result"]) == (0, "warn")
    said = findings["identity prod"]["message"]
    assert f"id 1d1d1d1d · project demo · hetzner at {cloud.hetzner_endpoint}" in said
    assert "this token has not seen its servers yet" in said
    api = findings["hetzner API"]
    assert (api["result"], "prod has 1 server there" in api["message"]) == ("warn", True)
    assert f"prod-worker-2 ({other}), of the stack with the id 0ther1d0" in api["message"]
    assert f"prod-worker-3 ({nobodys}), without a stack's id" in api["message"]
    # A run stops at records that cannot be read; whoever claimed the servers then might claim another's.
    (project / ".scaler" / "prod.json").write_text("{")
    code, findings = doctor(project, environ)
    assert (code, findings["identity prod"]["result"]) == (1, "fail")
    assert "status --refresh" in findings["identity prod"]["fix"]
    assert (findings["hetzner API"]["result"], findings["hetzner API"]["fix"]) == ("ok", "")
    assert "3 servers with the names of prod" in findings["hetzner API"]["message"]


def test_the_cloud_measures_the_servers_with_the_stacks_id_only(
    project: Path, environ: dict[str, str], cloud: EmbeddedCloud
) -> None:
    path = project / "stacks" / "prod.yaml"
    policy = "autoscale: {metrics: {load: {cloud: cpu}}, rules: [{target: {metric: load, value: 60}}]}"
    path.write_text(path.read_text().replace("fsn1}", f"fsn1, max: 5, {policy}}}"))
    owner = Owner("demo", "prod")
    for name, known, share in (("prod-worker-1", "1d1d1d1d", 0.2), ("prod-worker-2", "0ther1d0", 0.9)):
        labels = owner.with_id(known).group_labels("worker", "t")
        made = cloud.world.add_server("hetzner", name, labels=labels)
        cloud.world.set_cpu("hetzner", made.id, share)
        if known == "1d1d1d1d":
            record(project, "prod", cloud.hetzner_endpoint, str(made.id))
    shown = launcher.run(("metrics", "-o", "json"), cwd=project, env=environ)
    (line,) = json.loads(shown.stdout)["metrics"]
    assert line["value"] == pytest.approx(20, abs=3), shown.stdout


def test_a_stack_whose_servers_are_somewhere_else_is_a_failure(project: Path, environ: dict[str, str]) -> None:
    record(project, "prod", "https://api.hetzner.cloud/v1", "1")
    code, findings = doctor(project, environ)
    assert (code, findings["identity prod"]["result"]) == (3, "fail")
    assert "endpoint: https://api.hetzner.cloud/v1 recorded" in findings["identity prod"]["message"]


def test_a_stack_without_a_spec_is_named(project: Path, environ: dict[str, str], cloud: EmbeddedCloud) -> None:
    record(project, "older", cloud.hetzner_endpoint, "1", "2")
    record(project, "empty", cloud.hetzner_endpoint)
    _, findings = doctor(project, environ)
    assert findings["stack older"]["message"] == "older has 2 servers in its records and no spec stacks/older.yaml"
    assert "stack empty" not in findings
    shown = launcher.run(("status",), cwd=project, env=environ)
    assert "! older has 2 servers in its records" in shown.stdout
    # Its first run says it too: it may be the older one with another name.
    ran = launcher.run(("status", "--refresh"), cwd=project, env=environ)
    assert "if it was renamed, prod is a second fleet" in ran.stderr


def test_without_a_token_it_ends_with_77_and_names_the_variable(project: Path, environ: dict[str, str]) -> None:
    del environ["HCLOUD_TOKEN"]
    code, findings = doctor(project, environ)
    assert code == 77
    assert "HCLOUD_TOKEN" in findings["hetzner token"]["fix"]
    assert "hetzner API" not in findings


def test_a_refused_token_ends_with_77_and_the_cloud_s_own_words(project: Path, environ: dict[str, str]) -> None:
    code, findings = doctor(project, {**environ, "HCLOUD_TOKEN": "short"})
    assert code == 77
    assert "unauthorized" in findings["hetzner API"]["message"]


def test_an_invalid_spec_does_not_hide_the_others(project: Path, environ: dict[str, str]) -> None:
    (project / "stacks" / "bad.yaml").write_text("cloud: hetzner\nlimt: 3\n")
    code, findings = doctor(project, environ)
    assert code == 65
    assert "bad.yaml:2" in findings["spec bad"]["message"]
    assert findings["spec prod"]["result"] == findings["hetzner API"]["result"] == "ok"


def test_one_stack_is_checked_alone(project: Path, environ: dict[str, str]) -> None:
    (project / "stacks" / "bad.yaml").write_text("limt: 3\n")
    assert doctor(project, environ, "--stack", "prod")[0] == 0
    assert doctor(project, environ, "--stack", "bad")[0] == 65


def test_the_code_is_the_first_failure_s(project: Path, environ: dict[str, str]) -> None:
    del environ["HCLOUD_TOKEN"]
    code, findings = doctor(project, {**environ, "SCALER_ENGINE": "/nowhere/pulumi"})
    assert code == 69
    assert "scaler engine install" in findings["engine"]["fix"]
    assert findings["hetzner token"]["result"] == "fail"


def test_outside_a_project_the_engine_is_still_checked(tmp_path: Path, environ: dict[str, str]) -> None:
    code, findings = doctor(tmp_path, environ)
    assert code == 64
    assert findings["engine"]["result"] == "ok"
    assert "scaler init" in findings["project"]["fix"]


def test_a_passphrase_that_cannot_be_read_is_named(project: Path, environ: dict[str, str]) -> None:
    code, findings = doctor(project, {**environ, "PULUMI_CONFIG_PASSPHRASE_FILE": "/no/such/file"})
    assert (code, findings["backend prod"]["result"]) == (1, "fail")
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in findings["backend prod"]["message"]


def test_a_variable_that_names_no_proxy_is_a_warning(project: Path, environ: dict[str, str]) -> None:
    proxies = {"https_proxy": "htp://user:hunter2@proxy.test", "ALL_PROXY": "http://user:hunter2@", "http_proxy": ""}
    code, findings = doctor(project, {**environ, **proxies})
    found = findings["proxy"]
    assert (code, found["result"]) == (0, "warn"), "what is asked here is on loopback"
    assert "https_proxy names a proxy of the kind 'htp'" in found["message"]
    assert "ALL_PROXY is no URL of a proxy: it has no host" in found["message"]
    assert "hunter2" not in json.dumps(findings)


def test_a_state_folder_that_cannot_be_is_named(project: Path, environ: dict[str, str]) -> None:
    code, findings = doctor(project, environ, "--state-dir", str(project / "Pulumi.yaml" / "state"))
    assert code == 1
    assert "--state-dir" in findings["state"]["fix"]
    (project / ".scaler").mkdir()
    (project / ".scaler" / "engine").write_text("the engine's folder is to be here")
    code, findings = doctor(project, environ)
    assert (code, "is no folder" in findings["state"]["message"]) == (1, True)


@pytest.mark.parametrize("vendor", ["hetzner", "digitalocean"])
def test_the_embedded_cloud_needs_no_token(project: Path, environ: dict[str, str], vendor: str) -> None:
    spec = SPEC.format(endpoint="embedded").replace("cloud: hetzner", f"cloud: {vendor}")
    if vendor == "digitalocean":
        spec = spec.replace("cx23", "s-1vcpu-1gb").replace("fsn1", "fra1")
    (project / "stacks" / "prod.yaml").write_text(spec)
    del environ["HCLOUD_TOKEN"]
    code, findings = doctor(project, environ)
    assert code == 0
    assert findings[f"{vendor} API"]["result"] == "ok"


def test_an_embedded_cloud_that_has_no_folder_is_not_tried(project: Path, environ: dict[str, str]) -> None:
    (project / "stacks" / "prod.yaml").write_text(SPEC.format(endpoint="embedded"))
    code, findings = doctor(project, environ, "--state-dir", str(project / "Pulumi.yaml" / "state"))
    assert code == 1
    assert "hetzner token" not in findings


class Dated(BaseHTTPRequestHandler):
    """A cloud without servers; its answers carry `date`."""

    date: datetime
    headers_of_all: ClassVar[dict[str, str]] = {}

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(self.date, usegmt=True)

    def do_HEAD(self) -> None:
        self.send_response(401)
        self.end_headers()

    def do_GET(self) -> None:
        page = {"page": 1, "per_page": 50, "previous_page": None, "next_page": None, "last_page": 1, "total_entries": 0}
        answer = {"servers": [], "server_types": [], "meta": {"pagination": page}}
        body = json.dumps(answer | {"pricing": {"currency": "EUR", "primary_ips": []}}).encode()
        self.send_response(200)
        for name, value in self.headers_of_all.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def asked_at(project: Path, environ: dict[str, str], **attributes: object) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `doctor` against a cloud whose answers have this date."""
    with HTTPServer(("127.0.0.1", 0), type("Handler", (Dated,), attributes)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        (project / "stacks" / "prod.yaml").write_text(SPEC.format(endpoint=f"http://127.0.0.1:{server.server_port}/v1"))
        found = doctor(project, environ)
        server.shutdown()
    return found


@pytest.mark.parametrize(("ahead", "result"), [(0, "ok"), (3600, "warn"), (-3600, "warn")])
def test_a_clock_far_from_the_cloud_s_is_a_warning(
    project: Path, environ: dict[str, str], ahead: int, result: str
) -> None:
    code, findings = asked_at(project, environ, date=datetime.now(UTC) + timedelta(seconds=ahead))
    assert code == 0
    assert findings["clock"]["result"] == result


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("Thu, 01 Jan 2026 00:00:00 -0000", "s away from Hetzner Cloud's"),
        ("Thu, 01 Jan 2026 00:00:00 +9999999999999", "could not be compared"),
        ("noon", "could not be compared"),
    ],
)
def test_an_odd_date_of_an_answer_is_a_warning(project: Path, environ: dict[str, str], date: str, said: str) -> None:
    code, findings = asked_at(project, environ, date_time_string=lambda *_: date)
    assert code == 0
    assert said in findings["clock"]["message"]


def test_what_answers_say_of_their_end_and_of_requests_left_is_a_warning(
    project: Path, environ: dict[str, str]
) -> None:
    told = {
        "Deprecation": "@1767225600",
        "Sunset": "Thu, 31 Dec 2026 23:59:59 GMT",
        "RateLimit-Limit": "3600",
        "RateLimit-Remaining": "90",
        "RateLimit-Reset": str(int(datetime.now(UTC).timestamp()) + 3510),
    }
    handler = type("Handler", (Dated,), {"date": datetime.now(UTC), "headers_of_all": told})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        (project / "stacks" / "prod.yaml").write_text(SPEC.format(endpoint=f"http://127.0.0.1:{server.server_port}/v1"))
        code, findings = doctor(project, environ)
        server.shutdown()
    assert code == 0
    found = findings["hetzner notices"]
    assert found["result"] == "warn"
    assert "GET /v1/servers: deprecated, and gone from Thu, 31 Dec 2026 23:59:59 GMT on" in found["message"]
    assert findings["hetzner limits"]["result"] == "warn"
    assert findings["hetzner limits"]["message"].startswith("90 requests left")


# ---------------------------------------------------------------------------------------------
# What would fail


def test_a_token_that_may_only_read(project: Path, environ: dict[str, str], cloud: EmbeddedCloud) -> None:
    cloud.world.set_tokens("hetzner", readonly=True)
    code, findings = doctor(project, environ)
    assert code == 77
    found = findings["hetzner rights"]
    assert (found["result"], found["message"]) == ("fail", "the token may only read")
    assert findings["names prod worker"]["result"] == "ok", "the other checks still run"


def test_what_a_run_would_miss(project: Path, environ: dict[str, str]) -> None:
    """Names that the cloud does not know, a program that is not there, and a backend that cannot be written."""
    odd = {
        "image": (("role=worker", "role=none"), "role=none"),
        "type": (("type: cx23", "type: cx99"), "There is no server type cx99."),
        "place": (("location: fsn1", "location: fsn9"), "There is no location fsn9."),
        "key": (("type: cx23", "ssh_keys: [nobody], type: cx23"), "nobody"),
        "network": (("type: cx23", "networks: [none], type: cx23"), "none"),
        "some": (("location: fsn1", "location: [fsn1, fsn9]"), "There is no location fsn9."),
        "fine": (("type: cx23", "ready: {command: [no-such-program]}, type: cx23"), "what fine names is there"),
    }
    path = project / "stacks" / "prod.yaml"
    head, _, worker = path.read_text().partition("  worker: ")
    groups = "".join(f"  {name}: {worker.rstrip().replace(*change)}\n" for name, (change, _) in odd.items())
    path.write_text(f"{head}{groups}backend: file://Pulumi.yaml/state\n")
    code, findings = doctor(project, environ)
    assert code == 1
    found = {name: findings[f"names prod {name}"] for name in odd}
    results = {"some": "warn", "fine": "ok"}
    for name, (_, words) in odd.items():
        assert found[name]["result"] == results.get(name, "fail"), name
        assert words in found[name]["message"]
        assert name == "fine" or found[name]["fix"]
    assert "is no folder" in findings["backend prod"]["message"]
    assert "lock prod" not in findings, "a backend that fails is named once"
    assert findings["commands prod"]["message"] == "cannot be started: no-such-program"


def test_all_that_is_wrong_is_said_at_once(project: Path, environ: dict[str, str]) -> None:
    """Also where one fault lies in what every check needs, as the backend's URL is."""
    path = project / "stacks" / "prod.yaml"
    names = "ssh_keys: [nobody], networks: [none], firewalls: [open], placement_group: apart, "
    path.write_text(path.read_text().replace("type: ", f"{names}type: ").replace("role=worker", "role=none"))
    done = launcher.run(("doctor", "-o", "json"), cwd=project, env={**environ, "PULUMI_BACKEND_URL": "bogus://x"})
    failed = [found for found in json.loads(done.stdout)["checks"] if found["result"] == "fail"]
    assert [found["check"] for found in failed] == ["backend prod", *["names prod worker"] * 5]
    for found, word in zip(failed, ("PULUMI_BACKEND_URL", "nobody", "none", "open", "apart", "role=none"), strict=True):
        assert word in found["message"]
        assert found["fix"]


def test_a_folder_in_which_nothing_can_be_made(project: Path, environ: dict[str, str]) -> None:
    """Even root, who may do everything, makes nothing there."""
    path = project / "stacks" / "prod.yaml"
    path.write_text(path.read_text() + "backend: file:///proc/state\n")
    code, findings = doctor(project, environ)
    assert (code, findings["backend prod"]["result"]) == (1, "fail")
    assert "/proc/state/.pulumi cannot be written" in findings["backend prod"]["message"]
    assert findings["backend prod"]["fix"]


def test_a_bucket_that_may_only_be_read(project: Path) -> None:
    config = Config.find(project)
    spec = load(config.spec_path("prod"), config.name)
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    refuse, deny = reply(403, "<Code>AccessDenied</Code>"), reply(404, "<Code>NoSuchKey</Code>")
    with Stub(lambda asked: (refuse if asked.command == "PUT" else deny)(asked)) as stub:
        url = f"s3://bucket?endpoint={stub.url}&region=x&s3ForcePathStyle=true"
        with pytest.raises(UnavailableError, match="cannot be read or written") as refused:
            require_writable(url, config, spec, keys)
    assert "read, write, list and delete" in refused.value.fix


def saying(engine: Path, words: str) -> None:
    """Put an engine there that says these words of every backend."""
    engine.write_text(f"#!/bin/sh\n[ \"$1\" = version ] && exec echo v3.274.1\necho 'error: {words}' >&2\nexit 255\n")


def test_a_bucket_that_the_engine_cannot_read_is_unreachable_with_a_fix(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    said = 'read ".pulumi/meta.yaml": blob (key ".pulumi/meta.yaml") (code=Unknown): invalid input region Bad_Region'
    saying(tmp_path / "pulumi", said)
    code, findings = doctor(project, {**environ, "PULUMI_BACKEND_URL": "https://127.0.0.1:9"})
    assert (code, findings["backend prod"]["result"]) == (69, "fail")
    assert "region" in findings["backend prod"]["fix"]


@pytest.mark.parametrize(
    "said",
    [
        "missing google credentials: unable to find gcp credentials",
        "PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
        "get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found",
        'unable to open bucket "azblob://box": azureblob: Options.AccountName is required',
    ],
    ids=["gs", "https", "s3", "azblob"],
)
def test_credentials_that_the_engine_misses_are_named(
    project: Path, environ: dict[str, str], tmp_path: Path, said: str
) -> None:
    """Its words, as the engine says them of a backend without any, and never a fix that leads back here."""
    saying(tmp_path / "pulumi", said)
    code, findings = doctor(project, {**environ, "PULUMI_BACKEND_URL": "https://127.0.0.1:9"})
    assert (code, findings["backend prod"]["result"]) == (77, "fail")
    assert said.split(":", maxsplit=1)[0] in findings["backend prod"]["message"]
    assert "PULUMI_ACCESS_TOKEN" in findings["backend prod"]["fix"]


def test_variables_that_a_script_names_and_does_not_get(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (tmp_path / "drain.sh").write_text('curl "$DEPLOY_HOST/drain/$1" -H "x: $DEPLOY_KEY" --retry "$RETRIES"\n')
    environ = {"PATH": os.environ["PATH"], "DEPLOY_HOST": "a.test", "DEPLOY_KEY": "x", "OTHER": "y"}
    spec = tmp_path / "stacks" / "prod.yaml"
    stop = "ssh_keys: [], stop: {drain: [sh, drain.sh, '{name}']}"

    def found(more: str) -> list[Finding]:
        spec.write_text(SPEC.format(endpoint="embedded").replace("type: cx23", f"type: cx23, {stop}") + more)
        return list(check_commands(Config.find(tmp_path), load(spec, "demo"), environ))

    _, variables = found("env: [DEPLOY_KEY]\n")
    assert (variables.check, variables.level) == ("variables prod", Level.WARN)
    assert variables.message == "sh drain.sh {name} names DEPLOY_HOST, and does not get it"
    assert variables.fix == "If it needs that, write into the spec: env: [DEPLOY_HOST, DEPLOY_KEY]"
    assert [finding.check for finding in found("env: [DEPLOY_HOST, DEPLOY_KEY]\n")] == ["commands prod"]


def test_metrics_that_cannot_be_read_or_look_empty(project: Path, environ: dict[str, str], tmp_path: Path) -> None:
    with servers.redis_server(tmp_path) as port:
        look_at_metrics(project, environ, f"redis://127.0.0.1:{port}/9")


def look_at_metrics(project: Path, environ: dict[str, str], url: str) -> None:
    block = f"""\
    autoscale:
      metrics:
        broken: {{command: {{run: [sh, -c, exit 3]}}}}
        five: {{fixed: 5}}
        jobs: {{redis: {{url: "{url}", system: sidekiq}}}}
        wait: {{horizon: {{url: "{url}", prefix: "shop_horizon:"}}}}
      rules:
        - backlog: {{metric: broken, per_server: 1}}
        - backlog: {{metric: five, per_server: 1}}
        - backlog: {{metric: jobs, per_server: 1}}
        - wait: {{metric: wait, within: 30s}}
"""
    group = (
        "  worker:\n    count: 1\n    image: {selector: role=worker}\n    type: cx23\n    location: fsn1\n    max: 5\n"
    )
    path = project / "stacks" / "prod.yaml"
    path.write_text(path.read_text().partition("  worker:")[0] + group + block)
    code, findings = doctor(project, environ)
    assert code == 1
    found = {name: findings[f"metric prod worker.{name}"] for name in ("broken", "five", "jobs", "wait")}
    assert {name: one["result"] for name, one in found.items()} == {
        "broken": "fail",
        "five": "ok",
        "jobs": "warn",
        "wait": "warn",
    }
    assert "sh exited with 3" in found["broken"]["message"]
    assert "there is nothing of sidekiq" in found["jobs"]["message"]
    assert "nothing of Horizon under the prefix 'shop_horizon:'" in found["wait"]["message"]
