"""`scaler apply`: carry out a plan that was looked at before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from scaler.commands.ci import report_options
from scaler.commands.context import Context, common_options
from scaler.commands.running import Duration, load, lock_timeout_option, run, show, steal_after_option, timeout_option
from scaler.errors import UsageError
from scaler.model import Result


@click.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PLAN.JSON")
@click.option("--max-age", type=Duration(), default="1h", show_default=True, help="How old the plan may be.")
@timeout_option
@lock_timeout_option
@steal_after_option
@report_options
@common_options
def apply(
    context: Context,
    plan: Path,
    max_age: timedelta,
    timeout: timedelta,
    lock_timeout: timedelta,
    steal_after: timedelta | None,
) -> int:
    """Do exactly the steps of a plan file, or nothing.

    The plan is the consent: nothing is asked.

    \b
    Examples:
      scaler preview 5 --out plan.json    then let somebody look at it
      scaler apply plan.json              6: something moved since, and nothing was changed

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 6 out of date, 64 usage.
    """
    from scaler.records.plan_file import check_plan, read_plan

    reviewed = read_plan(plan)
    project, spec = load(context.of(reviewed.stack))
    check_plan(reviewed, spec, now=context.clock.now(), max_age=max_age)
    if set(reviewed.wanted) != set(spec.groups):
        raise UsageError("The plan is for other groups than the spec has.")

    def use_case(around: Any) -> Result:
        from scaler.converge.demand import Demand, Options, Reviewed
        from scaler.converge.ensure import ensure

        options = Options(timeout=timeout, reviewed=Reviewed(reviewed.steps, reviewed.seen))
        return ensure(spec, Demand(reviewed.wanted), options, around)

    result = run(
        context, project, spec, use_case, cause=f"apply {plan.name}", lock_timeout=lock_timeout, steal_after=steal_after
    )
    return show(context, result)
