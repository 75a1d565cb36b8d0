"""`scaler unlock`: who holds the stack, and an end to locks whose holder is dead."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import click

from scaler.commands.context import Context, Output, common_options
from scaler.commands.document import dump, markdown_table
from scaler.commands.running import load
from scaler.config.project import Project
from scaler.engine.backend import LocalBackend, describe, is_stale, remove_lock
from scaler.errors import ExitCode, LockedError, UsageError
from scaler.model import Spec
from scaler.records.run_lock import RunLock


@dataclass(frozen=True, slots=True)
class _Lock:
    kind: str
    """`run` (scaler's own, on this machine) or `engine` (Pulumi's)."""
    holder: str
    dead: bool
    """Whether its holder is provably dead."""
    remove: Callable[[], None]


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Remove locks of living holders too. They go on, without a lock.")
@common_options
def unlock(context: Context, yes: bool, force: bool) -> int:
    """Show who holds the locks of a stack, and remove those whose holder is dead.

    Seldom needed: every run removes the locks of dead runs of this machine by itself. A holder on
    another machine cannot be seen to be dead; look there, and use --force. The locks in a backend
    that is no folder here are not seen at all: --force removes them, whoever's they are.

    \b
    Examples:
      scaler unlock                  asks before it removes one
      scaler unlock --yes
      scaler unlock --yes --force    only when you know that no run is at work

    \b
    Exit codes: 0 no lock is left, 1 error, 5 a living holder, 64 usage.
    """
    from scaler.wiring import backend_url

    project, spec = load(context)
    url = backend_url(project, spec, os.environ)
    backend = LocalBackend.at(url, project.name, spec.stack)
    locks = _run_locks(RunLock(project.state_dir, spec.stack))
    if backend:
        locks += _engine_locks(backend)
    elif force:
        locks.append(_locks_elsewhere(context, project, spec, url))
    doomed = [lock for lock in locks if lock.dead or force]
    if doomed and not yes:
        _ask(context, doomed)
    for lock in doomed:
        lock.remove()
    held = [lock for lock in locks if lock not in doomed]
    if held:
        raise LockedError(
            f"{spec.stack} is locked, and the holder is not known to be dead.",
            why="; ".join(f"{lock.kind} lock of {lock.holder}" for lock in held),
            fix="Wait for it to end. When you know that it is dead: scaler unlock --force",
        )
    _show(context, spec.stack, doomed)
    if backend is None and not force:
        click.echo(f"Locks in {url.partition(':')[0]} are not seen here: --force removes them.", err=True)
    return ExitCode.OK


def _run_locks(lock: RunLock) -> list[_Lock]:
    held, holder = lock.is_held(), lock.holder()
    if not held and holder is None:
        return []
    return [_Lock("run", holder or "another run", not held, lock.remove if held else lock.forget)]


def _locks_elsewhere(context: Context, project: Project, spec: Spec, url: str) -> _Lock:
    """All locks in a backend that is no folder here, as one: the engine removes them together, and lists none."""
    from scaler.wiring import RunSettings, open_engine

    run = RunSettings(project=project, spec=spec, cause="unlock", environ=os.environ)

    def remove() -> None:
        # The engine is started only once somebody has said yes.
        open_engine(run, url, context.clock, partial(click.echo, err=True)).unlock()

    return _Lock("engine", f"whoever has one in {url.partition(':')[0]}", False, remove)


def _engine_locks(backend: LocalBackend) -> list[_Lock]:
    # Bound now: the loop's variable is another lock by the time that one is removed.
    return [
        _Lock("engine", describe(lock), is_stale(lock), lambda lock=lock: remove_lock(lock))  # type: ignore[misc]
        for lock in backend.locks()
    ]


def _ask(context: Context, locks: Sequence[_Lock]) -> None:
    told = [f"{lock.kind} lock of {lock.holder}{' (dead)' if lock.dead else ''}" for lock in locks]
    if not context.interactive:
        raise UsageError(
            "scaler unlock would ask before it removes a lock, and nobody can be asked here.",
            why="; ".join(told),
            fix="add --yes",
            code="consent_missing",
        )
    for line in told:
        click.echo(f"  - {line}", err=True)
    click.confirm("Remove?", err=True, abort=True)


def _show(context: Context, stack: str, removed: Sequence[_Lock]) -> None:
    rows = [(lock.kind, lock.holder) for lock in removed]
    if context.output in (Output.JSON, Output.YAML):
        documents = [{"kind": kind, "holder": holder} for kind, holder in rows]
        click.echo(dump({"stack": stack, "removed": documents}, context.output))
    elif context.output is Output.MARKDOWN:
        click.echo(markdown_table(("lock", "holder"), rows))
    else:
        click.echo("\n".join(f"Removed the {kind} lock of {holder}." for kind, holder in rows) or "No lock.")
