"""Specs: what a good one becomes, and what is said of a bad one; the JSON Schema agrees with both."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scaler.config.schema
from scaler.config.schema import GroupSchema, SpecSchema, json_schema
from scaler.config.spec import load
from scaler.config.strict_yaml import read
from scaler.errors import ExitCode, InvalidSpecError
from scaler.model import Group, ImageRef, NotifyTarget, Readiness, Spec, StopPolicy
from scaler.support.durations import format_duration, parse_duration

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema.Draft202012Validator(json_schema())

HETZNER = "cloud: hetzner\ngroups:\n  worker: {count: 3, image: ubuntu-24.04, type: cx23, location: fsn1"
OCEAN = "cloud: digitalocean\ngroups:\n  worker: {count: 3, image: ubuntu-24-04-x64, type: s-1vcpu-1gb, location: fra1"


def write(folder: Path, text: str, stack: str = "prod") -> Path:
    path = folder / f"{stack}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidSpecError) as caught:
        load(path, "shop")
    assert {problem.file for problem in caught.value.problems} == {str(path)}
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def worker(folder: Path, keys: str, start: str = HETZNER) -> Group:
    """The group of a spec that has these keys besides the necessary ones."""
    return load(write(folder, f"{start}, {keys}}}"), "shop").groups["worker"]


# ---------------------------------------------------------------------------------------------
# Good specs

MONEY = "must be an amount of money of more than 0, such as 150 or 99.90"

EVERYTHING_AT_HETZNER = """\
cloud: hetzner
endpoint: http://127.0.0.1:8080/v1
backend: s3://states/scaler
plugin: official
limit: 20
budget: {per_month: 99.90}
groups:
  worker:
    count: 3
    min: 1
    max: 10
    image: {selector: "role=worker"}
    type: [cx23, cpx22]
    location: [fsn1, nbg1]
    ssh_keys: [deploy, 4711]
    user_data: worker.cloud-init.yaml
    labels: {role: worker, team.example.com/cost-centre: 0042, release: 1.10, live: yes, old: false, empty: ""}
    networks: [internal]
    firewalls: [web]
    placement_group: spread
    public_ipv4: false
    public_ipv6: true
    ready: none
    start_within: 1h30m
    protect: [prod-worker-1, prod-worker-12]
    spread: true
    scale_down: billing
    image_changes: new
  web-2: {count: 0, image: 161547269, type: cx23, location: fsn1}
"""

EVERYTHING_AT_DIGITALOCEAN = """\
cloud: digitalocean
endpoint: embedded
groups:
  worker:
    count: 1
    image: {name: worker-golden}
    type: s-1vcpu-1gb
    location: fra1
    user_data_inline: |
      #cloud-config
      packages: [git]
    labels: {role: worker, "a_b-1": "x:y_z"}
    vpc: internal
    monitoring: true
    ipv6: true
