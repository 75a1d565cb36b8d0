"""`scaler orphans`: servers that carry the stack's labels and are in no state."""

from __future__ import annotations

import sys

import click

from scaler.commands.changing import How, change, change_options_of_orphans, check
from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output, terminal_width
from scaler.commands.document import dump
from scaler.commands.options import LockPolicy
from scaler.commands.printing import print_result
from scaler.commands.round import PlainResult
from scaler.commands.running import load_stack, opened_ports
from scaler.converge import operate
from scaler.converge.demand import Demand
from scaler.errors import ExitCode, UsageError
from scaler.model import Outcome, Server
from scaler.output.table import markdown_table, text_table
from scaler.records.codec import server_to_json

_COLUMNS = ("name", "group", "status", "type", "location", "ipv4", "id")
_DISPENSABLE = ("location", "type", "group")
"""The columns that a narrow terminal does without; the id names a server at the cloud."""


@click.command(cls=Command)
@click.option("--adopt", is_flag=True, help="Take the orphans into the stack, in addition to its servers.")
@click.option("--delete", is_flag=True, help="Delete the orphans, and no other servers.")
@change_options_of_orphans
@common_options
def orphans(context: Context, adopt: bool, delete: bool, how: How) -> int:
    """List servers that carry this stack's labels but are missing from its state; adopt or delete them.

    A killed run or a lost backend leaves them behind. `scaler ensure` adopts them too, and then removes
    the servers that are too many. Servers that carry the stack's names and not its id are unclaimed, not
    orphans: they are never deleted. `scaler adopt` claims them.

    \b
    Examples:
      scaler orphans
      scaler orphans --adopt --yes
      scaler orphans --delete --yes

    \b
    Exit codes: 0 done, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    if adopt and delete:
        raise UsageError("--adopt and --delete exclude each other.", fix="Give one of them.")
    if not (adopt or delete):
        return _list(context, how)
    check(context, "orphans", how)
    project, spec = load_stack(context)

    cause = f"orphans {'--delete' if delete else '--adopt'}"
    return change(context, project, spec, Demand(remove_orphans=delete), how, cause=cause)


def _list(context: Context, how: How) -> int:
    project, spec = load_stack(context)
    lock = LockPolicy(how.lock.timeout)
    with opened_ports(context, project, spec, cause="orphans", lock=lock, quiet=True, looks=True) as ports:
        found = operate.orphans(spec, ports)
    _show(context, spec.stack, found)
    return ExitCode.OK


def _show(context: Context, stack: str, found: tuple[Server, ...]) -> None:
    documents = [server_to_json(server) for server in found]
    rows = [[str(document[name] or "-") for name in _COLUMNS] for document in documents]
    facts: dict[str, object] = {"stack": stack, "orphans": documents}
    markdown = markdown_table(_COLUMNS, rows)
    context.ending.result = PlainResult(
        stack=stack, outcome=Outcome.UNCHANGED, changed=False, facts=facts, markdown=markdown
    )
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump(facts, context.output))
        return
    if context.output is Output.MARKDOWN:
        click.echo(markdown)
        return
    if not rows:
        print_result("No orphans.")
        return
    print_result(text_table(_COLUMNS, rows, terminal_width(sys.stdout), dispensable=_DISPENSABLE))
    if context.interactive:
        print_result(f"Keep them: scaler orphans --adopt -s {stack}. Remove them: scaler orphans --delete -s {stack}.")
