"""`scaler unlock`: show the holders of a stack's locks, and remove the locks of dead ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.printing import print_note, print_result
from scaler.commands.running import load_stack
from scaler.config.project import Project
from scaler.engine.backend import LocalBackend
from scaler.engine.holders import open_notes
from scaler.engine.locks import Lock, holder_of, is_stale
from scaler.engine.remote_backend import RemoteBackend
from scaler.errors import ExitCode, LockedError, ScalerError, UsageError
from scaler.model import Spec
from scaler.output.table import markdown_table
from scaler.records.lock_note import LockNote, LockNotes
from scaler.records.run_lock import RunLock
from scaler.support.values import dataclass


@dataclass(frozen=True)
class _Lock:
    kind: str
    """`run` (scaler's own, on this machine) or `engine` (Pulumi's)."""
    holder: str
    dead: bool
    """Whether its holder is known to have ended."""
    remove: Callable[[], None]


@click.command(cls=Command)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--force", is_flag=True, help="Remove the locks of running holders too: only if you know that none runs.")
@common_options
def unlock(context: Context, yes: bool, force: bool) -> int:
    """Show who holds the locks of a stack, and remove the locks of holders that have ended.

    You seldom need this: every run removes the locks of dead runs on its machine at once, and those of other
    machines when it has waited and heard nothing of them for 75 seconds. To be quicker, check that a holder has
    ended, then use --force. Scaler does not see the locks in Pulumi Cloud; --force removes all of them.

    \b
    Examples:
      scaler unlock                  asks before it removes one
      scaler unlock --yes
      scaler unlock --yes --force    only if you know that no run is going on

    \b
    Exit codes: 0 no lock is left, 1 error, 5 a holder still runs, 64 usage.
    """
    from scaler.wiring import backend_url

    project, spec = load_stack(context)
    url = backend_url(project, spec, os.environ)
    backend = LocalBackend.at(url, project.name, spec.stack)
    remote = _open_remote(project, spec, url)
    is_seen = backend is not None or remote is not None
    with ExitStack() as stack:
        locks = _run_locks(RunLock(project.state_dir, spec.stack))
        notes = open_notes(url, project.name, spec.stack, os.environ)
        for opened in (remote, notes):
            if opened:
                stack.enter_context(closing(opened))
        if backend:
            locks += _engine_locks(backend, notes, context.clock.now())
        elif remote:
            locks += _remote_locks(remote, notes, context.clock.now())
        elif force:
            locks.append(_locks_elsewhere(context, project, spec, url))
        _remove(context, spec.stack, locks, yes=yes, force=force)
    if not is_seen and not force:
        print_note(f"Scaler does not see the locks in {url.partition(':')[0]}: --force removes them.")
    return ExitCode.OK


def _open_remote(project: Project, spec: Spec, url: str) -> RemoteBackend | None:
    """Return the backend if it is a bucket or a database; None elsewhere, or without the package for it."""
    try:
        return RemoteBackend.at(url, project.name, spec.stack, os.environ)
    except ScalerError as error:
        print_note(f"scaler: warning: {error} {error.fix}")
        return None


def _remove(context: Context, stack: str, locks: Sequence[_Lock], *, yes: bool, force: bool) -> None:
    """Remove the locks of holders that have ended, with `force` all of them; LockedError if one is left."""
    doomed = [lock for lock in locks if lock.dead or force]
    if doomed and not yes:
        _ask(context, doomed)
    for lock in doomed:
        lock.remove()
    left = [lock for lock in locks if lock not in doomed]
    if left:
        raise LockedError(
            f"{stack} is locked, and its holder may still run.",
            why="; ".join(f"{lock.kind} lock of {lock.holder}" for lock in left),
            fix="Wait until it ends. If it has ended, the next run takes its lock after a while, or at once: "
            f"scaler unlock --force -s {stack}",
        )
    _show(context, stack, doomed)


def _run_locks(lock: RunLock) -> list[_Lock]:
    held, holder = lock.is_held(), lock.holder()
    if not held and holder is None:
        return []
    return [_Lock("run", holder or "another run", not held, lock.remove if held else lock.forget)]


def _locks_elsewhere(context: Context, project: Project, spec: Spec, url: str) -> _Lock:
    """All locks of a backend that is not a local folder, as one: the engine removes them together, and lists none."""
    from scaler.wiring import RunSettings, open_engine

    run = RunSettings(project=project, spec=spec, cause="unlock", environ=os.environ)

    def remove() -> None:
        # Start the engine only after the confirmation.
        open_engine(run, url, context.clock, print_note).unlock()

    return _Lock("engine", f"whoever has one in {url.partition(':')[0]}", False, remove)


def _remote_locks(backend: RemoteBackend, notes: LockNotes | None, now: datetime) -> list[_Lock]:
    files = backend.lock_files()
    read = notes.read() if notes else []
    named = [_noted(lock, notes, read, now, partial(backend.remove, lock)) for lock in files.values() if lock]
    return named + [
        _Lock("engine", f"nobody that it names, in {name}", False, partial(backend.remove_file, name))
        for name, lock in files.items()
        if lock is None
    ]


def _engine_locks(backend: LocalBackend, notes: LockNotes | None, now: datetime) -> list[_Lock]:
    locks = backend.locks()
    read = notes.read() if notes else []
    return [_noted(lock, notes, read, now, partial(backend.remove, lock)) for lock in locks] + [
        # Half a lock is nobody's: an engine writes it in one moment.
        _Lock("engine", f"nobody that it names, in {path.name}", dead, partial(path.unlink, missing_ok=True))
        for paths, dead in ((backend.half_locks(), True), (backend.nameless_locks(), False))
        for path in paths
    ]


def _noted(
    lock: Lock, notes: LockNotes | None, read: Sequence[LockNote], now: datetime, remove: Callable[[], None]
) -> _Lock:
    """An engine's lock, whose notes go with it: its run, if it lives after all, changes nothing more then."""

    def remove_both() -> None:
        if notes:
            notes.remove(*lock.notes_of(read))
        remove()

    return _Lock("engine", holder_of(lock, read).words(now), is_stale(lock, read), remove_both)


def _ask(context: Context, locks: Sequence[_Lock]) -> None:
    lines = [f"{lock.kind} lock of {lock.holder}{' (dead)' if lock.dead else ''}" for lock in locks]
    if not context.interactive:
        raise UsageError(
            "Nobody can be asked here, and scaler unlock would ask before it removes a lock.",
            why="; ".join(lines),
            fix="Add --yes.",
            code="consent_missing",
        )
    for line in lines:
        print_note(f"  - {line}")
    click.confirm("Remove?", err=True, abort=True)


def _show(context: Context, stack: str, removed: Sequence[_Lock]) -> None:
    rows = [(lock.kind, lock.holder) for lock in removed]
    if context.output in (Output.JSON, Output.YAML):
        documents = [{"kind": kind, "holder": holder} for kind, holder in rows]
        click.echo(dump({"stack": stack, "removed": documents}, context.output))
    elif context.output is Output.MARKDOWN:
        click.echo(markdown_table(("lock", "holder"), rows))
    else:
        print_result("\n".join(f"Removed the {kind} lock of {holder}." for kind, holder in rows) or "No lock.")
