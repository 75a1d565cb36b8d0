"""`scaler preview`: what `scaler ensure` would do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.commands.command import common_options
from scaler.commands.completers import complete_count
from scaler.commands.context import Context
from scaler.commands.counts import CountingCommand, format_counts, parse_counts
from scaler.commands.options import (
    LockPolicy,
    accept_loss_option,
    adopt_option,
    allow_zero_option,
    lock_timeout_option,
    max_change_option,
)
from scaler.commands.reports import report_options
from scaler.commands.running import load_stack, run, show
from scaler.commands.targets import require_free
from scaler.errors import ExitCode
from scaler.model import Outcome, Result, Spec
from scaler.support.clock import Clock

if TYPE_CHECKING:
    from scaler.converge.demand import RollOrder


@click.command(cls=CountingCommand)
@click.argument("counts", nargs=-1, metavar="[N | GROUP=N ...]", shell_complete=complete_count)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there is something to change.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the plan to this file, for `scaler apply`.",
)
@max_change_option
@allow_zero_option
@accept_loss_option
@adopt_option
@lock_timeout_option
@report_options
@common_options
def preview(
    context: Context,
    counts: tuple[str, ...],
    detailed_exitcode: bool,
    out: Path | None,
    max_change: int | None,
    allow_zero: bool,
    accept_loss: bool,
    claim: bool,
    lock: LockPolicy,
) -> int:
    """Show what `scaler ensure` would do, without doing it.

    Writes nothing, and fails if the engine's own preview differs from the plan.

    \b
    Examples:
      scaler preview 5
      scaler preview 5 --detailed-exitcode    0: nothing to change, 2: changes, 1: error
      scaler preview 5 -o markdown            for a comment in a merge request
      scaler preview 5 --out plan.json        for `scaler apply plan.json`

    \b
    Exit codes: 0 shown, 1 error, 2 something to change (with --detailed-exitcode), 3 refused, 5 locked, 64 usage.
    """
    project, spec = load_stack(context)
    if out:
        require_free(out)
    wanted = parse_counts(spec, counts)

    from scaler.converge.demand import Demand, Options, order_by_itself

    roll = None if counts else order_by_itself(spec)

    def use_case(ports: Any) -> Result:
        from scaler.converge.ensure import ensure
        from scaler.planning.claims import Claim

        options = Options(
            apply=False,
            max_change=max_change,
            allow_zero=allow_zero or context.interactive,
            accept_loss=accept_loss,
            claim=Claim(everything=claim),
            roll=roll,
        )
        return ensure(spec, Demand(wanted), options, ports)

    result = run(context, project, spec, use_case, cause=f"preview {format_counts(wanted)}", lock=lock, looks=True)
    if out and result.outcome is not Outcome.REFUSED:
        write_plan(result, spec, out, context.clock, roll)
    code = show(context, result)
    return ExitCode.CHANGES_PENDING if detailed_exitcode and result.outcome is Outcome.PLANNED else code


def write_plan(result: Result, spec: Spec, out: Path, clock: Clock, roll: RollOrder | None) -> None:
    """Write the plan of a preview, made for this order, to a file. UsageError if it cannot be written."""
    from scaler.engine import binary
    from scaler.records.plan_file import plan_file_of, write_plan_file

    engine = binary.version_of(binary.find(os.environ), os.environ)
    plan = plan_file_of(
        result,
        spec,
        made_at=clock.now(),
        engine=engine,
        rolls=roll.paces if roll else None,
        given=roll.given if roll else None,
        do=roll.do if roll else "roll",
        by_itself=roll.by_itself if roll else False,
    )
    write_plan_file(plan, out)
