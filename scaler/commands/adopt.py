"""`scaler adopt`: claim servers that carry the stack's labels and not its id."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy, lock_options, timeout_option, yes_option
from scaler.commands.reports import report_options
from scaler.commands.running import announce, ask, load_stack, require_consent, require_time, run, show
from scaler.model import Result


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@yes_option
@timeout_option
@lock_options
@report_options
@common_options
def adopt(context: Context, names: tuple[str, ...], yes: bool, timeout: timedelta, lock: LockPolicy) -> int:
    """Claim servers that carry this stack's labels and not its id: give them the id, and take them into the stack.

    Without a name, all of them. A stack with the same names elsewhere that has them recorded stops then, and
    changes nothing. The number of servers does not change; `scaler ensure` removes those that are too many.

    A stack that was moved to another endpoint or account is recorded there, if all its servers are seen there.

    \b
    Examples:
      scaler adopt --yes
      scaler adopt demo-worker-4

    \b
    Exit codes: 0 claimed, or nothing to claim, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    require_consent(context, yes, "adopt")
    require_time(timeout)
    project, spec = load_stack(context)

    def use_case(ports: Any) -> Result:
        from scaler.converge.demand import Demand, Options
        from scaler.converge.ensure import ensure
        from scaler.planning.claims import claim_of

        options = Options(
            timeout=timeout,
            approve=None if yes else ask(context, spec, ports),
            announce=announce(context, spec, ports),
            claim=claim_of(names),
        )
        return ensure(spec, Demand(), options, ports)

    cause = " ".join(("adopt", *names))
    return show(context, run(context, project, spec, use_case, cause=cause, lock=lock, timeout=timeout))
