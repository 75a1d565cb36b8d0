"""Documents in a folder that several processes of one machine share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scaler.records.store import ConflictError, Stored, StoreUnavailableError
from scaler.support.documents import read_file
from scaler.support.files import FILE, failure_reason, make_own_folder, replace_file

_LOCK = ".lock"


class FolderStore:
    """`store.DocumentStore` in a folder. Its versions are hashes of the content."""

    def __init__(self, root: Path, folder: str = "") -> None:
        """Keep the documents in this folder below `root`; no link on the way there is followed."""
        self._root = root
        self._folder = root / folder

    def read(self, name: str, known: str | None = None) -> Stored | None:
        with self._reported():
            content = self._content(name)
        if content is None:
            return None
        version = _version(content)
        return Stored(version, None if version == known else content)

    def write(self, name: str, content: bytes, after: str | None = None) -> str:
        import filelock

        with self._reported():
            path = self._folder / name
            make_own_folder(path.parent, self._root)
            with filelock.FileLock(self._folder / _LOCK, timeout=10, mode=FILE):
                there = self._content(name)
                if (None if there is None else _version(there)) != after:
                    raise ConflictError(f"Another process has written {name}.")
                replace_file(path, content)
        return _version(content)

    def names(self, folder: str = "") -> Sequence[str]:
        with self._reported():
            below = self._folder / folder
            paths = [path for path in below.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return sorted(str(path.relative_to(self._folder)) for path in paths)

    def delete(self, name: str) -> None:
        with self._reported():
            (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        return

    def _content(self, name: str) -> bytes | None:
        try:
            return read_file(self._folder / name)
        except FileNotFoundError:
            return None

    @contextmanager
    def _reported(self) -> Iterator[None]:
        import filelock

        try:
            yield
        except (OSError, filelock.Timeout) as error:
            raise StoreUnavailableError(
                f"The records in {self._folder} cannot be read or written.",
                why=failure_reason(error),
                fix="Make the folder writable for this user.",
            ) from error


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
