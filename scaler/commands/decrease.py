"""`scaler decrease`: so many servers fewer."""

from __future__ import annotations

from typing import Unpack

import click

from scaler.commands.changing import How, change, change_options, check_consent
from scaler.commands.completers import complete_group
from scaler.commands.context import Context, common_options
from scaler.commands.counts import CountingCommand, parse_by
from scaler.commands.running import load
from scaler.converge.counts import known_group, only_group
from scaler.converge.demand import Demand


@click.command(cls=CountingCommand)
@click.argument("by", default="1")
@click.option("--group", metavar="GROUP", shell_complete=complete_group, help="Of which group. Default: the only one.")
@change_options
@common_options
def decrease(context: Context, by: str, group: str | None, **how: Unpack[How]) -> int:
    """Remove servers; one, if BY is not given. Never fewer than none are left.

    Those that are not ready go first, then the newest or oldest as the spec says, protected ones never.
    Prints the plan and asks first, unless --yes is given.

    \b
    Examples:
      scaler decrease                       one less
      scaler decrease 3 --group worker --yes
      scaler decrease --expect-current 5    only if there are five now

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    number = parse_by(by)
    check_consent(context, "decrease", how)
    project, spec = load(context)
    name = known_group(spec, group) if group else only_group(spec, fix="Say which with --group.")
    demand = Demand(by={name: -number})
    return change(context, project, spec, lambda around: demand, cause=f"decrease {number} --group {name}", **how)
