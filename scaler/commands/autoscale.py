"""`scaler autoscale`: the number of servers from the load."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import click
from click.core import ParameterSource

from scaler.commands.autoscale_output import exit_code_of, show_nothing, show_tick
from scaler.commands.autoscale_tick import Ticker
from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import Duration, LockPolicy, lock_options, timeout_option, yes_option
from scaler.commands.reports import report_options
from scaler.commands.running import load_stack, require_consent
from scaler.config.project import Project
from scaler.errors import ExitCode, UsageError


@click.command(cls=Command)
@click.option("--preview", is_flag=True, help="Show the decision and what it would change, without changing it.")
@click.option(
    "--watch", type=Duration(), metavar="EVERY", help="Keep running and decide again this often, such as 60s."
)
@click.option("--all", "every", is_flag=True, help="Do it for every stack of the project, side by side.")
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT",
    help="With --watch: serve a live page, /metrics, /healthz, /targets and /api/status at this address.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --metrics-listen: who reads there must send the token in this file.",
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
    every: bool,
    metrics_listen: str | None,
    token_file: Path | None,
    wait: bool,
    yes: bool,
    timeout: timedelta,
    lock: LockPolicy,
) -> int:
    """Compute the number of servers from the load, and make it so.

    The `autoscale` blocks of the groups say how. Without --watch, scaler decides once, which suits a cron job. What the
    next run must know is in the stack's records, so a watch and a cron job decide the same. A watch asks nothing and
    writes no report. Ctrl-C, SIGTERM or SIGHUP ends it after the current tick; a second signal ends it at once.

    With --all, or several -s, one process works on several stacks side by side, and what goes wrong with one of them
    does not hold up the others. A watch takes up specs that are added to stacks/, and leaves alone what they describe
    when they are removed.

    \b
    Examples:
      scaler autoscale --preview                show what would be done, and why
      scaler autoscale --yes                    in a cron job
      scaler autoscale --watch 60s --metrics-listen 127.0.0.1:9410
      scaler autoscale --all --watch 60s        one service for all stacks

    \b
    Exit codes: 0 done, 1 error, 3 refused, 4 not confirmed in time (with --wait), 5 locked, 64 usage. Of several
    stacks, the worst.
    """
    several = every or len(context.stacks) > 1
    _check(preview, watch, metrics_listen, token_file, every)
    asking = not yes and watch is None and not preview
    if asking and several:
        raise UsageError("Nobody is asked about several stacks at once.", fix="Add --yes.", code="consent_missing")
    if asking:
        require_consent(context, yes, "autoscale")
    from scaler.autoscale.bounds import Prices

    project = Project.find(context.directory, context.state_dir)
    ticker = Ticker(
        context=context,
        project=project,
        prices=Prices(context.clock),
        apply=not preview,
        wait=wait,
        asking=asking,
        timeout=timeout,
        lock=lock,
        quiet=watch is not None,
    )
    if watch is not None:
        from scaler.commands.autoscale_watch import PageAddress, run_service, run_watch

        listening = PageAddress(metrics_listen, token_file) if metrics_listen is not None else None
        if several:
            return run_service(ticker, _chosen(context, project, every), watch, listening)
        return run_watch(ticker, load_stack(context)[1], watch, listening)
    if several:
        from scaler.commands.autoscale_round import run_round

        return run_round(ticker, _chosen(context, project, every)())
    return _run_once(context, ticker)


def _run_once(context: Context, ticker: Ticker) -> int:
    """Decide for one stack, and return the exit code."""
    _, spec = load_stack(context)
    if not any(group.autoscale for group in spec.groups.values()):
        show_nothing(context, spec)
        return ExitCode.OK
    done = ticker.tick(spec, context.clock.now())
    show_tick(context, done)
    return exit_code_of(done, ticker.wait)


def _chosen(context: Context, project: Project, every: bool) -> Callable[[], list[str]]:
    """Return what lists the stacks to work on now. UsageError if one does not exist, or if there is none."""
    if every:
        if not project.stacks():
            project.choose(None)
        return project.stacks
    named = [project.choose(name) for name in context.stacks]
    return lambda: named


def _check(
    preview: bool, watch: timedelta | None, metrics_listen: str | None, token_file: Path | None, every: bool
) -> None:
    if watch is not None and watch <= timedelta(0):
        raise UsageError("--watch must be more than 0.", fix="Give a time such as 60s.")
    if watch is not None and preview:
        raise UsageError("--preview shows one decision, but --watch keeps running.", fix="Give one of them.")
    if metrics_listen is not None and watch is None:
        raise UsageError("--metrics-listen needs --watch.", fix="Add --watch 60s.")
    if token_file is not None and metrics_listen is None:
        raise UsageError("--token-file needs --metrics-listen.", fix="Add --metrics-listen 127.0.0.1:9410.")
    if every and _names_a_stack(click.get_current_context()):
        raise UsageError("--all means every stack, but --stack names one.", fix="Give one of them.")


def _names_a_stack(ctx: click.Context | None) -> bool:
    """Return whether the command line names a stack; the environment may, for other commands."""
    while ctx is not None:
        if ctx.get_parameter_source("stack") is ParameterSource.COMMANDLINE:
            return True
        ctx = ctx.parent
    return False
