"""`scaler validate` and `scaler init`, through the entry point."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from scaler.commands.main import main
from scaler.config.schema.generate import json_schema
from scaler.config.spec import load
from scaler.config.strict_yaml import read

GOOD = """\
cloud: hetzner
groups:
  worker: {count: 3, image: ubuntu-24.04, type: cx23, location: fsn1}
  web: {count: 1, image: ubuntu-24.04, type: cx23, location: fsn1}
"""


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCALER_STACK", "SCALER_STATE_DIR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def project(**specs: str) -> None:
    Path("Pulumi.yaml").write_text("name: shop\n")
    Path("stacks").mkdir()
    for stack, text in specs.items():
        Path(f"stacks/{stack}.yaml").write_text(text)


def test_good_specs_get_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    project(prod=GOOD, dev=GOOD.replace("count: 3", "count: 0"))
    assert main(["validate"]) == 0
    assert capsys.readouterr().out == "ok  dev  hetzner: worker 0, web 1\nok  prod  hetzner: worker 3, web 1\n"
    assert main(["validate", "--stack", "prod"]) == 0
    assert capsys.readouterr().out == "ok  prod  hetzner: worker 3, web 1\n"


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_good_specs_as_a_document(capsys: pytest.CaptureFixture[str], output: str) -> None:
    project(prod=GOOD)
    assert main(["validate", "-o", output]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {
        "schema": 1,
        "specs": [{"stack": "prod", "cloud": "hetzner", "groups": {"worker": 3, "web": 1}, "warnings": []}],
    }


def test_what_a_run_here_would_refuse_is_warned_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another environment, of the job that runs it, may allow."""
    project(prod=f"endpoint: https://cloud.example/v1\nbackend: s3://b?endpoint=https://store.example\n{GOOD}")
    assert main(["validate"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("ok  prod")
    assert printed.err.count("with this environment a run is refused") == 2
    assert "SCALER_ALLOW_HOSTS=cloud.example" in printed.err
    monkeypatch.setenv("SCALER_ALLOW_HOSTS", "cloud.example,store.example")
    assert main(["validate"]) == 0
    assert capsys.readouterr().err == ""


def test_where_ci_is_set_a_drain_that_ends_with_the_machine_is_warned_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project(prod=GOOD.replace("worker: {", 'worker: {stop: {drain: [echo, "{ip}"]}, '))
    assert main(["validate"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("CI", "true")
    assert main(["validate"]) == 0
    assert "the drains of worker end with this machine, since CI is set" in capsys.readouterr().err


def test_the_problems_of_all_specs_come_in_one_run_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    project(a="cloud: aws\ngroups: {}\n", b=GOOD, c="")
    assert main(["validate"]) == 65
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "Error: 3 problems in stacks/a.yaml, stacks/c.yaml.\n"
        "  stacks/a.yaml:1: cloud must be hetzner or digitalocean, not 'aws'; known: hetzner, digitalocean\n"
        "  stacks/a.yaml:2: groups must not be empty; name at least one\n"
        "  stacks/c.yaml:1: the file is empty; scaler init writes one to start from\n"
        "  fix: Correct these lines; nothing was changed.   (exit 65)\n"
    )


def test_problems_as_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    project(prod=GOOD.replace("cloud", "clod"))
    assert main(["validate", "-o", "json"]) == 65
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "error": {
            "code": "spec_invalid",
            "message": "2 problems in stacks/prod.yaml.",
            "why": "",
            "fix": "Correct these lines; nothing was changed.",
            "problems": [
                {"file": "stacks/prod.yaml", "line": 1, "message": "cloud is missing", "fix": "add it"},
                {
                    "file": "stacks/prod.yaml",
                    "line": 1,
                    "message": "clod is not a known key",
                    "fix": "did you mean cloud?",
                },
            ],
        },
    }


def test_one_bad_spec_does_not_matter_to_another(capsys: pytest.CaptureFixture[str]) -> None:
    project(a="", b=GOOD)
    assert main(["validate", "-s", "b"]) == 0
    assert main(["validate", "-s", "bb"]) == 64
    assert "Did you mean b?" in capsys.readouterr().err


def test_a_folder_that_is_no_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 64
    assert "scaler init" in capsys.readouterr().err


def test_a_project_without_specs(capsys: pytest.CaptureFixture[str]) -> None:
    project()
    assert main(["validate"]) == 64
    assert "There is no spec in stacks/." in capsys.readouterr().err


FILES = ["Pulumi.yaml", "stacks/__main__.py", "stacks/dev.yaml", "stacks/spec.schema.json", "policies/README.md"]


@pytest.mark.parametrize(("arguments", "cloud"), [([], "hetzner"), (["--cloud", "digitalocean"], "digitalocean")])
def test_what_init_writes_is_a_valid_project(
    capsys: pytest.CaptureFixture[str], arguments: list[str], cloud: str
) -> None:
    Path("My Shop").mkdir()
    assert main(["init", *arguments, "-C", "My Shop"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "".join(f"written  {name}\n" for name in [*FILES, ".gitignore"])
    assert printed.err.startswith("Next: ")
    assert main(["validate", "-C", "My Shop"]) == 0
    assert capsys.readouterr().out == f"ok  dev  {cloud}: worker 2\n"
    jsonschema.validate(read(Path("My Shop/stacks/dev.yaml")).value, json_schema())
    pulumi = yaml.safe_load(Path("My Shop/Pulumi.yaml").read_text())
    assert (pulumi["name"], pulumi["main"], pulumi["runtime"]) == ("my-shop", "stacks", "python")
    assert Path("My Shop/.gitignore").read_text() == ".scaler/\n"
    assert not list(Path("My Shop").rglob("*.draft"))


def test_init_and_an_empty_status_say_what_is_next_to_everybody(capsys: pytest.CaptureFixture[str]) -> None:
    """In a log, too: here is no terminal."""
    main(["init"])
    assert capsys.readouterr().err.splitlines()[-1].startswith("Next: ")
    main(["status"])
    assert "scaler ensure --stack dev" in capsys.readouterr().out
    Path("stacks/prod.yaml").write_text(Path("stacks/dev.yaml").read_text())
    main(["status"])
    assert "scaler ensure --stack dev" in capsys.readouterr().out


def test_the_spec_that_init_writes_names_its_schema_for_the_editor() -> None:
    main(["init"])
    first, *_ = Path("stacks/dev.yaml").read_text().splitlines()
    reference = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((Path("stacks") / reference).read_text()) == json_schema()


@pytest.mark.parametrize("cloud", ["hetzner", "digitalocean"])
def test_what_init_suggests_in_comments_is_valid_too(tmp_path: Path, cloud: str) -> None:
    main(["init", "--cloud", cloud])
    lines = Path("stacks/dev.yaml").read_text().splitlines()
    Path("stacks/worker.cloud-init.yaml").write_text("#cloud-config\n")
    Path("stacks/dev.yaml").write_text("\n".join(line.replace("    # ", "    ", 1) for line in lines))
    group = load(tmp_path / "stacks/dev.yaml", "shop").groups["worker"]
    assert (group.max, group.user_data, group.labels, group.scale_down, group.protect) == (
        10,
        "#cloud-config\n",
        {"team": "shop"},
        "newest",
        frozenset({"dev-worker-1"}),
    )


def test_init_never_overwrites(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Pulumi.yaml").write_text("name: mine\n")
    Path(".gitignore").write_text("*.log")
    assert main(["init", "-o", "json"]) == 0
    results = {file["path"]: file["result"] for file in json.loads(capsys.readouterr().out)["files"]}
    assert results == dict.fromkeys([*FILES, ".gitignore"], "written") | {"Pulumi.yaml": "kept"}
    assert Path("Pulumi.yaml").read_text() == "name: mine\n"
    assert Path(".gitignore").read_text() == "*.log\n.scaler/\n"
    before = {path: path.read_text() for path in Path().rglob("*") if path.is_file()}
    assert main(["init", "--cloud", "digitalocean"]) == 0
    assert capsys.readouterr().out == "".join(f"kept     {name}\n" for name in [*FILES, ".gitignore"])
    assert {path: path.read_text() for path in Path().rglob("*") if path.is_file()} == before


def test_init_says_what_it_cannot_write(capsys: pytest.CaptureFixture[str]) -> None:
    Path("stacks").write_text("a file where a folder should be")
    assert main(["init"]) == 1
    assert capsys.readouterr().err == (
        "Error: Cannot write stacks/__main__.py.\n"
        "  why: File exists\n"
        "  fix: Fix this and run again; the files written so far are kept.   (exit 1)\n"
    )


def test_an_unknown_cloud_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--cloud", "aws"]) == 64
    assert "digitalocean" in capsys.readouterr().err
    assert not Path("Pulumi.yaml").exists()
