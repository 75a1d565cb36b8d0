"""The project's own files agree with each other: versions, the lock file, the Makefile's help."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import scaler
from scaler.errors import ScalerError
from scaler.support.version import VERSION
from tests.support.project import ROOT


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


@pytest.fixture(scope="module")
def locked() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_change_log_begins_with_the_version_of_the_code() -> None:
    entries = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert entries[0].split()[0] == VERSION == scaler.__version__
    assert entries[0] == VERSION or re.fullmatch(r"\S+ \((unreleased|\d{4}-\d{2}-\d{2})\)", entries[0])


def test_the_version_is_written_down_once() -> None:
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    written = [path for path in (ROOT / "scaler").rglob("*.py") if f'"{VERSION}"' in path.read_text(encoding="utf-8")]
    assert written == [ROOT / "scaler" / "support" / "version.py"]


_NEVER_SHOWN = frozenset({"GoneError", "ConflictError", "NameTakenError"})
"""Somebody in the code always handles these."""


def _errors_by_name() -> set[str]:
    """The names of all classes of errors that people see, and that do not say a fix by themselves."""
    for path in sorted((ROOT / "scaler").rglob("*.py")):
        if re.search(r"^class \w+\(\w*Error\)", path.read_text(encoding="utf-8"), re.MULTILINE):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    found, waiting = set[str](), [ScalerError]
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if error.__init__ is ScalerError.__init__:
            found.add(error.__name__)
    return found - _NEVER_SHOWN


def test_every_error_says_how_to_fix_it() -> None:
    names, without = _errors_by_name(), []
    for path in sorted((ROOT / "scaler").rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        raised = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in names]
        mute = [call for call in raised if not {"fix", None} & {keyword.arg for keyword in call.keywords}]
        without += [f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(call)}" for call in mute]
    assert {"CredentialsError", "EngineError", "UnfitError"} <= names
    assert without == []


def test_the_lock_file_has_a_version_of_every_dependency(project: dict[str, Any], locked: str) -> None:
    versions = {
        canonicalize_name(name): Version(version) for name, version in re.findall(r"^(\S+)==([^\s;]+)", locked, re.M)
    }
    extras = project["optional-dependencies"]
    wanted = [
        Requirement(line) for line in [*project["dependencies"], *(line for each in extras.values() for line in each)]
    ]
    missing = [
        str(each)
        for each in wanted
        if each.name != project["name"]
        and versions.get(canonicalize_name(each.name), Version("0")) not in each.specifier
    ]
    assert missing == [], "run: make lock"


def test_the_lock_file_has_hashes_and_names_no_index(locked: str) -> None:
    for entry in re.split(r"^(?=\S)", locked, flags=re.MULTILINE)[1:]:
        assert re.match(r"[\w.-]+==\S+( ; .+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+\Z", entry), entry
    assert "://" not in locked


def test_what_serves_the_embedded_cloud_is_no_dependency_of_everybody(project: dict[str, Any]) -> None:
    plain = {Requirement(line).name for line in project["dependencies"]}
    served = {Requirement(line).name for line in project["optional-dependencies"]["simulator"]}
    assert served == {"starlette", "uvicorn"}
    assert not plain & served


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    [phony] = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert sorted(phony.split()) == sorted(targets)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.findall(r"^  make ([a-z]+) +\S", shown, re.MULTILINE) == targets


def test_ci_runs_the_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert re.search(r"^make check +#", readme, re.MULTILINE)
    assert steps[-1] == "make check"


def test_no_workflow_names_a_target_that_is_not_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    named = {
        target for path in workflows for target in re.findall(r"run: make ([a-z]+)", path.read_text(encoding="utf-8"))
    }
    assert "newest" in named
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()
