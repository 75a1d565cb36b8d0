"""Who holds the locks of a stack, whatever its backend, and the notes that say what they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from scaler.engine.backend import LocalBackend
from scaler.engine.locks import Lock, holder_of, is_stale
from scaler.engine.remote_backend import RemoteBackend
from scaler.errors import ScalerError
from scaler.records.folder_store import FolderStore
from scaler.records.lock_note import LockHolder, LockNote, LockNotes
from scaler.records.run_lock import RunLock
from scaler.records.store import PATIENCE, DocumentStore, open_store


def open_notes(
    url: str, project: str, stack: str, environ: Mapping[str, str], *, patience: timedelta = PATIENCE
) -> LockNotes | None:
    """Return the notes of a stack's backend; None where there are none, or that cannot be opened."""
    store: DocumentStore | None
    if local := LocalBackend.at(url, project, stack):
        store = FolderStore(local.root.parent, f".scaler/{project}/{stack}")
    else:
        try:
            store = open_store(url, project, stack, environ, patience=patience)
        except ScalerError:
            store = None
    return LockNotes(store) if store else None


def living_holders(
    url: str,
    project: str,
    stack: str,
    state_dir: Path,
    environ: Mapping[str, str],
    *,
    patience: timedelta = PATIENCE,
) -> list[LockHolder]:
    """Return who holds locks of a stack and is not known to be dead: the run on this machine, then engines.

    Changes nothing, and starts no engine. ScalerError if the backend does not answer in time; of a backend such as
    Pulumi Cloud, only the run on this machine is known.
    """
    run = RunLock(state_dir, stack).living_holder()
    locks = _engine_locks(url, project, stack, environ, patience)
    notes: Sequence[LockNote] = ()
    if locks and (found := open_notes(url, project, stack, environ, patience=patience)):
        with closing(found):
            notes = found.read()
    living = [lock for lock in locks if not is_stale(lock, notes)]
    return [*([run] if run else []), *(holder_of(lock, notes) for lock in living)]


def _engine_locks(
    url: str, project: str, stack: str, environ: Mapping[str, str], patience: timedelta
) -> Sequence[Lock]:
    if local := LocalBackend.at(url, project, stack):
        return local.locks()
    remote = RemoteBackend.at(url, project, stack, environ, patience=patience)
    if remote is None:
        return ()
    with closing(remote):
        return remote.locks() or ()
