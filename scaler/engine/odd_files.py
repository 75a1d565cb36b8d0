"""What stands in the place of a file that the engine reads and is none: a pipe, a device, a socket.

The engine would wait in it for ever, or take what it finds there. So this is looked for before each of
its processes. Source of the paths: pulumi (sdk/go/common/workspace/paths.go, pkg/backend/diy: meta.go, state.go,
lock.go) and gocloud.dev (blob/fileblob, which keeps a file `.attrs` beside each other one).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scaler.engine.backend import LocalBackend
from scaler.engine.settings import EngineSettings
from scaler.errors import EngineError

_SUFFIXES = (".yaml", ".yml", ".json")


def refuse_odd_files(settings: EngineSettings, local: LocalBackend | None) -> None:
    """EngineError if something that is neither a file nor a folder is where the engine reads a file."""
    for path in _read_by_engine(settings, local):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise EngineError(
                "The engine cannot read one of its files; nothing was changed.",
                why=f"{path} is a pipe, a device or a socket, and no file",
                fix="Remove it, or put the file back.",
                code="odd_file",
            )


def _read_by_engine(settings: EngineSettings, local: LocalBackend | None) -> Iterator[Path]:
    for suffix in _SUFFIXES:
        yield settings.directory / f"Pulumi{suffix}"
        yield settings.directory / f"Pulumi.{settings.stack}{suffix}"
    if settings.home:
        yield from settings.home.glob("*.json")
        yield from settings.home.glob("workspaces/*.json")
    if local:
        yield from local.files()
