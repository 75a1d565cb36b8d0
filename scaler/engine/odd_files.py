"""What stands in the place of a file or folder of the engine's and is none: a pipe, a device, a socket, a link.

The engine would wait in it for ever, take what it finds there, or write where a link leads. So this is looked for
before each of its processes. Source of the paths: pulumi (sdk/go/common/workspace/paths.go, pkg/backend/diy: meta.go,
state.go, lock.go) and gocloud.dev (blob/fileblob, which keeps a file `.attrs` beside each other one).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scaler.engine.backend import LocalBackend
from scaler.engine.settings import EngineSettings
from scaler.engine.settings_files import SUFFIXES
from scaler.errors import EngineError


def refuse_odd_files(settings: EngineSettings, local: LocalBackend | None) -> None:
    """EngineError if there is no file or folder of its own where the engine reads or writes one."""
    for path in _read_by_engine(settings, local):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise _odd_file("read", path, "is a pipe, a device or a socket, and no file")
    for path in _written_by_engine(settings, local):
        if path.is_symlink():
            raise _odd_file("write", path, "is a link, and the engine would write where it leads")
    for suffix in SUFFIXES:
        path = settings.directory / f"Pulumi.{settings.stack}{suffix}"
        if path.is_symlink() and not path.exists():
            raise _odd_file("write", path, "is a link that leads to no file, and the engine would make that file")


def _odd_file(verb: str, path: Path, why: str) -> EngineError:
    return EngineError(
        f"The engine cannot {verb} one of its files; nothing was changed.",
        why=f"{path} {why}",
        fix="Remove it, or put the file or folder back.",
        code="odd_file",
    )


def _written_by_engine(settings: EngineSettings, local: LocalBackend | None) -> Iterator[Path]:
    """Yield the folders that the engine writes in, and the files that it writes to without replacing them."""
    if settings.home:
        # Its logs are left out: the engine makes a link there itself, to the newest.
        yield settings.home
        yield from settings.home.glob("*")
        yield from settings.home.glob("workspaces/*.json")
    if local:
        yield from local.folders()


def _read_by_engine(settings: EngineSettings, local: LocalBackend | None) -> Iterator[Path]:
    for suffix in SUFFIXES:
        yield settings.directory / f"Pulumi{suffix}"
        yield settings.directory / f"Pulumi.{settings.stack}{suffix}"
    if settings.home:
        yield from settings.home.glob("*.json")
        yield from settings.home.glob("workspaces/*.json")
    if local:
        yield from local.files()
