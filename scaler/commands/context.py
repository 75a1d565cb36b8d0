"""The options of every command, read once, as one value that each command gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TextIO

import click

from scaler.commands.ending import Ending
from scaler.errors import UsageError
from scaler.support.clock import Clock, SystemClock
from scaler.support.files import failure_reason
from scaler.support.values import dataclass

Color = Literal["auto", "always", "never"]

STATE_DIR = ".scaler"
"""The state folder in a project's, unless another is named."""


class Output(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    MARKDOWN = "markdown"


@dataclass(frozen=True, kw_only=True)
class Context:
    """The common options of one invocation. A flag wins over an environment variable, which wins over the default."""

    directory: Path
    """The project folder, absolute."""
    stacks: tuple[str, ...]
    """As named by `--stack`; empty: the only spec of the project."""
    state_dir: Path
    """Absolute; a relative one is relative to `directory`."""
    output: Output
    verbosity: int
    """-1 quiet (result and errors only), 0 normal, 1 and more: reasons and requests."""
    debug: bool
    color: Color
    """`NO_COLOR` and `FORCE_COLOR` are applied already. Call `colored` for a stream."""
    interactive: bool
    """Whether a person can be asked: standard input and error are terminals and `CI` is not set."""
    clock: Clock
    ending: Ending = field(default_factory=Ending, compare=False)
    """What this command has come to, for the report of its end."""

    @property
    def stack(self) -> str | None:
        """The stack that was named; None: the only one of the project. UsageError if several were."""
        if len(self.stacks) > 1:
            raise UsageError(
                f"This command works on one stack, and {len(self.stacks)} are named: {', '.join(self.stacks)}.",
                fix="Name one with --stack. `scaler autoscale` takes several.",
            )
        return self.stacks[0] if self.stacks else None

    def of(self, stack: str) -> Context:
        """Return the same for the stack that a file names; UsageError if `--stack` names another."""
        if self.stack not in (None, stack):
            raise UsageError(f"--stack is {self.stack}, but the file is for {stack}.", fix="Leave out --stack.")
        return self.only(stack)

    def only(self, stack: str) -> Context:
        """Return the same for one of several stacks."""
        return replace(self, stacks=(stack,))

    def colored(self, stream: TextIO) -> bool:
        """Return whether to use colour on this stream."""
        if self.color != "auto":
            return self.color == "always"
        return stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream is; None if it is none, or does not say."""
    if not stream.isatty():
        return None
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # ValueError: the stream is closed, or has no descriptor
        return None
    return columns or None


def context_of(ctx: click.Context) -> Context:
    """Return the common options as far as they have been parsed."""
    return replace(make_context(given(ctx), os.environ), ending=ctx.ensure_object(Ending))


def make_context(options: Mapping[str, Any], environ: Mapping[str, str]) -> Context:
    """Build the context from option values by parameter name."""
    _require_current_folder()
    directory = Path(options["directory"]).resolve()
    return Context(
        directory=directory,
        stacks=tuple(dict.fromkeys(options["stack"] or ())),
        state_dir=directory / (options["state_dir"] or STATE_DIR),
        output=Output(options["output"]),
        verbosity=-1 if options["quiet"] else options["verbose"],
        debug=options["debug"],
        color=_color(options["color"], environ),
        interactive=sys.stdin.isatty() and sys.stderr.isatty() and not environ.get("CI"),
        clock=SystemClock(),
    )


def _require_current_folder() -> None:
    """UsageError if the folder that the process is in was deleted: no path can be told from there."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            "The current folder cannot be used.", why=failure_reason(error), fix="Change to a folder that exists."
        ) from error


def _color(flag: Color | None, environ: Mapping[str, str]) -> Color:
    if flag is not None:
        return flag
    if environ.get("NO_COLOR"):
        return "never"
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return "always"
    return "auto"


def given(ctx: click.Context) -> dict[str, Any]:
    """Return the values of the common options by parameter name: one dictionary for the whole invocation."""
    options: dict[str, Any] = ctx.meta.setdefault("scaler.options", {})
    return options
