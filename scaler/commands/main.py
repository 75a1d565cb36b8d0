"""The entry point: find the command, run it, turn whatever happens into an exit code.

Nothing heavy is imported before a command is chosen, so that `scaler --help` and `scaler status`
stay quick; see `COMMANDS`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

import scaler
from scaler.commands.ci import annotate_error, on_github
from scaler.commands.context import Output, shared_options
from scaler.commands.failure import as_document, as_text
from scaler.errors import ExitCode, ScalerError, Terminated

COMMANDS = {
    "init": "Scaffold a project in the current folder.",
    "ensure": "Make exactly so many healthy servers exist.",
    "increase": "Add servers to those that are there.",
    "decrease": "Remove servers, never fewer than none.",
    "preview": "Show what ensure would do, and do nothing.",
    "apply": "Do exactly the steps of a plan file, or nothing.",
    "status": "Show the recorded servers.",
    "refresh": "Compare the records with the cloud and report drift.",
    "reboot": "Reboot servers, and wait until they are ready again.",
    "stop": "Drain, shut down and remove exactly these servers.",
    "replace": "Replace servers: new ones first, then the old ones go.",
    "protect": "Keep servers from scale-down.",
    "unprotect": "Let protected servers go again.",
    "orphans": "Show machines that are in no state; adopt or delete them.",
    "autoscale": "Work the number of servers out from the load.",
    "simulate": "Replay recorded load against a policy.",
    "destroy": "Remove every server of a stack.",
    "history": "Show what happened.",
    "why": "Show the decision behind a server's state.",
    "prune": "Remove old records and what the engine leaves behind.",
    "unlock": "Show who holds a stack; remove locks of dead runs.",
    "validate": "Check a spec and name every problem in it.",
    "doctor": "Check the engine, the specs, the credentials and the cloud.",
    "engine": "Find or install the Pulumi engine.",
    "sim": "Serve the embedded cloud.",
    "version": "Show the versions of scaler and of what it stands on.",
    "completion": "Print the completion script of a shell.",
}
"""Each command's one line of help. The command `x` is the object `x` of `scaler.commands.x`."""

EXIT_CODES = """\b
Exit codes:
  0    reached, or nothing to do
  1    error
  2    changes pending (only with --detailed-exitcode)
  3    refused by a guard or a policy
  4    applied, not confirmed in time
  5    locked by another run
  6    the plan is out of date
  64   usage
  65   the spec is invalid
  69   the cloud or the engine cannot be reached
  77   credentials missing or refused
  130  interrupted (Ctrl-C)
  143  terminated (SIGTERM)
"""


class LazyGroup(click.Group):
    """A group that lists its commands from one-line stubs and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        module = importlib.import_module(f"scaler.commands.{name}")
        command: click.Command = getattr(module, name)
        return name, command, rest


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"scaler {scaler.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, short_help=text) for name, text in COMMANDS.items()},
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EXIT_CODES,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@shared_options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Exactly N healthy servers from a snapshot, on Hetzner Cloud and DigitalOcean.

    \b
    Examples:
      scaler init --cloud hetzner          a project to start from
      scaler preview 5 --stack prod        what would be done
      scaler ensure 5 --stack prod         do it, and prove it
      scaler ensure worker=5 web=2 --yes   in CI: no questions
      scaler status -o json                what is there, for other programs

    The options below are also accepted after the command's name.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _terminate)
    # Whatever the shell's: no file that comes of this is writable by others, by a child process neither.
    os.umask(os.umask(0o022) | 0o022)
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    return code


def entry() -> None:
    """The console script `scaler`."""
    sys.exit(main())


def _run(arguments: list[str]) -> int:
    try:
        code = cli.main(arguments, prog_name="scaler", standalone_mode=False)
    except ScalerError as error:
        return _fail(error, arguments)
    except click.UsageError as error:
        return _fail_usage(error, arguments)
    except click.Abort as aborted:  # click's wrapping of Ctrl-C, SIGTERM and an unanswered question
        return _interrupted(aborted.__cause__)
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except Exception as error:
        return _fail_unexpectedly(error, arguments)
    return ExitCode.OK if code is None else int(code)


def _fail(error: ScalerError, arguments: Sequence[str]) -> int:
    output = _output_of(arguments)
    if output in (Output.JSON, Output.YAML):
        click.echo(as_document(error, output))
    else:
        click.echo(as_text(error), err=True)
    if on_github(os.environ):
        click.echo("\n".join(annotate_error(error, os.environ)), err=True)
    if "--debug" in arguments:
        traceback.print_exception(error)
    return error.exit_code


def _fail_usage(error: click.UsageError, arguments: Sequence[str]) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) or _output_of(arguments) not in (Output.JSON, Output.YAML):
        error.show()
        return ExitCode.USAGE
    path = error.ctx.command_path if error.ctx else "scaler"
    failure = ScalerError(error.format_message(), fix=f"run: {path} --help", code="usage")
    failure.exit_code = ExitCode.USAGE
    return _fail(failure, arguments)


def _fail_unexpectedly(error: Exception, arguments: Sequence[str]) -> int:
    failure = ScalerError(
        "Scaler stopped on an error of its own.",
        # An unknown exception's text may quote anything, a request with its token too: only the kind is told.
        why=f"{type(error).__name__} in {_place(error)}",
        fix="run again with --debug for the traceback, and report it",
        code="internal",
    )
    if "--debug" in arguments:
        traceback.print_exception(error)
    return _fail(failure, [argument for argument in arguments if argument != "--debug"])


def _place(error: Exception) -> str:
    """The innermost of our own lines that the error came through."""
    package = Path(scaler.__file__).parent
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if package in Path(frame.filename).parents]
    return f"{Path(ours[-1].filename).relative_to(package.parent)}:{ours[-1].lineno}"


def _interrupted(cause: BaseException | None) -> int:
    return ExitCode.TERMINATED if isinstance(cause, Terminated) else ExitCode.INTERRUPTED


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _drop_stdout() -> None:
    """The reader is gone: keep the interpreter's own flush at exit from failing on the same pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_of(arguments: Sequence[str]) -> Output:
    """The output form that a command line asks for, also one that cannot be parsed."""
    wanted = Output.TEXT.value
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("-o", "--output"):
            wanted = following
        elif argument.startswith("--output="):
            wanted = argument.removeprefix("--output=")
        elif argument.startswith("-o"):
            wanted = argument.removeprefix("-o")
        elif argument == "--":
            break
    return Output(wanted) if wanted in {output.value for output in Output} else Output.TEXT
