"""No command that a spec names gets the cloud's token or the passphrase, unless the spec's `env` names them."""

import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.engine.policy_packs import launchers
from scaler.hooks.drains import DrainProcesses
from scaler.hooks.notify import Notifier
from scaler.hooks.processes import run_command
from scaler.hooks.readiness import ReadinessChecker
from scaler.model import Drain, NotifyTarget, PolicyPack, Readiness, StopPolicy
from scaler.model.drain import DrainState
from scaler.support.clock import SystemClock
from scaler.support.environment import CommandEnvironment
from tests.support.processes import wait_until
from tests.support.records import server

SECRETS = {
    "HCLOUD_TOKEN": "t0k3n",
    "PULUMI_CONFIG_PASSPHRASE": "phr4se",
    "STRIPE_SK": "sk-1",
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer 2",
    "ALERTS": "slack://3",
}
WRITE = ["sh", "-c", 'env > "$0.new"; mv "$0.new" "$0"']


def written(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _with_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def test_by_default_a_command_gets_none(tmp_path: Path) -> None:
    """Whoever starts a command and forgets about its environment hands over nothing."""
    assert run_command([*WRITE, "env"], tmp_path, 5) is None
    assert "PATH=" in written(tmp_path / "env")
    assert [value for value in SECRETS.values() if value in written(tmp_path / "env")] == []


@pytest.mark.parametrize("named", [(), ("HCLOUD_TOKEN",)])
def test_each_kind_of_command_gets_what_is_named(tmp_path: Path, named: tuple[str, ...]) -> None:
    environ = CommandEnvironment.of(os.environ, named)
    worker = server("prod-worker-1", ipv4="127.0.0.1")
    clock = SystemClock()

    notifier = Notifier(
        "prod",
        [NotifyTarget(command=(*WRITE, "notify"))],
        folder=tmp_path,
        warn=pytest.fail,
        environ=environ,
    )
    notifier.send([{"event": "run.started"}])
    notifier.close()

    checker = ReadinessChecker(clock, tmp_path, environ=environ)
    checker.probe(Readiness(kind="command", command=(*WRITE, "ready")), [worker])

    drains = DrainProcesses(tmp_path / "drains", tmp_path, clock, environ=environ)
    drained = ("sh", "-c", "true")
    leaving = replace(worker, drain=Drain(since=clock.now(), until=clock.now() + timedelta(minutes=1)))
    drains.announce([leaving])
    drains.start([(leaving, StopPolicy(drain=(*WRITE, "drain")))])
    drains.start([(leaving, StopPolicy(drain=(*WRITE, "begin"), drained=drained))])
    wait_until((tmp_path / "drain").exists, "the drain")
    drains.keep_only(())

    for kind in ("notify", "ready", "drain", "begin"):
        given = [name for name, value in SECRETS.items() if f"{name}={value}" in written(tmp_path / kind)]
        assert (kind, given) == (kind, list(named))


READS_HOST = "#!/bin/sh\n# for ${DEPLOY_HOST}, with curl\necho unreachable >&2\nexit 3\n"


def test_a_command_that_fails_names_what_it_misses(tmp_path: Path) -> None:
    (tmp_path / "drain.sh").write_text(READS_HOST, encoding="utf-8")
    (tmp_path / "program").write_bytes(b"\x7fELF\0DEPLOY_HOST ")
    environ = CommandEnvironment.of({"PATH": os.environ["PATH"], "DEPLOY_HOST": "a", "OTHER": "b", "_": "c"})
    missed = "ended with 3, without DEPLOY_HOST (`env` of the spec hands variables over)"
    assert run_command(["sh", "drain.sh"], tmp_path, 5, environ=environ) == f"{missed}: unreachable"
    assert run_command(["sh", "-c", "exit 3 # $DEPLOY_HOST"], tmp_path, 5, environ=environ) == missed
    assert run_command(["sh", "-c", "exit 3", "program", "/"], tmp_path, 5, environ=environ) == "ended with 3"

    # A drain that was ended by another run says it too.
    clock = SystemClock()
    leaving = replace(
        server("prod-worker-1", ipv4="127.0.0.1"),
        drain=Drain(since=clock.now(), until=clock.now() + timedelta(minutes=1)),
    )
    policy = StopPolicy(drain=("sh", "drain.sh"))
    drains = DrainProcesses(tmp_path / "drains", tmp_path, clock, environ=environ)
    drains.announce([leaving])
    drains.start([(leaving, policy)])
    wait_until(lambda: drains.find(leaving, policy).state is DrainState.FAILED, "the drain's end")
    assert drains.find(leaving, policy).why == f"{missed}: unreachable"

    named = CommandEnvironment.of(os.environ | {"DEPLOY_HOST": "a"}, ["DEPLOY_HOST"])
    assert run_command(["sh", "drain.sh"], tmp_path, 5, environ=named) == "ended with 3: unreachable"


def test_a_policy_pack_gets_what_is_named(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.write_text('#!/bin/sh\nenv\necho "$1"\n', encoding="utf-8")
    pack.chmod(0o755)
    environ = {**SECRETS, "PATH": os.environ["PATH"], "PULUMI_PROJECT": "demo"}
    with launchers([PolicyPack(path=pack)], ["PULUMI_CONFIG_PASSPHRASE"]) as (files,):
        ran = subprocess.run([files.path, "127.0.0.1:1"], env=environ, capture_output=True, text=True, check=True)
    assert "phr4se" not in ran.stdout
    assert {"HCLOUD_TOKEN=t0k3n", "PULUMI_PROJECT=demo", "127.0.0.1:1"} <= set(ran.stdout.splitlines())
