"""A state backend that is a bucket or a database, read without the engine.

Its files are those of a folder (`backend.py`); the engine replaces each of them whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Self

from scaler.engine.backend import LARGEST_CHECKPOINT
from scaler.engine.checkpoint import Checkpoint, read_checkpoint
from scaler.engine.locks import Lock, locks_of
from scaler.errors import ScalerError
from scaler.records.store import PATIENCE, EngineFiles, open_engine_files
from scaler.support.documents import parse_json, unzip
from scaler.support.values import dataclass


@dataclass(frozen=True)
class _Read:
    """The checkpoint that was read last."""

    name: str
    version: str
    checkpoint: Checkpoint


class RemoteBackend:
    """One stack in a bucket or a database."""

    def __init__(self, files: EngineFiles, project: str, stack: str) -> None:
        self._files: EngineFiles | None = files
        self._project = project
        self._folder = f"stacks/{project}"
        self._stack = stack
        self._last: _Read | None = None

    @classmethod
    def at(
        cls, url: str, project: str, stack: str, environ: Mapping[str, str], *, patience: timedelta = PATIENCE
    ) -> Self | None:
        """Return the backend at this URL, or None if it is no bucket and no database. ScalerError as `open_store`."""
        files = open_engine_files(url, environ, largest=LARGEST_CHECKPOINT, patience=patience)
        return cls(files, project, stack) if files else None

    def checkpoint(self) -> Checkpoint | None:
        """Return the stack as last saved; None if only the engine can tell.

        That is so where there is no such file or more than one, of which it takes the latest; and where the backend
        cannot be reached from here, since the engine knows more ways to sign in.
        """
        if self._files is None:
            return None
        plain = f"{self._folder}/{self._stack}.json"
        zipped = f"{plain}.gz"
        try:
            there = {plain, zipped, f"{plain}.zst"}.intersection(self._files.names(self._folder))
            return self._read(self._files, there.pop()) if there in ({plain}, {zipped}) else None
        except ScalerError:
            # It would be waited for each time.
            self.close()
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def _read(self, files: EngineFiles, name: str) -> Checkpoint | None:
        last = self._last if self._last and self._last.name == name else None
        found = files.read(name, last.version if last else None)
        if found is None:
            return None
        if last and found.content is None:
            return last.checkpoint
        content = found.content or b""
        whole = unzip(content, LARGEST_CHECKPOINT) if name.endswith(".gz") else content
        self._last = _Read(name, found.version, read_checkpoint(parse_json(whole)))
        return self._last.checkpoint

    def locks(self) -> list[Lock] | None:
        """Return the locks of the stack that name their holder; None if only the engine can tell.

        Raises StoreUnavailableError.
        """
        return [lock for lock in self.lock_files().values() if lock] if self._files else None

    def lock_files(self) -> Mapping[str, Lock | None]:
        """Return all its locks by their names, None for one that says nobody. Raises StoreUnavailableError."""
        return locks_of(self._files, self._project, self._stack) if self._files else {}

    def remove(self, lock: Lock) -> None:
        """Remove a lock. Raises StoreUnavailableError."""
        self.remove_file(lock.name)

    def remove_file(self, name: str) -> None:
        """Remove a lock of this name. Raises StoreUnavailableError."""
        if self._files:
            self._files.delete(name)

    def close(self) -> None:
        """End connections."""
        if self._files:
            self._files.close()
        self._files = None
