"""A command that is forked is what it would be if it had been started afresh."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import launcher

OUTPUT = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def test_it_says_and_returns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    commands = (["version"], ["statsu"], ["validate", "-o", "json"], ["status", "--stack", "nöne", "--debug"])
    outcomes = []
    for is_cold in (True, False):
        monkeypatch.setattr(launcher, "IS_COLD", is_cold)
        ran = [launcher.run(command, cwd=tmp_path, env=launcher.ENVIRON) for command in commands]
        # How deep the calls are is the one difference.
        outcomes.append([(each.returncode, each.stdout, each.stderr.splitlines()[-3:]) for each in ran])
    assert outcomes[0] == outcomes[1]
    assert {code for code, _, _ in outcomes[0]} == {0, 64}


def test_nothing_of_one_is_left_to_the_next(tmp_path: Path) -> None:
    for name, variables in (("one", {"SCALER_STACK": "dev"}), ("two", {})):
        folder = tmp_path / name
        (folder / "stacks").mkdir(parents=True)
        (folder / "stacks" / "prod.yaml").write_text("cloud: hetzner\n")
        (folder / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
        ran = launcher.run(("status", "-o", "json"), cwd=folder, env={**launcher.ENVIRON, **variables})
        assert ("dev" in ran.stdout) is bool(variables), ran.stdout


@pytest.mark.server
def test_it_leads_a_session_hears_signals_and_its_end_is_told(tmp_path: Path) -> None:
    command = ("sim", "serve", "--world", "world.db")
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with launcher.start(command, cwd=tmp_path, env=launcher.ENVIRON, start_new_session=True, **OUTPUT) as serving:
            assert serving.stdout
            assert serving.stdout.readline().startswith("export ")
            assert serving.poll() is None
            assert os.getsid(serving.pid) == serving.pid
            serving.send_signal(number)
            assert serving.wait(60) == serving.poll() == code


def test_what_python_reads_as_it_starts_is_read(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(7)\n")
    ran = launcher.run(("version",), cwd=tmp_path, env={**launcher.ENVIRON, "PYTHONPATH": str(tmp_path)})
    assert ran.returncode != 0
