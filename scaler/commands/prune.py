"""`scaler prune`: delete old records and files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.options import Duration, LockPolicy, lock_timeout_option
from scaler.commands.printing import print_note, print_result
from scaler.commands.running import load_stack
from scaler.config.project import Project
from scaler.engine import housekeeping
from scaler.engine.backend import LocalBackend
from scaler.model import Spec
from scaler.output.table import markdown_table
from scaler.records.state import prune_records
from scaler.records.state_file import StateFile


@click.command(cls=Command)
@click.option(
    "--older-than",
    type=Duration(),
    metavar="AGE",
    help="Delete what is older than this. Default: `retention` of the spec, 7 days.",
)
@click.option("--preview", is_flag=True, help="Show what would be deleted, without deleting it.")
@lock_timeout_option
@common_options
def prune(context: Context, older_than: timedelta | None, preview: bool, lock: LockPolicy) -> None:
    """Delete old records, and what the engine leaves behind: copies of past states, logs, temporary files.

    Keeps the records of servers that exist, this folder's event log, the engine's state and the last copy of it. Of
    an event log that machines share, it deletes the parts that are older; the last 128 KiB of events stay, and more
    than 300 parts are never kept. Deletes nothing else in a backend that is not a folder.

    Even without this command, each run keeps only the last hundred copies and logs of the engine.

    \b
    Examples:
      scaler prune --preview
      scaler prune
      scaler prune --older-than 1d

    \b
    Exit codes: 0 done, 1 error, 5 locked, 64 usage.
    """
    from scaler.records.run_lock import RunLock
    from scaler.records.sharing import open_sharing
    from scaler.wiring import backend_url, engine_home, shared_records

    project, spec = load_stack(context)
    age = spec.retention if older_than is None else older_than
    run_lock = RunLock(project.state_dir, spec.stack)
    with (
        run_lock.held("prune", context.clock, within=lock.timeout, note=print_note),
        shared_records(project, spec, os.environ, context.clock, print_note),
    ):
        url = backend_url(project, spec, os.environ)
        backend = LocalBackend.at(url, project.name, spec.stack)
        before = context.clock.now() - age
        found = housekeeping.leftovers(engine_home(project), backend, before)
        sharing = open_sharing(
            project.state_dir, project.name, spec.stack, url, os.environ, context.clock, warn=print_note
        )
        with sharing as shared:
            parts = shared.prune(before, preview=preview) if shared else 0
        records = _prune_records(context, project, spec, age, preview=preview)
        if not preview:
            housekeeping.remove(found)
    counts = Counter(leftover.kind for leftover in found)
    removed = {"records": records, "events": parts, **{kind: counts[kind] for kind in ("history", "logs", "temporary")}}
    _show(context, spec, removed, sum(leftover.size for leftover in found), preview=preview)


def _prune_records(context: Context, project: Project, spec: Spec, age: timedelta, *, preview: bool) -> int:
    """Count the records of deleted servers that are older, and remove them unless it is a preview."""
    file = StateFile(project.state_dir, spec.stack)
    state = file.load()
    if state is None:
        return 0
    kept = prune_records(state.servers, context.clock.now(), age)
    if len(kept) < len(state.servers) and not preview:
        file.save(replace(state, servers=kept))
    return len(state.servers) - len(kept)


def _show(context: Context, spec: Spec, removed: dict[str, int], size: int, *, preview: bool) -> None:
    if context.output in (Output.JSON, Output.YAML):
        facts = {"stack": spec.stack, "preview": preview, "removed": removed, "bytes": size}
        click.echo(dump(facts, context.output))
    elif context.output is Output.MARKDOWN:
        click.echo(markdown_table(("what", "number"), [(kind, str(number)) for kind, number in removed.items()]))
    else:
        found = ", ".join(f"{number} {kind}" for kind, number in removed.items() if number)
        verb = "Would remove" if preview else "Removed"
        print_result(f"{verb} {found}: {size / 1e6:.1f} MB." if found else "Nothing to remove.")
