"""Whether a policy that could not be judged forbids: the spec, else the pack, says it; in doubt it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import analyzer_pb2

from scaler.engine.policy_levels import forbids
from scaler.model import PolicyPack

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
