"""`scaler refresh`: compare the records with the cloud."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from scaler.commands.ci import report_options
from scaler.commands.context import Context, common_options
from scaler.commands.running import load, lock_timeout_option, run, show, steal_after_option
from scaler.errors import ExitCode
from scaler.model import Result


@click.command()
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if the cloud is not as recorded.")
@lock_timeout_option
@steal_after_option
@report_options
@common_options
def refresh(context: Context, detailed_exitcode: bool, lock_timeout: timedelta, steal_after: timedelta | None) -> int:
    """Compare the records with the cloud, report drift, and record what is there.

    One engine refresh: statuses go into the stack's outputs and the state file; no server is changed.

    \b
    Examples:
      scaler refresh
      scaler refresh --detailed-exitcode    0: as recorded, 2: drift, 1: error

    \b
    Exit codes: 0 recorded, 1 error, 2 drift (with --detailed-exitcode), 5 locked, 64 usage, 69 unreachable.
    """
    project, spec = load(context)

    def use_case(around: Any) -> Result:
        from scaler.converge import operate

        return operate.refresh(spec, around)

    result = run(context, project, spec, use_case, cause="refresh", lock_timeout=lock_timeout, steal_after=steal_after)
    code = show(context, result)
    return ExitCode.CHANGES_PENDING if detailed_exitcode and result.drift else code
