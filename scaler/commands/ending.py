"""What a command says of itself while it runs, for `main`, which reports how it ended.

A command line may end before its command is known, and a run by a signal at any moment: what is said here is all that
can be reported then.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.support.values import dataclass

if TYPE_CHECKING:
    import click

    from scaler.commands.reports import Reports
    from scaler.commands.round import Ended
    from scaler.records.state import State

SAME_COMMAND = "The same command goes on."


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run that has begun, and how to go on with it if a signal ends it."""

    folder: Path
    """Where its records are."""
    way_on: str
    looks: bool
    """Whether it changes nothing, or has changed nothing so far."""
    before: State | None = None
    """What was recorded when it began, if it may change something."""


@dataclass
class Ending:
    """What one command line has come to."""

    command: click.Command | None = None
    """None: what was read of the command line so far names none."""
    reports: Reports | None = None
    """The files that it is to write; None: it has not come so far."""
    result: Ended | None = None
    begun: dict[str, Begun] = field(default_factory=dict)
    """Its last run of each stack."""
