"""Completion: the scripts of the shells, what is offered, in a real bash, and what it loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import scaler
from scaler.model import Server
from scaler.model.lifecycle import Status
from scaler.records.state import State
from scaler.records.state_file import StateFile

ROOT = Path(scaler.__file__).parent.parent
AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two stacks, of which `prod` has servers on record; and a `scaler` on PATH."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (tmp_path / "stacks" / "dev.yaml").write_text("groups: {one: {count: 1}}\n")
    (tmp_path / "stacks" / "prod.yaml").write_text("groups:\n  worker: {count: 4}\n  web: {count: 2}\n")
    servers = [
        Server(name=f"prod-{name}", group="worker", id="1", status=Status(status), since=AT)
        for name, status in (("worker-1", "running"), ("worker-2", "errored"), ("web-1", "deleted"))
    ]
    state = State(
        stack="prod", project="demo", cloud="hetzner", serial=0, updated=AT, wanted={}, servers=tuple(servers)
    )
    StateFile(tmp_path / ".scaler", "prod").save(state)
    program = tmp_path / "bin" / "scaler"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scaler "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environ(project: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SCALER_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": f"{project / 'bin'}:{os.environ['PATH']}", **more}


BASH = """
source <(scaler completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p scaler | sed 's/.*-F \\([^ ]*\\).*/\\1/') scaler
printf '%s\\n' "${COMPREPLY[@]:-}"
"""


def in_bash(project: Path, *words: str) -> set[str]:
    """What a real bash offers for the last word."""
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", *words],
        cwd=project,
        env=environ(project),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


OFFERED = [
    (["scaler", "ens"], {"ensure"}),
    (["scaler", "ensure", "--stack", ""], {"dev", "prod"}),
    (["scaler", "-s", "p"], {"prod"}),
    (["scaler", "increase", "-s", "prod", "--group", "w"], {"worker", "web"}),
    (["scaler", "ensure", "-s", "prod", "wo"], {"worker=4"}),
    (["scaler", "-s", "prod", "stop", ""], {"prod-worker-1", "prod-worker-2"}),
    (["scaler", "-s", "prod", "stop", "prod-worker-1", "prod"], {"prod-worker-2"}),
    (["scaler", "-s", "prod", "why", "prod-worker-2"], {"prod-worker-2"}),
    (["scaler", "-s", "nowhere", "stop", ""], set()),
    (["scaler", "status", "-o", ""], {"text", "json", "yaml", "markdown"}),
    (["scaler", "completion", ""], {"bash", "zsh", "fish"}),
]


@pytest.mark.parametrize(("words", "offered"), OFFERED, ids=[" ".join(words) for words, _ in OFFERED])
def test_a_bash_offers_commands_stacks_groups_counts_and_servers(
    project: Path, words: list[str], offered: set[str]
) -> None:
    assert in_bash(project, *words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_the_same_with_what_explains_it(project: Path, shell: str) -> None:
    asked = {
        "zsh": {"COMP_WORDS": "scaler -s prod stop prod", "COMP_CWORD": "4"},
        "fish": {"COMP_WORDS": "scaler -s prod stop prod", "COMP_CWORD": "prod"},
    }[shell]
    done = subprocess.run(
        ["scaler"],
        cwd=project,
        env=environ(project, _SCALER_COMPLETE=f"{shell}_complete", **asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "prod-worker-1" in done.stdout
    assert "errored" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(project: Path, shell: str) -> None:
    script = subprocess.run(
        ["scaler", "completion", shell], env=environ(project), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "_SCALER_COMPLETE" in script
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed: its script was only generated")
    subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)


HEAVY = {"pulumi", "pulumi_hcloud", "pulumi_digitalocean", "pydantic", "grpc", "hcloud", "pydo", "requests"}


@pytest.mark.parametrize("words", [words for words, _ in OFFERED], ids=" ".join)
def test_completion_loads_neither_pulumi_nor_a_provider_nor_pydantic(project: Path, words: list[str]) -> None:
    script = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "from scaler.commands.main import main; main([])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project,
        env=environ(
            project, _SCALER_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    loaded = set(done.stderr.split())
    assert "scaler.commands.main" in loaded
    assert loaded & HEAVY == set()
