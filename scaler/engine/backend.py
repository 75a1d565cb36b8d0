"""A state backend that is a folder of this machine, read without the engine.

Source of the formats: pulumi's DIY backend (pkg/backend/diy: state.go, lock.go), project mode:
`.pulumi/stacks/<project>/<stack>.json[.gz]` and `.pulumi/locks/organization/<project>/<stack>/*.json`.
The engine replaces its files by rename, so a reader never sees half of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from scaler.engine.checkpoint import Checkpoint, read_checkpoint
from scaler.engine.locks import Lock, is_stale, read_lock, remove_lock
from scaler.errors import EngineError, SpecError, StateError
from scaler.records.lock_note import LockNotes
from scaler.records.store import StoreUnavailableError
from scaler.support.documents import read_file, read_json
from scaler.support.files import failure_reason, is_below, make_folder
from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass

DEFAULT_BACKEND = "file://.scaler/pulumi"

_WRITING_S = 5.0
"""Writing a lock or attributes, some hundred bytes, takes far less."""

LARGEST_CHECKPOINT = 256 << 20
"""Bytes of a checkpoint: 1,000 servers with 32 KiB of user data have 90 MB."""


def absolute_url(backend: str, directory: Path) -> str:
    """Return the backend's URL; a relative `file://` is relative to `directory`, the project's folder."""
    if not backend.startswith("file://"):
        return backend
    location, mark, options = backend.removeprefix("file://").partition("?")
    path = (directory / _expanded(unquote(location))).resolve()
    return f"file://{quote(str(path))}{mark}{options}"


def _expanded(location: str) -> Path:
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        raise SpecError(
            f"The backend file://{location} is in no folder that is known.",
            why="the user has no home: HOME is not set, and the system has no entry for the user",
            fix="Set HOME, or give the whole path of the backend.",
        ) from error


@dataclass(frozen=True)
class LocalBackend:
    """One stack in a `file://` backend."""

    root: Path
    """The `.pulumi` folder."""
    project: str
    stack: str
    original: LocalBackend | None = None
    """What this is a copy of: errors name its files."""

    @classmethod
    def at(cls, url: str, project: str, stack: str) -> LocalBackend | None:
        """Return the backend at an absolute URL, or None if that is not a folder here."""
        if not url.startswith("file://"):
            return None
        return cls(Path(unquote(urlsplit(url).path)) / ".pulumi", project, stack)

    @property
    def url(self) -> str:
        """The backend's URL."""
        return f"file://{quote(str(self.root.parent))}"

    def make(self) -> None:
        """Create the folder unless it exists. StateError if that fails."""
        try:
            make_folder(self.root)
        except OSError as error:
            raise StateError(
                f"The state backend {self.root.parent} cannot be written.",
                why=failure_reason(error),
                fix="Make it a folder that this user can write, or name another with PULUMI_BACKEND_URL or `backend`.",
            ) from error

    def copied(self, folder: Path) -> LocalBackend:
        """Return a backend in `folder` with the stack as last saved, for who only looks at it. It has no locks."""
        self.check_layout()
        copy = replace(self, root=folder / ".pulumi", original=self)
        try:
            make_folder(copy._stack_folder)
            for path in self._stack_folder.glob(f"{self.stack}.json*"):
                # A run elsewhere may be writing: its temporary files come and go.
                with suppress(FileNotFoundError):
                    (copy._stack_folder / path.name).write_bytes(read_file(path, LARGEST_CHECKPOINT))
        except (OSError, ValueError) as error:
            raise StateError(
                "The stack's checkpoint cannot be copied to look at it.",
                why=failure_reason(error),
                fix=f"Make {self._stack_folder} readable and free some room in {folder.parent}, or set TMPDIR.",
            ) from error
        return copy

    def check_layout(self) -> None:
        """Raise EngineError for a folder in the engine's old layout, in which stacks have no project."""
        old = next((self.root / "stacks").glob("*.json*"), None)
        if old is not None and not (self.root / "stacks" / self.project).is_dir():
            raise EngineError(
                "The backend has the engine's old layout, which scaler does not read.",
                why=f"{old} belongs to no project; it was made with PULUMI_DIY_BACKEND_LEGACY_LAYOUT or an old version",
                fix=f"Run `pulumi state upgrade` with PULUMI_BACKEND_URL=file://{self.root.parent}.",
                code="backend_layout",
            )

    def exists(self) -> bool:
        """Return whether the stack was ever saved."""
        return self._checkpoint_file() is not None

    def checkpoint(self) -> Checkpoint:
        """Return the stack as last saved, empty if there is none; EngineError if it cannot be read."""
        path = self._checkpoint_file()
        if path is None:
            return Checkpoint()
        try:
            return read_checkpoint(read_json(path, LARGEST_CHECKPOINT))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                "The stack's checkpoint cannot be read.",
                why=f"{self._shown(path)}: {one_line(str(error), LONGEST)}",
                fix="Restore it from a copy, or move it away and run `scaler ensure`: "
                "servers that carry this stack's labels are adopted again.",
            ) from error

    def locks(self) -> list[Lock]:
        """Return the locks of the stack, whoever holds them."""
        return [lock for path in self._lock_files() if path.suffix == ".json" and (lock := read_lock(path))]

    def half_locks(self) -> list[Path]:
        """Return the lock files that are not whole: being written, or left so by a full disk or a kill.

        The engine fails on them in every operation.
        """
        return [path for path in self._lock_files() if _is_torn(path)]

    def nameless_locks(self) -> list[Path]:
        """Return the lock files that are whole and name no owner, so that nobody knows whether it is alive."""
        return [path for path in self._lock_files() if read_lock(path) is None and path.exists() and not _is_torn(path)]

    def files(self) -> Iterator[Path]:
        """Yield what there is where the engine keeps its files of the stack and of the backend."""
        stacks = self.root / "stacks" / self.project
        yield from self.root.glob("meta.yaml*")
        yield from stacks.glob(f"{self.stack}.*")
        yield from self._lock_folder.glob("*")

    def folders(self) -> Iterator[Path]:
        """Yield the folders below the root that the engine writes in, outer ones first. Not all need exist."""
        history, backups = (self.root / name / self.project / self.stack for name in ("history", "backups"))
        for folder in (self._stack_folder, self._lock_folder, history, backups):
            for step in reversed([folder, *folder.parents]):
                if step != self.root and step.is_relative_to(self.root):
                    yield step

    def _lock_files(self) -> list[Path]:
        if not is_below(self._lock_folder, self.root):
            return []
        return [path for path in sorted(self._lock_folder.glob("*.json*")) if path.suffix != ".attrs"]

    def half_attributes(self) -> list[Path]:
        """Return the files of attributes that are not whole, beside the engine's own files.

        They alone are not replaced by rename, and the engine reads no file whose attributes are half (gocloud.dev:
        blob/fileblob/attrs.go). It misses none.
        """
        return [
            path
            for path in self.files()
            if path.suffix == ".attrs" and is_below(path.parent, self.root) and _is_torn(path)
        ]

    def heal_half_files(self, now: datetime) -> None:
        """Remove half locks and attributes that are too old to be still in writing."""
        for path in (*self.half_locks(), *self.half_attributes()):
            with suppress(FileNotFoundError):
                if now.timestamp() - path.stat().st_mtime > _WRITING_S:
                    path.unlink()

    @property
    def _lock_folder(self) -> Path:
        return self.root / "locks" / "organization" / self.project / self.stack

    def heal_locks(self, notes: LockNotes | None = None) -> list[Lock]:
        """Remove the locks whose owner is provably dead, with their notes, and return them."""
        stale = [lock for lock in self.locks() if is_stale(lock)]
        # The notes after the locks: who has one by now left its note before.
        read = notes.read() if notes and stale else ()
        stale = [lock for lock in stale if is_stale(lock, read)]
        for lock in stale:
            self.remove(lock)
            if notes:
                with suppress(StoreUnavailableError):
                    notes.remove(*lock.notes_of(read))
        return stale

    def remove(self, lock: Lock) -> None:
        """Remove a lock. StateError if it cannot be removed."""
        remove_lock(lock)

    def heal_checkpoint(self) -> bool:
        """Replace a checkpoint that was cut off by the copy from before the last save; return whether that was done.

        A full disk can cut one off. Servers that the copy lacks are adopted, as after a lost save.
        """
        path = self._checkpoint_file()
        if path is None or self.locks() or not _is_torn(path):
            return False
        copy, link = path.with_name(path.name + ".bak"), path.with_name(path.name + ".healing")
        if not copy.exists() or _is_torn(copy):
            return False
        # A second name for the copy needs no room on the disk, and leaves the copy for the next time.
        link.unlink(missing_ok=True)
        link.hardlink_to(copy)
        link.replace(path)
        return True

    def superseded(self, keep: int = 1) -> list[list[Path]]:
        """Return the engine's files of each operation except the last `keep`; only `pulumi stack history` reads them.

        Each operation leaves a full copy of the state, and the engine never removes any.
        """
        folders = (self.root / name / self.project / self.stack for name in ("history", "backups"))
        return [files for folder in folders if is_below(folder, self.root) for files in _operations(folder)[:-keep]]

    @property
    def _stack_folder(self) -> Path:
        return self.root / "stacks" / self.project

    def _shown(self, path: Path) -> Path:
        """Return the path as errors name it: that of the original, for a copy's."""
        return self.original.root / path.relative_to(self.root) if self.original else path

    def _checkpoint_file(self) -> Path | None:
        stem = self._stack_folder / f"{self.stack}.json"
        for path in (stem, stem.with_suffix(".json.gz")):
            if path.exists():
                return path
        if stem.with_suffix(".json.zst").exists():
            raise EngineError(
                "The stack's checkpoint is compressed in a way that scaler does not read.",
                why=f"{self._shown(stem)}.zst",
                fix="Unset PULUMI_DIY_BACKEND_ZSTD, then run "
                f"`pulumi stack export -s {self.stack} | pulumi stack import -s {self.stack}`.",
            )
        return None


def _is_torn(path: Path) -> bool:
    try:
        read_json(path, LARGEST_CHECKPOINT)
    except OSError:
        return False
    except ValueError:
        return True
    return False


def _operations(folder: Path) -> list[list[Path]]:
    """Group a folder's files, `<stack>-<nanoseconds>.<kind>`, by operation; the oldest comes first."""
    by_operation: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        by_operation.setdefault(path.name.partition(".")[0], []).append(path)
    return [by_operation[name] for name in sorted(by_operation)]
