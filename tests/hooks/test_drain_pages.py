"""The pages about drains: their specs are good, and their scripts wait for what they say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from scaler.config.spec import load
from tests.support import servers
from tests.support.processes import wait_until

PAGES = Path(__file__).parents[2] / "docs/how-to"
HEAD = "cloud: hetzner\ngroups:\n  worker:\n    count: 1\n    max: 9\n    image: a\n    type: b\n    location: c\n"

PHP = """#!/bin/sh
# Like Horizon: `terminate` sends a signal to the master and returns at once; the master waits for its jobs.
if [ "$2" = horizon ]; then
    trap 'trap "" TERM; sleep 1.5; touch done; exit 0' TERM
    echo $$ > master
    while :; do sleep 0.05; done
fi
kill -TERM "$(cat master)"
"""


def blocks(page: str, kind: str) -> list[str]:
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("number", range(2))
def test_the_blocks_of_the_page_about_drains_are_good(tmp_path: Path, number: int) -> None:
    stop = blocks("drains.md", "yaml")[number]
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "prod.yaml"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in stop.splitlines()), encoding="utf-8")
    policy = load(path, "shop").groups["worker"].stop
    assert policy.drain and policy.resume
    assert len(blocks("drains.md", "yaml")) == 2


@pytest.mark.parametrize("options", [[], ["--environment=production"]])
def test_horizons_drain_returns_when_the_master_is_gone_and_not_before(tmp_path: Path, options: list[str]) -> None:
    servers.needs("pgrep", "procps")
    [text] = blocks("from-laravel-horizon.md", "sh")
    drain = script(tmp_path, "drain-horizon", text)
    script(tmp_path, "php", PHP)
    environ = {**os.environ, "APP": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(["php", "artisan", "horizon", *options], cwd=tmp_path, env=environ) as master:
        pid = tmp_path / "master"
        wait_until(lambda: pid.exists() and pid.read_text(encoding="utf-8"), "the master")
        ended = subprocess.run([drain], env=environ, timeout=60, check=False)
        assert ended.returncode == 0
        assert (tmp_path / "done").exists(), "the drain waited for the job under way"
        assert master.wait(10) == 0


@pytest.mark.parametrize(
    ("title", "code"), [("[2 of 5 busy]", 1), ("[10 of 10 busy] stopping", 1), ("[0 of 5 busy] stopping", 0)]
)
def test_sidekiqs_check_reads_the_jobs_under_way_from_the_title(tmp_path: Path, title: str, code: int) -> None:
    servers.needs("pgrep", "procps")
    [text] = blocks("drains.md", "sh")
    drained = script(tmp_path, "sidekiq-drained", text)
    # A process whose title is Sidekiq's.
    command = ["bash", "-c", 'exec -a "$0" sleep 30', f"sidekiq 7.3.0 shop {title}"]
    with subprocess.Popen(command) as sidekiq:
        wait_until(lambda: Path(f"/proc/{sidekiq.pid}/cmdline").read_bytes().startswith(b"sidekiq"), "its title")
        assert subprocess.run([drained], check=False).returncode == code
        sidekiq.kill()


def test_sidekiqs_check_does_not_believe_a_title_of_before_it_was_quiet(tmp_path: Path) -> None:
    """Sidekiq writes its title every ten seconds (`BEAT_PAUSE`), with `stopping` once it is quiet."""
    test_sidekiqs_check_reads_the_jobs_under_way_from_the_title(tmp_path, "[0 of 5 busy]", 1)


@pytest.mark.parametrize("is_taken_back", [False, True])
def test_a_runner_that_was_taken_back_is_not_stopped_by_its_old_drain(tmp_path: Path, is_taken_back: bool) -> None:
    """When scaler ends the ssh of a drain, the script on the server goes on."""
    mark = tmp_path / "draining"
    [text] = [text for text in blocks("github-runners.md", "sh") if "drain-runner" in text]
    drain = script(tmp_path, "drain-runner", text.replace("/run/draining", str(mark)).replace("sleep 5", "sleep 0.05"))
    script(tmp_path, "pgrep", "#!/bin/sh\ntouch looked\n[ -e job ]\n")
    script(tmp_path, "systemctl", '#!/bin/sh\necho "$@" > asked\n')
    (tmp_path / "job").touch()
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([drain], cwd=tmp_path, env=environ) as process:
        wait_until((tmp_path / "looked").exists, "that it waits for the job")
        assert process.poll() is None
        if is_taken_back:
            mark.unlink()
        else:
            (tmp_path / "job").unlink()
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert (tmp_path / "asked").exists() is not is_taken_back


def test_no_page_has_an_ssh_that_would_ask_or_refuse_a_new_server() -> None:
    pages = [*PAGES.glob("*.md"), PAGES.parent / "reference/spec.md"]
    commands = [each for page in pages for each in re.findall(r"\[ssh,.*", page.read_text(encoding="utf-8"))]
    assert len(commands) > 10
    for command in commands:
        assert command.startswith("[ssh, -o, BatchMode=yes, -o, StrictHostKeyChecking=accept-new, "), command
