"""The ready-made pipeline steps: their shell parts are taken out of the files and run, as their CI would."""

from __future__ import annotations

import configparser
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.engine.binary import PINNED
from scaler.support.version import VERSION
from tests.support.project import ROOT, Project, Ran, finish
from tests.support.review import BOT, TOKEN, GitHubReview, GitLabReview

CI = {"CI": "true"}


@pytest.fixture
def tools(hetzner: Project) -> Path:
    """A folder for PATH with `scaler` in it, and a `python3` that is new enough."""
    folder = hetzner.folder / "bin"
    folder.mkdir()
    for name, words in (("scaler", ["-m", "scaler"]), ("python3", [])):
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *words])} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def shell(project: Project, tools: Path, script: str, *, code: int = 0, **environ: str) -> Ran:
    """Run a script as runners do: bash that stops at the first error, in the project's folder."""
    ran = finish(
        subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=project.folder,
            env={**project.environ, **CI, "PATH": f"{tools}:{project.environ['PATH']}", **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    assert ran.code == code, f"exit {ran.code}, not {code}, of\n{script}\n{ran.stdout}\n{ran.stderr}"
    return ran


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def facts(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines())


# ---------------------------------------------------------------------------------------------
# GitHub


ACTION = read("action.yml")
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}


def github(project: Project) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(project.folder / "github.output"),
        "GITHUB_STEP_SUMMARY": str(project.folder / "github.md"),
        "GITHUB_PATH": str(project.folder / "github.path"),
        "GITHUB_WORKSPACE": str(project.folder),
        "RUNNER_TEMP": str(project.folder / "runner"),
    }


def act(project: Project, tools: Path, *, code: int = 0, **inputs: str) -> Ran:
    """The action's last step with these inputs."""
    given = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()} | inputs
    environ = {
        key: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: given[match[1]], value)
        for key, value in STEPS["Run scaler"]["env"].items()
    }
    return shell(project, tools, STEPS["Run scaler"]["run"], code=code, **github(project), **environ)


def test_the_action_scales_and_tells_later_steps(hetzner: Project, tools: Path) -> None:
    shell(hetzner, tools, STEPS["Install the engine"]["run"])
    ran = act(hetzner, tools, counts="2", stack="demo", options="--timeout 5m")
    assert len(hetzner.agreed()) == 2
    told = facts(hetzner.folder / "github.output")
    assert (told["outcome"], told["exit_code"], told["changed"]) == ("converged", "0", "true")
    assert (told["wanted"], told["ready"], told["created"], told["error"]) == ("2", "2", "2", "")
    assert {server["name"] for server in json.loads(told["servers"])} == set(hetzner.machines)
    declared = {name: value["value"] for name, value in ACTION["outputs"].items()}
    assert declared == {name: f"${{{{ steps.scaler.outputs.{name} }}}}" for name in declared}
    assert declared.keys() - {"failed_stacks"} == told.keys()
    summary = (hetzner.folder / "github.md").read_text(encoding="utf-8")
    assert summary.startswith("### demo: 2 of 2 ready")
    assert "| demo-worker-2 |" in summary
    lines = ran.stderr.splitlines()
    assert lines[0] == "::group::scaler ensure worker=2"
    assert lines[-1] == "::endgroup::"

    # The next step appends to the same files.
    act(hetzner, tools, command="preview", counts="3")
    assert facts(hetzner.folder / "github.output")["pending"] == "1"
    assert summary in (hetzner.folder / "github.md").read_text(encoding="utf-8")


def test_the_action_answers_every_question_beforehand() -> None:
    """Each command that would ask has --yes, and gets it."""
    script = STEPS["Run scaler"]["run"]
    [answered] = re.findall(r"^ *([a-z |]+)\) words\+=\(--yes\)", script, re.M)
    pages = (ROOT / "docs/reference/commands").glob("*.md")
    asking = {page.stem for page in pages if page.stem != "README" and "--yes` |" in page.read_text(encoding="utf-8")}
    assert set(answered.split(" | ")) == asking


def test_the_engine_is_kept_for_its_versions(hetzner: Project, tools: Path) -> None:
    shell(hetzner, tools, STEPS["Name the versions"]["run"], code=0, **github(hetzner))
    assert facts(hetzner.folder / "github.output") == {"scaler": VERSION, "engine_pinned": PINNED}
    key = STEPS["Keep the engine"]["with"]["key"]
    assert set(re.findall(r"steps\.versions\.outputs\.(\w+)", key)) == {"scaler", "engine_pinned"}


