"""`scaler status`: the recorded servers."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.config.project import Project
from scaler.errors import ExitCode, ScalerError

if TYPE_CHECKING:
    from scaler.records.lock_note import LockHolder
    from scaler.records.recorded import Recorded

_PATIENCE = timedelta(seconds=1)
"""How long it may take to read the records that other machines share."""


@click.command(cls=Command)
@click.option("--refresh", is_flag=True, help="Ask the cloud first, and record the answer in the state file.")
@common_options
def status(context: Context, refresh: bool) -> int:
    """Show the recorded servers. Uses neither the engine nor the cloud, except with --refresh.

    With a backend that is a bucket or a database, the records are those that all machines share, if they can be
    read within a second. Shows too who holds the stack's lock, wherever that is.

    \b
    Examples:
      scaler status
      scaler status --refresh     ask the cloud; this also rebuilds a lost or damaged state file
      scaler status -o json

    \b
    Exit codes: 0 shown, 1 the state file is damaged, 64 usage; with --refresh also 5 locked, 69 unreachable.
    """
    from scaler.commands.recorded import recorded
    from scaler.output.render import render_status
    from scaler.records.state_file import stacks_without_spec

    project = Project.find(context.directory, context.state_dir)
    stack = project.choose(context.stack)
    if refresh:
        _ask_the_cloud(context)
    records = recorded(context, project, stack, _PATIENCE)
    state = records.state()
    color = context.colored(sys.stdout)
    text = render_status(
        state,
        context.output,
        stack=stack,
        now=context.clock.now(),
        holder=_holder(project, records) if records.is_reached else None,
        lost=stacks_without_spec(project.state_dir, project.stacks()),
        color=color,
        hints=context.interactive,
        width=context.width(sys.stdout),
    )
    click.echo(text, color=color)
    return ExitCode.OK


def _holder(project: Project, records: Recorded) -> LockHolder | None:
    """Return who holds the stack's lock; None if nobody does, or the backend does not say it in time."""
    from scaler.engine.backend import DEFAULT_BACKEND, absolute_url
    from scaler.engine.holders import living_holders

    url = absolute_url(records.backend or DEFAULT_BACKEND, project.directory)
    try:
        holders = living_holders(
            url, project.name, records.stack, project.state_dir, records.environ, patience=_PATIENCE
        )
    except ScalerError as error:
        records.warn(f"who holds the stack's lock is not known: {error}")
        return None
    return holders[0] if holders else None


def _ask_the_cloud(context: Context) -> None:
    from scaler.commands.options import LockPolicy
    from scaler.commands.running import load_stack, run
    from scaler.converge.operate import look

    project, spec = load_stack(context)
    run(context, project, spec, lambda ports: look(spec, ports), cause="status --refresh", lock=LockPolicy())
