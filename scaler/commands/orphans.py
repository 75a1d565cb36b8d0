"""`scaler orphans`: machines with our labels that are in no state."""

from __future__ import annotations

import os
import sys
from typing import Unpack

import click

from scaler.commands.changing import How, change, change_options, check_consent
from scaler.commands.context import Context, Output, common_options
from scaler.commands.document import dump, markdown_table, text_table
from scaler.commands.running import load
from scaler.converge import operate
from scaler.converge.demand import Demand
from scaler.errors import ExitCode, UsageError
from scaler.model import Server
from scaler.records.codec import server_to_json

_COLUMNS = ("name", "group", "status", "type", "location", "ipv4", "id")


@click.command()
@click.option("--adopt", is_flag=True, help="Take them into the stack; servers that are there already stay.")
@click.option("--delete", is_flag=True, help="Remove them, and no others.")
@change_options
@common_options
def orphans(context: Context, adopt: bool, delete: bool, **how: Unpack[How]) -> int:
    """Show machines that carry this stack's labels and are in no state; adopt or delete them.

    They are what a killed run or a lost backend leaves behind. `scaler ensure` adopts them too, and
    removes what is too many then.

    \b
    Examples:
      scaler orphans
      scaler orphans --adopt --yes
      scaler orphans --delete --yes

    \b
    Exit codes: 0 done, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    if adopt and delete:
        raise UsageError("Give --adopt or --delete, not both.")
    if not (adopt or delete):
        return _list(context, how)
    check_consent(context, "orphans", how)
    project, spec = load(context)

    cause = f"orphans {'--delete' if delete else '--adopt'}"
    return change(context, project, spec, lambda _: Demand(remove_orphans=delete), cause=cause, **how)


def _list(context: Context, how: How) -> int:
    from scaler.output.progress import open_progress
    from scaler.wiring import RunSettings, open_ports

    project, spec = load(context)
    described = RunSettings(
        project=project, spec=spec, cause="orphans", lock_timeout=how["lock_timeout"], environ=os.environ
    )
    with (
        open_progress(
            sys.stderr, interactive=context.interactive, quiet=True, color=False, clock=context.clock
        ) as told,
        open_ports(described, clock=context.clock, progress=told) as around,
    ):
        found = operate.orphans(spec, around)
    _show(context, spec.stack, found)
    return ExitCode.OK


def _show(context: Context, stack: str, found: tuple[Server, ...]) -> None:
    documents = [server_to_json(server) for server in found]
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"stack": stack, "orphans": documents}, context.output))
        return
    rows = [[str(document[name] or "-") for name in _COLUMNS] for document in documents]
    if context.output is Output.MARKDOWN:
        click.echo(markdown_table(_COLUMNS, rows))
        return
    click.echo(text_table(_COLUMNS, rows) if rows else "No orphans.")
    if rows and context.interactive:
        click.echo(f"Keep them: scaler orphans --adopt -s {stack}. Remove them: scaler orphans --delete -s {stack}.")