AUTOSCALE = {
    "metrics": {"busy": {"command": {"run": ["echo", "60"]}}},
    "rules": [{"target": {"metric": "busy", "value": 60}}],
}
"""A block that leaves the count as it is."""


def test_each_output_of_several_stacks_is_declared(hetzner: Project, tools: Path) -> None:
    hetzner.describe(groups={"worker": {"max": 5, "autoscale": AUTOSCALE}})
    spec = hetzner.spec_path.read_text(encoding="utf-8")
    hetzner.spec_path.with_name("other.yaml").write_text(spec, encoding="utf-8")
    act(hetzner, tools, command="autoscale", options="--all --preview")
    told = facts(hetzner.folder / "github.output")
    assert told["stack"] == "demo,other"
    assert told.keys() == ACTION["outputs"].keys()


WORKFLOW = read("ci/github.yml")


@pytest.fixture
def pull_request(tmp_path: Path) -> Iterator[GitHubReview]:
    """A pull request that the real `gh` reads and writes, through a socket of its settings."""
    if not shutil.which("gh"):
        pytest.skip("gh is not installed: make tools")
    with GitHubReview(tmp_path / "github.socket") as review:
        yield review


def test_the_workflow_comments_once_and_replaces_its_comment(
    hetzner: Project, tools: Path, pull_request: GitHubReview, tmp_path: Path
) -> None:
    steps = {step.get("name") or step["uses"]: step for step in WORKFLOW["jobs"]["preview"]["steps"]}
    given = steps["./scaler"]["with"]
    marker = "<!-- scaler demo -->"
    # More than one page of others' comments, one of which pretends.
    pretended = pull_request.write(f"{marker}\nnothing to see here", author=7)
    for number in range(130):
        pull_request.write(f"comment {number}", author=7)
    settings = tmp_path / "gh"
    settings.mkdir()
    (settings / "config.yml").write_text(f"http_unix_socket: {tmp_path / 'github.socket'}\n", encoding="utf-8")
    environ = {
        **github(hetzner),
        "GITHUB_REPOSITORY": "shop/web",
        "NUMBER": "7",
        "SCALER_STACK": "demo",
        "GH_TOKEN": TOKEN,
        "GH_CONFIG_DIR": str(settings),
    }

    def commented(count: int) -> str:
        hetzner.describe(groups={"worker": {"count": count}})
        act(hetzner, tools, command=given["command"], options=given["options"], stack="demo")
        shell(hetzner, tools, steps["Comment"]["run"], code=0, **environ)
        [comment] = [each for each in pull_request.comments if each.author == BOT]
        return comment.body

    head, _, folded = commented(3).partition("<details>")
    assert head.startswith(f"{marker}\n### demo: plan\n\n**Plan: 3 to add, 0 to change, 0 to remove.**\n\nCost: EUR +")
    assert folded.startswith("<summary>3 steps</summary>")
    assert "| demo-worker-1 |" in folded
    assert "Plan: 5 to add" in commented(5), "the comment was replaced"
    assert pretended.body == f"{marker}\nnothing to see here"
    assert len(pull_request.comments) == 132
    assert hetzner.changes == []


