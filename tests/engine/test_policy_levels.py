"""Whether a policy that could not be judged forbids: the spec, else the pack, says it; in doubt it does."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import analyzer_pb2

from scaler.engine.policy_levels import forbids, refuse_unknown_policies
from scaler.engine.policy_packs import launchers
from scaler.errors import SpecError
from scaler.model import PolicyPack
from tests.support.servers import await_true

ADVISORY: Any = analyzer_pb2.ADVISORY
MANDATORY: Any = analyzer_pb2.MANDATORY


def info(level: Any, name: str = "rules", **initial: Any) -> Any:
    """What a pack with one policy, `size`, says of itself."""
    config = {key: analyzer_pb2.PolicyConfig(enforcementLevel=value) for key, value in initial.items()}
    policies = [analyzer_pb2.PolicyInfo(name="size", enforcementLevel=level)]
    return analyzer_pb2.AnalyzerInfo(name=name, policies=policies, initialConfig=config)


def pack(level: Any = None, **config: object) -> PolicyPack:
    return PolicyPack(path=Path("/rules"), level=level, config=config)


@pytest.mark.parametrize(
    ("packs", "forbidden"),
    [
        ([(pack(), info(MANDATORY))], True),
        ([(pack(), info(ADVISORY))], False),
        # The pack's own first configuration comes before each policy's level, and the policy's own before "all".
        ([(pack(), info(ADVISORY, all=MANDATORY))], True),
        ([(pack(), info(MANDATORY, all=MANDATORY, size=ADVISORY))], False),
        # The spec comes before the pack.
        ([(pack(level="advisory"), info(MANDATORY))], False),
        ([(pack(level="advisory", size="mandatory"), info(ADVISORY))], True),
        ([(pack(size={"most": 3, "enforcementLevel": "advisory"}), info(MANDATORY))], False),
        ([(pack(size={"most": 3}), info(MANDATORY))], True),
        # Another pack has a policy of the same name.
        ([(pack(), info(MANDATORY, name="others")), (pack(), info(ADVISORY))], False),
        # A pack that cannot be asked.
        ([(pack(), None)], True),
        ([(pack(level="advisory"), None)], False),
        ([(pack(), None), (pack(), info(ADVISORY))], False),
        # None of the packs knows the policy, or the pack of this name.
        ([(pack(), info(ADVISORY, name="others"))], True),
        ([], True),
    ],
)
def test_the_level_of_a_policy_that_could_not_be_judged(packs: Any, forbidden: bool) -> None:
    assert forbids("size", "rules", packs) is forbidden


LOUD = """
import json, os, subprocess, sys
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

sleeper = subprocess.Popen(["sleep", "600"])
with open(os.path.join(os.path.dirname(__file__), "seen"), "w") as file:
    json.dump({"environ": dict(os.environ), "child": sleeper.pid}, file)
PolicyPack("rules", policies=[ResourceValidationPolicy("size", "d", lambda args, report: None)])
"""


@pytest.mark.server
def test_a_pack_that_is_asked_for_its_policies_gets_no_credentials_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaler itself starts it then, with the cloud's token in its environment, and a proxy that never answers."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (folder / "__main__.py").write_text(LOUD)
    given = PolicyPack(path=folder, level=None, config={"sise": "disabled"})
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with socket.create_server(("127.0.0.1", 0)) as proxy, launchers([given], ["DEPLOY_KEY"]) as files:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("HCLOUD_TOKEN", "s3cret")
        with pytest.raises(SpecError, match="does not have: sise"):
            refuse_unknown_policies([given], files, {**environ, "DEPLOY_KEY": "s3cret"})
    seen = json.loads((folder / "seen").read_text())
    assert "s3cret" not in seen["environ"].values()
    assert seen["environ"]["PATH"] == os.environ["PATH"]
    await_true(lambda: not Path(f"/proc/{seen['child']}/cmdline").exists() or not _runs(seen["child"]), "its end")


def _runs(pid: int) -> bool:
    return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
