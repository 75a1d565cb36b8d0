"""What a pack says of its policies: their names, and the level of one that could not be judged.

A policy that reads a value which is not known before the change reports an *advisory* finding, "can't
run policy …", whatever its level is (pulumi-policy: `AnalyzeStack`). The pack itself knows the level.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from scaler.engine.policy_packs import PackFiles
from scaler.errors import SpecError
from scaler.model import PolicyPack
from scaler.support.guardian import ended, start_guarded
from scaler.support.suggestions import nearest
from scaler.support.text import named

_ADVISORY = ("advisory", "disabled")
_ANSWER_S = 20.0

Levels = Mapping[str, str]


def is_mandatory(
    policy: str, pack_name: str, packs: Sequence[PolicyPack], files: Sequence[PackFiles], environ: Mapping[str, str]
) -> bool:
    """Return whether a policy forbids; starts the packs to ask them, since an event names only the pack."""
    asked = [(pack, _info(given, environ)) for pack, given in zip(packs, files, strict=True)]
    return forbids(policy, pack_name, asked)


def silent_packs(
    packs: Sequence[PolicyPack], files: Sequence[PackFiles], environ: Mapping[str, str]
) -> list[PolicyPack]:
    """Return the packs that do not start, or do not answer."""
    return [pack for pack, given in zip(packs, files, strict=True) if _info(given, environ) is None]


def refuse_unknown_policies(
    packs: Sequence[PolicyPack], files: Sequence[PackFiles], environ: Mapping[str, str]
) -> None:
    """SpecError if the spec configures a policy that its pack does not have: the engine would ignore that.

    A pack that cannot be asked is left to the engine, which says why.
    """
    for pack, given in zip(packs, files, strict=True):
        info = _info(given, environ) if pack.config else None
        known = sorted(policy.name for policy in info.policies) if info else []
        unknown = [name for name in pack.config if known and name not in (*known, "all")]
        if unknown:
            names = ", ".join(map(named, unknown))
            raise SpecError(
                f"`policies` of the spec configures what {pack.path.name} does not have: {names}.",
                why=f"its policies are {', '.join(map(named, known))}",
                fix=nearest(unknown[0], known) if known else "Correct the name, or remove it.",
                code="policy_unknown",
            )


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


def _info(files: PackFiles, environ: Mapping[str, str]) -> Any:
    """Return what a pack says of itself; None if it cannot be asked."""
    asked = suppress(OSError, ValueError, grpc.RpcError)
    # It is on loopback, whatever proxy the environment names.
    direct = [("grpc.enable_http_proxy", 0)]
    with (
        asked,
        _started(files, environ) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=direct) as channel,
    ):
        return analyzer_pb2_grpc.AnalyzerStub(channel).GetAnalyzerInfo(empty_pb2.Empty(), timeout=_ANSWER_S)
    return None


@contextmanager
def _started(files: PackFiles, environ: Mapping[str, str]) -> Iterator[int]:
    """Start a pack as the engine does, without an engine; yield the port that it writes on its first line."""
    process = start_guarded(
        lambda: subprocess.Popen(
            [str(files.path), "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # The engine's: scaler's own has the cloud's token.
            env=dict(environ),
            start_new_session=True,
        )
    )
    with process, ended(process):
        yield _first_number(process.stdout) if process.stdout else 0


def _first_number(output: IO[bytes]) -> int:
    """Read the port; ValueError if something else comes, or nothing in time."""
    ready, _, _ = select.select([output], [], [], _ANSWER_S)
    return int(os.read(output.fileno(), 64).partition(b"\n")[0] if ready else b"")
