"""`scaler apply`: carry out a plan that was reviewed before."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import Duration, LockPolicy, lock_options, timeout_option
from scaler.commands.printing import print_note
from scaler.commands.reports import report_options
from scaler.commands.running import announce, load_stack, run, show
from scaler.errors import UsageError
from scaler.model import Result


@click.command(cls=Command)
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PLAN.JSON")
@click.option("--max-age", type=Duration(), default="1h", show_default=True, help="Refuse a plan older than this.")
@timeout_option
@lock_options
@report_options
@common_options
def apply(context: Context, plan: Path, max_age: timedelta, timeout: timedelta, lock: LockPolicy) -> int:
    """Carry out exactly the steps of a plan file, or nothing.

    Nothing is asked: whoever runs this has reviewed the plan.

    \b
    Examples:
      scaler preview 5 --out plan.json    then have it reviewed
      scaler apply plan.json              exit 6 if anything changed since: then nothing is done

    The plan of a roll has its first wave, and the size of each later one.

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 6 out of date, 64 usage.
    """
    from scaler.records.plan_file import check_plan_file, read_plan_file

    reviewed = read_plan_file(plan)
    project, spec = load_stack(context.of(reviewed.stack))
    check_plan_file(reviewed, spec, now=context.clock.now(), max_age=max_age)
    if set(reviewed.wanted) != set(spec.groups):
        raise UsageError(
            "The groups of the plan are not the groups of the spec.",
            fix="Make a new plan with `scaler preview --out FILE`.",
        )

    from scaler.converge.demand import order_of_plan
    from scaler.wiring import held_for_roll

    order = order_of_plan(reviewed.roll)
    is_roll = order is not None and not order.by_itself

    def use_case(ports: Any) -> Result:
        from scaler.converge.demand import Demand, Options, Reviewed
        from scaler.converge.ensure import ensure

        made_for = Reviewed(reviewed.steps, reviewed.seen, reviewed.id, reviewed.waves)
        options = Options(
            timeout=timeout,
            announce=announce(context, spec, ports),
            reviewed=made_for,
            resumes=not is_roll,
            roll=order,
        )
        return ensure(spec, Demand(as_wanted=True) if is_roll else Demand(reviewed.wanted), options, ports)

    with ExitStack() as stack:
        lease = None
        if is_roll:
            lease = stack.enter_context(
                held_for_roll(project, spec, os.environ, context.clock, within=lock.timeout, note=print_note)
            )
        result = run(
            context,
            project,
            spec,
            use_case,
            cause=f"apply {plan.name}",
            lock=lock,
            timeout=timeout,
            lease=lease,
            way_on="A new plan goes on.",
        )
        return show(context, result)
