"""What the commands that run something share: put the run together, print its result, give its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from scaler.commands.ci import keep_result, log_group
from scaler.commands.context import Context
from scaler.config.project import Project
from scaler.errors import ExitCode, UsageError
from scaler.model import Outcome, Plan, Result, Spec

EXIT_CODES = {
    Outcome.CONVERGED: ExitCode.OK,
    Outcome.UNCHANGED: ExitCode.OK,
    Outcome.PLANNED: ExitCode.OK,
    Outcome.UNCONFIRMED: ExitCode.UNCONFIRMED,
    Outcome.FAILED: ExitCode.ERROR,
    Outcome.REFUSED: ExitCode.REFUSED,
}


class Duration(click.ParamType[timedelta]):
    """`90s`, `10m`, `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from scaler.support.durations import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


timeout_option = click.option(
    "--timeout", type=Duration(), default="15m", show_default=True, help="How long the whole run may take."
)
lock_timeout_option = click.option(
    "--lock-timeout", type=Duration(), default="2m", show_default=True, help="How long to wait for another run."
)
steal_after_option = click.option(
    "--steal-after",
    type=Duration(),
    envvar="SCALER_STEAL_AFTER",
    metavar="AGE",
    help="Take the stack's lock from a run on another machine once it is so old, such as 1h. Default: never.  "
    "[env: SCALER_STEAL_AFTER]",
)

max_change_option = click.option(
    "--max-change",
    type=click.IntRange(min=0),
    metavar="N",
    help="Refuse to create and delete more than N servers together.",
)
allow_zero_option = click.option(
    "--allow-zero", is_flag=True, help="Let the whole stack go from some servers to none without asking."
)


def load(context: Context) -> tuple[Project, Spec]:
    """The project and the chosen stack's spec."""
    from scaler.config import spec

    project = Project.find(context.directory, context.state_dir)
    stack = project.choose(context.stack)
    return project, spec.load(project.spec_path(stack), project.name)


def run(
    context: Context,
    project: Project,
    spec: Spec,
    use_case: Callable[[Any], Result],
    *,
    cause: str,
    lock_timeout: timedelta,
    steal_after: timedelta | None = None,
) -> Result:
    """Carry out a use case with its surroundings, telling its progress on standard error."""
    from scaler.output.progress import open_progress
    from scaler.wiring import RunSettings, open_ports

    described = RunSettings(
        project=project,
        spec=spec,
        cause=cause,
        lock_timeout=lock_timeout,
        steal_after=steal_after,
        environ=os.environ,
    )
    with (
        log_group(f"scaler {cause}", os.environ),
        open_progress(
            sys.stderr,
            interactive=context.interactive,
            quiet=context.verbosity < 0,
            color=context.colored(sys.stderr),
            clock=context.clock,
        ) as progress,
        open_ports(described, clock=context.clock, progress=progress) as around,
    ):
        return use_case(around)


def show(context: Context, result: Result) -> int:
    """Print a result on standard output, and give its exit code."""
    from scaler.output.render import render

    keep_result(result)
    color = context.colored(sys.stdout)
    click.echo(render(result, context.output, color=color, hints=context.interactive), color=color)
    return EXIT_CODES[result.outcome]


def require_consent(context: Context, yes: bool, command: str) -> None:
    """Without a person to ask and without `--yes`, stop before anything is looked at."""
    if not yes and not context.interactive:
        raise UsageError(
            f"scaler {command} would ask before it acts, and nobody can be asked here.",
            why="standard input or error is no terminal, or CI is set",
            fix="add --yes",
            code="consent_missing",
        )


def ask(context: Context, spec: Spec, around: Any, question: str) -> Callable[[Plan], bool]:
    """Show the plan to a person and ask."""

    def approve(plan: Plan) -> bool:
        from scaler.output.render import render_plan

        around.progress.stop()
        color = context.colored(sys.stderr)
        click.echo(render_plan(plan, spec, "text", color=color), err=True, color=color)
        return click.confirm(question, err=True)

    return approve