"""


def test_every_key_reaches_the_spec(tmp_path: Path) -> None:
    (tmp_path / "worker.cloud-init.yaml").write_text("#cloud-config\n# grüße\n", encoding="utf-8")
    path = write(tmp_path, EVERYTHING_AT_HETZNER)
    assert load(path, "shop") == Spec(
        project="shop",
        stack="prod",
        cloud="hetzner",
        endpoint="http://127.0.0.1:8080/v1",
        backend="s3://states/scaler",
        plugin="official",
        limit=20,
        budget=Decimal("99.90"),
        path=path,
        groups={
            "worker": Group(
                name="worker",
                count=3,
                min=1,
                max=10,
                image=ImageRef("selector", "role=worker"),
                types=("cx23", "cpx22"),
                locations=("fsn1", "nbg1"),
                ssh_keys=("deploy", "4711"),
                user_data="#cloud-config\n# grüße\n",
                labels={
                    "role": "worker",
                    "team.example.com/cost-centre": "0042",
                    "release": "1.10",
                    "live": "yes",
                    "old": "false",
                    "empty": "",
                },
                networks=("internal",),
                firewalls=("web",),
                placement_group="spread",
                public_ipv4=False,
                start_within=timedelta(minutes=90),
                protect=frozenset({"prod-worker-1", "prod-worker-12"}),
                spread=True,
                scale_down="billing",
            ),
            "web-2": Group(
                name="web-2", count=0, image=ImageRef("id", "161547269"), types=("cx23",), locations=("fsn1",)
            ),
        },
    )


def test_digitalocean_has_keys_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, EVERYTHING_AT_DIGITALOCEAN)
    assert load(path, "shop") == Spec(
        project="shop",
        stack="prod",
        cloud="digitalocean",
        endpoint="embedded",
        backend=None,
        path=path,
        groups={
            "worker": Group(
                name="worker",
                count=1,
                image=ImageRef("name", "worker-golden"),
                types=("s-1vcpu-1gb",),
                locations=("fra1",),
                user_data="#cloud-config\npackages: [git]\n",
                labels={"role": "worker", "a_b-1": "x:y_z"},
                vpc="internal",
                monitoring=True,
                ipv6=True,
            )
        },
    )


@pytest.mark.parametrize(
    ("typed", "image"),
    [
        ("161547269", ImageRef("id", "161547269")),
        ("'161547269'", ImageRef("id", "161547269")),
        ("12345678901234567890", ImageRef("id", "12345678901234567890")),
        ("ubuntu-24.04", ImageRef("slug", "ubuntu-24.04")),
        ("{name: 2026-01-02}", ImageRef("name", "2026-01-02")),
        ("{name: 0755}", ImageRef("name", "0755")),
        ("{selector: role}", ImageRef("selector", "role")),
    ],
)
def test_images_are_named_in_four_ways(tmp_path: Path, typed: str, image: ImageRef) -> None:
    text = f"cloud: hetzner\ngroups: {{worker: {{count: 1, image: {typed}, type: cx23, location: fsn1}}}}"
    assert load(write(tmp_path, text), "shop").groups["worker"].image == image
    assert SCHEMA.is_valid(read(tmp_path / "prod.yaml").value)


def test_a_text_stays_what_was_typed(tmp_path: Path) -> None:
    text = (
        "cloud: hetzner\ngroups: {worker: {count: 1, image: 22.10, type: [1e3, 12:30], location: no, ssh_keys: [on]}}"
    )
    group = load(write(tmp_path, text), "shop").groups["worker"]
    assert (group.image, group.types, group.locations, group.ssh_keys) == (
        ImageRef("slug", "22.10"),
        ("1e3", "12:30"),
        ("no",),
        ("on",),
    )


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True).filter(lambda s: s != "null"))
def test_every_label_comes_back_as_typed(tmp_path_factory: pytest.TempPathFactory, typed: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert worker(folder, f"labels: {{v: {typed}, '{typed}x': w}}").labels == {"v": typed, f"{typed}x": "w"}


def test_keys_without_need_may_be_empty(tmp_path: Path) -> None:
    group = worker(tmp_path, "placement_group: null, max: ~, networks: [], protect: [], user_data: ")
    assert (group.placement_group, group.max, group.networks, group.protect, group.user_data) == (
        None,
        None,
        (),
        frozenset(),
        None,
    )


def test_anchors_spare_repetition(tmp_path: Path) -> None:
    text = HETZNER.replace("worker:", "blue: &blue") + "}\n  green: {<<: *blue, count: 1}"
    groups = load(write(tmp_path, text), "shop").groups
    assert [(group.name, group.count, group.types) for group in groups.values()] == [
        ("blue", 3, ("cx23",)),
        ("green", 1, ("cx23",)),
    ]


def test_numbers_may_meet_their_bounds(tmp_path: Path) -> None:
    spec = load(write(tmp_path, f"limit: 3\n{HETZNER}, min: 3, max: 3}}"), "shop")
    assert (spec.limit, spec.groups["worker"].min, spec.groups["worker"].max) == (3, 3, 3)
    assert load(write(tmp_path, f"limit: 0\n{HETZNER}}}".replace("count: 3", "count: 0")), "shop").limit == 0


@pytest.mark.parametrize(
    "line",
    ["endpoint: https://api.hetzner.cloud/v1", "endpoint: http://[::1]:80", "endpoint: null", "backend:"]
    + [f"backend: {url}" for url in ("file://.scaler/pulumi", "file://~", "gs://b", "azblob://c", "https://p.example")],
)
def test_urls_of_every_kind(tmp_path: Path, line: str) -> None:
    spec = load(write(tmp_path, f"{line}\n{HETZNER}}}"), "shop")
    key, _, value = line.partition(": ")
    assert getattr(spec, key.rstrip(":")) == (value if value not in ("", "null") else None)
    assert SCHEMA.is_valid(read(tmp_path / "prod.yaml").value)


@pytest.mark.parametrize(("start", "size"), [(HETZNER, 32 * 1024), (OCEAN, 64 * 1024)], ids=["hetzner", "digitalocean"])
def test_user_data_may_be_as_big_as_the_cloud_takes(tmp_path: Path, start: str, size: int) -> None:
    (tmp_path / "big").write_text("x" * size)
    assert worker(tmp_path, "user_data: big", start).user_data == "x" * size
    (tmp_path / "big").write_text("x" * (size + 1))
    cloud = "hetzner" if start is HETZNER else "digitalocean"
    assert problems(write(tmp_path, f"{start},\n user_data: big}}")) == [
        f"4: groups.worker.user_data is too big: {size + 1} bytes; {cloud} takes {size // 1024} KiB"
    ]


def test_names_may_fill_a_host_name(tmp_path: Path) -> None:
    stack, group = "s" * 30, "g" * 26
    text = HETZNER.replace("worker", group)
    assert list(load(write(tmp_path, f"{text}}}", stack), "shop").groups) == [group]
    assert problems(write(tmp_path, f"{text}}}".replace(group, f"{group}g"), stack)) == [
        f"3: groups.{group}g is too long: the server names {stack}-{group}g-<n> must fit in 63 characters; "
        "use at most 56 for the stack and the group together"
    ]


LIFECYCLE = """\
cloud: hetzner
notify:
  - {url: "https://hooks.example.com/a?b=c", events: [server.errored, "limit.*"]}
  - {command: [./drain.sh, --event], events: "*"}
  - {command: [logger]}
