"""`scaler roll`: replace outdated servers, in waves."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.commands.changing import How, change_options
from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_group
from scaler.commands.context import Context
from scaler.commands.options import Duration
from scaler.commands.preview import write_plan
from scaler.commands.printing import print_note
from scaler.commands.running import announce, ask, load_stack, require_consent, require_time, run, show
from scaler.commands.targets import require_free
from scaler.converge.counts import known_group
from scaler.converge.demand import Demand, Options, order_by_hand
from scaler.converge.ensure import ensure
from scaler.errors import UsageError
from scaler.model import Outcome, Result
from scaler.planning.claims import Claim

if TYPE_CHECKING:
    from scaler.records.lease import Lease


@click.command(cls=Command)
@click.option("-g", "--group", metavar="GROUP", shell_complete=complete_group, help="Only this group; default: all.")
@click.option("--surge", type=click.IntRange(min=0), metavar="N", help="So many servers beside the wanted ones.")
@click.option("--unavailable", type=click.IntRange(min=0), metavar="N", help="So many wanted servers out of service.")
@click.option("--canary", type=click.IntRange(min=0), metavar="N", help="Size of the first wave; 0: like the others.")
@click.option("--bake", type=Duration(), metavar="TIME", help="How long new servers must be ready before old ones go.")
@click.option("--rollback", is_flag=True, help="Replace the servers of the last roll by ones on the image of before.")
@click.option("--abandon", is_flag=True, help="End the roll where it is; only its open wave is removed.")
@click.option("--preview", is_flag=True, help="Show all waves, and which servers are outdated; change nothing.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --preview: write the plan to this file, for `scaler apply`.",
)
@change_options
@common_options
def roll(
    context: Context,
    group: str | None,
    surge: int | None,
    unavailable: int | None,
    canary: int | None,
    bake: timedelta | None,
    rollback: bool,
    abandon: bool,
    preview: bool,
    out: Path | None,
    how: How,
) -> int:
    """Replace servers that are not as the spec says now, or older than `lifetime`: new ones first, in waves.

    The new servers of a wave must be ready and healthy for --bake before old ones are drained and deleted. The first
    wave whose servers fail ends the roll: they are removed, and the old ones stay. Without options, the
    spec's `roll` says how fast it goes. --timeout is the time of one wave.

    A roll that was interrupted goes on with the same command, as fast as it was begun, unless options say otherwise;
    --rollback and --abandon end it.

    \b
    Examples:
      scaler roll --preview                            its waves, how long they take and what they cost
      scaler roll --preview --out plan.json            for `scaler apply plan.json`
      scaler roll --canary 1 --bake 5m --surge 3 --yes
      scaler roll --rollback --yes                     back to the image of before

    \b
    Exit codes: 0 rolled, 1 a wave failed, or error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    if not preview:
        require_consent(context, how.yes, "roll")
    require_time(how.timeout)
    if rollback and abandon:
        raise UsageError("--rollback and --abandon exclude each other.", fix="Give one of them.")
    if out and (abandon or not preview):
        raise UsageError("--out is for --preview, of a roll or of one back.", fix="Leave --out out.")
    if out:
        require_free(out)
    if how.no_wait:
        raise UsageError("A roll waits for each of its waves.", fix="Leave --no-wait out.")
    project, spec = load_stack(context)
    given = {"surge": surge, "unavailable": unavailable, "canary": canary, "bake": bake}
    names = [known_group(spec, group)] if group else list(spec.groups)
    order = order_by_hand(spec, names, given, "back" if rollback else "abandon" if abandon else "roll")

    def use_case(ports: Any) -> Result:
        options = Options(
            timeout=how.timeout,
            apply=not preview,
            approve=None if how.yes or preview else ask(context, spec, ports),
            announce=announce(context, spec, ports),
            expect_current=how.expect_current,
            max_change=how.max_change,
            accept_loss=how.accept_loss,
            claim=Claim(everything=how.claim),
            roll=order,
        )
        return ensure(spec, Demand(as_wanted=True), options, ports)

    def rolled(lease: Lease | None = None) -> Result:
        return run(
            context,
            project,
            spec,
            use_case,
            cause="roll",
            lock=how.lock,
            timeout=how.timeout,
            looks=preview,
            lease=lease,
        )

    if preview:
        result = rolled()
        if out and result.outcome is not Outcome.REFUSED:
            write_plan(result, spec, out, context.clock, order)
        return show(context, result)
    from scaler.wiring import held_for_roll

    with held_for_roll(
        project,
        spec,
        os.environ,
        context.clock,
        within=min(how.lock.timeout, how.timeout),
        note=print_note,
    ) as lease:
        return show(context, rolled(lease))
