"""`scaler status`: the recorded servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output, terminal_width
from scaler.commands.options import Duration
from scaler.config.project import Project
from scaler.errors import ExitCode, ScalerError, UsageError
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.records.lock_note import LockHolder
    from scaler.records.recorded import Recorded
    from scaler.records.state import State

_PATIENCE = timedelta(seconds=1)
"""How long it may take to read the records that other machines share."""


@click.command(cls=Command)
@click.option("--refresh", is_flag=True, help="Ask the cloud first, and record the answer in the state file.")
@click.option(
    "--watch",
    type=Duration(),
    is_flag=False,
    flag_value="2s",
    metavar="[TIME]",
    help="Show the records again every TIME, by default 2s, until Ctrl-C; in a file or a dumb terminal, what is new.",
)
@common_options
def status(context: Context, refresh: bool, watch: timedelta | None) -> int:
    """Show the recorded servers. Uses neither the engine nor the cloud, except with --refresh.

    In a project with several stacks, without --stack, shows one line for each. With a backend that is a bucket or
    a database, the records are those that all machines share, if they can be read within a second.
    Of one stack, shows too who holds its lock, wherever that is.

    \b
    Examples:
      scaler status
      scaler status --refresh     ask the cloud; this also rebuilds a lost or damaged state file
      scaler status --watch       follow a run from another terminal
      scaler status -o json

    \b
    Exit codes: 0 shown, 1 the state file is damaged, 64 usage; with --refresh also 5 locked, 69 unreachable.
    """
    project = Project.find(context.directory, context.state_dir)
    stacks = _stacks(context, project)
    if watch is not None:
        _check_watch(context, watch, refresh=refresh)
        _watch(context, project, stacks, watch)
    if refresh:
        for stack in stacks:
            _ask_the_cloud(context.only(stack))
    click.echo(_shown(context, project, _look(context, project, stacks)), color=context.colored(sys.stdout))
    return ExitCode.OK


def _stacks(context: Context, project: Project) -> list[str]:
    """Return the named stacks, or all of the project; UsageError if there is none, or one is not known."""
    if context.stacks:
        return [project.choose(stack) for stack in context.stacks]
    return project.stacks() or [project.choose(None)]


@dataclass(frozen=True)
class _Seen:
    """What is known of the stacks now."""

    states: Mapping[str, State | None]
    holder: LockHolder | None
    """Who holds the lock, if there is one stack."""


def _look(context: Context, project: Project, stacks: Sequence[str]) -> _Seen:
    from scaler.commands.recorded import recorded

    every = {stack: recorded(context, project, stack, _PATIENCE) for stack in stacks}
    states = {stack: records.state() for stack, records in every.items()}
    alone = [records for records in every.values() if len(every) == 1 and records.is_reached]
    return _Seen(states, _holder(project, alone[0]) if alone else None)


def _shown(context: Context, project: Project, seen: _Seen) -> str:
    """Return one stack with its servers, or a line for each of several."""
    from scaler.output.render import render_stacks, render_status
    from scaler.records.state_file import stacks_without_spec

    states = seen.states
    now, lost = context.clock.now(), stacks_without_spec(project.state_dir, project.stacks())
    color, width = context.colored(sys.stdout), terminal_width(sys.stdout)
    if len(states) > 1:
        return render_stacks(states, context.output, now=now, lost=lost, color=color, width=width)
    ((stack, state),) = states.items()
    return render_status(
        state,
        context.output,
        stack=stack,
        now=now,
        holder=seen.holder,
        lost=lost,
        protected=project.protected_of(stack),
        color=color,
        width=width,
    )


def _check_watch(context: Context, watch: timedelta, *, refresh: bool) -> None:
    if watch <= timedelta(0):
        raise UsageError("--watch must be more than 0.", fix="Leave its time out, or give one such as 5s.")
    if refresh:
        raise UsageError("--watch reads records, and --refresh asks the cloud.", fix="Leave one of them out.")
    if context.output is not Output.TEXT:
        raise UsageError("--watch prints text.", fix="Leave -o out, or repeat the command without --watch.")


def _watch(context: Context, project: Project, stacks: Sequence[str], every: timedelta) -> NoReturn:
    """Show the records again and again until a signal: in place where a terminal can, else whenever they changed."""
    show: AbstractContextManager[Callable[[str], None]] = nullcontext(_print_again)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        show = _redrawing(context)
    before: object = None
    with show as shown:
        while True:
            seen = _look(context, project, stacks)
            if shown is not _print_again or seen != before:
                shown(_shown(context, project, seen))
            before = seen
            context.clock.sleep(every.total_seconds())


def _print_again(text: str) -> None:
    click.echo(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def _redrawing(context: Context) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, force_terminal=True, no_color=not context.colored(sys.stdout))
    with Live(console=console, auto_refresh=False) as live:
        yield lambda text: live.update(Text.from_ansi(text, no_wrap=True, overflow="ellipsis"), refresh=True)


def _holder(project: Project, records: Recorded) -> LockHolder | None:
    """Return who holds the stack's lock; None if nobody does, or the backend does not say it in time."""
    from scaler.engine.backend import DEFAULT_BACKEND, absolute_url
    from scaler.engine.holders import living_holders

    url = absolute_url(records.backend or DEFAULT_BACKEND, project.directory)
    try:
        holders = living_holders(
            url, project.name, records.stack, project.state_dir, records.environ, patience=_PATIENCE
        )
    except ScalerError as error:
        records.warn(f"who holds the stack's lock is not known: {error}")
        return None
    return holders[0] if holders else None


def _ask_the_cloud(context: Context) -> None:
    from scaler.commands.options import LockPolicy
    from scaler.commands.running import load_stack, run
    from scaler.converge.operate import look

    project, spec = load_stack(context)
    run(context, project, spec, lambda ports: look(spec, ports), cause="status --refresh", lock=LockPolicy())