retention: 168h
groups:
  web:
    {count: 1, image: debian-12, type: cx23, location: fsn1,
     ready: {http: "http://{ip}:8080/{name}"},
     stop: {drain: [drain.sh, "{name}", 3, ""], shutdown_within: 1m}}
  job:
    {count: 1, image: debian-12, type: cx23, location: fsn1,
     ready: {command: [/usr/bin/check, -v], successes: 5},
     stop: {drain: [./drain.sh], drain_within: 1h, on_drain_failure: keep}}
  tcp: {count: 1, image: debian-12, type: cx23, location: fsn1, ready: {tcp: 22, successes: 1}, stop: {}}
"""


def test_the_lifecycle_keys_reach_the_spec(project: Path) -> None:
    path = write(project, LIFECYCLE)
    spec = load(path, "shop")
    assert spec.notify == (
        NotifyTarget(url="https://hooks.example.com/a?b=c", events=("server.errored", "limit.*")),
        NotifyTarget(command=("./drain.sh", "--event"), events=("*",)),
        NotifyTarget(command=("logger",)),
    )
    assert spec.retention == timedelta(days=7)
    assert {name: group.ready for name, group in spec.groups.items()} == {
        "web": Readiness(kind="http", url="http://{ip}:8080/{name}"),
        "job": Readiness(kind="command", command=("/usr/bin/check", "-v"), successes=5),
        "tcp": Readiness(kind="tcp", port=22, successes=1),
    }
    assert {name: group.stop for name, group in spec.groups.items()} == {
        "web": StopPolicy(drain=("drain.sh", "{name}", "3", ""), shutdown_within=timedelta(minutes=1)),
        "job": StopPolicy(drain=("./drain.sh",), drain_within=timedelta(hours=1), on_drain_failure="keep"),
        "tcp": StopPolicy(),
    }
    assert list(SCHEMA.iter_errors(read(path).value)) == []


# ---------------------------------------------------------------------------------------------
# Bad specs: one line of a group or of the top level, what is said, and whether the JSON Schema sees it too

IN_GROUP: list[tuple[str, str, bool]] = [
    ("count: '3'", "count must be a whole number, not '3'; remove the quotes", True),
    ("count: three", "count must be a whole number, not 'three'", True),
    ("count: 3.0", "count must be a whole number, not '3.0'", True),
    ("count: 0755", "count must be a whole number, not '0755'", True),
    ("count: 1:30", "count must be a whole number, not '1:30'", True),
    ("count: true", "count must be a whole number, not true", True),
    ("count: [3]", "count must be a whole number, not a list", True),
    ("count: {a: 3}", "count must be a whole number, not a mapping", True),
    ("count:", "count has no value; give one, or remove the line", True),
    ("count: -1", "count must be 0 or more, not -1", True),
    ("count: 10001", "count must be 10000 or less, not 10001", True),
    (f"count: {'9' * 50}", f"count must be a whole number, not '{'9' * 40}…'", True),
    ("min: 4", "min must be at most count (3), not 4", False),
    ("min: null", "min has no value; give one, or remove the line", True),
    ("max: 2", "max must be at least count (3), not 2", False),
    ("max: many", "max must be a whole number, not 'many'", True),
    ("image: {}", "image must have exactly one of the keys selector and name", True),
    ("image: {selector: a, name: b}", "image must have exactly one of the keys selector and name", True),
    ("image: {selctor: a}", "image.selctor is not a known key; did you mean selector?", True),
    ("image: {id: 3}", "image.id is not a known key; known: selector, name", True),
    ("image: {name: }", "image.name has no value; give one, or remove the line", True),
    ("image: {name: [a]}", "image.name must be a text, not a list", True),
    ("image: {selector: ''}", "image.selector must not be empty", True),
    ("image: 0", "image must be an image's id, not 0", True),
    ("image: ''", "image must not be empty", True),
    (
        "image: my snapshot",
        "image must be a vendor's image such as ubuntu-24.04, or an id, not 'my snapshot'; "
        "name a snapshot of your own as {name: …} or {selector: …}",
        True,
    ),
    (
        "image: true",
        'image must be an image, not true; write {selector: "role=worker"}, {name: …}, an id, '
        "or a name of the vendor's such as ubuntu-24.04",
        True,
    ),
    ("type: []", "type must not be empty; name at least one", True),
    ("type: [cx23, cx23]", "type[1] names 'cx23' a second time; remove one of them", True),
    ("type: [cx23, ]\n    # \n    location: ['']", "location[0] must not be empty", True),
    ("type: {a: b}", "type must be a list, not a mapping", True),
    ("type:", "type has no value; give one, or remove the line", True),
    ("location: ' '", "location must not be empty", True),
    ("location: [fsn1, [nbg1]]", "location[1] must be a text, not a list", True),
    ("ssh_keys: deploy", "ssh_keys must be a list, not 'deploy'; write [deploy]", True),
    ("ssh_keys: [a, null]", "ssh_keys[1] has no value; give one, or remove the line", True),
    ("ssh_keys: [a, b, a]", "ssh_keys[2] names 'a' a second time; remove one of them", True),
    (
        "user_data: absent",
        "user_data names a file that does not exist: absent; the path is relative to the spec",
        False,
    ),
    (
        "user_data: ../../beside",
        "user_data must not lead out of the project folder, as '../../beside' does; copy the file into it",
        False,
    ),
    (
        "user_data: /etc/hostname",
        "user_data must not lead out of the project folder, as '/etc/hostname' does; copy the file into it",
        False,
    ),
    (
        "user_data: link",
        "user_data must not lead out of the project folder, as 'link' does; copy the file into it",
        False,
    ),
    ("user_data: .", "user_data names a file that cannot be read: . (Is a directory)", False),
    ('user_data: "a\\0b"', "user_data names a file that cannot be read: a\0b (no file can have this name)", False),
    ("user_data: latin", "user_data names a file that is not UTF-8 text: latin", False),
    (
        "user_data_inline: x\n    user_data: x",
        "user_data cannot be given together with user_data_inline; remove one of them",
        True,
    ),
    (
        f"user_data_inline: {'x' * 32769}",
        "user_data_inline is too big: 32769 bytes; hetzner takes 32 KiB",
        False,
    ),
    ("labels: [a]", "labels must be a mapping, not a list", True),
    ("labels: {a: }", "labels.a has no value; give one, or remove the line", True),
    ("labels: {a: {b: c}}", "labels.a must be a text, not a mapping", True),
    ("labels: {managed-by: me}", "labels.managed-by is a label that scaler sets itself; choose another name", True),
    ("labels: {scaler-stack: x}", "labels.scaler-stack is a label that scaler sets itself; choose another name", True),
    (
        "labels: {a b: c}",
        "labels.a b is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last a letter or digit; "
        "before it perhaps a domain and a /",
        False,
    ),
    (
        "labels: {hetzner.cloud/a: c}",
        "labels.hetzner.cloud/a is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last "
        "a letter or digit; before it perhaps a domain and a /",
        False,
    ),
    (
        "labels: {a: b c}",
        "labels.a must be at most 63 letters, digits, - _ and ., the first and last a letter or digit, "
        "or empty, not 'b c'",
        False,
    ),
    ("vpc: null", "vpc is for digitalocean only, and this stack is on hetzner; remove it", True),
    ("monitoring: true", "monitoring is for digitalocean only, and this stack is on hetzner; remove it", True),
    ("ipv6: false", "ipv6 is for digitalocean only, and this stack is on hetzner; remove it", True),
    ("public_ipv4: no", "public_ipv4 must be true or false, not 'no'; write false", True),
    ("public_ipv4: 'true'", "public_ipv4 must be true or false, not 'true'; write true", True),
    ("public_ipv6: 1", "public_ipv6 must be true or false, not 1", True),
    ("networks: internal", "networks must be a list, not 'internal'; write [internal]", True),
    ("placement_group: [a]", "placement_group must be a text, not a list", True),
    ("start_within: 600", "start_within needs a unit, which 600 has not; write 600s, or such as 10m or 1h30m", True),
    ("start_within: 10 m", "start_within must be a duration such as 90s, 10m or 1h30m, not '10 m'", True),
    ("start_within: 12:30", "start_within must be a duration such as 90s, 10m or 1h30m, not '12:30'", True),
    ("start_within: 30m1h", "start_within must be a duration such as 90s, 10m or 1h30m, not '30m1h'", True),
    ("start_within: -5m", "start_within must be a duration such as 90s, 10m or 1h30m, not '-5m'", True),
    ("start_within: 0s", "start_within must be more than 0s and at most 24h, not '0s'", False),
    ("start_within: 25h", "start_within must be more than 0s and at most 24h, not '25h'", False),
    ("start_within:", "start_within has no value; give one, or remove the line", True),
    ("protect: [web-1]", "protect[0] must be a server of this group, such as prod-worker-1, not 'web-1'", False),
    (
        "protect: [prod-worker-1, prod-worker-01]",
        "protect[1] must be a server of this group, such as prod-worker-1, not 'prod-worker-01'",
        False,
    ),
    ("scale_down: newst", "scale_down must be newest or oldest or billing, not 'newst'; did you mean newest?", True),
    ("scale_down: true", "scale_down must be newest or oldest or billing, not true", True),
    ("ready: running", "ready must be none or a mapping, not 'running'; write such as {tcp: 22}", True),
    ("ready: 22", "ready must be none or a mapping, not 22; write such as {tcp: 22}", True),
    ("ready:", "ready has no value; give one, or remove the line", True),
    ("ready: {}", "ready must have exactly one of the keys tcp, http, command and function", True),
    ("ready: {successes: 3}", "ready must have exactly one of the keys tcp, http, command and function", True),
    ("ready: {tcp: 22, command: [x]}", "ready must have exactly one of the keys tcp, http, command and function", True),
    ("ready: {tpc: 22}", "ready.tpc is not a known key; did you mean tcp?", True),
    ("ready: {tcp: 0}", "ready.tcp must be 1 or more, not 0", True),
    ("ready: {tcp: 65536}", "ready.tcp must be 65535 or less, not 65536", True),
    ("ready: {tcp: ssh}", "ready.tcp must be a whole number, not 'ssh'", True),
    ("ready: {tcp: 22, successes: 0}", "ready.successes must be 1 or more, not 0", True),
    ("ready: {tcp: 22, successes: 101}", "ready.successes must be 100 or less, not 101", True),
    ("ready: {http: 'ftp://{ip}/'}", "ready.http must be an http(s) URL; write it as https://host/path", True),
    ("ready: {http: 'http:///x'}", "ready.http must be an http(s) URL; write it as https://host/path", True),
    ("ready: {http: 'http://{ip}:x/'}", "ready.http must be an http(s) URL; write it as https://host/path", False),
    ("ready: {http: 'http://{ipv4}/'}", "ready.http has an unknown placeholder 'ipv4'; did you mean ip?", False),
    (
        "ready: {http: 'http://me:s3cr3t@{ip}/'}",
        "ready.http must not hold credentials; keep them in environment variables",
        False,
    ),
    (
        "public_ipv4: false\n    public_ipv6: false\n    ready: {tcp: 22}",
        "ready needs an address, and servers of this group have no public one; use a command",
        False,
    ),
    ("image_changes: roll", "image_changes must be new: roll is not supported yet; remove the line", True),
    ("image_changes: old", "image_changes must be new, not 'old'", True),
    ("stop: now", "stop must be a mapping, not 'now'", True),
    ("stop:", "stop has no value; give one, or remove the line", True),
    ("stop: {drian: [x]}", "stop.drian is not a known key; did you mean drain?", True),
    ("stop: {drain: []}", "stop.drain must not be empty; name the program, then its arguments", True),
    ("stop: {drain: ['', a]}", "stop.drain[0] must not be empty; name the program", True),
    ("stop: {drain: a b}", 'stop.drain must be a list of words, not \'a b\'; write ["a", "b"]', True),
    (
        "stop: {drain: [echo, {ip}]}",
        'stop.drain[1] must be a text, not a mapping; put a placeholder in quotes: "{ip}"',
        True,
    ),
    ('stop: {drain: [echo, "a\\0b"]}', "stop.drain[1] must not hold a NUL character", False),
    (
        "stop: {drain: [../drain.sh]}",
        "stop.drain[0] must not lead out of the project folder, as '../drain.sh' does; write an absolute path",
        False,
    ),
    (
        "stop: {drain: [bin/../../drain.sh]}",
        "stop.drain[0] must not lead out of the project folder, as 'bin/../../drain.sh' does; write an absolute path",
        False,
    ),
    (
        "stop: {drain: [./absent.sh]}",
        "stop.drain[0] names a file that does not exist: ./absent.sh; the path is relative to the project folder",
        False,
    ),
    (
        "stop: {drain: [./plain.sh]}",
        "stop.drain[0] names a file that may not be executed: ./plain.sh; run chmod +x ./plain.sh",
        False,
    ),
    (
        "stop: {drain_within: 5}",
        "stop.drain_within needs a unit, which 5 has not; write 5s, or such as 10m or 1h30m",
        True,
    ),
    ("stop: {shutdown_within: 2d}", "stop.shutdown_within must be more than 0s and at most 24h, not '2d'", False),
    (
        "stop: {on_drain_failure: kep}",
        "stop.on_drain_failure must be remove or keep, not 'kep'; did you mean keep?",
        True,
    ),
    ("region: fra1", "region is not a known key; did you mean location?", True),
    ("loction: fra1", "loction is not a known key; did you mean location?", True),
    ("limit: 3", "limit is not a key here; it belongs at the top level", True),
]

AT_TOP: list[tuple[str, str, bool]] = [
    ("cloud: hetzer", "cloud must be hetzner or digitalocean, not 'hetzer'; did you mean hetzner?", True),
    ("cloud: aws", "cloud must be hetzner or digitalocean, not 'aws'; known: hetzner, digitalocean", True),
    ("cloud: [hetzner]", "cloud must be hetzner or digitalocean, not a list", True),
    ("cloud:", "cloud has no value; give one, or remove the line", True),
    ("endpoint: embeded", "endpoint must be embedded or an http(s) URL, not 'embeded'; did you mean embedded?", True),
    (
        "endpoint: localhost:8080",
        "endpoint must be embedded or an http(s) URL, not 'localhost:8080'; known: embedded",
        True,
    ),
    ("endpoint: http://", "endpoint must be embedded or an http(s) URL, not 'http://'; known: embedded", True),
    ("endpoint: http://h:x", "endpoint must be embedded or an http(s) URL, not 'http://h:x'; known: embedded", False),
    (
        "endpoint: http://me:secret@host",
        "endpoint must not hold credentials; keep them in environment variables",
        False,
    ),
    (
        "endpoint: http://me:secret@host:x",
        "endpoint must not hold credentials; keep them in environment variables",
        False,
    ),
    ("endpoint: http://key@host", "endpoint must not hold credentials; keep them in environment variables", False),
    ("endpoint: 3", "endpoint must be embedded or an http(s) URL, not '3'; known: embedded", True),
    (
        "backend: ./state",
        "backend must be the URL of a Pulumi backend, not './state'; known: file, s3, gs, azblob, postgres, https",
        True,
    ),
    ("backend: fil://x", "backend must be the URL of a Pulumi backend, not 'fil://x'; did you mean file?", True),
    (
        "backend: postgres://me:secret@host/db",
        "backend must not hold credentials; keep them in environment variables",
        False,
    ),
    ("plugin: offical", "plugin must be scaler or official, not 'offical'; did you mean official?", True),
    ("limit: 2", "limit must be at least the groups' counts together (3), not 2", False),
    ("limit: -1", "limit must be 0 or more, not -1", True),
    ("limit: '5'", "limit must be a whole number, not '5'; remove the quotes", True),
    ("budget: 150", "budget must be a mapping, not 150", True),
    ("budget: {}", "budget.per_month is missing; add it", True),
    ("budget: {per_month: 0}", f"budget.per_month {MONEY}, not 0", True),
    ("budget: {per_month: -1}", f"budget.per_month {MONEY}, not -1", True),
    ("budget: {per_month: lots}", f"budget.per_month {MONEY}, not 'lots'", True),
    ("budget: {per_month: 1e3}", f"budget.per_month {MONEY}, not '1e3'", True),
    ("budget: {per_month: true}", f"budget.per_month {MONEY}, not true", True),
    ("notify: https://h/", "notify must be a list, not 'https://h/'; write [https://h/]", True),
    ("notify: [https://h/]", "notify[0] must be a mapping, not 'https://h/'", True),
    ("notify: [{}]", "notify[0] must have exactly one of the keys url and command", True),
    ("notify: [{url: null}]", "notify[0] must have exactly one of the keys url and command", False),
    ("notify: [{url: 'http://h', command: [x]}]", "notify[0] must have exactly one of the keys url and command", True),
    ("notify: [{ulr: 'http://h'}]", "notify[0].ulr is not a known key; did you mean url?", True),
    ("notify: [{url: 'file:///x'}]", "notify[0].url must be an http(s) URL; write it as https://host/path", True),
    ("notify: [{url: 'me:s3cr3t@h'}]", "notify[0].url must be an http(s) URL; write it as https://host/path", True),
    (
        "notify: [{url: 'https://s3cr3t@h/'}]",
        "notify[0].url must not hold credentials; keep them in environment variables",
        False,
    ),
    ("notify: [{url: 'http://h', events: []}]", "notify[0].events must not be empty; name at least one", True),
    (
        "notify: [{url: 'http://h', events: [server.eror]}]",
        "notify[0].events[0] names no event: 'server.eror'; did you mean server.errored?",
        False,
    ),
    (
        "notify: [{url: 'http://h', events: [server.*, sever.*]}]",
        "notify[0].events[1] names no event: 'sever.*'; did you mean server.*?",
        False,
    ),
    (
        "notify: [{command: [../x]}]",
        "notify[0].command[0] must not lead out of the project folder, as '../x' does; write an absolute path",
        False,
    ),
    (
        "policies: [x]",
        "policies[0] names what does not exist: x; the path is relative to the project folder",
        False,
    ),
    (
        "policies: [stacks]",
        "policies[0] names a folder that is no policy pack: stacks; a pack has a PulumiPolicy.yaml",
        False,
    ),
    (
        "policies: [plain.sh]",
        "policies[0] names a file that may not be executed: plain.sh; run chmod +x plain.sh",
        False,
    ),
    ("policies: [{level: advisory}]", "policies[0].path is missing; add it", True),
    (
        "policies: [{path: drain.sh, level: remediate}]",
        "policies[0].level must be mandatory or advisory, not 'remediate'; known: mandatory, advisory",
        True,
    ),
    (
        "policies: [{path: drain.sh, config: {a: remediate}}]",
        "policies[0].config.a must be mandatory, advisory, disabled or a mapping of settings, not 'remediate'",
        True,
    ),
    (
        "policies: [{path: drain.sh, config: {a: {enforcementLevel: on}}}]",
        "policies[0].config.a.enforcementLevel must be one of mandatory, advisory, disabled, not 'on'",
        True,
    ),
    ("retention: 7", "retention needs a unit, which 7 has not; write 7s, or such as 10m or 1h30m", True),
    ("retention: 9999d", "retention must be more than 0s and at most 3650d, not '9999d'", False),
    ("retention: 1w", "retention must be a duration such as 90s, 10m or 1h30m, not '1w'", True),
    ("count: 3", "count is not a key here; it belongs in a group", True),
    ("group: {}", "group is not a known key; did you mean groups?", True),
    (
        "xyz: 1",
        "xyz is not a known key; known: cloud, endpoint, backend, plugin, limit, budget, notify, policies, retention, "
        "groups",
        True,
    ),
    (
        "hcloud_token: abc",
        "hcloud_token is not a key: credentials are never in the spec; set HCLOUD_TOKEN or DIGITALOCEAN_TOKEN",
        True,
    ),
]

OCEAN_LINES: list[tuple[str, str, bool]] = [
    ("networks: []", "networks is for hetzner only, and this stack is on digitalocean; remove it", True),
    ("public_ipv4: true", "public_ipv4 is for hetzner only, and this stack is on digitalocean; remove it", True),
    ("keep_paid: true", "keep_paid is for hetzner only, and this stack is on digitalocean; remove it", True),
    ("labels: {a.b: c}", "labels.a.b is no DigitalOcean tag: only letters, digits, _ and - may be in it", False),
    ("labels: {scaler: ''}", "labels.scaler is a label that scaler sets itself; choose another name", False),
    (
        "labels: {a: 1.10}",
        "labels.a must be letters, digits, _ - and : (it becomes a DigitalOcean tag), not '1.10'",
        False,
    ),
    (
        f"labels: {{a: {'x' * 254}}}",
        "labels.a is too long: the tag key:value may have 255 characters",
        False,
    ),
    ("monitoring: yes", "monitoring must be true or false, not 'yes'; write true", True),
]

GROUP_LINES = {"count": "3", "image": "ubuntu-24.04", "type": "cx23", "location": "fsn1"}


def spec_with(group_line: str, cloud: str = "hetzner") -> tuple[str, int]:
    """A spec whose group has this line, or several, last; and the number of their last one."""
    lines = [f"cloud: {cloud}", "groups:", "  worker:"]
    lines += [f"    {key}: {value}" for key, value in GROUP_LINES.items() if f" {key}:" not in f" {group_line}"]
    lines += [f"    {group_line}"]
    text = "\n".join(lines)
    return text, text.count("\n") + 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder's `stacks/`, with two scripts beside it, one of which may be executed."""
    for name, mode in (("drain.sh", 0o755), ("plain.sh", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "stacks").mkdir()
    return tmp_path / "stacks"


def check(path: Path, expected: list[str], schema_sees: bool) -> None:
    assert problems(path) == expected
    assert SCHEMA.is_valid(read(path).value) is not schema_sees


@pytest.mark.parametrize(("line", "message", "schema_sees"), IN_GROUP, ids=[line for line, _, _ in IN_GROUP])
def test_a_bad_line_in_a_group(project: Path, line: str, message: str, schema_sees: bool) -> None:
    (project / "latin").write_bytes("ü".encode("latin-1"))
    (project / "link").symlink_to("/etc/hostname")
    text, number = spec_with(line)
    check(write(project, text), [f"{number}: groups.worker.{message}"], schema_sees)


@pytest.mark.parametrize(("line", "message", "schema_sees"), OCEAN_LINES, ids=[line[:30] for line, _, _ in OCEAN_LINES])
def test_a_bad_line_in_a_group_at_digitalocean(tmp_path: Path, line: str, message: str, schema_sees: bool) -> None:
    text, number = spec_with(line, "digitalocean")
    check(write(tmp_path, text), [f"{number}: groups.worker.{message}"], schema_sees)


@pytest.mark.parametrize(("line", "message", "schema_sees"), AT_TOP, ids=[line for line, _, _ in AT_TOP])
def test_a_bad_line_at_the_top_level(project: Path, line: str, message: str, schema_sees: bool) -> None:
    text = spec_with("start_within: 10m")[0]
    text = text.removeprefix("cloud: hetzner\n") if line.startswith("cloud") else text
    check(write(project, f"{text}\n{line}\n"), [f"{text.count(chr(10)) + 2}: {message}"], schema_sees)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: the file is empty; scaler init writes one to start from"]),
        ("# nothing yet\n", ["1: the file is empty; scaler init writes one to start from"]),
        ("just text", ["1: a spec is a mapping of keys to values, not 'just text'"]),
        ("- a\n- b", ["1: a spec is a mapping of keys to values, not a list"]),
        ("cloud: hetzner", ["1: groups is missing; add it"]),
        ("cloud: hetzner\ngroups: {}", ["2: groups must not be empty; name at least one"]),
        ("cloud: hetzner\ngroups:", ["2: groups has no value; give one, or remove the line"]),
        ("cloud: hetzner\ngroups: [worker]", ["2: groups must be a mapping, not a list"]),
        ("cloud: hetzner\ngroups:\n  worker: 3", ["3: groups.worker must be a mapping, not 3"]),
        ("cloud: hetzner\ngroups:\n  worker:", ["3: groups.worker has no value; give one, or remove the line"]),
        (
            "cloud: hetzner\ngroups:\n  worker: {}",
            [f"3: groups.worker.{key} is missing; add it" for key in ("count", "image", "type", "location")],
        ),
        (
            HETZNER.replace("worker", "My_Group") + "}",
            ["3: groups.My_Group must be lower-case letters, digits and hyphens, as in a host name, not 'My_Group'"],
        ),
    ],
)
def test_a_spec_of_the_wrong_shape(tmp_path: Path, text: str, expected: list[str]) -> None:
    check(write(tmp_path, text), expected, schema_sees=True)


