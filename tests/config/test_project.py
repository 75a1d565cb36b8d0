"""The project folder: its name, its stacks, and which of them is meant."""

import subprocess
import sys
from pathlib import Path

import pytest

import scaler
from scaler.config.project import Project
from scaler.config.spec import load
from scaler.errors import ExitCode, InvalidSpecError, UsageError

ROOT = Path(scaler.__file__).parents[1]


def project(folder: Path, *files: str) -> Project:
    """A project with these files in stacks/."""
    (folder / "Pulumi.yaml").write_text("name: shop # why not\nmain: stacks\nruntime: python\n")
    (folder / "stacks").mkdir(exist_ok=True)
    for name in files:
        (folder / "stacks" / name).write_text("cloud: hetzner\n")
    return Project.find(folder)


def test_a_project_has_a_name_and_a_state_folder(tmp_path: Path) -> None:
    assert project(tmp_path) == Project(tmp_path, "shop", tmp_path / ".scaler")
    assert Project.find(tmp_path, tmp_path / "elsewhere").state_dir == tmp_path / "elsewhere"
    assert Project.find(tmp_path).spec_path("prod") == tmp_path / "stacks" / "prod.yaml"


def test_this_repository_is_a_project() -> None:
    assert Project.find(ROOT).name == "scaler"
    assert "demo" in Project.find(ROOT).stacks()


def test_a_folder_without_pulumi_yaml_suggests_init(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Project.find(tmp_path)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.what == "This folder is not a scaler project: it has no Pulumi.yaml."
    assert "scaler init" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: name is missing; every server carries it as a label"),
        ("main: stacks", "1: name is missing; every server carries it as a label"),
        ("main: stacks\nname:", "2: name is missing; every server carries it as a label"),
        (
            "# x\nname: My.Shop",
            "2: name must be at most 63 lower-case letters, digits, - and _, not 'My.Shop'; "
            "every server carries it as a label",
        ),
        (
            f"name: {'x' * 64}",
            "1: name must be at most 63 lower-case letters, digits, - and _, not a text of 64 characters; "
            "every server carries it as a label",
        ),
        ("name: shop\nbackend: [1]", "2: backend must be a mapping with a url, not a list"),
        ("name: a\nname: b", "2: name is given twice; the first is on line 1; remove one of them"),
        ("name: [", "1: invalid YAML: while parsing a flow node, expected the node content, but found '<stream end>'"),
    ],
)
def test_a_name_that_cannot_be_a_label_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "Pulumi.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSpecError) as caught:
        Project.find(tmp_path)
    assert [str(found) for found in caught.value.problems] == [f"{path}:{problem}"]


