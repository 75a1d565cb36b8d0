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
    """Return whether a policy forbids; starts the packs to ask them. True if none of them says it."""
    for pack, started in zip(packs, files, strict=True):
        info = _info(started)
        if info is None or info.name == pack_name:
            levels = _levels(info) if info else {}
            level = _configured(pack, policy) or levels.get(policy, "mandatory")
            if level not in _ADVISORY:
                return True
    return False


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
