"""Functions of the project's own, on the command line (Q11): the page's example, and one that goes wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.project import ROOT, Project

GROUP: dict[str, Any] = {
    "naming": "fleet:name_server",
    "scale_down": "fleet:least_busy",
    "ready": {"function": "fleet:is_ready"},
    "protect": ["demo-worker-001"],
}


@pytest.fixture
def fleet(project: Project) -> Project:
    page = (ROOT / "docs" / "how-to" / "extend.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n# fleet.py\n(.*?)```", page, re.DOTALL)
    # What the addresses here lead to has no port 22.
    text += '\n\ndef is_ready(server: Server) -> str | None:\n    return None if server.ipv4 else "no address"\n'
    (project.folder / "fleet.py").write_text(text, encoding="utf-8")
    project.describe(groups={"worker": GROUP})
    return project


@pytest.mark.acceptance("Q11")
@pytest.mark.one_cloud
def test_names_victims_and_readiness_are_the_functions(fleet: Project) -> None:
    fleet.ensure("4")
    assert sorted(fleet.agreed()) == [f"demo-worker-{number:03}" for number in (1, 2, 3, 4)]
    previewed = fleet.run("preview", "2", "-o", "json")
    taken = fleet.ensure("2")
    assert previewed.steps == taken.steps
    assert [(action, name) for action, name, _ in taken.steps] == [
        ("delete", "demo-worker-002"),
        ("delete", "demo-worker-003"),
    ]
    assert sorted(fleet.agreed()) == ["demo-worker-001", "demo-worker-004"]


@pytest.mark.acceptance("Q11")
@pytest.mark.one_cloud
def test_a_function_that_chooses_what_it_was_not_offered_changes_nothing(fleet: Project) -> None:
    fleet.ensure("3")
    before = len(fleet.changes)
    with (fleet.folder / "fleet.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef least_busy(servers, count):\n    import dataclasses\n")
        file.write("    return [dataclasses.replace(servers[0], name='demo-worker-001')] * count\n")
    ran = fleet.ensure("2", code=1)
    assert ran.error["code"] == "extension_failed"
    assert ran.error["why"] == "it chose demo-worker-001, which it was not offered"
    assert len(fleet.changes) == before
    assert len(fleet.agreed()) == 3


@pytest.mark.acceptance("Q11")
@pytest.mark.one_cloud
def test_a_module_that_is_not_there_is_a_problem_with_its_line(fleet: Project) -> None:
    (fleet.folder / "fleet.py").unlink()
    ran = fleet.run("validate", code=65)
    lines = fleet.spec_path.read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "naming" in text)
    assert f"demo.yaml:{line}: groups.worker.naming names a module that does not exist: fleet" in ran.stderr