def test_duplicate_keys_are_found_beside_other_problems(tmp_path: Path) -> None:
    text = spec_with("count: 5")[0].replace("cloud: hetzner", "cloud: hetzer\ncloud: hetzner") + "\n    count: 7"
    assert problems(write(tmp_path, text)) == [
        "1: cloud must be hetzner or digitalocean, not 'hetzer'; did you mean hetzner?",
        "2: cloud is given twice; the first is on line 1; remove one of them",
        "9: groups.worker.count is given twice; the first is on line 8; remove one of them".replace(
            "groups.worker.", ""
        ),
    ]


def test_all_problems_come_in_one_run_in_the_order_of_lines(tmp_path: Path) -> None:
    text = """\
cloud: hetzner
endpont: embedded
limit: 2
groups:
  worker:
    count: 3
    min: 5
    image: {selector: a, name: b}
    type: []
    labels:
      managed-by: me
      "a b": c
    start_within: 10
    vpc: x
  Web:
    count: "3"
    stop: {dran: [x]}
  c: 3
budget: 3
"""
    assert problems(write(tmp_path, text)) == [
        "2: endpont is not a known key; did you mean endpoint?",
        "3: limit must be at least the groups' counts together (3), not 2",
        "5: groups.worker.location is missing; add it",
        "7: groups.worker.min must be at most count (3), not 5",
        "8: groups.worker.image must have exactly one of the keys selector and name",
        "9: groups.worker.type must not be empty; name at least one",
        "11: groups.worker.labels.managed-by is a label that scaler sets itself; choose another name",
        "12: groups.worker.labels.a b is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last "
        "a letter or digit; before it perhaps a domain and a /",
        "13: groups.worker.start_within needs a unit, which 10 has not; write 10s, or such as 10m or 1h30m",
        "14: groups.worker.vpc is for digitalocean only, and this stack is on hetzner; remove it",
        "15: groups.Web must be lower-case letters, digits and hyphens, as in a host name, not 'Web'",
        "15: groups.Web.image is missing; add it",
        "15: groups.Web.type is missing; add it",
        "15: groups.Web.location is missing; add it",
        "16: groups.Web.count must be a whole number, not '3'; remove the quotes",
        "17: groups.Web.stop.dran is not a known key; did you mean drain?",
        "18: groups.c must be a mapping, not 3",
        "19: budget must be a mapping, not 3",
    ]


