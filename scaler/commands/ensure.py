"""`scaler ensure`: make it so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from scaler.commands.ci import report_options
from scaler.commands.completers import complete_count
from scaler.commands.context import Context, common_options
from scaler.commands.counts import CountingCommand, parse_counts, tell
from scaler.commands.running import (
    allow_zero_option,
    ask,
    load,
    lock_timeout_option,
    max_change_option,
    require_consent,
    run,
    show,
    steal_after_option,
    timeout_option,
)
from scaler.errors import UsageError
from scaler.model import Result


@click.command(cls=CountingCommand)
@click.argument("counts", nargs=-1, metavar="[N | GROUP=N ...]", shell_complete=complete_count)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the servers are ready; the next run confirms them.")
@click.option("--expect-current", type=click.IntRange(min=0), metavar="N", help="Only if there are N servers now.")
@max_change_option
@allow_zero_option
@timeout_option
@lock_timeout_option
@steal_after_option
@report_options
@common_options
def ensure(
    context: Context,
    counts: tuple[str, ...],
    yes: bool,
    no_wait: bool,
    expect_current: int | None,
    max_change: int | None,
    allow_zero: bool,
    timeout: timedelta,
    lock_timeout: timedelta,
    steal_after: timedelta | None,
) -> int:
    """Make exactly so many healthy servers exist.

    Without numbers, the spec's counts. Prints the plan and asks first, unless --yes is given.

    \b
    Examples:
      scaler ensure 5                    five servers, in a stack of one group
      scaler ensure worker=5 web=2       by group
      scaler ensure 5 --yes -o json      as a step of a pipeline
      scaler ensure 8 --yes --max-change 3    refused if more than three come and go

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    require_consent(context, yes, "ensure")
    if timeout <= timedelta(0):
        raise UsageError("--timeout must be more than nothing.")
    project, spec = load(context)
    wanted = parse_counts(spec, counts)

    def use_case(around: Any) -> Result:
        from scaler.converge.demand import Demand, Options
        from scaler.converge.ensure import ensure as converge

        question = f"Change {spec.stack}?"
        options = Options(
            timeout=timeout,
            wait=not no_wait,
            approve=None if yes else ask(context, spec, around, question),
            expect_current=expect_current,
            max_change=max_change,
            allow_zero=allow_zero or not yes,
        )
        return converge(spec, Demand(wanted), options, around)

    result = run(
        context,
        project,
        spec,
        use_case,
        cause=f"ensure {tell(wanted)}",
        lock_timeout=lock_timeout,
        steal_after=steal_after,
    )
    return show(context, result)
