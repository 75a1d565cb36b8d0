"""What the engine gets from the machine, and where scaler finds folders on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.commands.checks.machine import check_engine_variables
from scaler.config.project import Project
from scaler.engine.backend import LocalBackend, absolute_url
from scaler.engine.binary import find, install
from scaler.engine.events import reason_in
from scaler.engine.settings import EngineSettings, direct_hosts, not_handed_over
from scaler.engine.work_folder import work_folder
from scaler.errors import EngineError, SpecError, UnavailableError
from scaler.model import Spec
from scaler.support import folders
from scaler.support.certificates import trust_named_certificates
from scaler.wiring import backend_url


@pytest.mark.parametrize(
    ("environ", "hosts"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"no_proxy": "corp.example"}, "corp.example,127.0.0.1,localhost"),
        ({"no_proxy": "a", "no_grpc_proxy": "b, localhost"}, "b,localhost,127.0.0.1"),
    ],
)
def test_grpc_on_loopback_goes_through_no_proxy(environ: Mapping[str, str], hosts: str) -> None:
    assert direct_hosts(environ) == hosts


def test_variables_that_change_what_the_engine_does_do_not_reach_it() -> None:
    ours = {"PULUMI_OPTION_TARGET": "x", "PULUMI_DIY_BACKEND_LEGACY_LAYOUT": "true", "PULUMI_SKIP_CHECKPOINTS": "1"}
    environ = {**ours, "PULUMI_CONFIG_PASSPHRASE": "p", "PATH": "/bin"}
    assert not_handed_over(environ) == sorted(ours)
    given = settings(environ).environ_of_engine()
    assert not given.keys() & ours.keys()
    assert given["PULUMI_CONFIG_PASSPHRASE"] == "p"
    (found,) = check_engine_variables(environ)
    assert all(name in found.message for name in ours)
    assert list(check_engine_variables({"PATH": "/bin"})) == []


def settings(environ: Mapping[str, str]) -> EngineSettings:
    folder = Path("/nowhere")
    return EngineSettings(
        binary=folder, version="v3.274.1", project="p", stack="s", directory=folder, backend="file:///b", home=None,
        environ=environ, package="hcloud",
    )  # fmt: skip


def test_what_the_environment_chooses_for_the_engine_wins_over_a_default() -> None:
    chosen = {
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "false",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "false",
        "PULUMI_CONFIG_PASSPHRASE": "p",
    }
    defaults = settings({}).environ_of_engine()
    assert {name: defaults[name] for name in chosen} == {
        **dict.fromkeys(chosen, "true"),
        "PULUMI_CONFIG_PASSPHRASE": "",
    }
    given = settings(chosen).environ_of_engine()
    assert {name: given[name] for name in chosen} == chosen


def test_which_backend_counts(tmp_path: Path) -> None:
    project = Project(tmp_path, "p", tmp_path, "s3://of-pulumi-yaml")
    spec = Spec(stack="s", project="p", cloud="hetzner", path=tmp_path, endpoint=None, backend=None, groups={})
    environ = {"PULUMI_BACKEND_URL": "s3://of-the-environment"}
    assert backend_url(project, replace(spec, backend="s3://of-the-spec"), environ) == "s3://of-the-spec"
    assert backend_url(project, spec, environ) == "s3://of-the-environment"
    assert backend_url(project, spec, {}) == "s3://of-pulumi-yaml"
    assert backend_url(replace(project, backend=None), spec, {}) == f"file://{tmp_path}/.scaler/pulumi"


def test_a_backend_in_the_old_layout_is_named(tmp_path: Path) -> None:
    backend = LocalBackend.at(f"file://{tmp_path}", "p", "s")
    assert backend is not None
    backend.check_layout()
    (tmp_path / ".pulumi" / "stacks").mkdir(parents=True)
    backend.check_layout()
    (tmp_path / ".pulumi" / "stacks" / "s.json").touch()
    with pytest.raises(EngineError) as caught:
        backend.check_layout()
    assert "pulumi state upgrade" in caught.value.fix
    # Another project's stack of that name, from before the folder was upgraded.
    (tmp_path / ".pulumi" / "stacks" / "p").mkdir()
    backend.check_layout()


@pytest.mark.parametrize(
    ("environ", "bundle"),
    [
        ({}, None),
        ({"SSL_CERT_FILE": "/a.pem"}, "/a.pem"),
        ({"SSL_CERT_DIR": "/certs"}, "/certs"),
        ({"SSL_CERT_FILE": "/a.pem", "SSL_CERT_DIR": "/certs"}, "/a.pem"),
        ({"SSL_CERT_FILE": "/a.pem", "REQUESTS_CA_BUNDLE": "/b.pem"}, "/b.pem"),
        ({"SSL_CERT_FILE": "/a.pem", "CURL_CA_BUNDLE": "/c.pem"}, None),
    ],
)
def test_certificates_that_the_environment_names_are_trusted(environ: dict[str, str], bundle: str | None) -> None:
    trust_named_certificates(environ)
    assert environ.get("REQUESTS_CA_BUNDLE") == bundle


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id that the system has no entry for."""
    del tmp_path  # pytest makes it with the real id.
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    monkeypatch.delenv("HOME", raising=False)


