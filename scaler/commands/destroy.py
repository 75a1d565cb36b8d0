"""`scaler destroy`: remove every server of a stack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy, lock_options, timeout_option
from scaler.commands.reports import report_options
from scaler.commands.running import announce, load_stack, print_plan, require_consent, run, show
from scaler.model import Plan, Result, Spec


@click.command(cls=Command)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for the stack's name.")
@click.option("--accept-loss", is_flag=True, help="Go on although servers are missing that the records have.")
@timeout_option
@lock_options
@report_options
@common_options
def destroy(context: Context, yes: bool, accept_loss: bool, timeout: timedelta, lock: LockPolicy) -> int:
    """Remove every server of a stack, including protected servers and orphans.

    Servers without the stack's id are never changed; those that carry its other labels are named.

    \b
    Examples:
      scaler destroy -s dev          asks for the stack's name
      scaler destroy -s dev --yes

    \b
    Exit codes: 0 all deleted, 1 error, 4 not confirmed in time, 5 locked, 64 usage.
    """
    require_consent(context, yes, "destroy")
    project, spec = load_stack(context)

    def use_case(ports: Any) -> Result:
        from scaler.converge.demand import Demand, Options
        from scaler.converge.ensure import ensure

        options = Options(
            timeout=timeout,
            approve=None if yes else _ask_for_name(context, spec, ports),
            announce=announce(context, spec, ports),
            everything=True,
            accept_loss=accept_loss,
        )
        return ensure(spec, Demand(dict.fromkeys(spec.groups, 0)), options, ports)

    return show(context, run(context, project, spec, use_case, cause="destroy", lock=lock, timeout=timeout))


def _ask_for_name(context: Context, spec: Spec, ports: Any) -> Callable[[Plan], bool]:
    def approve(plan: Plan) -> bool:
        print_plan(context, spec, ports, plan)
        typed: str = click.prompt(f"Type {spec.stack} to remove all its servers", err=True, default="")
        return typed == spec.stack

    return approve
