"""Wrong input, missing credentials, unreachable things: an exit code, a clear error, and nothing done."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest

from tests.support.accounts import one_endpoint
from tests.support.project import TOKEN, Project, Ran, wait_until


def refused(project: Project, *arguments: str, code: int, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The error of a run that must change nothing: the same in a log and as JSON."""
    servers = project.world.servers(project.vendor.name)
    records = project.records if project.state_path.exists() else {}
    text = project.run(*arguments, code=code, environ=environ)
    assert text.stdout == ""
    error = project.run(*arguments, "-o", "json", code=code, environ=environ).error
    assert error["message"] in text.stderr
    assert error["fix"].splitlines()[0] in text.stderr
    assert f"(exit {code})" in text.stderr
    assert "Traceback" not in text.stderr
    assert project.world.servers(project.vendor.name) == servers
    assert (project.records if project.state_path.exists() else {}) == records
    return error


@pytest.mark.acceptance("Q14")
def test_unknown_names(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"count": 1}, "web": {"count": 0}})
    hetzner.ensure()
    hetzner.world.clear_log()
    stack = refused(hetzner, "ensure", "1", "--yes", "-s", "dmeo", code=64)
    assert "demo" in stack["why"] + stack["fix"]
    group = refused(hetzner, "ensure", "werker=1", "--yes", code=64)
    assert "worker" in group["fix"]

    hetzner.describe(cloud="hetzer", limt=3)
    spec = hetzner.run("ensure", "--yes", "-o", "json", code=65).document["error"]
    assert len(spec["problems"]) == 2
    assert all(problem["line"] for problem in spec["problems"])
    assert "hetzner" in str(spec["problems"])
    assert "digitalocean" in str(spec["problems"])
    assert hetzner.requests() == []


@pytest.mark.acceptance("Q14")
@pytest.mark.parametrize(
    ("field", "value"), [("type", "cx9999"), ("location", "atlantis"), ("image", {"selector": "role=x"})], ids=str
)
def test_names_that_the_cloud_does_not_have(hetzner: Project, field: str, value: object) -> None:
    hetzner.describe(groups={"worker": {field: value}})
    error = refused(hetzner, "ensure", "1", "--yes", code=65)
    assert error["code"] == "invalid"
    assert hetzner.changes == []


def occupy(project: Project) -> dict[str, int]:
    """A placement group with eight servers of others, and small and overlapping networks; their ids."""
    world, made = project.world, {}
    made["apart"] = world.add("hetzner", "placement_group", "apart", {"type": "spread", "labels": {}}).id
    for number in range(8):
        other = world.add_server("hetzner", f"other-{number}")
        other.body["placement_group"] = made["apart"]
        world.save(other)
    for name, ip_range in (("small", "10.1.0.0/30"), ("wide", "10.1.0.0/16")):
        subnet = {"type": "cloud", "ip_range": ip_range, "network_zone": "eu-central", "gateway": "10.1.0.1"}
        body = {"ip_range": ip_range, "labels": {}, "subnets": [subnet], "routes": []}
        made[name] = world.add("hetzner", "network", name, body).id
    return made


def test_what_only_a_create_would_refuse_is_refused_before_the_first(hetzner: Project) -> None:
    made = occupy(hetzner)
    cases: list[tuple[dict[str, dict[str, object]], tuple[str, ...], int, str]] = [
        ({"worker": {"placement_group": "apart"}}, ("3",), 3, "placement_group_full"),
        (
            {
                "worker": {"count": 2, "placement_group": "apart"},
                "web": {"count": 1, "placement_group": str(made["apart"])},
            },
            (),
            3,
            "placement_group_full",
        ),
        ({"worker": {"networks": ["small"]}}, ("2",), 3, "network_full"),
        ({"worker": {"networks": ["small", "wide"]}}, ("1",), 65, "invalid"),
    ]
    for groups, counts, code, named in cases:
        hetzner.describe(groups=groups)
        for command in (("preview", *counts), ("ensure", *counts, "--yes")):
            error = hetzner.run(*command, "-o", "json", code=code).error
            assert error["code"] == named
            assert error["why"]
            assert error["fix"]
    assert hetzner.changes == []
    assert not hetzner.machines
    hetzner.describe(groups={"worker": {"placement_group": "apart", "networks": ["small"]}})
    hetzner.ensure("1")
    assert len(hetzner.agreed()) == 1


