"""`scaler destroy`: remove every server of a stack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from scaler.commands.ci import report_options
from scaler.commands.context import Context, common_options
from scaler.commands.running import (
    load,
    lock_timeout_option,
    require_consent,
    run,
    show,
    steal_after_option,
    timeout_option,
)
from scaler.model import Plan, Result, Spec


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask for the stack's name.")
@timeout_option
@lock_timeout_option
@steal_after_option
@report_options
@common_options
def destroy(
    context: Context, yes: bool, timeout: timedelta, lock_timeout: timedelta, steal_after: timedelta | None
) -> int:
    """Remove every server of a stack, protected ones and orphans included.

    Servers that do not carry the stack's labels are never touched.

    \b
    Examples:
      scaler destroy -s dev          asks for the stack's name
      scaler destroy -s dev --yes

    \b
    Exit codes: 0 all gone, 1 error, 4 not confirmed in time, 5 locked, 64 usage.
    """
    require_consent(context, yes, "destroy")
    project, spec = load(context)
    nothing = dict.fromkeys(spec.groups, 0)

    def use_case(around: Any) -> Result:
        from scaler.converge.demand import Demand, Options
        from scaler.converge.ensure import ensure

        approve = None if yes else _ask_for_name(context, spec, around)
        return ensure(spec, Demand(nothing), Options(timeout=timeout, approve=approve, everything=True), around)

    result = run(context, project, spec, use_case, cause="destroy", lock_timeout=lock_timeout, steal_after=steal_after)
    return show(context, result)


def _ask_for_name(context: Context, spec: Spec, around: Any) -> Callable[[Plan], bool]:
    def approve(plan: Plan) -> bool:
        from scaler.output.render import render_plan

        around.progress.stop()
        click.echo(render_plan(plan, spec, "text", color=False), err=True)
        typed: str = click.prompt(f"Type {spec.stack} to remove all its servers", err=True, default="")
        return typed == spec.stack

    return approve
