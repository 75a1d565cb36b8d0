"""Files that runs leave behind and that nothing reads later; runs and `scaler prune` remove them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from scaler.engine.backend import LocalBackend
from scaler.support.files import is_below
from scaler.support.values import dataclass

Kind = Literal["history", "logs", "temporary"]

_TEMPORARY = "automation-logs-*"
"""Where the engine writes its events while an operation runs; a killed run leaves it behind."""

KEEP = 100
"""How many logs of the engine stay until they are old, and of how many operations the copies of the state."""


@dataclass(frozen=True)
class Leftover:
    """A file that nothing reads any more."""

    kind: Kind
    path: Path
    size: int
    """Bytes."""


def leftovers(engine_home: Path, backend: LocalBackend | None, before: datetime) -> list[Leftover]:
    """Return what was last written before a moment: the engine's copies of past states, logs and temporary files.

    The last operation's copies stay, however old. `backend` is None if the engine's state is not in
    a folder of this machine; its history is then left to that backend.
    """
    is_old = _older_than(before)
    copies = backend.superseded() if backend else []
    return [
        *_found("history", (path for files in copies if all(map(is_old, files)) for path in files)),
        *_found("logs", filter(is_old, _logs(engine_home))),
        *_found("temporary", filter(is_old, _temporary_files())),
    ]


def surplus(engine_home: Path, backend: LocalBackend | None, keep: int = KEEP) -> list[Leftover]:
    """Return all but the newest `keep` logs and copies of past states; the engine never removes any itself."""
    copies = backend.superseded(keep) if backend else []
    logs = sorted(_logs(engine_home), key=lambda path: path.lstat().st_mtime)
    return [*_found("history", (path for files in copies for path in files)), *_found("logs", logs[:-keep])]


def remove(found: Iterable[Leftover]) -> None:
    """Remove the files, and the temporary folders that are empty then. A missing file is no error."""
    for leftover in found:
        leftover.path.unlink(missing_ok=True)
        if leftover.kind == "temporary":
            # A folder that is not empty stays.
            with suppress(OSError):
                leftover.path.parent.rmdir()


def _logs(engine_home: Path) -> Iterator[Path]:
    folder = engine_home / "logs"
    if is_below(folder, engine_home.parent):
        yield from folder.glob("*.log")


def _temporary_files() -> Iterator[Path]:
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:
        return  # No folder for temporary files can be written, so no run has left one there.
    for folder in temporary.glob(_TEMPORARY):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
            yield from folder.glob("*")


def _older_than(moment: datetime) -> Callable[[Path], bool]:
    return lambda path: path.lstat().st_mtime < moment.timestamp()


def _found(kind: Kind, paths: Iterable[Path]) -> Iterator[Leftover]:
    for path in paths:
        if path.is_file() or path.is_symlink():
            yield Leftover(kind, path, path.lstat().st_size)
