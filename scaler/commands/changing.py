"""What the commands that change the number of servers share: their options, and the run itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack

import click

from scaler.commands.ci import report_options
from scaler.commands.context import Context
from scaler.commands.running import (
    ask,
    lock_timeout_option,
    max_change_option,
    require_consent,
    run,
    show,
    steal_after_option,
    timeout_option,
)
from scaler.config.project import Project
from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.errors import UsageError
from scaler.model import Result, Spec

P = ParamSpec("P")
R = TypeVar("R")


class How(TypedDict):
    """The values of `change_options`."""

    yes: bool
    no_wait: bool
    expect_current: int | None
    max_change: int | None
    timeout: timedelta
    lock_timeout: timedelta
    steal_after: timedelta | None


_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option("-y", "--yes", is_flag=True, help="Do not ask."),
    click.option(
        "--no-wait", is_flag=True, help="Do not wait until the servers are ready; the next run confirms them."
    ),
    click.option("--expect-current", type=click.IntRange(min=0), metavar="N", help="Only if there are N servers now."),
    max_change_option,
    timeout_option,
    lock_timeout_option,
    steal_after_option,
)


def change_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the options of `How`, and those that every changing command has for a pipeline."""
    command = report_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_consent(context: Context, command: str, how: How) -> None:
    """Stop before anything is looked at, when nobody can be asked or the options make no sense."""
    require_consent(context, how["yes"], command)
    if how["timeout"] <= timedelta(0):
        raise UsageError("--timeout must be more than nothing.")


def change(
    context: Context,
    project: Project,
    spec: Spec,
    demand: Callable[[Any], Demand],
    *,
    cause: str,
    **how: Unpack[How],
) -> int:
    """Make the demanded servers exist as `ensure` does, print the result, and give the exit code.

    `demand` gets the run's surroundings: what is wanted may depend on what is there.
    """

    def use_case(around: Any) -> Result:
        options = Options(
            timeout=how["timeout"],
            wait=not how["no_wait"],
            approve=None if how["yes"] else ask(context, spec, around, f"Change {spec.stack}?"),
            expect_current=how["expect_current"],
            max_change=how["max_change"],
        )
        return ensure(spec, demand(around), options, around)

    ran = run(
        context,
        project,
        spec,
        use_case,
        cause=cause,
        lock_timeout=how["lock_timeout"],
        steal_after=how["steal_after"],
    )
    return show(context, ran)
