"""`scaler autoscale`: the number of servers from the load."""

from __future__ import annotations

from datetime import timedelta

import click

from scaler.commands.autoscale_output import show_nothing, show_tick
from scaler.commands.autoscale_tick import Ticker
from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import Duration, LockPolicy, lock_options, timeout_option, yes_option
from scaler.commands.reports import report_options
from scaler.commands.running import EXIT_CODES, load_stack, require_consent
from scaler.errors import ExitCode, UsageError
from scaler.model import Outcome


@click.command(cls=Command)
@click.option("--preview", is_flag=True, help="Show the decision and what it would change, without changing it.")
@click.option(
    "--watch", type=Duration(), metavar="EVERY", help="Keep running and decide again this often, such as 60s."
)
@click.option(
    "--metrics-listen", metavar="HOST:PORT", help="With --watch: serve /metrics and /healthz at this address."
)
@click.option(
    "--wait",
    is_flag=True,
    help="Wait until the servers are ready, but not for those that drain. Otherwise the next run confirms them.",
)
@yes_option
@timeout_option
@lock_options
@report_options
@common_options
def autoscale(
    context: Context,
    preview: bool,
    watch: timedelta | None,
    metrics_listen: str | None,
    wait: bool,
    yes: bool,
    timeout: timedelta,
    lock: LockPolicy,
) -> int:
    """Compute the number of servers from the load, and make it so.

    The `autoscale` blocks of the groups say how. Without --watch, scaler decides once, which suits a cron job. What the
    next run must know is in the stack's records, so a watch and a cron job decide the same. A watch asks nothing and
    writes no report. Ctrl-C, SIGTERM or SIGHUP ends it after the current tick; a second signal ends it at once.

    \b
    Examples:
      scaler autoscale --preview                show what would be done, and why
      scaler autoscale --yes                    in a cron job
      scaler autoscale --watch 60s --metrics-listen 127.0.0.1:9410

    \b
    Exit codes: 0 done, 1 error, 3 refused, 4 not confirmed in time (with --wait), 5 locked, 64 usage.
    """
    _check(preview, watch, metrics_listen)
    if watch is None and not preview:
        require_consent(context, yes, "autoscale")
    project, spec = load_stack(context)
    ticker = Ticker(
        context=context,
        project=project,
        apply=not preview,
        wait=wait,
        asking=not yes and watch is None and not preview,
        timeout=timeout,
        lock=lock,
        quiet=watch is not None,
    )
    if watch is not None:
        from scaler.commands.autoscale_watch import run_watch

        return run_watch(context.of(spec.stack), spec, ticker, watch, metrics_listen)
    if not any(group.autoscale for group in spec.groups.values()):
        show_nothing(context, spec)
        return ExitCode.OK
    done = ticker.tick(spec, context.clock.now())
    show_tick(context, done)
    if done.outcome is Outcome.UNCONFIRMED and not wait:
        return ExitCode.OK
    return EXIT_CODES[done.outcome]


def _check(preview: bool, watch: timedelta | None, metrics_listen: str | None) -> None:
    if watch is not None and watch <= timedelta(0):
        raise UsageError("--watch must be more than 0.", fix="Give a time such as 60s.")
    if watch is not None and preview:
        raise UsageError("--preview shows one decision, but --watch keeps running.", fix="Give one of them.")
    if metrics_listen is not None and watch is None:
        raise UsageError("--metrics-listen needs --watch.", fix="Add --watch 60s.")
