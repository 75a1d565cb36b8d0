"""What every command is handed: the options that all of them share, read once, as one value."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TextIO, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from scaler.errors import UsageError
from scaler.support.clock import Clock, SystemClock

P = ParamSpec("P")
R = TypeVar("R")

Color = Literal["auto", "always", "never"]


class Output(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One invocation's shared options, resolved: flag, then environment variable, then default."""

    directory: Path
    """The project folder, absolute."""
    stack: str | None
    """None: the only spec there is."""
    state_dir: Path
    """Absolute; a relative one is relative to `directory`."""
    output: Output
    verbosity: int
    """-1 quiet (result and errors only), 0 normal, 1 and more: reasons and requests."""
    debug: bool
    color: Color
    """`NO_COLOR` and `FORCE_COLOR` are already in it; ask `colored` for a stream."""
    interactive: bool
    """Whether a person can be asked: standard input and error are terminals and `CI` is not set."""
    clock: Clock

    def of(self, stack: str) -> Context:
        """The same for a stack that is named elsewhere; UsageError if the command line names another."""
        if self.stack not in (None, stack):
            raise UsageError(f"--stack is {self.stack}, and this is of {stack}.")
        return replace(self, stack=stack)

    def colored(self, stream: TextIO) -> bool:
        """Whether to use colour on this stream."""
        if self.color != "auto":
            return self.color == "always"
        return stream.isatty() and os.environ.get("TERM") != "dumb"


def common_options(command: Callable[Concatenate[Context, P], R]) -> Callable[P, R]:
    """Give a command the shared options; its function gets them as a `Context`, first.

    The same options are accepted before the command's name; the one nearer to the end wins. Put
    the decorator right above the function, below the command's own options.
    """

    @functools.wraps(command)
    def with_context(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(context_of(click.get_current_context()), *args, **kwargs)

    return shared_options(with_context)


def shared_options(function: Callable[P, R]) -> Callable[P, R]:
    """Declare the shared options on a group or command that does not need their values itself."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def context_of(ctx: click.Context) -> Context:
    """The shared options as they were parsed by now."""
    return make_context(_given(ctx), os.environ)


def make_context(options: Mapping[str, Any], environ: Mapping[str, str]) -> Context:
    """The context that these option values, by parameter name, mean."""
    directory = Path(options["directory"]).resolve()
    return Context(
        directory=directory,
        stack=options["stack"],
        state_dir=directory / (options["state_dir"] or ".scaler"),
        output=Output(options["output"]),
        verbosity=-1 if options["quiet"] else options["verbose"],
        debug=options["debug"],
        color=_color(options["color"], environ),
        interactive=sys.stdin.isatty() and sys.stderr.isatty() and not environ.get("CI"),
        clock=SystemClock(),
    )


def _color(flag: Color | None, environ: Mapping[str, str]) -> Color:
    if flag is not None:
        return flag
    if environ.get("NO_COLOR"):
        return "never"
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return "always"
    return "auto"


def _given(ctx: click.Context) -> dict[str, Any]:
    options: dict[str, Any] = ctx.meta.setdefault("scaler.options", {})
    return options


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep an option's value for the whole invocation; a default never replaces what was typed before."""
    assert param.name is not None  # noqa: S101 - click names every declared option
    options = _given(ctx)
    if param.name not in options or ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        options[param.name] = value


def _complete_stack(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from scaler.config.project import Project

    del param
    directory = Path(_given(ctx).get("directory") or ".")
    stacks = Project(directory, name="", state_dir=directory).stacks()
    return [CompletionItem(stack) for stack in stacks if stack.startswith(incomplete)]


def _shared(*names: str, **settings: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(*names, expose_value=False, callback=_remember, **settings)


_OPTIONS = (
    _shared(
        "-s",
        "--stack",
        envvar="SCALER_STACK",
        metavar="NAME",
        shell_complete=_complete_stack,
        help="The stack: the name of its spec in stacks/. Default: the only one.  [env: SCALER_STACK]",
    ),
    _shared(
        "-C",
        "--directory",
        default=".",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        is_eager=True,
        help="Run in this project folder.",
    ),
    _shared(
        "--state-dir",
        envvar="SCALER_STATE_DIR",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Where the state files are. Default: .scaler.  [env: SCALER_STATE_DIR]",
    ),
    _shared(
        "-o",
        "--output",
        type=click.Choice([output.value for output in Output]),
        default=Output.TEXT.value,
        help="How to print the result.",
    ),
    _shared("-q", "--quiet", is_flag=True, help="Print only the result and errors."),
    _shared("-v", "--verbose", count=True, help="Print reasons and requests too."),
    _shared("--debug", is_flag=True, help="Print tracebacks and the engine's own output."),
    _shared(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        help="When to use colour. Default: auto; NO_COLOR and FORCE_COLOR are heeded.",
    ),
)
