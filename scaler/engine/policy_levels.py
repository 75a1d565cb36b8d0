"""The level of a policy that could not be judged.

A policy that reads a value which is not known before the change reports an *advisory* finding, "can't
run policy …", whatever its level is (pulumi-policy: `AnalyzeStack`). The pack itself knows the level.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from scaler.engine.policy_packs import PackFiles
from scaler.model import PolicyPack

_ADVISORY = ("advisory", "disabled")
_ANSWER_S = 20.0

Levels = Mapping[str, str]


def is_mandatory(policy: str, pack_name: str, packs: Sequence[PolicyPack], files: Sequence[PackFiles]) -> bool:
    """Return whether a policy forbids; starts the packs to ask them, since an event names only the pack."""
    return forbids(policy, pack_name, [(pack, _info(started)) for pack, started in zip(packs, files, strict=True)])


def forbids(policy: str, pack_name: str, packs: Sequence[tuple[PolicyPack, Any]]) -> bool:
    """Return whether a policy is mandatory, from each pack and its `AnalyzerInfo`; None if it could not be asked.

    True if nobody says it.
    """
    named = [(pack, info) for pack, info in packs if info is not None and info.name == pack_name]
    levels = [_configured(pack, policy) or _levels(info).get(policy) for pack, info in named]
    levels = levels or [_configured(pack, policy) for pack, info in packs if info is None]
    return not levels or any(level not in _ADVISORY for level in levels)


def _configured(pack: PolicyPack, policy: str) -> str | None:
    """Return the level that the spec gives a policy; its own comes before that of the whole pack."""
    given = pack.config.get(policy)
    level = given.get("enforcementLevel") if isinstance(given, Mapping) else given
    return str(level) if level else pack.level


def _levels(info: Any) -> Levels:
    """Return the levels that a pack says itself; its initial configuration comes before each policy's."""
    initial = {name: _word(config.enforcementLevel) for name, config in info.initialConfig.items()}
    return {
        policy.name: initial.get(policy.name) or initial.get("all") or _word(policy.enforcementLevel)
        for policy in info.policies
    }


def _word(level: int) -> str:
    return str(analyzer_pb2.EnforcementLevel.Name(level)).lower()


def _info(files: PackFiles) -> Any:
    """Return what a pack says of itself; None if it cannot be asked."""
    asked = suppress(OSError, ValueError, grpc.RpcError)
    with asked, _started(files) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return analyzer_pb2_grpc.AnalyzerStub(channel).GetAnalyzerInfo(empty_pb2.Empty(), timeout=_ANSWER_S)
    return None


@contextmanager
def _started(files: PackFiles) -> Iterator[int]:
    """Start a pack as the engine does, without an engine; yield the port that it writes on its first line."""
    process = subprocess.Popen(
        [str(files.path), "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield int(process.stdout.readline() if process.stdout else b"")
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
