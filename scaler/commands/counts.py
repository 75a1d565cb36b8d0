"""The counts of a command line: `5`, or `worker=5 web=2`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

from scaler.commands.command import Command
from scaler.converge.counts import MOST, all_counts, check_by, check_count, known_group, only_group
from scaler.errors import UsageError
from scaler.model import Spec
from scaler.support.text import named, quoted


class CountingCommand(Command):
    """A command that reports a negative count as such, and not as an unknown option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args[: args.index("--") if "--" in args else None]:
            if re.fullmatch(r"-\d+", argument):
                raise UsageError(f"A count cannot be negative: {named(argument)}.", fix="Give 0 or more.")
        return super().parse_args(ctx, args)


def parse_counts(spec: Spec, arguments: Sequence[str]) -> dict[str, int]:
    """Return the wanted count of every group: the command line's, else the spec's."""
    counts: dict[str, int] = {}
    for argument in arguments:
        name, given = _split(spec, argument)
        if name in counts:
            raise UsageError(f"The count of {name} is given twice.", fix="Give each group one count.")
        counts[name] = check_count(_whole(given, argument))
    return all_counts(spec, counts)


def parse_by(text: str) -> int:
    """Return how many servers to add or remove: 1 or more."""
    return check_by(_whole(text, text))


def _split(spec: Spec, argument: str) -> tuple[str, str]:
    name, equals, given = argument.rpartition("=")
    if equals:
        return known_group(spec, name), given
    return only_group(spec, fix=f"Say which: {next(iter(spec.groups))}={given}."), given


def _whole(given: str, argument: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", given, re.ASCII):
        raise UsageError(f"{quoted(argument)} is not a count.", fix="Give a whole number, such as 5, or worker=5.")
    if given.startswith("-"):
        raise UsageError(f"A count cannot be negative: {named(argument)}.", fix="Give 0 or more.")
    # Python refuses to convert thousands of digits; such a number is too large anyway.
    return int(given) if len(given) <= len(str(MOST)) else check_count(MOST + 1)


def format_counts(wanted: Mapping[str, int]) -> str:
    """Return the counts as a person types them."""
    return " ".join(f"{name}={count}" for name, count in wanted.items())
