"""The counts of a command line: `5`, or `worker=5 web=2`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

from scaler.errors import UsageError
from scaler.model import Spec
from scaler.suggest import nearest

MOST = 10_000
"""No account gets as many servers; a larger count is a slip."""


class CountingCommand(click.Command):
    """A command whose counts may be typed negative by mistake: that is told as such, not as an unknown option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args[: args.index("--") if "--" in args else None]:
            if re.fullmatch(r"-\d+", argument):
                raise UsageError(f"A count cannot be negative: {argument}.", fix="Give 0 or more.")
        return super().parse_args(ctx, args)


def parse_counts(spec: Spec, arguments: Sequence[str]) -> dict[str, int]:
    """The wanted count of every group: the spec's, where the command line says nothing else."""
    wanted = {name: group.count for name, group in spec.groups.items()}
    for argument in arguments:
        name, given = _split(spec, argument)
        wanted[name] = _count(given, argument)
    return wanted


def _split(spec: Spec, argument: str) -> tuple[str, str]:
    name, equals, given = argument.rpartition("=")
    if equals:
        if name not in spec.groups:
            raise UsageError(f"There is no group {name!r} in {spec.stack}.", fix=nearest(name, list(spec.groups)))
        return name, given
    if len(spec.groups) > 1:
        raise UsageError(
            f"{spec.stack} has several groups, so the count {given!r} is unclear.",
            why=f"groups: {', '.join(spec.groups)}",
            fix=f"Say which: {next(iter(spec.groups))}={given}.",
        )
    return next(iter(spec.groups)), given


def _count(given: str, argument: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", given, re.ASCII):
        raise UsageError(f"{argument!r} is no count.", fix="Give a whole number, such as 5, or worker=5.")
    if given.startswith("-"):
        raise UsageError(f"A count cannot be negative: {argument}.", fix="Give 0 or more.")
    if len(given) > len(str(MOST)) or int(given) > MOST:
        raise UsageError(f"{given} servers are more than scaler handles.", fix=f"Give at most {MOST}.")
    return int(given)


def tell(wanted: Mapping[str, int]) -> str:
    """The counts as one would type them."""
    return " ".join(f"{name}={count}" for name, count in wanted.items())
