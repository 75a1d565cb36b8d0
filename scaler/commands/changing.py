"""What the commands that change the number of servers share: their options, and the run itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any, TypeVar

import click

from scaler.commands.context import Context
from scaler.commands.options import (
    LockPolicy,
    accept_loss_option,
    adopt_option,
    lock_options,
    max_change_option,
    timeout_option,
    yes_option,
)
from scaler.commands.reports import report_options
from scaler.commands.running import announce, ask, require_consent, require_time, run, show
from scaler.config.project import Project
from scaler.converge.demand import Demand, Options, RollOrder
from scaler.converge.ensure import ensure
from scaler.model import Result, Spec
from scaler.planning.claims import Claim
from scaler.support.values import dataclass

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class How:
    """The values of `change_options`."""

    yes: bool
    no_wait: bool
    expect_current: int | None
    max_change: int | None
    accept_loss: bool
    claim: bool
    timeout: timedelta
    lock: LockPolicy
    new: bool = False
    """Only with `new_option`."""


_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    yes_option,
    click.option(
        "--no-wait", is_flag=True, help="Do not wait until the servers are ready; the next run confirms them."
    ),
    click.option(
        "--expect-current", type=click.IntRange(min=0), metavar="N", help="Refuse unless there are N servers now."
    ),
    max_change_option,
    accept_loss_option,
    timeout_option,
    lock_options,
)


new_option = click.option(
    "--new", is_flag=True, help="Begin afresh. Otherwise a repeat goes on with what the same command did not finish."
)


def change_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options of `How`, as one value `how`, and those of the reports for a pipeline."""

    return adopt_option(change_options_of_orphans(command))


def change_options_of_orphans(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command that never claims servers all of `change_options` but `--adopt`."""

    @functools.wraps(command)
    def with_how(*args: Any, claim: bool = False, **kwargs: Any) -> R:
        names = (field.name for field in fields(How))
        given = {name: kwargs.pop(name) for name in names if name in kwargs}
        how = How(claim=claim, **given)
        return command(*args, how=how, **kwargs)

    changing = report_options(with_how)
    for option in reversed(_OPTIONS):
        changing = option(changing)
    return changing


def check(context: Context, command: str, how: How) -> None:
    """UsageError when nobody can be asked, or the options make no sense; nothing is looked at before."""
    require_consent(context, how.yes, command)
    require_time(how.timeout)


def change(
    context: Context,
    project: Project,
    spec: Spec,
    demand: Demand,
    how: How,
    *,
    cause: str,
    allow_zero: bool = True,
    roll: RollOrder | None = None,
    question: str | None = None,
) -> int:
    """Make the demanded servers exist as `ensure` does, print the result, and return the exit code.

    A demand that is relative, or about servers by name, is recorded as `cause`, so that its repeat goes on with it.
    `roll` is what to do about rolls besides.
    """

    def use_case(ports: Any) -> Result:
        options = Options(
            timeout=how.timeout,
            wait=not how.no_wait,
            approve=None if how.yes else ask(context, spec, ports, question),
            announce=announce(context, spec, ports),
            expect_current=how.expect_current,
            max_change=how.max_change,
            accept_loss=how.accept_loss,
            claim=Claim(everything=how.claim),
            allow_zero=allow_zero,
            command=cause if demand.counts is None else None,
            anew=how.new,
            resumes=demand.counts is not None,
            roll=roll,
        )
        return ensure(spec, demand, options, ports)

    return show(context, run(context, project, spec, use_case, cause=cause, lock=how.lock, timeout=how.timeout))