def test_the_workflow_is_whole() -> None:
    """What runs when, with which rights, and never two at once."""
    when = WORKFLOW[True]  # `on` is a truth value in YAML 1.1
    assert when.keys() == {"pull_request", "push", "schedule"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    credentials = {"HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"}
    assert credentials | {"PGPASSWORD", "PULUMI_ACCESS_TOKEN"} <= WORKFLOW["env"].keys()
    preview, scale = WORKFLOW["jobs"]["preview"], WORKFLOW["jobs"]["scale"]
    assert preview["permissions"] == {"contents": "read", "id-token": "write", "pull-requests": "write"}
    assert scale["permissions"] == {"contents": "read", "id-token": "write"}
    for job in (preview, scale):
        assert job["concurrency"]
        [step] = [step for step in job["steps"] if step.get("uses") == "./scaler"]
        assert step["with"].keys() <= ACTION["inputs"].keys()
        signed_in = {step["uses"].split("@")[0] for step in job["steps"] if "vars." in step.get("if", "")}
        assert signed_in == {"aws-actions/configure-aws-credentials", "azure/login", "google-github-actions/auth"}


def test_the_workflows_jobs_run_with_the_credentials_that_are_not_set(hetzner: Project, tools: Path) -> None:
    """GitHub makes an empty text of a secret or a variable that is not there."""
    empty = {name: "" for name, value in WORKFLOW["env"].items() if "secrets." in value or "vars." in value}
    assert "PULUMI_BACKEND_URL" in empty
    hetzner.environ |= empty | {"GOOGLE_OAUTH_ACCESS_TOKEN": ""}
    hetzner.describe(groups={"worker": {"max": 5, "autoscale": AUTOSCALE}})
    step = WORKFLOW["jobs"]["scale"]["steps"][-1]
    event, scheduled, otherwise = re.findall(r"'(\w+)'", step["with"]["command"])
    assert event == "schedule"
    act(hetzner, tools, command=otherwise, options=step["with"]["options"])
    assert len(hetzner.agreed()) == 3
    act(hetzner, tools, command=scheduled, options=step["with"]["options"])
    assert facts(hetzner.folder / "github.output")["error"] == ""


def test_previews_need_a_token_that_may_only_read(served: Project, tools: Path) -> None:
    served.run("ensure", "1", "--yes")
    served.world.set_tokens(served.vendor.name, readonly=True)
    before = len(served.changes)
    act(served, tools, command="preview", counts="2", stack="demo")
    assert facts(served.folder / "github.output")["outcome"] == "planned"
    assert len(served.changes) == before


def test_inputs_of_several_lines_count_whole(hetzner: Project, tools: Path) -> None:
    """A guard on the second line was dropped once, and three servers were made."""
    ran = act(hetzner, tools, code=3, counts="\nworker=3\n", options="--timeout 15m\n--max-change 1\n")
    assert "--max-change" in ran.stderr
    assert hetzner.creates == []


def test_inputs_are_never_run_as_code(hetzner: Project, tools: Path) -> None:
    for evil in ("$(touch pwned)", "`touch pwned`", "; touch pwned", "2; touch pwned"):
        for name in ("counts", "options", "stack", "command"):
            act(hetzner, tools, code=64, **{"counts": "1", name: evil})
    assert not (hetzner.folder / "pwned").exists()
    assert hetzner.requests() == []


def test_the_action_marks_what_is_wrong_where_it_is(hetzner: Project, tools: Path) -> None:
    good = hetzner.spec_path.read_text(encoding="utf-8")
    hetzner.spec_path.write_text(good.replace("limit: 10", "limit: many\n50%: x"), encoding="utf-8")
    ran = act(hetzner, tools, code=65)
    line = 1 + good[: good.index("limit")].count("\n")
    assert f"::error file=stacks/demo.yaml,line={line}::limit must be a whole number, not 'many'" in ran.stderr
    assert f"::error file=stacks/demo.yaml,line={line + 1}::50%25 is not a known key" in ran.stderr
    assert facts(hetzner.folder / "github.output")["error"] == "spec_invalid"
    assert "stacks/demo.yaml:" in (hetzner.folder / "github.md").read_text(encoding="utf-8")

    hetzner.spec_path.write_text(good, encoding="utf-8")
    ran = act(hetzner, tools, code=3, counts="11")
    assert "::error title=scaler%3A above_limit::" in ran.stderr
    assert facts(hetzner.folder / "github.output")["outcome"] == "refused"

    shutil.copytree(ROOT / "policies", hetzner.folder / "policies")
    hetzner.describe(policies=[{"path": "policies", "config": {"allowed-types": {"types": ["cpx22"]}}}])
    ran = act(hetzner, tools, code=3, counts="1")
    assert "::error title=policy allowed-types::demo-worker-1: " in ran.stderr
    assert facts(hetzner.folder / "github.output")["violations"] == "1"
    assert hetzner.machines == {}


def test_the_action_installs_a_scaler_that_works(hetzner: Project, tmp_path: Path) -> None:
    """From a copy of the repository, without an index: what it needs is lent by this interpreter's packages."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        target = tmp_path / "source" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, target)
    runner = tmp_path / "runner"
    python = tmp_path / "python"
    python.mkdir()
    (python / "python3").symlink_to(sys.executable)
    environ = {
        **github(hetzner),
        "RUNNER_TEMP": str(runner),
        "SOURCE": str(tmp_path / "source"),
        "EXTRAS": ACTION["inputs"]["extras"]["default"],
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    shell(hetzner, python, STEPS["Install scaler"]["run"], **environ)
    (added,) = (hetzner.folder / "github.path").read_text(encoding="utf-8").splitlines()
    lent: dict[str, Any] = {"PYTHONPATH": sysconfig.get_path("purelib")}
    found = shell(hetzner, Path(added), "command -v scaler; scaler validate; scaler preview 1 -o json", **lent)
    assert found.stdout.startswith(f"{runner}/scaler/bin/scaler\nok  demo")
    # Where there is one, none is installed.
    shutil.rmtree(tmp_path / "source")
    shell(hetzner, Path(added), STEPS["Install scaler"]["run"], **{**environ, **lent})


# ---------------------------------------------------------------------------------------------
# Other pipelines, systemd and cron


GITLAB = read("ci/gitlab.yml")


def gitlab(project: Project, tools: Path, job: str, *, code: int = 0, **environ: str) -> Ran:
    """Run one job as GitLab does: what comes before and the script in one shell, what comes after in another."""
    base = GITLAB[".scaler"]
    assert GITLAB[job]["extends"] == ".scaler"
    known = {"SCALER_STACK": "demo", "CI_PROJECT_DIR": str(project.folder), **environ}
    variables = {key: re.sub(r"\$(\w+)", lambda name: known[name[1]], text) for key, text in base["variables"].items()}
    script = "\n".join([*base["before_script"], *GITLAB[job]["script"]])
    ran = shell(project, tools, script, code=code, **known, **variables)
    for after in GITLAB[job].get("after_script", ()):
        shell(project, tools, after, code=0, **known, **variables)
    return ran


def test_gitlabs_jobs(hetzner: Project, tools: Path) -> None:
    gitlab(hetzner, tools, "scaler:preview")
    assert hetzner.changes == []
    assert "Plan: 3 to add" in (hetzner.folder / "scaler.md").read_text(encoding="utf-8")
    gitlab(hetzner, tools, "scaler:ensure")
    assert len(hetzner.agreed()) == 3
    artifacts = GITLAB[".scaler"]["artifacts"]
    written = {hetzner.folder / name for name in [*artifacts["paths"], artifacts["reports"]["dotenv"]]}
    assert all(path.is_file() for path in written)
    told = facts(hetzner.folder / "scaler.env")
    assert told["SCALER_OUTCOME"] == "converged"
    assert all(re.fullmatch("[A-Z_]+", key) for key in told)
    assert json.loads((hetzner.folder / "scaler.json").read_text(encoding="utf-8"))["outcome"] == "converged"
    hetzner.describe(groups={"worker": {"max": 5, "autoscale": AUTOSCALE}})
    gitlab(hetzner, tools, "scaler:autoscale")
    assert facts(hetzner.folder / "scaler.env")["SCALER_CHANGED"] == "false"

    # A run that is refused leaves reports of its own, not those of the run before.
    hetzner.describe(groups={"worker": {"count": 0}})
    with (hetzner.folder / "stacks" / "demo.yaml").open("a") as spec:
        spec.write("nonsense: 1\n")
    gitlab(hetzner, tools, "scaler:ensure", code=65)
    assert facts(hetzner.folder / "scaler.env")["SCALER_ERROR"] == "spec_invalid"
    assert json.loads((hetzner.folder / "scaler.json").read_text(encoding="utf-8"))["error"]["code"] == "spec_invalid"
    assert len(hetzner.machines) == 3


def test_gitlabs_preview_writes_one_note_and_replaces_it(hetzner: Project, tools: Path) -> None:
    marker = "<!-- scaler demo -->"
    with GitLabReview() as merge_request:
        pretended = merge_request.write(f"{marker}\nnothing to see here", author=7)
        for number in range(130):
            merge_request.write(f"note {number}", author=7)
        environ = {
            "CI_API_V4_URL": merge_request.url,
            "CI_PROJECT_ID": "12",
            "CI_MERGE_REQUEST_IID": "7",
            "SCALER_NOTES_TOKEN": TOKEN,
        }

        def noted(count: int, code: int = 0) -> str:
            hetzner.describe(groups={"worker": {"count": count}})
            gitlab(hetzner, tools, "scaler:preview", code=code, **environ)
            [note] = [each for each in merge_request.comments if each.author == BOT]
            return note.body

        head, _, folded = noted(3).partition("<details>")
        assert head.startswith(
            f"{marker}\n### demo: plan\n\n**Plan: 3 to add, 0 to change, 0 to remove.**\n\nCost: EUR +"
        )
        assert "| demo-worker-1 |" in folded
        assert "Plan: 5 to add" in noted(5), "the note was replaced"
        assert "spec_invalid" in noted(11, code=65), "more than `limit`"
        assert pretended.body == f"{marker}\nnothing to see here"
        assert len(merge_request.comments) == 132
    assert hetzner.changes == []


def test_gitlabs_token_for_the_backends_role_is_where_aws_clients_read_it(hetzner: Project, tools: Path) -> None:
    [sign_in] = [each for each in GITLAB[".scaler"]["before_script"] if "AWS_ROLE_ARN" in each]
    script = f'{sign_in}\ncat "$AWS_WEB_IDENTITY_TOKEN_FILE"; stat -c %a "$AWS_WEB_IDENTITY_TOKEN_FILE"'
    given: dict[str, Any] = {
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/scaler",
        "SCALER_ID_TOKEN": "signed",
        "TMPDIR": str(hetzner.folder),
    }
    assert shell(hetzner, tools, script, **given).stdout == "signed600\n"
    assert GITLAB[".scaler"]["id_tokens"].keys() == {"SCALER_ID_TOKEN"}
    shell(hetzner, tools, f'{sign_in}\ntest -z "${{AWS_WEB_IDENTITY_TOKEN_FILE:-}}"')


def test_gitlab_keeps_the_engine_for_its_versions() -> None:
    assert GITLAB[".scaler"]["variables"]["SCALER_VERSIONS"] == f"{VERSION}-{PINNED}"
    assert GITLAB[".scaler"]["cache"]["key"] == "scaler-$SCALER_VERSIONS"


def test_woodpeckers_step(hetzner: Project, tools: Path) -> None:
    (step,) = read("ci/woodpecker.yml")["steps"]
    environ: dict[str, Any] = {key: value for key, value in step["environment"].items() if isinstance(value, str)}
    shell(hetzner, tools, "\n".join(step["commands"]), **{**environ, "SCALER_STACK": "demo"})
    assert len(hetzner.agreed()) == 3


def here(project: Project, tools: Path, text: str) -> str:
    """The places of the examples as this test has them."""
    for ours, theirs in (("/opt/scaler/bin", str(tools)), ("/srv/workers", str(project.folder)), ("prod", "demo")):
        assert ours in text, ours
        text = text.replace(ours, theirs)
    return text


def unit(project: Project, tools: Path, name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(here(project, tools, (ROOT / "ci" / name).read_text(encoding="utf-8")))
    return parser


def test_systemds_service(hetzner: Project, tools: Path) -> None:
    service = unit(hetzner, tools, "scaler.service")["Service"]
    words: Sequence[str] = shlex.split(service["ExecStart"])
    assert subprocess.run(words, cwd=service["WorkingDirectory"], env=hetzner.environ, check=False).returncode == 0
    assert len(hetzner.agreed()) == 3
    timer = configparser.ConfigParser()
    timer.read(ROOT / "ci" / "scaler.timer")
    assert timer["Timer"]["OnCalendar"] == "*:0/5"


def test_crons_line(hetzner: Project, tools: Path) -> None:
    """By `sh`, from another folder, with the few variables that cron gives; and silent when all is well."""
    text = here(hetzner, tools, (ROOT / "ci" / "crontab").read_text(encoding="utf-8"))
    (line,) = [line for line in text.splitlines() if line.startswith("*/5")]
    command = line.split(maxsplit=5)[5]
    ran = subprocess.run(["/bin/sh", "-c", command], cwd="/", env=hetzner.environ, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert len(hetzner.agreed()) == 3
    again = subprocess.run(["/bin/sh", "-c", command], cwd="/", env=hetzner.environ, capture_output=True, check=False)
    assert (again.returncode, again.stdout, again.stderr) == (0, b"", b"")


# ---------------------------------------------------------------------------------------------
# The documentation's examples


def blocks(path: str, language: str) -> list[str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return [textwrap.dedent(body) for body in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)]


def test_every_shell_example_of_the_page_works(hetzner: Project, tools: Path) -> None:
    examples = blocks("docs/how-to/ci.md", "sh")
    assert len(examples) == 2
    for example in examples:
        shell(hetzner, tools, example)
    assert len(hetzner.agreed()) == 3
    assert (hetzner.folder / "preview.md").read_text(encoding="utf-8").startswith("### demo: plan")


@pytest.mark.parametrize("page", ["docs/how-to/ci.md", "README.md"])
def test_the_workflow_example_uses_what_the_action_has(page: str) -> None:
    (workflow,) = [block for block in blocks(page, "yaml") if "jobs:" in block]
    steps = yaml.safe_load(workflow)["jobs"]["scale"]["steps"]
    (step,) = [step for step in steps if "scaler" in step.get("uses", "")]
    assert step["with"].keys() <= ACTION["inputs"].keys()
    used = set(re.findall(r"steps\.(\w+)\.outputs\.(\w+)", workflow))
    assert used <= {(step.get("id"), name) for name in ACTION["outputs"]}


def test_the_policies_example_is_a_spec(hetzner: Project) -> None:
    shutil.copytree(ROOT / "policies", hetzner.folder / "policies")
    (example,) = blocks("docs/how-to/policies.md", "yaml")
    hetzner.describe(groups={"worker": {"labels": {"team": "shop", "role": "worker"}}}, **yaml.safe_load(example))
    assert hetzner.run("preview", "2", "-o", "json").document["violations"] == []
    hetzner.describe(limit=30, **yaml.safe_load(example))
    found = hetzner.run("preview", "21", "-o", "json", code=3).document["violations"]
    assert {(each["policy"], each["level"]) for each in found} == {
        ("required-labels", "mandatory"),
        ("largest-stack", "advisory"),
    }


# ---------------------------------------------------------------------------------------------
# Reports, and nobody to ask


def test_a_report_that_cannot_be_written_ends_the_run_before_it_begins(hetzner: Project) -> None:
    (hetzner.folder / "file").write_text("")
    for option in ("--summary", "--dotenv", "--json-file"):
        refused = hetzner.ensure("1", option, "file/report", code=64)
        assert "file/report" in refused.error["message"]
    assert hetzner.requests() == []
    hetzner.run("ensure", "1", "--yes", "--json-file", "new/folder/result.json")
    assert json.loads((hetzner.folder / "new/folder/result.json").read_text(encoding="utf-8"))["outcome"] == "converged"


def test_a_variable_that_names_no_file_is_a_warning(hetzner: Project) -> None:
    missing = {"GITHUB_OUTPUT": "/no/such/folder/output", "GITHUB_STEP_SUMMARY": str(hetzner.folder)}
    ran = hetzner.run("ensure", "1", "--yes", "-o", "json", environ=missing)
    assert ran.document["outcome"] == "converged"
    assert ran.stderr.count("was not written") == 2


def on_a_terminal(project: Project, typed: bytes, *arguments: str, **environ: str) -> Ran:
    """Run with a terminal for standard input and error, at which this has been typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed)
        process = project.start(*arguments, environ=environ, stdin=theirs, stderr=theirs)
        stdout, _ = process.communicate(timeout=120)
        return Ran(process.returncode, stdout, os.read(ours, 65536).decode())
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [(["ensure", "1"], {}), (["increase"], {}), (["decrease"], {}), (["destroy"], {}), (["ensure"], {"CI": "1"})],
    ids=" ".join,
)
def test_nobody_is_asked_without_a_terminal(hetzner: Project, arguments: list[str], environ: Mapping[str, str]) -> None:
    refused = hetzner.run(*arguments, "-o", "json", code=64, environ=environ)
    assert refused.error["code"] == "consent_missing"
    assert "--yes" in refused.error["fix"]
    assert hetzner.requests() == []


def test_nobody_is_asked_in_ci_even_at_a_terminal(hetzner: Project) -> None:
    refused = on_a_terminal(hetzner, b"y\n", "ensure", "1", **CI)
    assert refused.code == 64
    assert "--yes" in refused.stderr
    assert hetzner.requests() == []
    asked = on_a_terminal(hetzner, b"n\n", "ensure", "1")
    assert asked.code == 0
    assert "Change demo?" in asked.stderr
    assert hetzner.machines == {}