def test_the_file_names_the_stack(tmp_path: Path) -> None:
    assert problems(write(tmp_path, f"{HETZNER}}}", "My_Stack")) == [
        "1: the file's name gives the stack its name, and that must be lower-case letters, digits and hyphens, "
        "as in a host name, not 'My_Stack'; rename the file"
    ]


def test_an_absent_file_is_a_problem_like_any_other(tmp_path: Path) -> None:
    assert problems(tmp_path / "prod.yaml") == ["1: the file does not exist"]


def test_the_error_is_one_for_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "cloud: aws")
    with pytest.raises(InvalidSpecError) as caught:
        load(path, "shop")
    assert caught.value.exit_code is ExitCode.SPEC
    assert caught.value.code == "spec_invalid"
    assert caught.value.what == f"2 problems in {path}."


# ---------------------------------------------------------------------------------------------
# The JSON Schema and the documentation


@pytest.mark.parametrize("text", [EVERYTHING_AT_HETZNER, EVERYTHING_AT_DIGITALOCEAN])
def test_the_json_schema_accepts_what_load_accepts(tmp_path: Path, text: str) -> None:
    assert list(SCHEMA.iter_errors(read(write(tmp_path, text)).value)) == []


def test_the_json_schema_is_valid_and_checked_in_as_it_is_now() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    checked_in = json.loads((ROOT / "scaler/config/schema/spec.schema.json").read_text(encoding="utf-8"))
    assert checked_in == json_schema(), "run: python -m scaler.config.schema"
    assert checked_in["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_is_described_in_the_schema_and_in_the_documentation() -> None:
    schema: dict[str, Any] = json_schema()
    group = schema["properties"]["groups"]["additionalProperties"]
    assert set(schema["properties"]) == set(SpecSchema.model_fields)
    assert set(group["properties"]) == set(GroupSchema.model_fields)
    page = (ROOT / "docs/reference/spec.md").read_text(encoding="utf-8")
    for key, fields in {**schema["properties"], **group["properties"]}.items():
        assert fields["description"]
        assert f"| `{key}` |" in page, f"docs/reference/spec.md has no row for {key}"
    for name, inner in schema["$defs"].items():
        if name in vars(scaler.config.schema.autoscale):
            continue  # on a page of its own
        for key, fields in inner["properties"].items():
            assert fields["description"]
            assert f"`{key}`" in page or f"{{{key}: " in page, f"docs/reference/spec.md does not tell of {key}"


def test_the_demo_is_valid() -> None:
    spec = load(ROOT / "stacks/demo.yaml", "scaler")
    assert (spec.endpoint, spec.limit, spec.groups["worker"].count) == ("embedded", 20, 5)


# ---------------------------------------------------------------------------------------------
# Durations


@given(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999), st.integers(0, 999))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds
    )
    assert parse_duration(f"{minutes}m") == timedelta(minutes=minutes)
    assert parse_duration(f"{days}d") == timedelta(days=days)


@given(st.timedeltas(timedelta(0), timedelta(days=99999)))
def test_durations_are_written_as_they_are_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == timedelta(seconds=round(duration.total_seconds()))


@pytest.mark.parametrize(
    "text", ["", "5", "h", "5x", "1m1h", "1.5h", "-1m", " 1m", "1m ", "٣m", "9999999999h", "1h1d", "100000d"]
)
def test_other_forms_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
