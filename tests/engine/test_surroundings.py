"""What the engine gets from the machine, and where scaler finds folders on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from scaler.engine.backend import absolute_url
from scaler.engine.binary import find, install
from scaler.engine.events import reason_in
from scaler.engine.settings import direct_hosts
from scaler.engine.work_folder import work_folder
from scaler.errors import SpecError, UnavailableError
from scaler.support import folders


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
        ("panic: x\n\ngoroutine 1\n", "panic: x\ngoroutine 1"),
        ("", ""),
    ],
)
def test_errors_of_several_lines_are_whole(said: str, reason: str) -> None:
    assert reason_in(said) == reason


def test_an_error_without_end_is_bounded() -> None:
    reason = reason_in("error: many:\n" + "".join(f"  * {number}\n" for number in range(10_000)))
    assert reason.count("\n") == 20
    assert reason.endswith("(and 9981 more lines)")
