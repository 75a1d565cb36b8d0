"""`scaler refresh`: compare the records with the cloud."""

from __future__ import annotations

from typing import Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy, lock_options
from scaler.commands.reports import report_options
from scaler.commands.running import load_stack, run, show
from scaler.errors import ExitCode
from scaler.model import Result


@click.command(cls=Command)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if the cloud differs from the records.")
@lock_options
@report_options
@common_options
def refresh(context: Context, detailed_exitcode: bool, lock: LockPolicy) -> int:
    """Compare the records with the cloud, report drift, and record what exists.

    Runs one refresh of the engine, which writes each server's status to the stack's outputs and to the state
    file. No server is changed.

    \b
    Examples:
      scaler refresh
      scaler refresh --detailed-exitcode    0: as recorded, 2: drift, 1: error

    \b
    Exit codes: 0 recorded, 1 error, 2 drift (with --detailed-exitcode), 5 locked, 64 usage, 69 unreachable.
    """
    project, spec = load_stack(context)

    def use_case(ports: Any) -> Result:
        from scaler.converge import operate

        return operate.refresh(spec, ports)

    result = run(context, project, spec, use_case, cause="refresh", lock=lock)
    code = show(context, result)
    return ExitCode.CHANGES_PENDING if detailed_exitcode and result.drift else code
