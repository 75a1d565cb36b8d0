"""What every command has: its class, and the common options such as `--stack` and `-o`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from scaler.commands.context import Context, Output, context_of, given
from scaler.output.width import fit

P = ParamSpec("P")
R = TypeVar("R")

MORE_OPTIONS = "Options of every command, such as --stack and -o: scaler help options"


class FittingHelp(click.Command):
    """Help whose examples and exit codes are no wider than its other lines; click breaks only the others."""

    def get_help(self, ctx: click.Context) -> str:
        # click's own width leaves two columns.
        return fit(super().get_help(ctx), ctx.make_formatter().width + 2)


class CommandGroup(FittingHelp, click.Group):
    """A group of commands."""


class Command(FittingHelp):
    """A command whose help page points to the common options instead of repeating them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        write_pointer(formatter)


def write_pointer(formatter: click.HelpFormatter) -> None:
    """Write the line that says where the common options are described."""
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(MORE_OPTIONS)


class CommonOption(click.Option):
    """An option of every command. It is on the page of `scaler help options` and on no command's own."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return None

    def record(self, ctx: click.Context) -> tuple[str, str]:
        """Return the names and the description, for the page that has them."""
        found = super().get_help_record(ctx)
        return found or ("", "")


def common_options(command: Callable[Concatenate[Context, P], R]) -> Callable[P, R]:
    """Give a command the common options; its function gets them as a `Context`, first.

    The same options are accepted before the command's name; the one nearer to the end wins. Put
    the decorator right above the function, below the command's own options.
    """

    @functools.wraps(command)
    def with_context(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(context_of(click.get_current_context()), *args, **kwargs)

    return declare_common_options(with_context)


def declare_common_options(function: Callable[P, R]) -> Callable[P, R]:
    """Declare the common options on a group or command that does not need their values itself."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def common_option_records() -> list[tuple[str, str]]:
    """Return the names and the description of each common option."""

    @click.command()
    @declare_common_options
    def every() -> None: ...

    context = click.Context(every)
    return [option.record(context) for option in every.params if isinstance(option, CommonOption)]


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep an option's value for the whole invocation; a default never replaces what was typed before."""
    assert param.name is not None  # noqa: S101 - click names every declared option
    options = given(ctx)
    if param.name not in options or ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        options[param.name] = value


def _complete_stack(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from scaler.config.project import Project

    del param
    directory = Path(given(ctx).get("directory") or ".")
    stacks = Project(directory, name="", state_dir=directory).stacks()
    return [CompletionItem(stack) for stack in stacks if stack.startswith(incomplete)]


def _common(*names: str, **settings: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(
        *names, cls=CommonOption, expose_value=False, callback=_remember, show_envvar="envvar" in settings, **settings
    )


_OPTIONS = (
    _common(
        "-s",
        "--stack",
        envvar="SCALER_STACK",
        metavar="NAME",
        multiple=True,
        shell_complete=_complete_stack,
        help="The stack, named after its spec in stacks/. Default: the only one. `autoscale` takes several.",
    ),
    _common(
        "-C",
        "--directory",
        default=".",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        is_eager=True,
        help="Run in this project folder.",
    ),
    _common(
        "--state-dir",
        envvar="SCALER_STATE_DIR",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="The folder of the state files. Default: .scaler in the project folder.",
    ),
    _common(
        "-o",
        "--output",
        type=click.Choice([output.value for output in Output]),
        default=Output.TEXT.value,
        help="The format of the result. Default: text.",
    ),
    _common("-q", "--quiet", is_flag=True, help="Print only the result and errors."),
    _common("-v", "--verbose", count=True, help="Print each step with its reason, and each request to the cloud."),
    _common("--debug", is_flag=True, help="Print tracebacks and the engine's own output."),
    _common(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        help="When to use colour. Default: auto, which obeys NO_COLOR and FORCE_COLOR.",
    ),
)