def test_credentials_missing_and_refused(served: Project) -> None:
    served.ensure("1")
    missing = refused(served, "ensure", "2", "--yes", code=77, environ={served.vendor.token: ""})
    assert served.vendor.token in missing["fix"]
    served.world.set_tokens(served.vendor.name, revoked=True)
    for command in (("ensure", "2", "--yes"), ("status", "--refresh")):
        error = refused(served, *command, code=77)
        assert error["why"], "the cloud's own words"
    # A token that may only read shows itself at the first change.
    served.world.set_tokens(served.vendor.name, readonly=True)
    error = served.run("ensure", "2", "--yes", "-o", "json", code=77).error
    assert error["why"], "the cloud's own words"
    assert len(served.machines) == 1
    served.world.set_tokens(served.vendor.name)
    served.ensure("2")
    assert len(served.agreed()) == 2


def test_cloud_that_is_not_there(served: Project) -> None:
    assert served.served
    path = served.vendor.endpoint_of(served.served).removeprefix(served.served.url)
    with one_endpoint({TOKEN: served.served.url}) as url:
        served.environ[served.vendor.endpoint] = url + path
        served.ensure("1")
        one = served.agreed()
    # Nobody listens there now.
    error = served.run("ensure", "2", "--yes", "-o", "json", code=69).error
    assert "refused" in error["why"].lower()
    assert served.agreed() == one


def test_engine_that_is_not_there(hetzner: Project) -> None:
    nowhere = {"SCALER_ENGINE": "", "PATH": "/nonexistent", "XDG_CACHE_HOME": str(hetzner.folder / "empty")}
    error = refused(hetzner, "ensure", "1", "--yes", code=69, environ=nowhere)
    assert error["code"] == "engine_missing"
    assert "scaler engine install" in error["fix"]
    assert hetzner.changes == []
    # Nothing to do needs none.
    assert hetzner.run("ensure", "0", "--yes", "-o", "json", environ=nowhere).document["outcome"] == "unchanged"


def test_without_a_terminal_yes_is_required(hetzner: Project) -> None:
    for command in ("ensure", "destroy"):
        error = refused(hetzner, command, code=64)
        assert "--yes" in error["fix"]
    assert hetzner.requests() == []


def test_served_by_another_process(hetzner: Project) -> None:
    """`scaler sim serve` prints what to export, and with that exported no `endpoint` is needed."""
    serving = hetzner.start("sim", "serve", "--world", "world.db", "--profile", "instant")
    try:
        assert serving.stdout
        exports = dict(serving.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in range(4))
        hetzner.describe()
        text = hetzner.spec_path.read_text(encoding="utf-8")
        hetzner.spec_path.write_text(text.replace("endpoint: embedded\n", ""), encoding="utf-8")
        ran: Ran = hetzner.run("ensure", "2", "--yes", "-o", "json", environ=exports)
        assert len(ran.named("running")) == 2
        hetzner.run("destroy", "--yes", environ=exports)
        # The embedded world of the project itself saw nothing of it.
        assert hetzner.requests() == []
    finally:
        serving.terminate()
        serving.communicate()
    wait_until(lambda: serving.returncode == 0, "an orderly end")


def test_damaged_checkpoints(hetzner: Project) -> None:
    """A torn one is mended; one of an unknown kind is named, and left to a person."""
    hetzner.ensure("2")
    two = hetzner.agreed()
    (checkpoint,) = (hetzner.state_dir / "pulumi" / ".pulumi" / "stacks").rglob("demo.json")
    checkpoint.write_text("{", encoding="utf-8")
    hetzner.ensure("2")
    assert hetzner.agreed() == two

    checkpoint.write_text('{"version": 99}', encoding="utf-8")
    error = refused(hetzner, "ensure", "3", "--yes", code=1)
    assert str(checkpoint) in error["why"]
    shutil.move(checkpoint, checkpoint.with_suffix(".away"))
    hetzner.ensure("2")
    assert hetzner.agreed() == two
