"""`scaler history`: the events of a stack."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context, Output, terminal_width
from scaler.commands.document import dump
from scaler.commands.printing import print_result
from scaler.commands.recorded import recorded
from scaler.config.project import Project
from scaler.model.events import Event
from scaler.output.table import markdown_table, text_table
from scaler.records.codec import event_to_json
from scaler.support.clock import format_time

_COLUMNS = ("at", "event", "server", "from", "to", "reason", "cause")
_DISPENSABLE = ("from", "cause", "to")
"""The columns that a narrow terminal does without, the first ones first."""


@click.command(cls=Command)
@click.option("--server", metavar="NAME", shell_complete=complete_server, help="Only the events of this server.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Only the last N events.",
)
@common_options
def history(context: Context, server: str | None, limit: int) -> None:
    """Show the events of a stack, oldest first. Uses neither the engine nor the cloud.

    \b
    Examples:
      scaler history
      scaler history --server prod-worker-2
      scaler history -n 1000 -o json

    \b
    Exit codes: 0 shown, 1 the event log cannot be read, 64 usage, such as an unknown server.
    """
    project = Project.find(context.directory, context.state_dir)
    stack = project.choose(context.stack)
    events = recorded(context, project, stack).events(server)[-limit:]
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"stack": stack, "events": [event_to_json(event) for event in events]}, context.output))
    elif context.output is Output.MARKDOWN:
        click.echo(markdown_table(_COLUMNS, table_of(events)))
    else:
        width = terminal_width(sys.stdout)
        # A narrow terminal does without the column of the cause, which is all that the begin of a run says.
        rows = [
            [*row[:5], event.reason or ("" if event.server else event.cause) or "-", row[6]]
            for row, event in zip(table_of(events), events, strict=True)
        ]
        nothing = f"Nothing has happened yet. To make the servers that the spec asks for: scaler ensure --stack {stack}"
        print_result(text_table(_COLUMNS, rows, width, dispensable=_DISPENSABLE) if rows else nothing)


def table_of(events: Sequence[Event]) -> list[list[str]]:
    """Return one row per event. In the column of the status, a finished run has its outcome."""
    return [
        [
            format_time(event.at) if event.at else "-",
            event.event,
            event.server or "-",
            str(event.previous or "-"),
            str(event.status or (event.result or {}).get("outcome") or "-"),
            event.reason or "-",
            event.cause or "-",
        ]
        for event in events
    ]
