"""The files of the state folder: whole at any moment, and never writable by others, whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

FILE = 0o640
"""What its owner may do with a file, its group, and others."""
_FOLDER = 0o750


def make_folder(folder: Path) -> None:
    """Make the folder, and those above it, unless it is there; OSError if that cannot be done."""
    folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)


def open_file(path: str | Path, flags: int) -> int:
    """A file's descriptor, the file made if need be; also as the `opener` of `open`. OSError as `os.open`."""
    return os.open(path, flags | os.O_CLOEXEC, FILE)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file this content in one step: a reader, or a kill at any moment, finds the old or the new.

    Callers hold a lock: what a killed writer left beside it is overwritten and renamed away.
    OSError if it cannot be done; the file is as it was then.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb", opener=open_file) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure_reason(error: BaseException) -> str:
    """Return the operating system's words for an error, such as `No space left on device`, else its text."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