@pytest.mark.usefixtures("stranger")
def test_a_user_without_a_home_gets_answers_and_no_internal_error(tmp_path: Path) -> None:
    assert (folders.home_folder({}), folders.cache_folder({}), folders.user_name({})) == (None, None, "54321")
    assert folders.cache_folder({"HOME": "/h"}) == Path("/h/.cache")
    with pytest.raises(UnavailableError, match="not found"):
        find({"PATH": str(tmp_path)})
    with pytest.raises(UnavailableError) as caught:
        install({}, report=lambda text: None)
    assert "XDG_CACHE_HOME" in caught.value.fix
    with pytest.raises(SpecError) as refused:
        absolute_url("file://~/state", tmp_path)
    assert "HOME" in refused.value.fix


def test_the_engine_works_in_a_copy_of_a_read_only_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, copy = tmp_path / "project", tmp_path / "copy"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: p")
    (project / "Pulumi.demo.yaml").write_text("encryptionsalt: x")
    assert work_folder(project, "demo", copy) == project
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != project and allowed(path, mode))
    assert work_folder(project, "demo", copy) == copy
    assert (copy / "Pulumi.demo.yaml").read_text() == "encryptionsalt: x"
    # What the engine wrote for a stack that the checkout does not know stays.
    (copy / "Pulumi.other.yaml").write_text("encryptionsalt: y")
    assert work_folder(project, "other", copy) == copy
    assert (copy / "Pulumi.other.yaml").read_text() == "encryptionsalt: y"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (" code: 255\n stdout: \n stderr: error: no such stack\n", "error: no such stack"),
        (
            " stderr: error: 2 errors occurred:\n\t* open Pulumi.demo.yaml: read-only file system\n\t* again\n\nmore\n",
            "error: 2 errors occurred:\n* open Pulumi.demo.yaml: read-only file system\n* again",
        ),
        ("error:\nwrite /x: no space left on device\nother\n", "error:\nwrite /x: no space left on device"),
        ("error: could not save:\n\n    the disk is full\n", "error: could not save:\nthe disk is full"),
        ("error: a\nerror: a\nerror: b\nResources:\n    1 unchanged\n", "error: a\nerror: b"),
        ("panic: x\n\ngoroutine 1\n", "panic: x"),
        (
            " code: 2\n stdout: \n stderr: GOMEMLIMIT=junk\nfatal error: malformed GOMEMLIMIT\n\n"
            "runtime stack:\nruntime.throw({0x47b8ca9?, 0xa?})\n\truntime/panic.go:1229 +0x48 fp=0x7f\n",
            "fatal error: malformed GOMEMLIMIT",
        ),
        ("", ""),
    ],
)
def test_errors_of_several_lines_are_whole(said: str, reason: str) -> None:
    assert reason_in(said) == reason


def test_an_error_without_end_is_bounded() -> None:
    reason = reason_in("error: many:\n" + "".join(f"  * {number}\n" for number in range(10_000)))
    assert reason.count("\n") == 20
    assert reason.endswith("(and 9981 more lines)")
