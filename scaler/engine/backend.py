"""The engine's saved state and its locks, read without the engine.

Source of the formats: pulumi's DIY backend (pkg/backend/diy: state.go, lock.go), project mode:
`.pulumi/stacks/<project>/<stack>.json[.gz]` and `.pulumi/locks/organization/<project>/<stack>/*.json`.
The engine replaces its files by rename, so a reader never sees half of one.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scaler.errors import EngineError
from scaler.support.clock import format_time, parse_time

_VERSION = 3
"""Of the checkpoint's format (pulumi: sdk/go/common/apitype)."""

DEFAULT_BACKEND = "file://.scaler/pulumi"

# ---------------------------------------------------------------------------------------------
# The checkpoint


@dataclass(frozen=True, slots=True)
class Resource:
    """A custom resource of the checkpoint."""

    urn: str
    type: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stack as the engine last saved it."""

    resources: tuple[Resource, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    """URNs of operations that were begun and not finished."""


def absolute_url(backend: str, directory: Path) -> str:
    """A relative `file://` is relative to the project's folder, whatever folder we are run in."""
    if not backend.startswith("file://"):
        return backend
    location, mark, options = backend.removeprefix("file://").partition("?")
    path = (directory / Path(unquote(location)).expanduser()).resolve()
    return f"file://{quote(str(path))}{mark}{options}"


def read_deployment(deployment: Mapping[str, Any]) -> Checkpoint:
    resources: Sequence[Mapping[str, Any]] = deployment.get("resources") or ()
    stack = next((item for item in resources if item.get("type") == "pulumi:pulumi:Stack"), {})
    return Checkpoint(
        resources=tuple(
            Resource(item["urn"], item["type"], item.get("id", ""), item.get("inputs") or {}, item.get("outputs") or {})
            for item in resources
            if item.get("custom") and not item["type"].startswith("pulumi:providers:") and not item.get("delete")
        ),
        outputs=stack.get("outputs") or {},
        pending=tuple(item["resource"]["urn"] for item in deployment.get("pending_operations") or ()),
    )


_WRITING_S = 5.0
"""A file of some hundred bytes is whole long before."""

_TORN = (ValueError, EOFError, zlib.error)
"""What reading half a document raises."""


def _read_document(path: Path) -> Any:
    """The JSON in a file of the backend, zipped or not."""
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if ".gz" in path.suffixes else content)


def _is_torn(path: Path) -> bool:
    try:
        _read_document(path)
    except OSError:
        return False
    except _TORN:
        return True
    return False


# ---------------------------------------------------------------------------------------------
# Locks


@dataclass(frozen=True, slots=True)
class Lock:
    pid: int
    username: str
    hostname: str
    since: datetime
    path: Path | None = None


def _read_lock(path: Path) -> Lock | None:
    """A lock file's content; None if it vanished or is being written."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Lock(
            int(document["pid"]), document["username"], document["hostname"], parse_time(document["timestamp"]), path
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


_LOCK_TEXT = re.compile(r"created by (?P<user>[^@\s]+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<time>\S+)")


def locks_in(message: str) -> list[Lock]:
    """The holders as the engine's error names them, for backends whose locks are not files here."""
    return [
        Lock(int(found["pid"]), found["user"], found["host"], parse_time(found["time"]))
        for found in _LOCK_TEXT.finditer(message)
    ]


def is_stale(lock: Lock) -> bool:
    """Whether its owner is provably dead: it was on this host, and no such engine process exists.

    A process in another container with the same host name looks dead too; the run's own file
    lock, held by now, covers that on one machine.
    """
    return lock.hostname == socket.gethostname() and not _is_engine(lock.pid)


def is_stealable(lock: Lock, now: datetime, after: timedelta | None) -> bool:
    """Whether it is as old as a user said that no lock of a living run is; of this host, the process itself tells."""
    return after is not None and lock.hostname != socket.gethostname() and now - lock.since >= after


