"""Valid specs: what each key becomes."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.config.spec import load
from scaler.config.strict_yaml import read
from scaler.model import Group, HealthPolicy, ImageRef, NotifyTarget, Readiness, Spec, StopPolicy
from tests.config.spec_files import (
    EVERYTHING_AT_DIGITALOCEAN,
    EVERYTHING_AT_HETZNER,
    HETZNER,
    OCEAN,
    SCHEMA,
    problems,
    worker,
    write,
)

ROOT = Path(__file__).parents[2]


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
                in_service=("lb", "web"),
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
                in_service=("lb", "web"),
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


def test_texts_stay_as_typed(tmp_path: Path) -> None:
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
def test_labels_stay_as_typed(tmp_path_factory: pytest.TempPathFactory, typed: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert worker(folder, f"labels: {{v: {typed}, '{typed}x': w}}").labels == {"v": typed, f"{typed}x": "w"}


def test_optional_keys_may_be_empty(tmp_path: Path) -> None:
    group = worker(tmp_path, "networks: [], protect: []")
    assert (group.placement_group, group.networks, group.protect, group.user_data) == (
        None,
        (),
        frozenset(),
        None,
    )


def test_groups_can_share_keys_by_anchors(tmp_path: Path) -> None:
    text = HETZNER.replace("worker:", "blue: &blue") + "}\n  green: {<<: *blue, count: 1}"
    groups = load(write(tmp_path, text), "shop").groups
    assert [(group.name, group.count, group.types) for group in groups.values()] == [
        ("blue", 3, ("cx23",)),
        ("green", 1, ("cx23",)),
    ]


def test_numbers_may_equal_their_bounds(tmp_path: Path) -> None:
    spec = load(write(tmp_path, f"limit: 3\n{HETZNER}, min: 3, max: 3}}"), "shop")
    assert (spec.limit, spec.groups["worker"].min, spec.groups["worker"].max) == (3, 3, 3)
    assert load(write(tmp_path, f"limit: 0\n{HETZNER}}}".replace("count: 3", "count: 0")), "shop").limit == 0


@pytest.mark.parametrize(
    "line",
    ["endpoint: https://api.hetzner.cloud/v1", "endpoint: http://[::1]:80"]
    + [f"backend: {url}" for url in ("file://.scaler/pulumi", "file://~", "gs://b", "azblob://c", "https://p.example")],
)
def test_urls_of_every_kind(tmp_path: Path, line: str) -> None:
    spec = load(write(tmp_path, f"{line}\n{HETZNER}}}"), "shop")
    key, _, value = line.partition(": ")
    assert getattr(spec, key.rstrip(":")) == value
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


def test_names_may_be_as_long_as_a_host_name_allows(tmp_path: Path) -> None:
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
     ready: {http: "http://{ip}:8080/{name}"}, healthy: {http: "http://{ip}:8080/up", at_most: 10%},
     stop: {drain: [drain.sh, "{name}", 3, ""], shutdown_within: 1m}}
  job:
    {count: 1, image: debian-12, type: cx23, location: fsn1,
     ready: {command: [/usr/bin/check, -v], successes: 5}, healthy: {tcp: 22, every: 5s, failures: 1},
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
    assert {name: group.healthy for name, group in spec.groups.items()} == {
        "web": HealthPolicy(check=Readiness(kind="http", url="http://{ip}:8080/up"), at_most=10),
        "job": HealthPolicy(check=Readiness(kind="tcp", port=22), every=timedelta(seconds=5), failures=1),
        "tcp": None,
    }
    assert {name: group.stop for name, group in spec.groups.items()} == {
        "web": StopPolicy(drain=("drain.sh", "{name}", "3", ""), shutdown_within=timedelta(minutes=1)),
        "job": StopPolicy(drain=("./drain.sh",), drain_within=timedelta(hours=1), on_drain_failure="keep"),
        "tcp": StopPolicy(),
    }
    assert list(SCHEMA.iter_errors(read(path).value)) == []


def test_the_demo_is_valid() -> None:
    spec = load(ROOT / "stacks/demo.yaml", "scaler")
    assert (spec.endpoint, spec.limit, spec.groups["worker"].count) == ("embedded", 20, 5)
