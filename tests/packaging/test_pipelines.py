"""The pipelines that we offer, and our own workflows, are what their services accept."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import ROOT

SCHEMAS = {
    "ci/gitlab.yml": "gitlab-ci",
    "ci/woodpecker.yml": "woodpecker-ci",
    "ci/github.yml": "github-workflows",
    "action.yml": "github-actions",
}
"""Files, and the published schema of each, as check-jsonschema has it."""


def check(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    words = ["check_jsonschema", "--builtin-schema", f"vendor.{schema}", "--no-cache"]
    words += ["--data-transform", "gitlab-ci"] if schema == "gitlab-ci" else []
    return subprocess.run([sys.executable, "-m", *words, str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("path", "schema"), SCHEMAS.items())
def test_a_pipeline_is_as_its_services_schema_says(path: str, schema: str, tmp_path: Path) -> None:
    if not importlib.util.find_spec("check_jsonschema"):
        pytest.skip("check-jsonschema is not installed: make")
    checked = check(ROOT / path, schema)
    assert checked.returncode == 0, checked.stdout
    wrong = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    wrong["runs" if schema == "github-actions" else "jobs" if schema == "github-workflows" else "steps"] = 7
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    assert check(tmp_path / "wrong.yml", schema).returncode == 1


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository: the workflow as pasted, and scaler in a submodule."""
    if not shutil.which("actionlint"):
        pytest.skip("actionlint is not installed: make tools, where Go is")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    shutil.copy(ROOT / "ci" / "github.yml", workflows / "scaler.yml")
    (tmp_path / "scaler").mkdir()
    shutil.copy(ROOT / "action.yml", tmp_path / "scaler")
    return tmp_path


def actionlint(folder: Path, *files: Path) -> str:
    words = ["actionlint", "-no-color", *map(str, files)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_actionlint_finds_nothing_in_the_workflows(repository: Path) -> None:
    assert actionlint(repository) == ""
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        shutil.copy(path, repository / ".github" / "workflows")
    assert actionlint(repository) == ""


def test_actionlint_reads_the_action_too(repository: Path) -> None:
    workflow = repository / ".github" / "workflows" / "scaler.yml"
    good = workflow.read_text(encoding="utf-8")
    workflow.write_text(good.replace("with: {command: preview,", "with: {comand: preview,"), encoding="utf-8")
    assert 'input "comand" is not defined in action' in actionlint(repository)


def scripts() -> dict[str, str]:
    """Return the shell parts that no other program checks."""
    found: dict[str, str] = {}
    for step in _read("action.yml")["runs"]["steps"]:
        if "run" in step:
            found[step["name"]] = step["run"]
    jobs = _read("ci/gitlab.yml")
    for name, job in jobs.items():
        for part in ("before_script", "script", "after_script"):
            if part in job:
                found[f"{name} {part}"] = "\n".join(job[part])
    for step in _read("ci/woodpecker.yml")["steps"]:
        found[f"woodpecker {step['name']}"] = "\n".join(step["commands"])
    return found


def _read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", scripts())
def test_shellcheck_finds_nothing(name: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed: make tools")
    words = ["shellcheck", "--shell", "bash", "--exclude", "SC2016", "-"]
    ran = subprocess.run(words, input=scripts()[name], capture_output=True, text=True, check=False)
    assert ran.stdout == ""