def _is_engine(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # `pid (comm) state …`; a zombie holds nothing, and stays where nobody reaps it.
        comm, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
        return "pulumi" in comm and not rest.startswith(" Z")
    except OSError:
        return True


def remove_lock(lock: Lock) -> None:
    """Remove a lock that is a file here."""
    if lock.path is not None:
        lock.path.unlink(missing_ok=True)
        lock.path.with_name(lock.path.name + ".attrs").unlink(missing_ok=True)


def _operations(folder: Path) -> list[list[Path]]:
    """A folder's files by the operation that left them, oldest first: `<stack>-<nanoseconds>.<kind>`."""
    by_operation: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        by_operation.setdefault(path.name.partition(".")[0], []).append(path)
    return [by_operation[name] for name in sorted(by_operation)]


def describe(lock: Lock) -> str:
    return f"{lock.username}@{lock.hostname}, process {lock.pid}, since {format_time(lock.since)}"


# ---------------------------------------------------------------------------------------------
# A backend that is a folder of this machine


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """One stack in a `file://` backend."""

    root: Path
    """The `.pulumi` folder."""
    project: str
    stack: str

    @classmethod
    def at(cls, url: str, project: str, stack: str) -> LocalBackend | None:
        """The backend at an absolute URL, or None if that is not a folder here."""
        if not url.startswith("file://"):
            return None
        return cls(Path(unquote(urlsplit(url).path)) / ".pulumi", project, stack)

    def exists(self) -> bool:
        """Whether the stack was ever saved."""
        return self._checkpoint_file() is not None

    def checkpoint(self) -> Checkpoint:
        """The stack as last saved; empty if there is none; EngineError if it cannot be read."""
        path = self._checkpoint_file()
        if path is None:
            return Checkpoint()
        try:
            document = _read_document(path)
            if document["version"] != _VERSION:
                raise ValueError(f"it has version {document['version']}, and only {_VERSION} is known")
            return read_deployment(document["checkpoint"].get("latest") or {})
        except (OSError, *_TORN, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                "The stack's checkpoint cannot be read.",
                why=f"{path}: {error}",
                fix="Restore it from a copy, or move it away and run `scaler ensure`: "
                "servers that carry this stack's labels are adopted again.",
            ) from error

    def locks(self) -> list[Lock]:
        """The locks that are on the stack, whoever's."""
        return [lock for path in sorted(self._lock_folder.glob("*.json")) if (lock := _read_lock(path))]

    def half_locks(self) -> list[Path]:
        """Lock files that are not whole: being written, or left so by a full disk or a kill.

        The engine fails on them, whatever it is asked.
        """
        return [path for path in self._lock_folder.glob("*.json*") if path.suffix != ".attrs" and _is_torn(path)]

    def heal_half_locks(self, now: datetime) -> None:
        """Remove those that nobody can be writing any more: that takes no time."""
        for path in self.half_locks():
            with suppress(FileNotFoundError):
                if now.timestamp() - path.stat().st_mtime > _WRITING_S:
                    path.unlink()

    @property
    def _lock_folder(self) -> Path:
        return self.root / "locks" / "organization" / self.project / self.stack

    def heal_locks(self) -> list[Lock]:
        """Remove the locks whose owner is provably dead, and say whose they were."""
        stale = [lock for lock in self.locks() if is_stale(lock)]
        for lock in stale:
            remove_lock(lock)
        return stale

    def heal_checkpoint(self) -> bool:
        """Put the copy from before the last save in place of a checkpoint that was cut off; whether that was needed.

        A full disk leaves such a one. What the copy lacks is adopted again, as after a lost save.
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

    def superseded(self, kept: int = 1) -> list[list[Path]]:
        """The files that the engine keeps of each operation but the last ones; only `pulumi stack history` reads them.

        A full copy of the state is among them each time, and the engine never removes any.
        """
        folders = (self.root / name / self.project / self.stack for name in ("history", "backups"))
        return [files for folder in folders for files in _operations(folder)[:-kept]]

    def _checkpoint_file(self) -> Path | None:
        stem = self.root / "stacks" / self.project / f"{self.stack}.json"
        for path in (stem, stem.with_suffix(".json.gz")):
            if path.exists():
                return path
        if stem.with_suffix(".json.zst").exists():
            raise EngineError(
                "The stack's checkpoint is compressed in a way that scaler does not read.",
                why=f"{stem}.zst",
                fix="Unset PULUMI_DIY_BACKEND_ZSTD, then run "
                f"`pulumi stack export -s {self.stack} | pulumi stack import -s {self.stack}`.",
            )
        return None
