"""What runs leave behind and nobody needs after a while: found here, and removed by runs and by `scaler prune`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from scaler.engine.backend import LocalBackend

Kind = Literal["history", "logs", "temporary"]

_TEMPORARY = "automation-logs-*"
"""Where the engine writes its events while an operation runs; a killed run leaves it behind."""

KEPT = 100
"""Of so many operations of the engine the copies of the state stay, and so many of its logs, until they are old."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that nothing reads any more."""

    kind: Kind
    path: Path
    size: int
    """Bytes."""


def leftovers(engine_home: Path, backend: LocalBackend | None, before: datetime) -> list[Leftover]:
    """What was last written before a moment: the engine's copies of past states, its logs, its temporary files.

    The last operation's copies stay, however old. `backend` is None when the engine's state is not
    in a folder of this machine: then its history is its keeper's business.
    """
    is_old = _older_than(before)
    copies = backend.superseded() if backend else []
    return [
        *_found("history", (path for files in copies if all(map(is_old, files)) for path in files)),
        *_found("logs", filter(is_old, (engine_home / "logs").glob("*"))),
        *_found("temporary", filter(is_old, _temporary_files())),
    ]


def surplus(engine_home: Path, backend: LocalBackend | None, kept: int = KEPT) -> list[Leftover]:
    """The engine's copies of past states and its logs but the newest `kept` of each: it never removes any itself."""
    copies = backend.superseded(kept) if backend else []
    logs = sorted((engine_home / "logs").glob("*"), key=lambda path: path.lstat().st_mtime)
    return [*_found("history", (path for files in copies for path in files)), *_found("logs", logs[:-kept])]


def remove(found: Iterable[Leftover]) -> None:
    """Remove the files, and the temporary folders that are empty then. What is gone already is no error."""
    for leftover in found:
        leftover.path.unlink(missing_ok=True)
        if leftover.kind == "temporary":
            # It stays while something is in it.
            with suppress(OSError):
                leftover.path.parent.rmdir()


def _temporary_files() -> Iterator[Path]:
    for folder in Path(tempfile.gettempdir()).glob(_TEMPORARY):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
            yield from folder.glob("*")


def _older_than(moment: datetime) -> Callable[[Path], bool]:
    return lambda path: path.lstat().st_mtime < moment.timestamp()


def _found(kind: Kind, paths: Iterable[Path]) -> Iterator[Leftover]:
    for path in paths:
        if path.is_file() or path.is_symlink():
            yield Leftover(kind, path, path.lstat().st_size)
