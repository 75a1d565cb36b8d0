"""Policies before anything is created: the pack of this repository and a user's own, judged by the real engine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import ROOT, Project

PACK = "policies"


@pytest.fixture
def governed(project: Project) -> Project:
    """A project with this repository's pack in it."""
    shutil.copytree(ROOT / "policies", project.folder / PACK, ignore=shutil.ignore_patterns("__pycache__"))
    return project


def with_policies(project: Project, *packs: Any, **group: Any) -> None:
    project.describe(groups={"worker": group}, policies=list(packs))


def violations(document: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return sorted((found["policy"], found["level"], found["server"]) for found in document["violations"])


@pytest.mark.one_cloud
def test_a_mandatory_violation_refuses_the_run_before_anything_is_asked(governed: Project) -> None:
    with_policies(governed, {"path": PACK, "config": {"allowed-types": {"types": ["another"]}}})
    for command in (["ensure", "--yes"], ["preview"]):
        refused = governed.run(*command, "-o", "json", code=3)
        assert refused.document["outcome"] == "refused"
        assert violations(refused.document) == [
            ("allowed-types", "mandatory", f"demo-worker-{number}") for number in (1, 2, 3)
        ]
        assert {step["result"] for step in refused.document["steps"]} == {"pending"}
    text = governed.run("ensure", "--yes", code=3).stdout
    assert f"! mandatory policy: demo-worker-1: Servers are of allowed types. {governed.vendor.type} is not" in text
    assert text.endswith("demo: refused; nothing was changed.\n")
    assert governed.changes == []
    assert governed.machines == {}
    assert [word for _, word in governed.engine_runs if word in ("up", "refresh")] == []

    # The same servers, allowed: the run goes through, and the next one needs no engine.
    with_policies(governed, {"path": PACK, "config": {"allowed-types": {"types": [governed.vendor.type]}}})
    assert violations(governed.ensure().document) == []
    assert len(governed.agreed()) == 3
    engines = len(governed.engine_runs)
    assert governed.ensure().document["outcome"] == "unchanged"
    assert len(governed.engine_runs) == engines


@pytest.mark.one_cloud
def test_an_advisory_violation_warns(governed: Project) -> None:
    config = {"largest-stack": {"most": 2}, "required-labels": {"labels": ["team"]}}
    with_policies(governed, {"path": PACK, "level": "advisory", "config": config}, user_data_inline="#cloud-config\n")
    previewed = governed.run("preview", "-o", "json").document
    assert previewed["outcome"] == "planned"
    expected: list[tuple[str, str, str | None]] = [("largest-stack", "advisory", None)]
    expected += [("required-labels", "advisory", f"demo-worker-{number}") for number in (1, 2, 3)]
    assert violations(previewed) == expected
    ran = governed.ensure()
    assert ran.document["outcome"] == "converged"
    assert violations(ran.document) == expected
    warning = "policy: demo-worker-2: Servers have the required labels. the label team is missing (required-labels)"
    assert ran.stderr.count(warning) == 1
    assert len(governed.agreed()) == 3


def test_every_rule_speaks(governed: Project) -> None:
    config: dict[str, dict[str, Any]] = {
        "allowed-types": {"types": ["another"]},
        "allowed-locations": {"locations": ["elsewhere"]},
        "allowed-images": {"images": [1, "debian-*"]},
        "required-labels": {"labels": ["team", "cost=low"]},
        "public-ipv4": {"allowed": False},
        "largest-stack": {"most": 0},
        "monthly-cost": {"most": "1.50", "prices": {governed.vendor.type: "1.75"}},
    }
    with_policies(governed, {"path": PACK, "config": config}, count=1)
    said = governed.run("preview", "-o", "json", code=3).document["violations"]
    assert {found["policy"] for found in said} == set(config)
    assert "1 servers for 1.75 in a month are 0.25 above 1.50" in " ".join(found["message"] for found in said)
    # And all of them are content.
    config = {
        "allowed-types": {"types": [governed.vendor.type]},
        "allowed-locations": {"locations": [governed.vendor.location]},
        "allowed-images": {"images": ["*"]},
        "required-labels": {"labels": ["team", "managed-by=scaler"]},
        "public-ipv4": {"allowed": True},
        "largest-stack": {"most": 1},
        "monthly-cost": {"most": 2, "prices": {governed.vendor.type: "1.75"}},
    }
    if governed.vendor.name == "digitalocean":
        config["required-labels"]["labels"] = ["team"]
    with_policies(governed, {"path": PACK, "config": config}, count=1, labels={"team": "shop"})
    assert violations(governed.run("preview", "-o", "json").document) == []


def test_what_is_there_already_is_judged_with_what_comes_and_may_always_go(hetzner: Project) -> None:
    shutil.copytree(ROOT / "policies", hetzner.folder / PACK)
    hetzner.ensure("3")
    with_policies(hetzner, {"path": PACK, "config": {"largest-stack": {"most": 2}}})
    assert violations(hetzner.run("preview", "5", "-o", "json", code=3).document) == [
        ("largest-stack", "mandatory", None)
    ]
    # What a scale-down leaves is judged, not what it removes.
    hetzner.ensure("2")
    assert len(hetzner.agreed()) == 2
    with_policies(hetzner, {"path": PACK, "config": {"allowed-types": {"types": ["another"]}}})
    hetzner.ensure("1", code=3)
    assert len(hetzner.agreed()) == 2
    hetzner.run("destroy", "--yes")
    assert hetzner.agreed() == {}


def test_a_placement_found_on_the_way_must_pass_too(hetzner: Project) -> None:
    """The first type turns out to be sold out when it is asked for; the second one is not allowed."""
    shutil.copytree(ROOT / "policies", hetzner.folder / PACK)
    with_policies(
        hetzner,
        {"path": PACK, "config": {"allowed-types": {"types": ["cx23"]}}},
        count=1,
        type=["cx23", "cx33"],
    )
    hetzner.fault("respond", "POST", status=412, code="resource_unavailable")
    ran = hetzner.ensure(code=1)
    assert "cx33 is not allowed" in ran.stderr
    assert [request.status for request in hetzner.creates] == [412]
    assert hetzner.machines == {}


# ---------------------------------------------------------------------------------------------
# A user's own pack

OWN = """
from pulumi_policy import EnforcementLevel, PolicyPack, ReportViolation, ResourceValidationPolicy

def no_first(args, report):
    if args.name.endswith("-1"):
        report(f"{args.name} has the unlucky number")

PolicyPack("own", [ResourceValidationPolicy("no-first", "Nobody is first.", no_first)], EnforcementLevel.MANDATORY)
"""


def own_pack(project: Project, program: str = OWN, *, runtime: str = "python", folder: str = "our rules") -> Path:
    pack = project.folder / folder
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text(f"runtime: {runtime}\nversion: 0.1.0\n", encoding="utf-8")
    (pack / "__main__.py").write_text(program, encoding="utf-8")
    return pack


@pytest.mark.one_cloud
def test_a_users_own_pack_beside_ours(governed: Project) -> None:
    own_pack(governed)
    with_policies(governed, {"path": PACK, "config": {"largest-stack": {"most": 1}}}, "our rules")
    assert violations(governed.run("preview", "-o", "json", code=3).document) == [
        ("largest-stack", "mandatory", None),
        ("no-first", "mandatory", "demo-worker-1"),
    ]
    with_policies(governed, {"path": "our rules", "config": {"no-first": "disabled"}}, count=1)
    governed.ensure()
    assert len(governed.agreed()) == 1


def test_a_pack_may_be_a_program_or_name_its_own_python(hetzner: Project, tmp_path: Path) -> None:
    pack = own_pack(hetzner)
    program = hetzner.folder / "analyzer"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -u -m pulumi.policy "$1" "{pack}"\n', encoding="utf-8")
    program.chmod(0o755)
    with_policies(hetzner, "analyzer", count=1)
    assert violations(hetzner.run("preview", "-o", "json", code=3).document) == [
        ("no-first", "mandatory", "demo-worker-1")
    ]
    (pack / "venv" / "bin").mkdir(parents=True)
    (pack / "PulumiPolicy.yaml").write_text("runtime: {name: python, options: {virtualenv: venv}}\n", encoding="utf-8")
    with_policies(hetzner, "our rules", count=1)
    assert str(pack / "venv") in hetzner.run("preview", "-o", "json", code=1).error["why"]
    python = pack / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho used >> {tmp_path}/used\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    hetzner.run("preview", code=3)
    assert (tmp_path / "used").read_text() == "used\n"


@pytest.mark.parametrize("settings", ["disabled", {"most": 1}], ids=["a level", "settings"])
def test_a_policy_that_its_pack_does_not_have_is_refused(hetzner: Project, settings: object) -> None:
    """The engine ignores a level of a policy that is not there, and does not name one with settings."""
    own_pack(hetzner)
    with_policies(hetzner, {"path": "our rules", "config": {"no-frist": settings, "all": "advisory"}}, count=1)
    assert hetzner.ensure(code=65).error == {
        "code": "policy_unknown",
        "message": "`policies` of the spec configures what our rules does not have: no-frist.",
        "why": "its policies are no-first",
        "fix": "Did you mean no-first?",
    }
    assert hetzner.machines == {}


BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "cannot be imported": ("import no_such_module", {}, "No module named 'no_such_module'"),
    "fails on a server": (OWN.replace("report(f", "raise KeyError(f"), {}, "unlucky number"),
    "is another language's": (OWN, {}, "nodejs"),
    "would change the server": (
        OWN.replace("no_first)", "remediate=lambda args: dict(args.props, name='x'))").replace(
            "MANDATORY", "REMEDIATE"
        ),
        {},
        "remediate",
    ),
    "would change its user data": (
        OWN.replace("no_first)", "remediate=lambda args: dict(args.props, userData='x'))").replace(
            "MANDATORY", "REMEDIATE"
        ),
        {},
        "remediate",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_pack_that_gives_no_verdict_stops_the_run(hetzner: Project, how: str) -> None:
    program, config, words = BROKEN[how]
    own_pack(hetzner, program, runtime="nodejs" if words == "nodejs" else "python")
    with_policies(hetzner, {"path": "our rules", "config": config}, count=1, user_data_inline="#cloud-config\n")
    error = hetzner.ensure(code=1).error
    assert error["code"] == "policy_pack"
    assert words in error["why"]
    assert "scaler-policies-" not in error["why"]
    assert hetzner.changes == []


def test_a_wrong_setting_of_our_pack_is_an_error_not_silence(hetzner: Project) -> None:
    shutil.copytree(ROOT / "policies", hetzner.folder / PACK)
    for settings, words in (
        ({"type": ["cx23"]}, "unexpected keyword argument 'type'"),
        ({"types": "cx23"}, "Expected: array, given: string"),
    ):
        with_policies(hetzner, {"path": PACK, "config": {"allowed-types": settings}}, count=1)
        assert words in hetzner.ensure(code=1).error["why"]
    assert hetzner.changes == []
