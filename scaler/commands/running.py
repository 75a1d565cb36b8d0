"""What the commands that run something share: put the run together, print its result, give its exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scaler.commands.context import Context, Output
from scaler.commands.ending import SAME_COMMAND, Begun
from scaler.commands.github import log_group
from scaler.commands.options import LockPolicy
from scaler.commands.printing import print_note, print_result
from scaler.commands.streams import is_unread, lost_result
from scaler.config.project import Project
from scaler.errors import ExitCode, UsageError
from scaler.model import Outcome, Plan, Result, Spec

if TYPE_CHECKING:
    from scaler.hooks.checks import Checks
    from scaler.output.progress import ProgressDisplay
    from scaler.records.lease import Lease
    from scaler.records.lock_note import Heard
    from scaler.wiring import Commons

T = TypeVar("T")

EXIT_CODES = {
    Outcome.CONVERGED: ExitCode.OK,
    Outcome.UNCHANGED: ExitCode.OK,
    Outcome.PLANNED: ExitCode.OK,
    Outcome.UNCONFIRMED: ExitCode.UNCONFIRMED,
    Outcome.FAILED: ExitCode.ERROR,
    Outcome.REFUSED: ExitCode.REFUSED,
}


def load_stack(context: Context) -> tuple[Project, Spec]:
    """Load the project and the chosen stack's spec."""
    from scaler.config import spec

    project = Project.find(context.directory, context.state_dir)
    stack = project.choose(context.stack)
    return project, spec.load(project.spec_path(stack), project.name)


def run(
    context: Context,
    project: Project,
    spec: Spec,
    use_case: Callable[[Any], T],
    *,
    cause: str,
    lock: LockPolicy,
    timeout: timedelta | None = None,
    looks: bool = False,
    lease: Lease | None = None,
    way_on: str = SAME_COMMAND,
) -> T:
    """Carry out a use case with its ports; on GitHub, fold its progress into a group."""
    with (
        log_group(f"scaler {cause}", os.environ),
        opened_ports(
            context,
            project,
            spec,
            cause=cause,
            lock=lock,
            timeout=timeout,
            looks=looks,
            lease=lease,
            way_on=way_on,
        ) as ports,
    ):
        return use_case(ports)


@contextmanager
def opened_ports(
    context: Context,
    project: Project,
    spec: Spec,
    *,
    cause: str,
    lock: LockPolicy,
    timeout: timedelta | None = None,
    quiet: bool = False,
    looks: bool = False,
    lease: Lease | None = None,
    commons: Commons | None = None,
    checks: Checks | None = None,
    heard: Heard | None = None,
    way_on: str = SAME_COMMAND,
) -> Iterator[Any]:
    """Hold a stack's lock and open the ports of a run, whose progress goes to standard error.

    The run's time, `timeout`, begins now. With `looks`, nothing is written; with a `lease`, nothing is changed
    unless it is held; with `commons`, this is one of several stacks; `checks` are those of a watch, `heard` what
    it has seen of who has the stack's lock. `way_on` says how to go on after a signal.
    """
    from scaler.commands.interruption import recorded_in
    from scaler.output.progress import open_progress
    from scaler.wiring import RunSettings, open_ports

    settings = RunSettings(
        project=project,
        spec=spec,
        cause=cause,
        lock_timeout=lock.timeout,
        timeout=timeout,
        steal_after=lock.steal_after,
        environ=os.environ,
        lease=lease,
        commons=commons,
        checks=checks,
        heard=heard,
        looks=looks,
    )
    # Until the ports are open it changes nothing, and what there was before is not known.
    begun = Begun(folder=project.state_dir, way_on=way_on, looks=True)
    context.ending.begun[spec.stack] = begun
    with (
        open_progress(
            sys.stderr,
            interactive=context.interactive,
            quiet=quiet or context.verbosity < 0,
            color=context.colored(sys.stderr),
            clock=context.clock,
            stack=spec.stack if commons else None,
        ) as progress,
        _noting_requests(progress if context.verbosity > 0 else None),
        open_ports(settings, clock=context.clock, progress=progress) as ports,
    ):
        # Now the folder has what other machines recorded, too.
        before = None if looks else recorded_in(begun.folder, spec.stack)
        context.ending.begun[spec.stack] = replace(begun, looks=looks, before=before)
        try:
            yield ports
        except click.Abort:
            # A question was not answered: all are asked before anything is sent.
            context.ending.begun[spec.stack] = begun
            raise


@contextmanager
def _noting_requests(progress: ProgressDisplay | None) -> Iterator[None]:
    """Show each request to the cloud: its method, its path, and the status of its answer."""
    if progress is None:
        yield
        return
    handler = logging.Handler()
    handler.emit = lambda record: progress.note(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("scaler.clouds")
    level = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def show(context: Context, result: Result) -> int:
    """Print a result on standard output, and return its exit code.

    A run that changes something keeps it, although nobody can read its text: a log is full. A document that is lost is
    an error: a program waits for it.
    """
    from scaler.output.render import render

    context.ending.result = result
    color = context.colored(sys.stdout)
    text = render(result, context.output, color=color, hints=context.interactive, reasons=context.verbosity > 0)
    print_result(text, context.output, color=color)
    is_log = context.output is Output.TEXT and result.outcome is not Outcome.PLANNED
    if is_log and (lost := lost_result()) and not is_unread(lost):
        print_note(f"scaler: warning: the result could not be printed: standard output: {lost.strerror}")
    return EXIT_CODES[result.outcome]


def require_consent(context: Context, yes: bool, command: str) -> None:
    """UsageError without `--yes` where nobody can be asked, before anything is looked at."""
    if not yes and not context.interactive:
        raise UsageError(
            f"Nobody can be asked here, and scaler {command} would ask before it acts.",
            why="standard input or standard error is no terminal, or CI is set",
            fix="Add --yes.",
            code="consent_missing",
        )


def require_time(timeout: timedelta) -> None:
    """UsageError for a run that may take no time."""
    if timeout <= timedelta(0):
        raise UsageError("--timeout must be more than 0.", fix="Leave it out, or give a time such as 15m.")


def ask(context: Context, spec: Spec, ports: Any, question: str | None = None) -> Callable[[Plan], bool]:
    """Return what shows a plan to a person and asks whether to go on."""

    def approve(plan: Plan) -> bool:
        print_plan(context, spec, ports, plan)
        return click.confirm(question or f"Change {spec.stack}?", err=True)

    return approve


def announce(context: Context, spec: Spec, ports: Any) -> Callable[[Plan], None] | None:
    """Return what shows the plan of a run that asks nothing; None where nobody watches, as in a log."""
    return (lambda plan: print_plan(context, spec, ports, plan)) if is_watched(context) else None


def is_watched(context: Context) -> bool:
    """Return whether a person sees what is written to standard error, and did not ask for quiet."""
    return context.verbosity >= 0 and sys.stderr.isatty()


def print_plan(context: Context, spec: Spec, ports: Any, plan: Plan) -> None:
    """Show a plan on standard error, where questions are asked."""
    from scaler.output.render import render_plan

    ports.progress.stop()
    color = context.colored(sys.stderr)
    text = render_plan(plan, spec, "text", color=color)
    print_note(text, color=color)
