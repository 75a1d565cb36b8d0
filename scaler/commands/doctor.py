"""`scaler doctor`: whether everything that a run needs is there, and how to fix what is not."""

from __future__ import annotations

import os
import sys

import click

from scaler.commands.checks import Finding, Level, examine
from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output, terminal_width
from scaler.commands.document import dump
from scaler.commands.printing import print_result
from scaler.errors import ExitCode
from scaler.output.table import markdown_table
from scaler.output.width import fit
from scaler.support.text import one_line, visible


@click.command(cls=Command)
@common_options
def doctor(context: Context) -> int:
    """Check what a run needs: engine, specs, backend, identity, commands, credentials, cloud, prices, clock, metrics.

    Changes nothing, and sends each cloud a few requests; one of them starts a server that does not exist, which shows
    whether the token may write. In the same way it writes a small file beside shared records, and deletes it. Says who
    holds the stack's lock. Looks up what the specs name, and reads their metrics. Without --stack, all specs are
    checked.

    \b
    Examples:
      scaler doctor
      scaler doctor --stack prod -o json

    \b
    Exit codes: 0 if no check failed (warnings do not count), else that of the first one: 1, 3, 64, 65, 69 or 77.
    """
    findings = []
    for finding in examine(context, os.environ):
        findings.append(finding)
        if context.output is Output.TEXT:
            text = _as_text(finding, color=context.colored(sys.stdout))
            print_result(fit(text, terminal_width(sys.stdout), _MESSAGE))
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"checks": [_as_facts(finding) for finding in findings]}, context.output))
    elif context.output is Output.MARKDOWN:
        rows = [(finding.level.value, finding.check, finding.message, finding.fix) for finding in findings]
        click.echo(markdown_table(("result", "check", "found", "fix"), rows))
    return next((finding.exit_code for finding in findings if finding.level is Level.FAIL), ExitCode.OK)


def _as_facts(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "result": finding.level.value,
        "message": finding.message,
        "fix": finding.fix,
        "exit_code": int(finding.exit_code),
    }


_LEVEL, _CHECK = 6, 24
_MESSAGE = _LEVEL + _CHECK
"""The column where messages begin."""


def _as_text(finding: Finding, *, color: bool) -> str:
    paint = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}[finding.level]
    word = click.style(f"{finding.level:<4}", fg=paint) if color else f"{finding.level:<4}"
    first, *others = visible(finding.message).splitlines() or [""]
    lines = [f"{word}  {one_line(finding.check):<22}  {first}", *(" " * _MESSAGE + line for line in others)]
    if finding.fix:
        first, *others = visible(finding.fix).splitlines()
        lines += [f"{'':<{_LEVEL}}{'fix':<22}  {first}", *(" " * _MESSAGE + line for line in others)]
    return "\n".join(lines)