def test_a_name_of_digits_stays_text(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: 2026")
    assert Project.find(tmp_path).name == "2026"


def test_stacks_are_the_specs_and_no_other_files(tmp_path: Path) -> None:
    found = project(
        tmp_path, "prod.yaml", "dev.yaml", "_shared.yaml", ".hidden.yaml", "worker.cloud-init.yaml", "old.yml", "a.json"
    )
    (tmp_path / "stacks" / "userdata.yaml").write_text("#cloud-config\npackages: []\n")
    (tmp_path / "stacks" / "folder.yaml").mkdir()
    assert found.stacks() == ["dev", "prod"]


def test_a_project_may_have_no_stacks_folder(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop")
    assert Project.find(tmp_path).stacks() == []


def test_the_given_stack_is_chosen_else_the_only_one(tmp_path: Path) -> None:
    found = project(tmp_path, "prod.yaml")
    assert (found.choose(None), found.choose("prod")) == ("prod", "prod")
    assert project(tmp_path, "dev.yaml").choose("dev") == "dev"


@pytest.mark.parametrize(
    ("files", "stack", "what", "why", "fix"),
    [
        (["dev.yaml", "prod.yaml"], "prdo", "There is no stack 'prdo'.", "stacks/ has dev, prod", "Did you mean prod?"),
        (["dev.yaml", "prod.yaml"], "x", "There is no stack 'x'.", "stacks/ has dev, prod", "Use one of: dev, prod."),
        (["dev.yaml"], "../dev", "There is no stack '../dev'.", "stacks/ has dev", "Did you mean dev?"),
        (["dev.yaml"], "", "There is no stack ''.", "stacks/ has dev", "Use one of: dev."),
        (
            ["dev.yaml", "prod.yml"],
            "prod",
            "There is no stack 'prod'.",
            "stacks/ has dev",
            "Rename stacks/prod.yml to stacks/prod.yaml.",
        ),
        (
            ["dev.yaml", "prod.yaml"],
            None,
            "The project has 2 stacks, and none was named.",
            "stacks/ has dev, prod",
            "Name one with --stack.",
        ),
        ([], None, "There is no spec in stacks/.", "", "Run `scaler init` to write one."),
        ([], "prod", "There is no spec in stacks/.", "", "Run `scaler init` to write one."),
    ],
)
def test_an_unclear_choice_is_a_usage_error_that_names_the_stacks(
    tmp_path: Path, files: list[str], stack: str | None, what: str, why: str, fix: str
) -> None:
    with pytest.raises(UsageError) as caught:
        project(tmp_path, *files).choose(stack)
    assert caught.value.exit_code is ExitCode.USAGE
    assert (caught.value.what, caught.value.why, caught.value.fix) == (what, why, fix)


def test_finding_the_project_loads_no_pydantic() -> None:
    code = """
import pathlib, sys
from scaler.config.project import Project
Project.find(pathlib.Path(".")).choose("demo")
print("pydantic" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_the_backend_of_pulumi_yaml_is_known(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.yaml"
    path.write_text("name: shop\nbackend:\n  url: s3://bucket\n")
    assert Project.find(tmp_path).backend == "s3://bucket"
    path.write_text("name: shop\nbackend:\n  url: [s3]\n")
    with pytest.raises(InvalidSpecError) as caught:
        Project.find(tmp_path)
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [(3, "backend.url must be a text")]


@pytest.mark.parametrize(
    "text",
    [
        "#cloud-config\n",
        " #cloud-config\n",
        "\ufeff#Cloud-Config\n",
        "## template: jinja\n#cloud-config\n",
        "#!/bin/sh\n",
        "Content-Type: multipart/mixed; boundary=x\n",
    ],
)
def test_what_begins_as_user_data_does_is_no_stack(tmp_path: Path, text: str) -> None:
    found = project(tmp_path, "dev.yaml")
    found.spec_path("worker").write_text(text)
    assert found.stacks() == ["dev"]
    with pytest.raises(UsageError) as caught:
        found.choose("worker")
    assert caught.value.fix == "stacks/worker.yaml begins as user data does, and not as a spec."


@pytest.mark.parametrize(
    "text",
    [
        "# of the workers\n#cloud-config\nntp: {}\n",
        "# generated\n\n #cloud-config\n- a\n",
        "packages: [nginx]\n",
        "# mine\n#cloud-config\na: [\n",
    ],
)
def test_what_looks_like_user_data_is_named_as_that(tmp_path: Path, text: str) -> None:
    found = project(tmp_path)
    path = found.spec_path("worker")
    path.write_text(text)
    assert found.stacks() == ["worker"]
    with pytest.raises(InvalidSpecError) as caught:
        load(path, "shop")
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (1, "this looks like the user data of a spec, and not like a spec")


def test_a_spec_that_speaks_of_cloud_config_is_a_spec(tmp_path: Path) -> None:
    path = project(tmp_path).spec_path("dev")
    path.write_text("# its\n#cloud-config is beside this file\ncloud: hetzner\ngroups: {}\n")
    with pytest.raises(InvalidSpecError) as caught:
        load(path, "shop")
    assert "groups must not be empty" in str(caught.value.problems[0])


@pytest.mark.parametrize("url", ["http://[::1", "http://", "https://h:x", "s3:bucket", "nonsense"])
def test_a_variable_that_is_no_url_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="PULUMI_BACKEND_URL is no URL") as caught:
        project(tmp_path, "dev.yaml").backend_of("dev", {"PULUMI_BACKEND_URL": url})
    assert caught.value.why
    assert url not in str(caught.value)
